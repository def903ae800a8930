"""A run from its directory to its end: started, or gone on with."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax

from bioclip_jax.checkpoint import Checkpoints, TrainingDirectory, to_dict
from bioclip_jax.distributed import Agreement, is_first_process
from bioclip_jax.errors import UserError
from bioclip_jax.pipeline import epoch_samples
from bioclip_jax.pipeline.sources import Source, open_source

from .config import TrainConfig
from .experiment import Experiment
from .feed import Feed
from .interrupt import Interrupt
from .metrics import ProgressLine, open_metrics
from .resume import check_same_data, check_same_run
from .run import Evaluate, Interrupted, Run, lacks_evaluation

__all__ = ["Evaluate", "Interrupted", "open_sources", "train"]


def train(config: TrainConfig, workdir: Path | str, evaluate: Evaluate | None = None) -> dict[str, Any]:
    """Train until `total_steps`, from the newest checkpoint in `workdir` if there is one.

    With several processes each calls it with the same config and the same `workdir`, on a file system that
    they share. Returns the last line of metrics. Errors: UserError for what a person must change; Interrupted
    after SIGINT, SIGTERM or SIGUSR1, once the checkpoint is on disk.
    """
    # From the very start: a job that is warned while it still opens its data is to be requeued, not lost.
    with Interrupt() as interrupt, contextlib.ExitStack() as stack:
        directory = TrainingDirectory(Path(workdir))
        if directory.path.exists() and not directory.path.is_dir():
            raise UserError(f"the --workdir {directory.path} is a file; give a directory")
        # Two runs in one directory would remove each other's checkpoints.
        if is_first_process():
            stack.enter_context(directory.locked())
        return _train(config, directory, evaluate, interrupt)


def _train(
    config: TrainConfig, directory: TrainingDirectory, evaluate: Evaluate | None, interrupt: Interrupt
) -> dict[str, Any]:
    check_same_run(directory, config)
    sources = open_sources(config)
    config = _inherit(config.with_steps(epoch_samples(sources["train"], config.data.sampling)), directory)
    start = (directory.steps() or [0])[-1]
    progress = ProgressLine(config.total_steps, silent=jax.process_index() > 0)
    for source in sources.values():
        for shard in source.skipped_shards:
            progress.say(f"left out, because it cannot be read: {shard}")
    done = start >= config.total_steps
    if done and not (evaluate is not None and config.evaluate_every and lacks_evaluation(directory, start)):
        progress.say(f"{directory.path} is trained: {start} of {config.total_steps} steps are done")
        return (directory.read_metrics() or [{"step": start}])[-1]

    experiment = Experiment(config)
    agreement = Agreement(experiment.mesh)
    state = None if start else experiment.init()
    with contextlib.ExitStack() as stack:
        checkpoints = Checkpoints(
            directory, keep=config.keep_checkpoints, attempts=config.save_attempts, anyone=agreement.anyone
        )
        stack.enter_context(contextlib.closing(checkpoints))
        meta: Mapping[str, Any] = {}
        if start:
            start, state, meta = experiment.restore_newest(checkpoints, progress.say)
            progress.say(f"going on from step {start} in {directory.path}")
            check_same_data(meta, sources, config)
        if jax.process_index() == 0:
            directory.write_config(to_dict(config))
        writer = stack.enter_context(contextlib.closing(open_metrics(directory, start, config)))
        feed = stack.enter_context(contextlib.closing(Feed(experiment, sources, start)))
        run = Run(
            experiment, directory, checkpoints, writer, progress, evaluate, interrupt, sources, agreement
        )
        run.bad.update(meta.get("bad_samples", {}))
        return run.steps(state, start, feed)


def _inherit(config: TrainConfig, directory: TrainingDirectory) -> TrainConfig:
    """Fill in what the config leaves to init_from: the transform of predictions, and the patch dropout."""
    transform, patch_dropout = config.image.transform, config.patch_dropout
    if directory.steps():
        # As the run started, whatever has become of init_from since.
        before = directory.read_config()
        inherited = (before.get("image") or {}).get("transform"), before.get("patch_dropout") or 0.0
    elif config.init_from is not None and (transform is None or patch_dropout is None):
        from bioclip_jax.convert import load

        inherited = load.inherited(config.init_from)
    else:
        inherited = "model", 0.0
    if transform is None:
        # A run that crops is not to be shown squashed images.
        transform = inherited[0] if config.image.resize_mode == "squash" else "model"
    patch_dropout = inherited[1] if patch_dropout is None else patch_dropout
    return replace(config, image=replace(config.image, transform=transform), patch_dropout=patch_dropout)


def open_sources(config: TrainConfig) -> dict[str, Source]:
    """The sources of the config's streams by name, "train" and, where it asks for replay, "replay".

    UserError where the config does not say where they lie, or there is nothing.
    """
    if not config.data.train:
        raise UserError("config.data.train is not set; give the training data with --config.data.train=PATH")
    locations = {"train": config.data.train}
    if config.replay.batch_size:
        if not config.replay.train:
            raise UserError(
                "config.replay.train is not set; give the replay data with --config.replay.train=PATH, or "
                "train "
                "without with --config.replay.batch_size=0"
            )
        locations["replay"] = config.replay.train
    shared = {"split": "train", "bad_shards": config.data.bad_shards, "tfds_dir": config.data.tfds_dir}
    forward = {"train": config.data.window > 0, "replay": config.replay.window > 0}
    return {
        name: open_source(location, forward=forward[name], **shared) for name, location in locations.items()
    }
