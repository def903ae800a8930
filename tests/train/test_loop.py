"""Runs that are stopped, damaged, resumed or diverge, each started from the command line."""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path

import pytest
from training_process import Training, losses

from bioclip_jax.checkpoint import TrainingDirectory
from bioclip_jax.cli import main


@pytest.fixture(scope="module")
def undisturbed(tiny_config, tmp_path_factory) -> Path:
    workdir = tmp_path_factory.mktemp("undisturbed")
    training = Training(tiny_config, workdir)
    errors = training.wait()
    assert training.status == 0, errors
    return workdir


def test_a_run_writes_a_complete_training_directory(undisturbed):
    directory = TrainingDirectory(undisturbed)
    assert directory.steps() == [10, 20, 30]
    assert directory.read_config()["total_steps"] == 30
    assert sorted(losses(undisturbed)) == list(range(1, 31))
    assert any(directory.tensorboard.iterdir())
    line = json.loads(directory.metrics_file.read_text().splitlines()[-1])
    assert {"step", "loss", "images_per_second", "mfu", "data_wait", "bad_samples"} <= set(line)
    assert losses(undisturbed)[30] < losses(undisturbed)[1], "the loss did not decrease"


def test_a_finished_run_is_not_trained_further(undisturbed, tiny_config):
    before = (undisturbed / "metrics.jsonl").read_bytes()
    training = Training(tiny_config, undisturbed)
    errors = training.wait()
    assert training.status == 0 and "30 of 30 steps are done" in errors, errors
    assert (undisturbed / "metrics.jsonl").read_bytes() == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_an_interrupted_run_saves_and_resumes(undisturbed, tiny_config, tmp_path, number):
    training = Training(tiny_config, tmp_path / "run")
    training.wait_for_step(4)
    training.signal(number)
    errors = training.wait()
    assert training.status == 128 + number and "Traceback" not in errors, errors
    (stopped,) = [s for s in TrainingDirectory(training.workdir).steps() if s % 10] or [None]
    assert stopped is not None and f"stopped at step {stopped}" in errors, errors
    training = Training(tiny_config, training.workdir)
    errors = training.wait()
    assert training.status == 0 and f"resuming from step {stopped}" in errors, errors
    assert losses(training.workdir) == losses(undisturbed)


def test_a_damaged_checkpoint_is_replaced_by_the_previous_one(undisturbed, tiny_config, tmp_path):
    training = Training(tiny_config, tmp_path / "run")
    training.wait_for("checkpoint 20", lambda: 20 in TrainingDirectory(training.workdir).steps())
    training.signal(signal.SIGKILL)
    training.wait()
    checkpoints = training.workdir / "checkpoints"
    largest = max((checkpoints / "20").rglob("*"), key=lambda path: path.stat().st_size)
    os.truncate(largest, largest.stat().st_size // 2)

    training = Training(tiny_config, training.workdir)
    errors = training.wait()
    assert training.status == 0 and "checkpoint 20 is damaged and set aside as 20.damaged" in errors, errors
    assert "resuming from step 10" in errors and (checkpoints / "20.damaged").is_dir(), errors
    assert losses(training.workdir) == losses(undisturbed)


def test_a_diverged_run_stops_and_keeps_the_last_good_checkpoint(tiny_config, tmp_path):
    run = tmp_path / "run"
    assert _trained(tiny_config, run, "--config.total_steps=10", "--config.checkpoint_every=5")[0] == 0
    diverging = ("--config.learning_rate=1e30", "--config.checkpoint_every=1", "--config.max_skipped_steps=3")
    status, errors = _trained(tiny_config, run, *diverging)
    assert status == 2, errors
    _assert_one_line(errors, "for 3 steps in a row; checkpoint")
    assert errors.count("skipped, because its loss is nan") == 3, errors
    # The diverging update was finite itself; no checkpoint was saved of the skipped ones after it.
    assert TrainingDirectory(run).steps()[-1] <= 12, errors
    # The error's advice works.
    advised = ("--config.total_steps=14", "--config.optimizer.clip_norm=1.0")
    for step in [step for step in TrainingDirectory(run).steps() if step > 10]:
        shutil.rmtree(TrainingDirectory(run).checkpoints / str(step))
    assert _trained(tiny_config, run, *advised)[0] == 0
    assert TrainingDirectory(run).steps()[-1] == 14


def test_a_run_is_not_resumed_on_other_data(tiny_config, tmp_path, shards):
    run = tmp_path / "run"
    assert _trained(tiny_config, run, "--config.total_steps=2")[0] == 0
    other = f"--config.data.train={shards / 'shard-00000.tar'}"
    status, errors = _trained(tiny_config, run, "--config.total_steps=4", other)
    assert status == 2
    _assert_one_line(errors, "held 64 samples when checkpoint 2 was saved and holds 40 now")


def test_profiled_steps_are_traced(tiny_config, tmp_path):
    status, errors = _trained(
        tiny_config, tmp_path / "run", "--config.total_steps=4", "--config.profile=(2, 3)"
    )
    assert status == 0, errors
    traces = [
        path for path in (tmp_path / "run" / "profile").rglob("*") if path.is_file() and path.stat().st_size
    ]
    assert traces, "no trace was written"


def _trained(*arguments) -> tuple[int, str]:
    training = Training(*arguments)
    errors = training.wait()
    return training.status, errors


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "--config.learning_rte=1",
            "unknown config key config.learning_rte; did you mean config.learning_rate?",
        ),
        ("--config.model=ViT-B-61", "ViT-B-16"),
        ("--config.data.train=/nowhere/shards", "/nowhere/shards"),
        ("--config.global_batch_size=9", "make it a multiple of 8"),
        ("--config.init_from=/nowhere/model", "/nowhere/model"),
        ("--config.caption.context_length=100", "ViT-Test-16 takes at most 77"),
    ],
)
def test_an_invalid_config_is_a_one_line_error_and_creates_nothing(
    tiny_config, tmp_path, capfd, override, message
):
    assert main(["train", "--config", str(tiny_config), "--workdir", str(tmp_path / "run"), override]) == 2
    _assert_one_line(capfd.readouterr().err, message)
    assert not (tmp_path / "run").exists(), "a run that did not start left its directory behind"


def test_a_run_is_not_resumed_with_another_seed(undisturbed, tiny_config, capfd):
    again = ["train", "--config", str(tiny_config), "--workdir", str(undisturbed), "--config.total_steps=31"]
    assert main([*again, "--config.seed=5"]) == 2
    _assert_one_line(capfd.readouterr().err, "was trained with seed 0, and config.seed is now 5")


def _assert_one_line(errors: str, message: str) -> None:
    assert [message in line for line in errors.splitlines() if line.startswith("error: ")] == [True], errors
    assert "Traceback" not in errors, errors
