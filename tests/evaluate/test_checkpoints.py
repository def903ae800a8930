"""Scores of every checkpoint of a training run."""

import shutil

import pytest
from evaluation_parts import CONFIG, NearestOther, Refuses, entry
from PIL import Image

from bioclip_jax.checkpoint import Checkpoints, TrainingDirectory
from bioclip_jax.errors import UserError
from bioclip_jax.evaluate.checkpoints import evaluate_checkpoints
from bioclip_jax.evaluate.evaluator import Evaluator
from bioclip_jax.evaluate.suite import Suite
from bioclip_jax.models import init_params


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    directory = TrainingDirectory(tmp_path_factory.mktemp("runs") / "run")
    directory.write_config({"model": "ViT-Test-16"})
    checkpoints = Checkpoints(directory, keep=None)
    for step in (10, 20):
        checkpoints.save(step, {"params": init_params(CONFIG, seed=step)}, {})
    checkpoints.wait()
    checkpoints.close()
    return directory


@pytest.fixture
def run(trained, tmp_path):
    return TrainingDirectory(shutil.copytree(trained.path, tmp_path / "run"))


def test_every_checkpoint_is_scored_once_and_kept_after_its_removal(run, source, tmp_path):
    suite = Suite([entry("photos", source)])
    out = tmp_path / "out"
    result = evaluate_checkpoints(run.path, suite, out, batch_size=8, cache=False)
    assert [step["step"] for step in result["steps"]] == [10, 20]
    assert set(source.reads.values()) == {2}, "each image should be read once per checkpoint"
    for step in result["steps"]:
        alone = Evaluator(str(run.checkpoints / str(step["step"])), batch_size=8, cache=False)
        expected = NearestOther()(alone.sets({"test": source}), alone.outputs).figures["top1"]
        assert step["scores"] == {"photos": expected}
        assert step["fingerprint"] == alone.fingerprint
    lines = (out / "results.csv").read_text().splitlines()
    assert lines[0] == "step,entry,score,low,high"
    assert [line.split(",")[:2] for line in lines[1:]] == [["10", "photos"], ["20", "photos"]]
    assert Image.open(out / "results.png").width > 300

    source.reads.clear()
    (run.checkpoints / "10").rename(tmp_path / "gone")
    again = evaluate_checkpoints(run.path, suite, out, batch_size=8, cache=False)
    assert again["steps"] == result["steps"]
    assert not source.reads, "scored steps are scored again"
    changed = Suite([entry("photos", source, NearestOther(among=4))])
    other = evaluate_checkpoints(run.path, changed, out, batch_size=8, cache=False)
    assert [step["step"] for step in other["steps"]] == [20], "steps of other options should not be kept"


def test_interrupted_second_run_keeps_the_first_results(run, source, tmp_path):
    out = tmp_path / "out"
    first = evaluate_checkpoints(run.path, Suite([entry("photos", source)]), out, batch_size=8, cache=False)
    suite = Suite([entry("photos", source), entry("stops", source, Refuses(stops=True))])
    with pytest.raises(KeyboardInterrupt):
        evaluate_checkpoints(run.path, suite, out, batch_size=8, cache=False)
    source.reads.clear()
    again = evaluate_checkpoints(run.path, Suite([entry("photos", source)]), out, batch_size=8, cache=False)
    assert again["steps"] == first["steps"] and not source.reads


def test_failed_entry_names_its_step(run, source, tmp_path):
    suite = Suite([entry("good", source), entry("bad", source, Refuses())])
    result = evaluate_checkpoints(run.path, suite, tmp_path / "out", batch_size=8, cache=False)
    assert set(result["failed"]) == {"step 10, bad", "step 20, bad"}
    assert [list(step["entries"]) for step in result["steps"]] == [["good"], ["good"]]


def test_directories_without_checkpoints_are_errors(tmp_path, source, model_directory):
    with pytest.raises(UserError, match="is not a training directory"):
        evaluate_checkpoints(model_directory, Suite([entry("a", source)]), tmp_path / "out")
    directory = TrainingDirectory(tmp_path / "new")
    directory.write_config({"model": "ViT-Test-16"})
    directory.checkpoints.mkdir()
    with pytest.raises(UserError, match="has no checkpoint yet"):
        evaluate_checkpoints(directory.path, Suite([entry("a", source)]), tmp_path / "out")
    assert not (tmp_path / "out").exists()
