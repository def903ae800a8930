"""Verbs for the taxa head of a model: taxa build, list, calibrate."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from bioclip_jax.files import check_outputs, check_suffix

from .options import (
    MODEL,
    Result,
    add_model,
    add_output,
    add_reading,
    add_taxa,
    add_transform,
    add_verb,
    print_known,
    print_result,
    register_datasets,
    running,
    tell_done,
)


def taxa_build(arguments: argparse.Namespace) -> Result:
    from bioclip_jax.pipeline.sources import data_files
    from bioclip_jax.predict import load_model
    from bioclip_jax.predict.taxa import build_taxa

    register_datasets()
    # Before the model is loaded, which may take minutes.
    check_outputs({"--output": arguments.output}, {"where the names are": data_files(arguments.names)})
    check_suffix(arguments.output, (".safetensors",))
    model = load_model(arguments.model, **running(arguments))
    result = build_taxa(
        arguments.names, model, arguments.output, dtype=arguments.dtype, complete=arguments.complete
    )
    if not arguments.json:
        print_known(result)
    return result


def taxa_list(arguments: argparse.Namespace) -> Result:
    from bioclip_jax.predict.taxa import list_taxa

    result = list_taxa(
        arguments.model,
        taxa=arguments.taxa,
        within=arguments.within,
        format=arguments.format,
        output=arguments.output,
        as_result=arguments.json,
    )
    tell_done(arguments, result, "taxa", "listed")
    return result


def taxa_calibrate(arguments: argparse.Namespace) -> Result:
    from bioclip_jax.pipeline.sources import data_files
    from bioclip_jax.predict import load_model
    from bioclip_jax.predict.classifiers import TreeOfLifeClassifier
    from bioclip_jax.predict.taxa import calibrate_temperature, calibration_warnings

    register_datasets()
    read = {"labeled data": data_files(arguments.data), "the head of taxa": arguments.taxa}
    check_outputs({"--output": arguments.output, "--plot": arguments.plot}, read)
    check_suffix(arguments.output, (".json",))
    check_suffix(arguments.plot, (".png", ".pdf", ".svg"), "the plot")
    classifier = TreeOfLifeClassifier(load_model(arguments.model, **running(arguments)), arguments.taxa)
    result = calibrate_temperature(arguments.data, classifier, arguments.output, plot=arguments.plot)
    if not arguments.json:
        figures = {name: value for name, value in result.items() if name not in ("before", "after")}
        for time in ("before", "after"):
            figures |= {
                f"{time}, {name}": value for name, value in result[time].items() if name != "reliability"
            }
        print_result(figures)
    for warning in calibration_warnings(result):
        print(f"warning: {warning}", file=sys.stderr)
    return result


def add_verbs(verbs: Any) -> None:
    """Declare them."""
    kinds = verbs.add_parser("taxa", help="the names that predict chooses from").add_subparsers(
        title="what to do", metavar="WHAT", required=True
    )
    verb = add_verb(kinds, "build", taxa_build, "make a model's taxa head from names or published embeddings")
    verb.add_argument(
        "names",
        nargs="?",
        metavar="NAMES",
        help="CSV or Parquet with ranks, txt_emb_species.npy beside its .json, or labeled data (default: "
        "what the Hub"
        " has for the model)",
    )
    add_model(verb)
    verb.add_argument(
        "--output", type=Path, metavar="FILE", help="default: taxa.safetensors in the model's directory"
    )
    verb.add_argument(
        "--dtype", choices=["float32", "float16", "int8"], default="float32", help="of the stored vectors"
    )
    verb.add_argument(
        "--complete",
        action="store_true",
        help="make the vectors that published embeddings lack, and give all length 1 (default: as published)",
    )
    verb = add_verb(kinds, "list", taxa_list, "print the taxa that predict chooses from")
    verb.add_argument("--model", metavar="MODEL", help=MODEL)
    add_taxa(verb)
    verb.add_argument("--within", metavar="TAXON", help="only what belongs to it")
    add_output(verb)
    verb = add_verb(kinds, "calibrate", taxa_calibrate, "fit a softmax temperature on labeled images")
    verb.add_argument(
        "data", metavar="DATA", help="labeled images: a folder with metadata.csv, tars or NAME:SPLIT"
    )
    add_model(verb)
    add_transform(verb)
    add_reading(verb)
    add_taxa(verb)
    verb.add_argument(
        "--output", required=True, type=Path, metavar="JSON", help="give it to predict as --temperature"
    )
    verb.add_argument("--plot", type=Path, metavar="PNG", help="draw how often answers are right")
