"""Exclusive use of a work directory: a second training is refused on any file system."""

from __future__ import annotations

import signal

import pytest
from training_process import Training, losses

from bioclip_jax.checkpoint import TrainingDirectory
from bioclip_jax.cli import main


def test_a_second_training_is_refused_and_the_first_is_unaffected(tiny_config, tmp_path):
    # The same number of steps as in test_loop, whose compiled program is reused.
    often = "--config.checkpoint_every=5"
    first = Training(tiny_config, tmp_path / "run", often)
    first.wait_for_step(1)
    second = Training(tiny_config, tmp_path / "run", often)
    message = second.wait()
    assert second.status == 2 and message.count("\n") == 1, message
    assert (
        f"another training runs in {tmp_path / 'run'}" in message
        and f"process {first.process.pid}" in message
    )
    assert first.process.exitcode is None, (
        f"the first had ended before the second was refused: {first.errors}"
    )
    # The lock of a killed training does not block the next one.
    directory = TrainingDirectory(tmp_path / "run")
    assert first.wait_for("a checkpoint", directory.steps), first.errors
    first.signal(signal.SIGKILL)
    first.wait()
    third = Training(tiny_config, tmp_path / "run", often)
    assert "resuming from step" in third.wait() and third.status == 0, third.errors
    assert sorted(losses(tmp_path / "run")) == list(range(1, 31))
    assert directory.steps()[-1] == 30
    assert not (tmp_path / "run" / ".lock").exists()


@pytest.mark.parametrize("flock", [True, False])
def test_a_second_training_is_a_one_line_error(flock, tiny_config, tmp_path, request, capsys):
    if not flock:
        request.getfixturevalue("no_flock")
    directory = TrainingDirectory(tmp_path / "run")
    with directory.locked():
        assert flock or "has no file locks; .lock.held replaces one" in capsys.readouterr().err
        assert main(["train", "--config", str(tiny_config), "--workdir", str(tmp_path / "run")]) == 2
        error = capsys.readouterr().err.splitlines()[-1]
        assert error.startswith(
            f"error: another training runs in {directory.path}; wait for it or stop it"
        ), error
    assert not list(tmp_path.iterdir()), "an empty work directory remains"


@pytest.mark.parametrize("workdir", ["file/run", "/proc/self/run"])
def test_an_unwritable_workdir_is_refused_before_the_data_is_opened(workdir, tiny_config, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    missing = "--config.data.train=nowhere"
    assert main(["train", "--config", str(tiny_config), "--workdir", str(tmp_path / workdir), missing]) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1 and "cannot be written" in message and "nowhere" not in message, message
