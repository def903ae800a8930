"""The training loop."""

from __future__ import annotations

import math
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from bioclip_jax import __version__
from bioclip_jax.checkpoint.config import to_dict
from bioclip_jax.checkpoint.layout import TrainingDirectory
from bioclip_jax.checkpoint.manager import Checkpoints
from bioclip_jax.distributed.mesh import batch_sharding, make_mesh, replicated
from bioclip_jax.errors import UserError
from bioclip_jax.models import get_config
from bioclip_jax.pipeline.batches import train_batches
from bioclip_jax.pipeline.feed import device_prefetch
from bioclip_jax.pipeline.images import CAUSES
from bioclip_jax.pipeline.sources import open_source
from bioclip_jax.train.config import TrainConfig
from bioclip_jax.train.interrupt import Interrupt
from bioclip_jax.train.metrics import MetricsWriter, ProgressLine
from bioclip_jax.train.setup import Experiment, prepare
from bioclip_jax.train.throughput import Stopwatch

# Called with the parameters; returns what it measured, by name.
Evaluate = Callable[[Any], Mapping[str, Any]]


class Interrupted(Exception):
    """The run was asked to stop and did, with a checkpoint; `signal` says by what."""

    def __init__(self, signal: int, step: int) -> None:
        super().__init__(f"stopped at step {step}, which is saved; the same command goes on from there")
        self.signal = signal


def train(config: TrainConfig, workdir: Path | str, evaluate: Evaluate | None = None) -> dict[str, Any]:
    """Train until `total_steps`, from the newest checkpoint in `workdir` if there is one.

    Returns the last line of metrics. Errors: UserError for what a person must change; Interrupted after
    SIGINT or SIGTERM, once the checkpoint is on disk.
    """
    directory = TrainingDirectory(Path(workdir))
    finished = _finished(directory, config)
    if finished is not None:
        return finished
    source = open_source(
        config.data.train, split="train", bad_shards=config.data.bad_shards, tfds_dir=config.data.tfds_dir
    )
    config = config.with_steps(len(source))
    mesh = make_mesh(config.mesh)
    if config.global_batch_size % mesh.size:
        raise UserError(
            f"config.global_batch_size is {config.global_batch_size}, which {mesh.size} devices do not divide; "
            f"the nearest that they do is {round(config.global_batch_size / mesh.size) * mesh.size or mesh.size}"
        )
    experiment = prepare(config, mesh)
    _check_resume(directory, config)
    checkpoints = Checkpoints(directory, keep=config.keep_checkpoints)
    directory.write_config(to_dict(config))
    start = checkpoints.latest_step() or 0
    state = experiment.restore(checkpoints, start) if start else experiment.init()
    writer = MetricsWriter(
        directory, start_step=start, config=to_dict(config), wandb_project=config.wandb_project
    )
    batches = train_batches(
        source,
        config.data,
        config.image,
        config.caption,
        image_size=experiment.model_config.vision.image_size,
        context_length=experiment.model_config.text.context_length,
        seed=config.seed,
        global_batch_size=config.global_batch_size,
        start_step=start,
        host=jax.process_index(),
        hosts=jax.process_count(),
    )
    try:
        with Interrupt() as interrupt:
            run = _Run(config, experiment, checkpoints, writer, evaluate, interrupt)
            return run.steps(state, start, batches)
    finally:
        writer.close()
        checkpoints.close()
