"""The verbs that make, convert and score models."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from bioclip_jax.cli.options import (
    MODEL,
    Result,
    add_configured,
    add_verb,
    experiment_config,
    positive,
    print_result,
    register_datasets,
)


def train(arguments: argparse.Namespace) -> Result | int:
    from bioclip_jax.distributed.startup import all_processes
    from bioclip_jax.train.loop import Interrupted, train

    config = experiment_config(arguments)
    register_datasets()
    with all_processes() as first:
        try:
            result = train(config, arguments.workdir, evaluate=_validation(config))
        except Interrupted as stop:
            if first:
                print(stop, file=sys.stderr)
            return 128 + stop.signal
        return result if first else None


def _validation(config: Any) -> Any:
    """The zero-shot hook over the validation split, or None where the config asks for none."""
    if not config.evaluate_every:
        return None
    from bioclip_jax.evaluate.zero_shot import ValidationHook

    return ValidationHook(config)


def export(arguments: argparse.Namespace) -> Result:
    from bioclip_jax.convert.hub import export_model

    path = export_model(arguments.model, arguments.output, format=arguments.format)
    print(f"wrote {path}; load it with open_clip.create_model_and_transforms('local-dir:{path}')", file=sys.stderr)
    return {"output": str(path)}


def import_(arguments: argparse.Namespace) -> Result:
    from bioclip_jax.convert.hub import import_model

    path = import_model(arguments.source, arguments.output, model=arguments.model)
    print(f"wrote {path}; give it as MODEL, or as config.init_from", file=sys.stderr)
    return {"output": str(path)}


def eval_zero_shot(arguments: argparse.Namespace) -> Result:
    from bioclip_jax.evaluate.zero_shot import evaluate_model

    register_datasets()
    result = evaluate_model(
        arguments.model,
        data=arguments.data,
        images=arguments.images,
        labels=arguments.labels,
        text_type=arguments.text_type,
        templates=arguments.templates,
        candidates=arguments.candidates,
        batch_size=arguments.batch_size,
    )
    if not arguments.json:
        print_result(result)
    return result


def analyze_overview(arguments: argparse.Namespace) -> Result:
    from bioclip_jax.analyze.overview import overview

    register_datasets()
    return overview(arguments.model, arguments.data, arguments.output)


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
    verb.add_argument("source", metavar="SOURCE", help="a directory, a weights file, local-dir:PATH or hf-hub:ORG/NAME")
    verb.add_argument("output", type=Path, metavar="OUT", help="a directory that does not exist or is empty")
    verb.add_argument("--model", metavar="NAME", help="the architecture by its open_clip name, where SOURCE says none")

    protocols = verbs.add_parser("eval", help="score a model by a published protocol").add_subparsers(
        title="protocols", metavar="PROTOCOL", required=True
    )
    verb = add_verb(protocols, "zero-shot", eval_zero_shot, "top-1 and top-5 among class names, at every rank")
    verb.add_argument("--model", required=True, metavar="MODEL", help=MODEL)
    where = verb.add_mutually_exclusive_group(required=True)
    where.add_argument("--data", metavar="DATA", help="tars, ArrayRecord, a folder with metadata.csv or NAME:SPLIT")
    where.add_argument("--images", type=Path, metavar="DIR", help="the folder that the CSV's file paths start from")
    verb.add_argument("--labels", type=Path, metavar="CSV", help="annotations for --images")
    verb.add_argument(
        "--text-type", default="taxon_com", choices=["asis", "sci", "taxon", "com", "sci_com", "taxon_com"]
    )
    verb.add_argument(
        "--candidates", metavar="DATA", help="take the possible species from here instead of from the data"
    )
    verb.add_argument("--templates", choices=["openai", "one"], default="openai")
    verb.add_argument("--batch-size", type=positive, help="images that go through the model at once")

    kinds = verbs.add_parser("analyze", help="look into the embedding space").add_subparsers(
        title="analyses", metavar="ANALYSIS", required=True
    )
    verb = add_verb(kinds, "overview", analyze_overview, "draw the training curve and a map of the embeddings")
    verb.add_argument("--model", required=True, metavar="MODEL", help="a training directory")
    verb.add_argument("--data", required=True, metavar="DATA", help="the images to map")
    verb.add_argument("--output", required=True, type=Path, metavar="PNG")
