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
import numpy as np
import orbax.checkpoint as ocp

from bioclip_jax.errors import UserError

from .checksum import checksums
from .layout import TrainingDirectory

PyTree = Any

# Orbax announces every step of a save as a warning, and a failed one as a traceback; we tell what a person
# needs.
logging.getLogger("absl").setLevel(logging.CRITICAL)

_CHECKSUMS = "checksums"
_UNFINISHED = ".orbax-checkpoint-tmp"
# A file system that is away for a moment may be back after this.
_PAUSE_SECONDS = 10.0


class Checkpoints:
    """The checkpoints of one training directory, saved in the background.

    A checkpoint is a set of named pytrees ("params", "opt_state", ...) and one JSON object ("meta").
    Orbax writes it under another name and renames it when it is whole, so a killed save leaves the
    checkpoints before it as they were. Checksums noted with it tell when what is read is not what was saved.

    A save that failed does not stop the run at once: `save_again` tells of it, and the state of that moment
    should be saved. UserError once `attempts` saves in a row have failed. With several processes each must
    make the same calls, and what one of them cannot write or read has failed for all.
    """

    def __init__(
        self,
        directory: TrainingDirectory,
        *,
        keep: int | None,
        attempts: int = 1,
        anyone: Callable[[bool], bool] = bool,
    ) -> None:
        """`keep`: how many of the newest checkpoints stay; None keeps all.

        `anyone`: from what this process says to whether any says so; as it is for one process.
        """
        _quiet_given_up_work()
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
        """Copy the arrays to the host and write them in the background, once the save before is done."""
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
        """Whether the newest save has failed, some seconds ago; does not wait for one that goes on.

        With several processes, which cannot look at the same moment, a failure is found at the next save.
        """
        if jax.process_count() > 1:
            return False
        if self._pending and not self._manager.is_saving_in_progress():
            self.wait()
        return (
            self._failures > 0 and not self._pending and time.monotonic() - self._failed_at > _PAUSE_SECONDS
        )

    def wait(self) -> bool:
        """Block until the newest save is on disk. Returns False if it has failed."""
        if self._pending:
            self._pending = False
            try:
                self._manager.wait_until_finished()
                self._manager.check_for_errors()
            except Exception as error:
                self._error = self._error or error
            if self._anyone(self._error is not None):
                self._note_failure(self._error or OSError("another process could not write its part"))
            else:
                if self._failures:
                    # A thread of the failed save may have written on while its files were removed.
                    self._remove_unfinished()
                self._failures = 0
        return self._failures == 0

    def _note_failure(self, error: Exception) -> None:
        self._failures += 1
        self._failed_at = time.monotonic()
        # What was written of it takes room that the next attempt may need.
        self._remove_unfinished()
        if self._failures >= self._attempts:
            good = (self._directory.steps() or [None])[-1]
            kept = "there is no checkpoint yet" if good is None else f"checkpoint {good} is the last good one"
            raise UserError(
                f"no checkpoint could be written to {self._directory.checkpoints} in {self._failures} "
                f"attempts "
                f"({_reason(error)}); {kept}; make room or mend the disk, and start again"
            ) from error

    def _remove_unfinished(self) -> None:
        """Remove what failed saves have left; no save may be in progress."""
        if jax.process_index() == 0:
            for unfinished in self._directory.checkpoints.glob(f"*{_UNFINISHED}*"):
                shutil.rmtree(unfinished, ignore_errors=True)

    def restore(self, step: int, abstract: Mapping[str, PyTree]) -> tuple[dict[str, PyTree], dict[str, Any]]:
        """The trees of checkpoint `step`, each array in the shape, dtype and sharding of `abstract`, and meta.

        Whatever Orbax raises for files that are missing or damaged; ValueError where the checksums differ.
        """
        items = {name: ocp.args.StandardRestore(tree) for name, tree in abstract.items()}
        restored, error = None, None
        try:
            restored = self._manager.restore(
                step, args=ocp.args.Composite(**items, meta=ocp.args.JsonRestore())
            )
        except Exception as raised:
            error = raised
        # Before the checksums, which all processes make together.
        if self._anyone(error is not None):
            raise error or OSError("another process could not read its part")
        trees = {name: restored[name] for name in abstract}
        meta = restored["meta"]
        if checksums(trees) != (noted := meta.pop(_CHECKSUMS, None)) and noted is not None:
            raise ValueError("the arrays are not those that were saved: their checksums differ")
        return trees, meta

    def restore_newest(
        self, abstract: Mapping[str, PyTree], say: Callable[[str], None]
    ) -> tuple[int, dict[str, PyTree], dict[str, Any]]:
        """The newest checkpoint that can be read, as `restore`, with its step before.

        One that cannot is set aside as STEP.damaged, and told, once an older one was read. UserError if none
        can.
        """
        damaged: dict[int, str] = {}
        for step in reversed(self._directory.steps()):
            try:
                trees, meta = self.restore(step, abstract)
            except Exception as error:
                damaged[step] = _reason(error)
                continue
            for bad, reason in damaged.items():
                say(f"checkpoint {bad} is damaged and set aside as {bad}.damaged ({reason})")
                if jax.process_index() == 0:
                    os.replace(self._directory.checkpoints / str(bad), self._free_name(f"{bad}.damaged"))
            if damaged:
                # Every process lists the folder only after the first one has renamed.
                self._anyone(False)
                self._manager.reload()
            return step, trees, meta
        newest = next(iter(damaged.values()), "there is none")
        raise UserError(
            f"no checkpoint in {self._directory.checkpoints} can be read ({newest}); if the files are "
            f"damaged, put them "
            "back from a copy, or give another --workdir"
        )

    def close(self) -> None:
        self._manager.close()

    def _free_name(self, name: str) -> Path:
        path, number = self._directory.checkpoints / name, 1
        while path.exists():
            number += 1
            path = self._directory.checkpoints / f"{name}-{number}"
        return path


def _quiet_given_up_work() -> None:
    """Keep tracebacks of reads and writes that Orbax has given up from the screen.

    After the first failure, which we tell in one line, the others' callbacks find asyncio's loop closed and
    their coroutines are dropped; nobody can catch what they raise then.
    """
    before = sys.unraisablehook

    def hook(unraisable: Any) -> None:
        closed = (
            isinstance(unraisable.exc_value, RuntimeError)
            and str(unraisable.exc_value) == "Event loop is closed"
        )
        if not closed and not inspect.iscoroutine(unraisable.object):
            before(unraisable)

    sys.unraisablehook = hook


def _reason(error: Exception) -> str:
    """What went wrong, in one line that a person can read."""
    text = " ".join((str(error) or type(error).__name__).split())
    return text if len(text) <= 220 else f"{text[:100]} ... {text[-100:]}"


def restore_params(run: Path | str, step: int | None = None) -> tuple[int, dict[str, Any]]:
    """The model's parameters in a training directory, as float32 NumPy arrays, on any device layout.

    Args: `run`, the training directory; `step`, a checkpoint of it (None: the newest).
    Returns: the step and the nested dict of the CLIP's parameters.
    Errors: UserError if there is no such checkpoint.
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
    # Those of a run in pure bfloat16 are widened, which changes no value.
    return step, jax.tree.map(lambda x: x.astype(np.float32, copy=False), params)
