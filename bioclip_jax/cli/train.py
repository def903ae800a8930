"""The verb train."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from .config import add_config_verb, experiment_config
from .options import Result, register_datasets


def train(arguments: argparse.Namespace) -> Result | int:
    """Start or resume training."""
    from bioclip_jax.distributed import all_processes
    from bioclip_jax.train import Preempted, start_or_resume

    config = experiment_config(arguments)
    register_datasets()
    with all_processes() as first:
        try:
            result = start_or_resume(config, arguments.workdir, evaluate=_evaluation(config))
        except Preempted as stop:
            if first:
                print(stop, file=sys.stderr)
            return 128 + stop.signal
        return result if first else None


def _evaluation(config: Any) -> Any:
    """Return the evaluation during training, None if the config has none."""
    if not config.evaluate_every:
        return None
    from bioclip_jax.evaluate import EvaluationHook

    from .eval import open_data

    return EvaluationHook(config, open_data)


def add_verbs(verbs: Any) -> None:
    """Declare the verb."""
    verb = add_config_verb(
        verbs,
        "train",
        train,
        "train a model, or resume a run",
        "If the training directory holds a checkpoint, the run resumes from it.",
    )
    verb.add_argument("--workdir", required=True, type=Path, metavar="DIR", help="the training directory")
