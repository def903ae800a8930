"""Save and restore training state with Orbax."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from bioclip_jax.checkpoint.layout import TrainingDirectory
from bioclip_jax.errors import UserError

PyTree = Any

# Orbax announces every step of a save as a warning or an info line of absl; a person needs none of them.
logging.getLogger("absl").setLevel(logging.ERROR)


class Checkpoints:
    """The checkpoints of one training directory, saved in the background.

    A checkpoint is a set of named pytrees ("params", "opt_state", ...) and one JSON object ("meta").
    Orbax writes it under another name and renames it when it is whole, so a killed save leaves the
    checkpoints before it as they were.
    """

    def __init__(self, directory: TrainingDirectory, *, keep: int | None) -> None:
        """`keep`: how many of the newest checkpoints stay; None keeps all."""
        options = ocp.CheckpointManagerOptions(max_to_keep=keep, enable_async_checkpointing=True)
        self._manager = ocp.CheckpointManager(directory.checkpoints, options=options)

    def latest_step(self) -> int | None:
        return self._manager.latest_step()

    def save(self, step: int, trees: Mapping[str, PyTree], meta: Mapping[str, Any]) -> None:
        """Copy the arrays to the host and write them in the background.

        Raises what an earlier background save failed with: a save that did not happen must stop the run.
        """
        self._manager.check_for_errors()
        items = {name: ocp.args.StandardSave(tree) for name, tree in trees.items()}
        self._manager.save(step, args=ocp.args.Composite(**items, meta=ocp.args.JsonSave(dict(meta))), force=True)

    def restore(self, step: int, abstract: Mapping[str, PyTree]) -> tuple[dict[str, PyTree], dict[str, Any]]:
        """The trees of checkpoint `step`, each array in the shape, dtype and sharding of `abstract`, and meta."""
        items = {name: ocp.args.StandardRestore(tree) for name, tree in abstract.items()}
        restored = self._manager.restore(step, args=ocp.args.Composite(**items, meta=ocp.args.JsonRestore()))
        return {name: restored[name] for name in abstract}, restored["meta"]

    def wait(self) -> None:
        """Block until every save is on disk; raises what a background save failed with."""
        self._manager.wait_until_finished()
        self._manager.check_for_errors()

    def close(self) -> None:
        self._manager.close()


def restore_params(run: Path | str, step: int | None = None) -> tuple[int, dict[str, Any]]:
    """The model's parameters in a training directory, as NumPy arrays, on any device layout.

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
        return step, checkpointer.restore(path, args=ocp.args.PyTreeRestore(restore_args=as_numpy))
