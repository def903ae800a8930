"""The verbs for taxa embeddings and learned heads: taxa build, list, learn, calibrate."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from bioclip_jax.errors import UserError
from bioclip_jax.files import check_outputs, check_suffix

from .candidates import add_taxa, add_taxa_choice
from .options import (
    MODEL,
    Result,
    add_family,
    add_model,
    add_output,
    add_reading,
    add_transform,
    add_verb,
    loading,
    print_known,
    print_result,
    register_datasets,
    report_done,
)

_CHOICE = ("subset", "within", "prior", "backbone", "skip_unknown", "taxa")


def build(arguments: argparse.Namespace) -> Result:
    """Embed the names of taxa."""
    from bioclip_jax.pipeline.sources import data_files
    from bioclip_jax.predict import load_model
    from bioclip_jax.predict.taxa import build_taxa

    register_datasets()
    # Loading the model can take minutes, so outputs are checked first.
    check_outputs({"--output": arguments.output}, {"the table of names": data_files(arguments.names)})
    check_suffix(arguments.output, (".safetensors",))
    model = load_model(arguments.model, **loading(arguments))
    result = build_taxa(
        arguments.names, model, arguments.output, dtype=arguments.dtype, complete=arguments.complete
    )
    if not arguments.json:
        print_known(result)
    return result


def list_(arguments: argparse.Namespace) -> Result:
    """List the taxa."""
    from bioclip_jax.predict.taxa import list_taxa

    result = list_taxa(
        arguments.model,
        taxa=arguments.taxa,
        within=arguments.within,
        format=arguments.format,
        output=arguments.output,
        as_result=arguments.json,
    )
    report_done(arguments, result, "taxa", "listed")
    return result


def learn(arguments: argparse.Namespace) -> Result:
    """Learn classes from labeled photographs."""
    from bioclip_jax.predict import load_model
    from bioclip_jax.predict.learn import check_learning, learn_head

    register_datasets()
    # Loading the model can take minutes, so paths are checked first.
    check_learning(arguments.data, arguments.output, arguments.model)
    model = load_model(arguments.model, **loading(arguments))
    options = {name: getattr(arguments, name) for name in ("label", "group", "taxa")}
    result = learn_head(arguments.data, model, arguments.output, **options)
    if not arguments.json:
        print(learning_table(result))
    return result


def learning_table(result: dict[str, Any]) -> str:
    """Return the candidates' held-out figures, and where the head and its report are, as text."""
    lines = [f"{'held out':16s}{'right':>8s}   95 % interval   log-likelihood"]
    for one in result["candidates"]:
        low, high = one["interval"]
        chosen = "  chosen" if one["name"] == result["chosen"] else ""
        right, interval = f"{100 * one['accuracy']:.1f} %", f"{100 * low:.1f} to {100 * high:.1f} %"
        lines.append(f"{one['name']:16s}{right:>8s}{interval:>17s}{one['log_likelihood']:>17.3f}{chosen}")
    lines.append(
        f"{result['photographs']:,} photographs of {len(result['labels']):,} classes: {result['output']}; "
        f"look at report.html, and at {result['review']:,} photographs of review.csv"
    )
    return "\n".join(lines)


def calibrate(arguments: argparse.Namespace) -> Result:
    """Fit a softmax temperature."""
    from bioclip_jax.pipeline.sources import data_files
    from bioclip_jax.predict import PredictOptions, load_model
    from bioclip_jax.predict.classifiers import TreeOfLifeClassifier
    from bioclip_jax.predict.taxa import calibrate_temperature, calibration_warnings

    if arguments.head is not None:
        raise UserError(
            f"the head {arguments.head} is calibrated by its own held-out photographs, and predict --head "
            "takes no --temperature; learn it again with more photographs"
        )
    register_datasets()
    choice = {name: getattr(arguments, name) for name in _CHOICE}
    candidates = PredictOptions(**choice).read_candidates()
    reads = {
        "labeled data": data_files(arguments.data),
        "the taxa embeddings": arguments.taxa,
        "--subset": arguments.subset,
        "--prior": arguments.prior,
        "--backbone": arguments.backbone,
    }
    check_outputs({"--output": arguments.output, "--plot": arguments.plot}, reads)
    check_suffix(arguments.output, (".json",))
    check_suffix(arguments.plot, (".png", ".pdf", ".svg"), "the plot")
    classifier = TreeOfLifeClassifier(load_model(arguments.model, **loading(arguments)), arguments.taxa)
    if candidates is not None:
        candidates.apply(classifier)
    result = calibrate_temperature(arguments.data, classifier, arguments.output, plot=arguments.plot)
    if not arguments.json:
        shown = {name: value for name, value in result.items() if name not in ("before", "after")}
        for time in ("before", "after"):
            shown |= {
                f"{time}, {name}": value for name, value in result[time].items() if name != "reliability"
            }
        print_result(shown)
    for warning in calibration_warnings(result):
        print(f"warning: {warning}", file=sys.stderr)
    return result


def add_verbs(verbs: Any) -> None:
    """Declare the verbs."""
    family = add_family(verbs, "taxa", "build, list, learn and calibrate the taxa that predict chooses from")
    verb = add_verb(family, "build", build, "embed taxa from names, or import published embeddings")
    verb.add_argument(
        "names",
        nargs="?",
        metavar="NAMES",
        help="a CSV or Parquet with ranks, txt_emb_species.npy beside its .json, or labeled data (default: "
        "the model's embeddings on the Hub)",
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
        help="add vectors that published embeddings lack, and normalize all (default: as published)",
    )
    verb = add_verb(family, "list", list_, "print the taxa that predict chooses from")
    verb.add_argument("--model", metavar="MODEL", help=MODEL)
    add_taxa(verb)
    verb.add_argument("--within", metavar="TAXON", help="only taxa within this one")
    add_output(verb)
    verb = add_verb(family, "learn", learn, "learn your own classes from some 5 to 100 photographs of each")
    verb.add_argument(
        "data",
        metavar="DATA",
        help="labeled photographs: a folder with metadata.csv, one folder for each class, a table such as "
        "the corrections of a review, tars or NAME:SPLIT",
    )
    add_model(verb)
    add_transform(verb)
    add_reading(verb)
    verb.add_argument(
        "--output", required=True, type=Path, metavar="FOLDER", help="for predict --head, with report.html"
    )
    verb.add_argument(
        "--label", metavar="COLUMN", help="a rank or another column (default: the species, else label)"
    )
    verb.add_argument(
        "--group",
        metavar="COLUMN",
        help="photographs with the same value, of one place or burst, are held out together (default: "
        "near-identical ones, and those of one event)",
    )
    add_taxa(verb)
    verb = add_verb(family, "calibrate", calibrate, "fit a softmax temperature on labeled images")
    verb.add_argument(
        "data", metavar="DATA", help="labeled images: a folder with metadata.csv, tars or NAME:SPLIT"
    )
    add_model(verb)
    add_transform(verb)
    add_reading(verb)
    add_taxa_choice(verb)
    verb.add_argument(
        "--output", required=True, type=Path, metavar="JSON", help="the file for predict --temperature"
    )
    verb.add_argument("--plot", type=Path, metavar="PNG", help="draw the reliability diagram")
    verb.add_argument("--head", metavar="FOLDER", help=argparse.SUPPRESS)
