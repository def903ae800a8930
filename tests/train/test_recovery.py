"""Recovery without loss from kills, full disks and signals."""

from __future__ import annotations

import io
import json
import os
import random
import signal
import tarfile
from pathlib import Path

import jax
import numpy as np
import pytest
from training_process import Training, losses, one_line_error

from bioclip_jax.checkpoint import TrainingDirectory, restore_params
from bioclip_jax.cli.config import read_config
from bioclip_jax.text.tokenizer import END, Tokenizer
from bioclip_jax.train import Preempted, start_or_resume
from bioclip_jax.train.config import train_config

KILLS = 20


def finished(config: Path, workdir: Path, *overrides: str) -> Path:
    training = Training(config, workdir, *overrides)
    errors = training.wait()
    assert training.status == 0, errors
    return workdir


def unfinished_saves(workdir: Path) -> list[Path]:
    return list((workdir / "checkpoints").glob("*.orbax-checkpoint-tmp*"))


def test_twenty_kills_do_not_change_the_result(tiny_config, tmp_path):
    """SIGKILL at random moments, some of them during a save; results are bit-identical."""
    steps = "--config.total_steps=120"
    often = (steps, "--config.checkpoint_every=4", "--config.keep_checkpoints=2")
    # Without saves but the last: they change no result, and take as long as the steps.
    undisturbed = finished(tiny_config, tmp_path / "undisturbed", steps, "--config.checkpoint_every=0")

    rng = random.Random(0)
    workdir, during_saves = tmp_path / "killed", 0
    for kill in range(KILLS):
        training = Training(tiny_config, workdir, *often)
        newest = (TrainingDirectory(workdir).steps() or [0])[-1]
        if kill % 2:
            in_time = training.wait_for("a save", lambda: unfinished_saves(workdir))
        else:
            in_time = training.reaches_step(newest + rng.randint(1, 7))
        for _ in range(rng.randint(0, 3000)):
            os.sched_yield()
        training.signal(signal.SIGKILL)
        errors = training.wait()
        assert in_time and training.status == -signal.SIGKILL, f"kill {kill} came too late: {errors}"
        during_saves += bool(unfinished_saves(workdir))
    finished(tiny_config, workdir, *often)

    assert during_saves >= 3, f"only {during_saves} of {KILLS} kills came during a save"
    assert losses(workdir) == losses(undisturbed)
    (step, killed), (_, expected) = restore_params(workdir), restore_params(undisturbed)
    assert step == 120
    jax.tree.map(np.testing.assert_array_equal, killed, expected)
    # The optimizer's state too.
    assert _checksums(workdir, 120) == _checksums(undisturbed, 120)


def _checksums(workdir: Path, step: int) -> dict[str, int]:
    return json.loads((workdir / "checkpoints" / str(step) / "meta" / "metadata").read_text())["checksums"]


def test_every_sample_of_an_epoch_is_seen_once_across_two_kills(tiny_config, tmp_path):
    samples, epochs, batch = 48, 2, 8
    shards = tmp_path / "numbered"
    shards.mkdir()
    _write_numbered(shards / "shard-00000.tar", samples)
    seen_file = tmp_path / "seen.jsonl"
    overrides = (
        f"--config.data.train={shards}",
        "--config.caption.types=('common_name',)",
        f"--config.global_batch_size={batch}",
        f"--config.total_steps={samples * epochs // batch}",
        "--config.checkpoint_every=2",
    )
    for step in (3, 8):
        training = Training(tiny_config, tmp_path / "run", *overrides, seen=seen_file)
        training.wait_for_step(step)
        training.signal(signal.SIGKILL)
        training.wait()
        assert training.status == -signal.SIGKILL, training.errors
    training = Training(tiny_config, tmp_path / "run", *overrides, seen=seen_file)
    assert training.wait() is not None and training.status == 0, training.errors

    # A step repeated after a kill replaces the lost one.
    seen = {line["step"]: line["texts"] for line in map(json.loads, seen_file.read_text().splitlines())}
    order = [text for step in sorted(seen) for text in seen[step]]
    expected = sorted(_ids(f"animal number {n}") for n in range(samples))
    for epoch in range(epochs):
        texts = sorted(order[epoch * samples : (epoch + 1) * samples])
        assert texts == expected, f"epoch {epoch} does not contain every sample exactly once"
    assert order[:samples] != order[samples:], "both epochs have the same order"


def _ids(text: str) -> list[int]:
    row = Tokenizer()(text)[0].tolist()
    return row[: row.index(END) + 1]


def _write_numbered(path: Path, samples: int) -> None:
    from PIL import Image

    image = io.BytesIO()
    Image.new("RGB", (32, 32), (90, 120, 30)).save(image, "JPEG")
    with tarfile.open(path, "w") as tar:
        for n in range(samples):
            for kind, content in (
                ("jpg", image.getvalue()),
                ("common_name.txt", f"animal number {n}".encode()),
            ):
                member = tarfile.TarInfo(f"{n:05d}.{kind}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))


def test_saving_to_a_full_disk_is_retried_and_then_stops_the_run(tiny_config, tmp_path):
    training = Training(tiny_config, tmp_path / "run", "--config.checkpoint_every=5", largest_file=1 << 20)
    error = one_line_error(training.wait())
    assert training.status == 2 and "no checkpoint could be written" in error and "in 3 attempts" in error, (
        error
    )
    assert "there is no checkpoint yet" in error and "free space or repair the disk" in error, error
    assert not unfinished_saves(training.workdir), "remains of failed saves"
    assert losses(training.workdir), "the metrics before the failure are lost"
    # With free space again, the same command starts.
    finished(tiny_config, training.workdir)


def test_a_signal_before_the_first_step_stops_the_run_cleanly(tiny_config, tmp_path):
    training = Training(tiny_config, tmp_path / "run")
    # config.json is written just before the first batch is read and the step compiled.
    training.wait_for("config.json", (training.workdir / "config.json").exists)
    training.signal(signal.SIGTERM)
    errors = training.wait()
    assert training.status == 128 + signal.SIGTERM and "stopped " in errors and "Traceback" not in errors, (
        errors
    )
    finished(tiny_config, training.workdir)


def test_an_evaluation_interrupted_by_a_signal_is_made_on_resuming(tiny_config, tmp_path):
    overrides = ["--config.evaluate_every=2", "--config.checkpoint_every=0", "--config.total_steps=4"]
    config = train_config(read_config(str(tiny_config), overrides))

    def terminated(params, stopping):
        os.kill(os.getpid(), signal.SIGTERM)
        return None if stopping() else {"top1": 0.0}

    with pytest.raises(Preempted, match="stopped at step 2"):
        start_or_resume(config, tmp_path, evaluate=terminated)
    assert TrainingDirectory(tmp_path).steps() == [2]

    evaluations = []
    start_or_resume(
        config, tmp_path, evaluate=lambda params, stopping: evaluations.append(params) or {"top1": 0.5}
    )
    lines = TrainingDirectory(tmp_path).read_metrics()
    evaluated = [line["step"] for line in lines if "val" in line]
    assert evaluated == [2, 4] and len(evaluations) == 2, lines
    assert all("loss" in line for line in lines)
