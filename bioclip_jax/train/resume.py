"""Whether a run may go on from the checkpoints in its directory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bioclip_jax.checkpoint import TrainingDirectory, to_dict
from bioclip_jax.errors import UserError
from bioclip_jax.pipeline.sources import Source

from .config import TrainConfig

# What the checkpoint's arrays or the order of the data depend on.
_KEPT = (
    "model",
    "seed",
    "global_batch_size",
    "loss",
    "data.weights",
    "data.upsample",
    "data.window",
    "replay.batch_size",
    "replay.window",
    "optimizer.name",
    "optimizer.frozen",
)

# Keys that older runs do not have.
_SINCE = {"data.weights": [], "data.upsample": [], "data.window": 0, "replay.window": 0}


def check_same_run(directory: TrainingDirectory, config: TrainConfig) -> None:
    """UserError where a checkpoint was made with another model, optimizer's state or data order."""
    if not directory.steps():
        return
    before, now = directory.read_config(), to_dict(config)
    for key in _KEPT:
        was, is_now = before, now
        for part in key.split("."):
            # A run that is older than the key went on as its default has it.
            was, is_now = (was or {}).get(part, _SINCE.get(key)), is_now.get(part)
        if was != is_now:
            raise UserError(
                f"{directory.path} was trained with {key} {was}, and config.{key} is now {is_now}; "
                "set it back, or give another --workdir"
            )
    was, is_now = before.get("precision"), config.precision
    if was != is_now and "pure_bf16" in (was, is_now):
        raise UserError(
            f"{directory.path} was trained with precision {was}, and config.precision is now {is_now}, whose "
            "parameters are of another type; set it back, or give another --workdir and "
            f"config.init_from={directory.path}"
        )


def check_same_data(meta: Mapping[str, Any], sources: Mapping[str, Source], config: TrainConfig) -> None:
    """UserError where a source has another number of samples than before, on which their order depends."""
    for name, source in sources.items():
        before = meta["samples"][name]
        if before != len(source):
            where = config.data.train if name == "train" else config.replay.train
            raise UserError(
                f"{where} held {before} samples when checkpoint {meta['step']} was saved and holds "
                f"{len(source)} now, "
                "so the run cannot go on in the same order; put the data back, or give another --workdir"
            )
