"""Failed saves and damaged checkpoints."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bioclip_jax.checkpoint import manager
from bioclip_jax.checkpoint.layout import TrainingDirectory
from bioclip_jax.checkpoint.manager import Checkpoints
from bioclip_jax.errors import UserError


def trees(step: int) -> dict[str, dict[str, jax.Array]]:
    rng = np.random.default_rng(step)
    return {
        "params": {
            "kernel": jnp.asarray(rng.normal(size=(512, 600)), jnp.float32),
            "scale": jnp.float32(step),
        }
    }


def abstract() -> dict[str, dict[str, jax.ShapeDtypeStruct]]:
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), trees(0))


@contextmanager
def full_disk() -> Iterator[None]:
    """Make writes beyond 64 KiB of a file fail."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.fixture
def saved(tmp_path) -> TrainingDirectory:
    """Return a directory with checkpoints 1, 2 and 3."""
    directory = TrainingDirectory(tmp_path)
    checkpoints = Checkpoints(directory, keep=None)
    for step in (1, 2, 3):
        checkpoints.save(step, trees(step), {"step": step})
    assert checkpoints.wait()
    checkpoints.close()
    return directory


def test_a_failed_save_is_reported_and_retried(saved, monkeypatch):
    checkpoints = Checkpoints(saved, keep=None, attempts=3)
    with full_disk():
        checkpoints.save(4, trees(4), {})
        assert not checkpoints.wait()
        assert not checkpoints.save_again(), "retried without a pause"
        monkeypatch.setattr(manager, "_RETRY_SECONDS", 0.0)
        assert checkpoints.save_again()
        checkpoints.save(5, trees(5), {})
        assert not checkpoints.wait()
    checkpoints.save(6, trees(6), {})
    assert checkpoints.wait() and not checkpoints.save_again()
    assert sorted(path.name for path in saved.checkpoints.iterdir()) == ["1", "2", "3", "6"], (
        "remains of failed saves"
    )
    # A successful save resets the count of failures.
    with full_disk():
        for step in (7, 8):
            checkpoints.save(step, trees(step), {})
            assert not checkpoints.wait()
        with pytest.raises(UserError, match="in 3 attempts .*checkpoint 6 is the last good one; free space"):
            checkpoints.save(9, trees(9), {})
            checkpoints.wait()
    checkpoints.close()


def largest_file(folder: Path) -> Path:
    return max((path for path in folder.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [cut, flip_a_bit, Path.unlink])
def test_the_newest_undamaged_checkpoint_is_restored(saved, damage):
    damage(largest_file(saved.checkpoints / "3" / "params"))
    reports: list[str] = []
    checkpoints = Checkpoints(saved, keep=None)
    step, restored, meta = checkpoints.restore_newest(abstract(), reports.append)
    assert (step, meta) == (2, {"step": 2})
    jax.tree.map(np.testing.assert_array_equal, restored, trees(2))
    assert len(reports) == 1 and reports[0].startswith(
        "checkpoint 3 is damaged and set aside as 3.damaged"
    ), reports
    # The resumed run can save step 3 again.
    checkpoints.save(3, trees(3), {"step": 3})
    assert checkpoints.wait() and saved.steps() == [1, 2, 3]
    assert checkpoints.restore_newest(abstract(), reports.append)[0] == 3
    checkpoints.close()


def test_checkpoints_of_another_model_are_not_renamed(saved):
    checkpoints = Checkpoints(saved, keep=None)
    other = {"params": {"kernel": abstract()["params"]["kernel"], "bias": abstract()["params"]["scale"]}}
    with pytest.raises(UserError, match="no checkpoint in .* can be read"):
        checkpoints.restore_newest(other, print)
    checkpoints.close()
    assert saved.steps() == [1, 2, 3], "checkpoints of another model were treated as damaged"
