"""The verbs that make and convert models: train, export, import."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from .options import (
    MODEL,
    Result,
    add_configured,
    add_verb,
    experiment_config,
    register_datasets,
)


def train(arguments: argparse.Namespace) -> Result | int:
    from bioclip_jax.distributed import all_processes
    from bioclip_jax.train import Interrupted, start_or_resume

    config = experiment_config(arguments)
    register_datasets()
    with all_processes() as first:
        try:
            result = start_or_resume(config, arguments.workdir, evaluate=_validation(config))
        except Interrupted as stop:
            if first:
                print(stop, file=sys.stderr)
            return 128 + stop.signal
        return result if first else None


def _validation(config: Any) -> Any:
    """The evaluation while training, or None where the config asks for none."""
    if not config.evaluate_every:
        return None
    from bioclip_jax.evaluate import EvaluationHook

    from .evaluation import open_data

    return EvaluationHook(config, open_data)


def export(arguments: argparse.Namespace) -> Result:
    from bioclip_jax.convert import export_model

    path = export_model(arguments.model, arguments.output, format=arguments.format)
    print(
        f"wrote {path}; load it with open_clip.create_model_and_transforms('local-dir:{path}')",
        file=sys.stderr,
    )
    return {"output": str(path)}


def import_(arguments: argparse.Namespace) -> Result:
    from bioclip_jax.convert import import_model

    path = import_model(arguments.source, arguments.output, model=arguments.model)
    print(f"wrote {path}; give it as MODEL, or as config.init_from", file=sys.stderr)
    return {"output": str(path)}


def add_verbs(verbs: Any) -> None:
    """Declare them."""
    verb = add_configured(
        verbs,
        "train",
        train,
        "train a model, or go on with a run",
        "If the directory holds a checkpoint, training goes on from it.",
    )
    verb.add_argument("--workdir", required=True, type=Path, metavar="DIR", help="the training directory")

    verb = add_verb(verbs, "export", export, "write a directory that open_clip, pybioclip and the Hub load")
    verb.add_argument("model", metavar="MODEL", help=MODEL)
    verb.add_argument("output", type=Path, metavar="OUT", help="a directory that does not exist or is empty")
    verb.add_argument("--format", choices=["open_clip"], default="open_clip")

    verb = add_verb(verbs, "import", import_, "read weights of open_clip, safetensors or pickled")
    verb.add_argument(
        "source", metavar="SOURCE", help="a directory, a weights file, local-dir:PATH or hf-hub:ORG/NAME"
    )
    verb.add_argument("output", type=Path, metavar="OUT", help="a directory that does not exist or is empty")
    verb.add_argument(
        "--model", metavar="NAME", help="the architecture by its open_clip name, where SOURCE says none"
    )
