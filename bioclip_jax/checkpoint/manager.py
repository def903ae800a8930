"""Save and restore training state with Orbax."""

from __future__ import annotations

import inspect
import logging
import os
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp

from bioclip_jax.errors import UserError

from .layout import TrainingDirectory

PyTree = Any

# Orbax logs every step of a save as a warning and a failed one with its traceback; errors are raised below.
logging.getLogger("absl").setLevel(logging.CRITICAL)

_CHECKSUMS = "checksums"
_UNFINISHED = ".orbax-checkpoint-tmp"
# A file system that was briefly unavailable may have recovered after this.
_RETRY_SECONDS = 10.0


class Checkpoints:
    """The checkpoints of one training directory, saved in the background.

    A checkpoint is a set of named pytrees ("params", "opt_state", ...) and one JSON object ("meta"). Orbax
    writes it under a temporary name and renames it when complete, so a killed save leaves earlier checkpoints
    intact. Checksums stored with it detect corrupted arrays.

    A failed save does not stop the run at once: `save_again` reports it, and the caller saves its current
    state. UserError after `attempts` failures in a row. With several processes each must make the same calls,
    and a failure of one is a failure of all.
    """

    def __init__(
        self,
        directory: TrainingDirectory,
        *,
        keep: int | None,
        attempts: int = 1,
        anyone: Callable[[bool], bool] = bool,
    ) -> None:
        """Open the checkpoints.

        keep: number of newest checkpoints to keep, None for all. attempts: failed saves in a row that are an
        error. anyone: logical or over all processes.
        """
        _silence_abandoned_io()
        options = ocp.CheckpointManagerOptions(max_to_keep=keep, enable_async_checkpointing=True)
        self._manager = ocp.CheckpointManager(directory.checkpoints, options=options)
        self._directory = directory
        self._attempts = attempts
        self._anyone = anyone
        self._error: Exception | None = None
        self._failures = 0
        self._failed_at = 0.0
        self._pending = False

    def save(self, step: int, trees: Mapping[str, PyTree], meta: Mapping[str, Any]) -> None:
        """Wait for the previous save, copy the arrays to the host, and write them in the background.

        The caller is blocked by the checksums, computed on the devices, and by the copy, after which the
        arrays may be donated.
        """
        self.wait()
        meta = dict(meta) | {_CHECKSUMS: checksums(trees)}
        items = {name: ocp.args.StandardSave(tree) for name, tree in trees.items()}
        self._pending, self._error = True, None
        try:
            self._manager.save(
                step, args=ocp.args.Composite(**items, meta=ocp.args.JsonSave(meta)), force=True
            )
        except Exception as error:
            self._error = error

    def save_again(self) -> bool:
        """Return True if the newest save failed some seconds ago; does not wait for one in progress.

        Always False with several processes, which would not look at the same moment; they notice a failure at
        the next save.
        """
        if jax.process_count() > 1:
            return False
        if self._pending and not self._manager.is_saving_in_progress():
            self.wait()
        retry = time.monotonic() - self._failed_at > _RETRY_SECONDS
        return self._failures > 0 and not self._pending and retry

    def wait(self) -> bool:
        """Block until the newest save is on disk; return False if it failed."""
        if self._pending:
            self._pending = False
            try:
                self._manager.wait_until_finished()
                self._manager.check_for_errors()
            except Exception as error:
                self._error = self._error or error
            if self._anyone(self._error is not None):
                self._record_failure(self._error or OSError("another process could not write its part"))
            else:
                if self._failures:
                    # A thread of the failed save may have written more after its files were removed.
                    self._remove_unfinished()
                self._failures = 0
        return self._failures == 0

    def _record_failure(self, error: Exception) -> None:
        self._failures += 1
        self._failed_at = time.monotonic()
        # Frees the disk space for the next attempt.
        self._remove_unfinished()
        if self._failures >= self._attempts:
            raise UserError(
                f"no checkpoint could be written to {self._directory.checkpoints} in {self._failures} "
                f"attempts ({_reason(error)}); {self._directory.describe_newest()}; free space or repair the "
                "disk, and start again"
            ) from error

    def _remove_unfinished(self) -> None:
        """Remove the remains of failed saves; no save may be in progress."""
        if jax.process_index() == 0:
            for unfinished in self._directory.checkpoints.glob(f"*{_UNFINISHED}*"):
                shutil.rmtree(unfinished, ignore_errors=True)

    def restore(self, step: int, abstract: Mapping[str, PyTree]) -> tuple[dict[str, PyTree], dict[str, Any]]:
        """Return the trees of checkpoint `step` and its meta.

        abstract: shapes, dtypes and shardings of the trees. Raises Orbax's errors for missing or damaged
        files, and ValueError if the checksums differ.
        """
        items = {name: ocp.args.StandardRestore(tree) for name, tree in abstract.items()}
        restored, error = None, None
        try:
            restored = self._manager.restore(
                step, args=ocp.args.Composite(**items, meta=ocp.args.JsonRestore())
            )
        except Exception as raised:
            error = raised
        # All processes must agree before the checksums, a collective computation.
        if self._anyone(error is not None):
            raise error or OSError("another process could not read its part")
        trees = {name: restored[name] for name in abstract}
        meta = restored["meta"]
        if checksums(trees) != (saved := meta.pop(_CHECKSUMS, None)) and saved is not None:
            raise ValueError("the arrays are not those that were saved: their checksums differ")
        return trees, meta

    def restore_newest(
        self, abstract: Mapping[str, PyTree], report: Callable[[str], None]
    ) -> tuple[int, dict[str, PyTree], dict[str, Any]]:
        """Restore the newest readable checkpoint; return its step, trees and meta.

        Newer, unreadable ones are reported and renamed to STEP.damaged once an older one is restored. Raises
        UserError if none can be read.
        """
        damaged: dict[int, str] = {}
        for step in reversed(self._directory.steps()):
            try:
                trees, meta = self.restore(step, abstract)
            except Exception as error:
                damaged[step] = _reason(error)
                continue
            for bad, reason in damaged.items():
                report(f"checkpoint {bad} is damaged and set aside as {bad}.damaged ({reason})")
                if jax.process_index() == 0:
                    os.replace(self._directory.checkpoints / str(bad), self._free_name(f"{bad}.damaged"))
            if damaged:
                # A barrier: no process lists the folder before the first one has renamed.
                self._anyone(False)
                self._manager.reload()
            return step, trees, meta
        newest = next(iter(damaged.values()), "there is none")
        raise UserError(
            f"no checkpoint in {self._directory.checkpoints} can be read ({newest}); if the files are "
            "damaged, restore them from a backup, or give another --workdir"
        )

    def close(self) -> None:
        """Release Orbax's threads."""
        self._manager.close()

    def _free_name(self, name: str) -> Path:
        path, number = self._directory.checkpoints / name, 1
        while path.exists():
            number += 1
            path = self._directory.checkpoints / f"{name}-{number}"
        return path


def restore_params(run: Path | str, step: int | None = None) -> tuple[int, dict[str, Any]]:
    """Return the step and the model's parameters of a checkpoint as float32 NumPy arrays, on any devices.

    run: the training directory. step: None for the newest checkpoint. Raises UserError if there is no such
    checkpoint.
    """
    directory = TrainingDirectory(Path(run))
    steps = directory.steps()
    if not steps:
        raise UserError(f"{directory.path} holds no finished checkpoint; train until the first one is saved")
    if step is None:
        step = steps[-1]
    if step not in steps:
        raise UserError(f"{directory.path} has no checkpoint {step}; it has {', '.join(map(str, steps))}")
    path = directory.checkpoints / str(step) / "params"
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as checkpointer:
        tree = checkpointer.metadata(path).item_metadata.tree
        as_numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), tree)
        params = checkpointer.restore(path, args=ocp.args.PyTreeRestore(restore_args=as_numpy))
    # Widening pure_bf16 parameters is exact.
    return step, jax.tree.map(lambda x: x.astype(np.float32, copy=False), params)


def checksums(trees: Mapping[str, PyTree]) -> dict[str, int]:
    """Return for each tree the sum of its arrays' bits as unsigned integers, modulo 2^32.

    Computed on the devices. Integer addition commutes, so the sum does not depend on the mesh.
    """
    return {name: int(value) for name, value in _checksums(dict(trees)).items()}


_WORDS = {1: jnp.uint8, 2: jnp.uint16, 4: jnp.uint32}


@jax.jit
def _checksums(trees: dict[str, PyTree]) -> dict[str, jax.Array]:
    def tree_sum(tree: PyTree) -> jax.Array:
        total = jnp.zeros((), jnp.uint32)
        for array in jax.tree.leaves(tree):
            words = jax.lax.bitcast_convert_type(array, _WORDS[array.dtype.itemsize]).astype(jnp.uint32)
            # One axis at a time, the outermost first: on a CPU XLA adds rows of memory some 15 times as fast
            # as it reduces an array to a scalar. The barrier keeps it from merging the sums again.
            while words.ndim:
                words = jax.lax.optimization_barrier(jnp.sum(words, axis=0, dtype=jnp.uint32))
            total += words
        return total

    return {name: tree_sum(tree) for name, tree in trees.items()}


def _silence_abandoned_io() -> None:
    """Suppress the tracebacks of reads and writes that Orbax abandons after the first failure.

    Their callbacks find asyncio's loop closed and their coroutines are dropped; no caller can catch what they
    raise, and the first failure is raised as an error.
    """
    previous = sys.unraisablehook

    def hook(unraisable: Any) -> None:
        closed = (
            isinstance(unraisable.exc_value, RuntimeError)
            and str(unraisable.exc_value) == "Event loop is closed"
        )
        if not closed and not inspect.iscoroutine(unraisable.object):
            previous(unraisable)

    sys.unraisablehook = hook


def _reason(error: Exception) -> str:
    """Return the error as one line of at most some 200 characters."""
    text = " ".join((str(error) or type(error).__name__).split())
    return text if len(text) <= 220 else f"{text[:100]} ... {text[-100:]}"
