"""Compatibility of a config and its data with the checkpoints to resume from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bioclip_jax.checkpoint import TrainingDirectory, to_dict
from bioclip_jax.errors import UserError
from bioclip_jax.pipeline.sources import Source

from .config import TrainConfig

# Keys that the checkpoint's arrays or the data order depend on.
_FIXED = (
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

# Values of keys that older runs did not record.
_BEFORE_RECORDED = {"data.weights": [], "data.upsample": [], "data.window": 0, "replay.window": 0}


def check_same_run(directory: TrainingDirectory, config: TrainConfig) -> None:
    """Raise UserError if the run in `directory` has another model, optimizer state or data order."""
    if not directory.steps():
        return
    previous, current = directory.read_config(), to_dict(config)
    for key in _FIXED:
        was, is_now = previous, current
        for part in key.split("."):
            was, is_now = (was or {}).get(part, _BEFORE_RECORDED.get(key)), is_now.get(part)
        if was != is_now:
            raise UserError(
                f"{directory.path} was trained with {key} {was}, and config.{key} is now {is_now}; "
                "set it back, or give another --workdir"
            )
    was, is_now = previous.get("precision"), config.precision
    if was != is_now and "pure_bf16" in (was, is_now):
        raise UserError(
            f"{directory.path} was trained with precision {was}, and config.precision is now {is_now}, whose "
            "parameters have another type; set it back, or give another --workdir and "
            f"config.init_from={directory.path}"
        )


def check_same_data(meta: Mapping[str, Any], sources: Mapping[str, Source], config: TrainConfig) -> None:
    """Raise UserError if a source's number of samples, which determines their order, has changed."""
    for name, source in sources.items():
        before = meta["samples"][name]
        if before != len(source):
            path = config.data.train if name == "train" else config.replay.train
            raise UserError(
                f"{path} held {before} samples when checkpoint {meta['step']} was saved and holds "
                f"{len(source)} now, so the run cannot resume in the same order; put the data back, or give "
                "another --workdir"
            )
