"""launch/kubernetes: the manifest sets the variables that the trainer's start-up reads."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from bioclip_jax.distributed.initialize import process_settings
from bioclip_jax.distributed.rendezvous import split_address

FOLDER = Path(__file__).resolve().parents[2] / "launch" / "kubernetes"
COMPLETION_INDEX = "metadata.annotations['batch.kubernetes.io/job-completion-index']"


@pytest.fixture(scope="module")
def jobset() -> dict[str, Any]:
    return yaml.safe_load((FOLDER / "jobset.yaml").read_text())


@pytest.fixture(scope="module")
def job(jobset: dict[str, Any]) -> dict[str, Any]:
    (replicated,) = jobset["spec"]["replicatedJobs"]
    return replicated["template"]["spec"]


@pytest.fixture(scope="module")
def container(job: dict[str, Any]) -> dict[str, Any]:
    (container,) = job["template"]["spec"]["containers"]
    return container


def _environ(container: dict[str, Any], pod: int) -> dict[str, str]:
    """Environment of the pod with that completion index."""
    environ = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "JOB_COMPLETION_INDEX": str(pod)}
    for variable in container["env"]:
        if "value" in variable:
            assert isinstance(variable["value"], str), f"{variable['name']}: Kubernetes takes strings only"
            environ[variable["name"]] = variable["value"]
        else:
            assert variable["valueFrom"]["fieldRef"]["fieldPath"] == COMPLETION_INDEX
            environ[variable["name"]] = str(pod)
    return environ


def test_the_pods_are_the_processes(job: dict[str, Any], container: dict[str, Any]) -> None:
    pods = job["completions"]
    assert job["completionMode"] == "Indexed" and job["parallelism"] == pods, "all pods must run at once"
    settings = [process_settings(_environ(container, pod)) for pod in range(pods)]
    assert [one.process_id for one in settings] == list(range(pods))
    assert {one.num_processes for one in settings} == {pods}
    assert {one.local_device_ids for one in settings} == {None}, "a process owns all GPUs of its node"


def test_the_coordinator_is_the_first_pod(jobset: dict[str, Any], container: dict[str, Any]) -> None:
    host, _ = split_address(process_settings(_environ(container, 1)).coordinator_address)
    name, (replicated,) = jobset["metadata"]["name"], jobset["spec"]["replicatedJobs"]
    assert host == f"{name}-{replicated['name']}-0-0.{name}", (
        "not the name that JobSet gives to the first pod"
    )
    assert jobset["spec"]["network"] == {"enableDNSHostnames": True, "publishNotReadyAddresses": True}


def test_an_orderly_stop_does_not_count_as_a_failure(
    jobset: dict[str, Any], job: dict[str, Any], container
) -> None:
    (orderly, disrupted) = job["podFailurePolicy"]["rules"]
    assert orderly["action"] == disrupted["action"] == "FailJob"
    codes = orderly["onExitCodes"]
    assert codes == {"containerName": container["name"], "operator": "In", "values": [138, 143]}
    assert job["template"]["spec"]["restartPolicy"] == "Never", "podFailurePolicy needs it"
    failure = jobset["spec"]["failurePolicy"]
    (rule,) = failure["rules"]
    assert rule["action"] == "RestartJobSetAndIgnoreMaxRestarts"
    assert rule["onJobFailureReasons"] == ["PodFailurePolicy"]
    assert failure["maxRestarts"] > 0 and job["backoffLimit"] == 0, "a crash restarts all pods, a few times"


def test_the_volume_is_the_claimed_one(job: dict[str, Any], container: dict[str, Any]) -> None:
    claim = yaml.safe_load((FOLDER / "volume.yaml").read_text())
    volumes = {volume["name"]: volume for volume in job["template"]["spec"]["volumes"]}
    assert volumes["volume"]["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
    mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    assert set(mounts.values()) == set(volumes)
    assert volumes[mounts["/dev/shm"]]["emptyDir"]["medium"] == "Memory"
    workdir = next(argument for argument in container["args"] if argument.startswith("--workdir="))
    assert workdir.startswith("--workdir=/volume/"), "checkpoints must outlive the pods"
