"""Start or resume training in a work directory."""

from __future__ import annotations

import contextlib
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax

from bioclip_jax.checkpoint import Checkpoints, TrainingDirectory, to_dict
from bioclip_jax.distributed import Collectives, is_first_process
from bioclip_jax.errors import UserError
from bioclip_jax.pipeline import epoch_samples

from .compatibility import check_same_data, check_same_run
from .config import TrainConfig
from .experiment import Experiment
from .input import TrainInput, open_sources
from .loop import Evaluate, Loop, RunContext, lacks_evaluation
from .metrics import ProgressLine, open_metrics
from .preemption import DeferredSignals


def start_or_resume(
    config: TrainConfig, workdir: Path | str, evaluate: Evaluate | None = None
) -> dict[str, Any]:
    """Train to `total_steps`, from the newest checkpoint in `workdir` if there is one.

    Returns the last line of metrics. Several processes each make the same call, with a `workdir` on a shared
    file system.

    Raises UserError if the config, the data or the directory does not fit, and Preempted after SIGINT,
    SIGTERM or SIGUSR1, once the checkpoint is on disk.
    """
    # Deferred from the start, so that a job preempted while opening its data is requeued instead of failing.
    with DeferredSignals() as signals, contextlib.ExitStack() as stack:
        directory = TrainingDirectory(Path(workdir))
        if directory.path.exists() and not directory.path.is_dir():
            raise UserError(f"the --workdir {directory.path} is a file; give a directory")
        # Two runs in one directory would remove each other's checkpoints.
        if is_first_process():
            stack.enter_context(directory.locked())
        return _train(config, directory, evaluate, signals)


def _train(
    config: TrainConfig, directory: TrainingDirectory, evaluate: Evaluate | None, signals: DeferredSignals
) -> dict[str, Any]:
    check_same_run(directory, config)
    sources = open_sources(config)
    samples = epoch_samples(sources["train"], config.data.sampling)
    config = _inherit(config.with_steps(samples), directory)
    start_step = (directory.steps() or [0])[-1]
    progress = ProgressLine(config.total_steps, silent=jax.process_index() > 0)
    for source in sources.values():
        for shard in source.skipped_shards:
            progress.report(f"skipped an unreadable shard: {shard}")
    evaluation_missing = (
        evaluate is not None and config.evaluate_every and lacks_evaluation(directory, start_step)
    )
    if start_step >= config.total_steps and not evaluation_missing:
        progress.report(f"{directory.path} is trained: {start_step} of {config.total_steps} steps are done")
        return (directory.read_metrics() or [{"step": start_step}])[-1]

    experiment = Experiment(config)
    collectives = Collectives(experiment.mesh)
    # Before anything is written, since weights of init_from that do not fit are an error.
    state = None if start_step else experiment.init()
    with contextlib.ExitStack() as stack:
        checkpoints = Checkpoints(
            directory, keep=config.keep_checkpoints, attempts=config.save_attempts, anyone=collectives.any
        )
        stack.enter_context(contextlib.closing(checkpoints))
        bad_samples: Counter[str] = Counter()
        if start_step:
            start_step, state, meta = experiment.restore_newest(checkpoints, progress.report)
            progress.report(f"resuming from step {start_step} in {directory.path}")
            check_same_data(meta, sources, config)
            bad_samples.update(meta.get("bad_samples", {}))
        if jax.process_index() == 0:
            directory.write_config(to_dict(config))
        metrics = stack.enter_context(contextlib.closing(open_metrics(directory, start_step, config)))
        batches = stack.enter_context(contextlib.closing(TrainInput(experiment, sources, start_step)))
        context = RunContext(
            directory, sources, checkpoints, metrics, progress, signals, collectives, evaluate, bad_samples
        )
        return Loop(experiment, context).run(state, start_step, batches)


def _inherit(config: TrainConfig, directory: TrainingDirectory) -> TrainConfig:
    """Fill in prediction transform and patch dropout from the run in `directory`, else from `init_from`."""
    transform, patch_dropout = config.image.transform, config.patch_dropout
    if directory.steps():
        # The run keeps its values even if init_from has changed or is gone.
        previous = directory.read_config()
        inherited = (previous.get("image") or {}).get("transform"), previous.get("patch_dropout") or 0.0
    elif config.init_from is not None and (transform is None or patch_dropout is None):
        from bioclip_jax import convert

        inherited = convert.inherited(config.init_from)
    else:
        inherited = "model", 0.0
    if transform is None:
        # A model trained on cropped images is not evaluated on squashed ones.
        transform = inherited[0] if config.image.resize_mode == "squash" else "model"
    patch_dropout = inherited[1] if patch_dropout is None else patch_dropout
    return replace(config, image=replace(config.image, transform=transform), patch_dropout=patch_dropout)
