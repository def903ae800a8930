"""Process settings from environment variables."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bioclip_jax.distributed.initialize import ProcessSettings, first_host, process_settings
from bioclip_jax.distributed.rendezvous import split_address
from bioclip_jax.errors import UserError

EXPLICIT = {"JAX_COORDINATOR_ADDRESS": "gpu001:62000", "JAX_NUM_PROCESSES": "4", "JAX_PROCESS_ID": "2"}
# The variables of task 11 of a step on 4 nodes, 8 tasks a node, as srun sets them.
SRUN = {
    "SLURM_JOB_ID": "1234567",
    "SLURM_STEP_NUM_TASKS": "32",
    "SLURM_STEP_NODELIST": "gpu[003-005,9]",
    "SLURM_STEP_TASKS_PER_NODE": "8(x4)",
    "SLURM_PROCID": "11",
    "SLURM_LOCALID": "3",
    "CUDA_VISIBLE_DEVICES": "0,1,2,3,4,5,6,7",
}


def test_no_variables_mean_a_single_process() -> None:
    assert process_settings({"PATH": "/usr/bin", "JAX_PLATFORMS": "cpu"}) is None


def test_explicit_variables() -> None:
    assert process_settings(EXPLICIT) == ProcessSettings("gpu001:62000", 4, 2)
    more = EXPLICIT | {"JAX_LOCAL_DEVICE_IDS": "4,5", "BIOCLIP_JAX_START_TIMEOUT": "20"}
    assert process_settings(more) == ProcessSettings("gpu001:62000", 4, 2, (4, 5), 20)


def test_explicit_variables_take_precedence_over_slurm() -> None:
    settings = process_settings(SRUN | EXPLICIT)
    assert settings == process_settings(EXPLICIT)


@pytest.mark.parametrize("missing", EXPLICIT)
def test_a_missing_variable_is_named(missing: str) -> None:
    environ = {name: value for name, value in EXPLICIT.items() if name != missing}
    with pytest.raises(UserError, match=f"but {missing} is not; set all three"):
        process_settings(environ)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("JAX_COORDINATOR_ADDRESS", "gpu001"),
        ("JAX_COORDINATOR_ADDRESS", "gpu001:0"),
        ("JAX_COORDINATOR_ADDRESS", "gpu001:65536"),
        ("JAX_COORDINATOR_ADDRESS", "http://gpu001:80"),
        ("JAX_NUM_PROCESSES", "four"),
        ("JAX_NUM_PROCESSES", "0"),
        ("JAX_PROCESS_ID", "-1"),
        ("JAX_PROCESS_ID", "4"),
        ("JAX_LOCAL_DEVICE_IDS", "0, 1"),
        ("BIOCLIP_JAX_START_TIMEOUT", "soon"),
        ("BIOCLIP_JAX_START_TIMEOUT", "0"),
    ],
)
def test_an_invalid_value_is_named(name: str, value: str) -> None:
    named = "coordinator's address" if name == "JAX_COORDINATOR_ADDRESS" else name
    with pytest.raises(UserError, match=named):
        process_settings(EXPLICIT | {name: value})


def test_a_slurm_step_with_one_process_per_gpu() -> None:
    # 1234567 % 4096 = 1671
    assert process_settings(SRUN) == ProcessSettings(f"gpu003:{61440 + 1671}", 32, 11, (3,))
    assert process_settings(SRUN | {"JAX_COORDINATOR_PORT": "50000"}).coordinator_address == "gpu003:50000"


@pytest.mark.parametrize(
    ("counts", "devices"), [("1(x4)", None), ("1", None), ("1,1", None), ("2,1(x2)", (3,))]
)
def test_a_slurm_task_alone_on_its_node_owns_all_devices(
    counts: str, devices: tuple[int, ...] | None
) -> None:
    assert process_settings(SRUN | {"SLURM_STEP_TASKS_PER_NODE": counts}).local_device_ids == devices


def test_slurm_without_a_step_of_several_tasks_is_a_single_process() -> None:
    # sbatch's shell has the job's tasks and process 0, but is not a step.
    batch = {name: value for name, value in SRUN.items() if "STEP" not in name}
    assert process_settings(batch | {"SLURM_NTASKS": "32", "SLURM_PROCID": "0", "SLURM_LOCALID": "0"}) is None
    # salloc's shell is a step of one task.
    assert process_settings(SRUN | {"SLURM_NTASKS": "32", "SLURM_STEP_NUM_TASKS": "1"}) is None


def test_a_slurm_task_that_sees_only_one_gpu() -> None:
    with pytest.raises(UserError, match="not --gpus-per-task"):
        process_settings(SRUN | {"CUDA_VISIBLE_DEVICES": "3"})
    assert process_settings(SRUN | {"CUDA_VISIBLE_DEVICES": ""}).local_device_ids == (3,)


@pytest.mark.parametrize("name", ["SLURM_PROCID", "SLURM_JOB_ID", "SLURM_LOCALID", "SLURM_STEP_NODELIST"])
def test_a_missing_slurm_variable_is_named(name: str) -> None:
    with pytest.raises(UserError, match="node list" if name == "SLURM_STEP_NODELIST" else name):
        process_settings({key: value for key, value in SRUN.items() if key != name})


@pytest.mark.parametrize(
    ("nodelist", "first"),
    [
        ("gpu[001-003,7],cpu5", "gpu001"),
        ("n[1-2]-ib[0-1]", "n1-ib0"),
        ("cpu5,gpu[1-2]", "cpu5"),
        ("rack[7,9-12]", "rack7"),
        ("host.example.org", "host.example.org"),
    ],
)
def test_first_host(nodelist: str, first: str) -> None:
    assert first_host(nodelist) == first


_name = st.from_regex(r"[a-z][a-z0-9.-]{0,5}", fullmatch=True)
_range = st.tuples(st.integers(0, 998), st.integers(0, 3), st.integers(1, 3)).map(
    lambda drawn: (f"{drawn[0]:0{drawn[2]}d}", f"{drawn[0] + drawn[1]:0{drawn[2]}d}")
)
# Pieces of a host expression: plain text, or ranges in brackets.
_host = st.lists(_name | st.lists(_range, min_size=1, max_size=3), min_size=1, max_size=4)


@given(st.lists(_host, min_size=1, max_size=3))
def test_first_host_of_any_node_list(hosts: list[list]) -> None:
    def written(piece) -> str:
        return (
            piece
            if isinstance(piece, str)
            else "[" + ",".join(a if a == b else f"{a}-{b}" for a, b in piece) + "]"
        )

    nodelist = ",".join("".join(map(written, host)) for host in hosts)
    first = "".join(piece if isinstance(piece, str) else piece[0][0] for piece in hosts[0])
    assert first_host(nodelist) == first, nodelist


@given(st.text(alphabet="a1[],- \n", max_size=8))
def test_a_node_list_gives_a_host_or_a_user_error(nodelist: str) -> None:
    try:
        host = first_host(nodelist)
    except UserError:
        return
    assert host and not set(host) & set("[], \n"), f"{nodelist!r} gave the host {host!r}"


@given(st.from_regex(r"[a-z0-9.-]{1,12}", fullmatch=True), st.integers(1, 65535))
def test_split_address(host: str, port: int) -> None:
    assert split_address(f"{host}:{port}") == (host, port)
    assert split_address(f"[fe80::1]:{port}") == ("fe80::1", port)
