"""The verb eval: one protocol, or a suite of them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bioclip_jax.errors import UserError

from .options import (
    DATA,
    MODEL,
    Result,
    add_device,
    add_family,
    add_reading,
    add_transform,
    add_verb,
    loading,
    non_negative,
    positive,
    register_datasets,
)

# The parser's name for a suite; on the command line its file alone follows eval: eval SUITE.yaml.
_SUITE = "suite"
_SUITE_SUFFIXES = (".yaml", ".yml")
_TEXT_TYPES = ["asis", "sci", "taxon", "com", "sci_com", "taxon_com"]


def suite_first(argv: Sequence[str]) -> list[str]:
    """Insert the parser's name for a suite before its file, so that `eval SUITE.yaml` is a verb."""
    if len(argv) > 1 and argv[0] == "eval" and argv[1].endswith(_SUITE_SUFFIXES):
        return [argv[0], _SUITE, *argv[1:]]
    return list(argv)


def open_data(location: Any, split: str) -> Any:
    """Open the source of an evaluation's Location and split."""
    from bioclip_jax.datasets.published import open_evaluation

    paths = {"images": location.images, "labels": location.labels, "root": location.root}
    return open_evaluation(location.data, split, protocol=location.protocol, **paths)


def eval_protocol(arguments: argparse.Namespace) -> Result:
    """Score a model by one protocol."""
    from bioclip_jax.evaluate import Location, check_results_folder, make_protocol, single_entry_suite
    from bioclip_jax.pipeline.sources import data_files

    images, labels = arguments.images, arguments.labels
    if (arguments.data is None) == (images is None) or (images is None) != (labels is None):
        raise UserError("the data to score are not clear; give --data, or --images with --labels")
    reads = {"the --labels table": labels, "an input": data_files(arguments.data or images)}
    check_results_folder(arguments.output, reads, f"{arguments.protocol}_*.csv")
    register_datasets()
    given = {name: getattr(arguments, name) for name in arguments.options}
    options = {name: value for name, value in given.items() if value is not None}
    if "candidates" in options:
        options["candidates"] = _candidates(options["candidates"], options["text_type"])
    location = Location(arguments.data, images, labels, arguments.protocol, arguments.data_root)
    protocol = make_protocol(arguments.protocol, options)
    if arguments.all_checkpoints:
        return _all_checkpoints(arguments, single_entry_suite(protocol, location, open_data))
    from bioclip_jax.evaluate import evaluate_protocol

    result = evaluate_protocol(
        arguments.model, protocol, location, open_data, output=arguments.output, **_evaluator(arguments)
    )
    if not arguments.json:
        from bioclip_jax.evaluate.report import describe_result

        print(describe_result(result, protocol))
    if arguments.output is not None:
        print(f"wrote {arguments.output}/results.json and its tables", file=sys.stderr)
    return result


def eval_suite(arguments: argparse.Namespace) -> Result:
    """Score a model by the protocols of a suite."""
    from bioclip_jax.evaluate import check_results_folder, read_suite

    check_results_folder(arguments.output)
    register_datasets()
    suite = read_suite(arguments.suite, open_data, data_root=arguments.data_root)
    if arguments.all_checkpoints:
        return _all_checkpoints(arguments, suite)
    from bioclip_jax.evaluate import Evaluator, evaluate_suite

    evaluator = Evaluator(arguments.model, **_evaluator(arguments))
    result = evaluate_suite(evaluator, suite, arguments.output, resume=arguments.resume)
    if not arguments.json and result["entries"]:
        from bioclip_jax.evaluate.report import describe_suite, report_rows

        print(describe_suite(report_rows(result)))
    print(f"wrote {arguments.output}/results.json, results.md, results.png", file=sys.stderr)
    return result


def _all_checkpoints(arguments: argparse.Namespace, suite: Any) -> Result:
    from bioclip_jax.evaluate import evaluate_checkpoints

    if arguments.output is None:
        raise UserError("--all-checkpoints writes a table and curves; name a folder for them with --output")
    result = evaluate_checkpoints(Path(arguments.model), suite, arguments.output, **_evaluator(arguments))
    print(f"wrote {arguments.output}/results.json, results.csv and the curves", file=sys.stderr)
    return result


def _suite_status(result: dict[str, Any] | None) -> int:
    """Return a nonzero exit status if an entry failed, for scripts."""
    return 1 if result and result.get("failed") else 0


def _candidates(data: str, text_type: str) -> Any:
    """Return the classes of `data` for a protocol."""
    from bioclip_jax.evaluate import candidates
    from bioclip_jax.pipeline.sources import open_source
    from bioclip_jax.predict.embedding import read_samples

    return candidates(read_samples(open_source(data, split="train")), text_type)


def _evaluator(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the keyword arguments of an Evaluator."""
    return loading(arguments) | {"cache": not arguments.no_cache}


def add_verbs(verbs: Any) -> None:
    """Declare the verb, each protocol as a verb of its own."""
    protocols = add_family(
        verbs,
        "eval",
        "score a model by a published protocol, or by a suite of them: eval SUITE.yaml",
        title="protocols",
        metavar="PROTOCOL|SUITE.yaml",
    )
    verb = _add_protocol(
        protocols, "zero-shot", "top-1, top-3 and top-5 accuracy among class names, and accuracy by rank"
    )
    _add_text_type(verb)
    verb.add_argument("--candidates", metavar="DATA", help="take the classes from these data instead")
    verb.add_argument(
        "--templates",
        choices=["openai", "one"],
        default="openai",
        help='openai: the 81 of the reference\'s evaluation (default); one: only "a photo of {}."',
    )
    verb.set_defaults(options=("text_type", "templates", "candidates"))

    verb = _add_protocol(protocols, "few-shot", "nearest centroid of a few images per class, over folds")
    _add_text_type(verb)
    verb.add_argument(
        "--shots", type=positive, nargs="+", default=[1, 5], help="images per class (default: 1 5)"
    )
    verb.add_argument("--folds", type=positive, default=5, help="random draws (default: 5)")
    verb.add_argument(
        "--skip-small-classes", dest="skip_small", action="store_true", help="skip classes with fewer images"
    )
    verb.set_defaults(options=("text_type", "shots", "folds", "skip_small"))

    verb = _add_protocol(protocols, "newt", "164 binary tasks, one support vector machine each")
    verb.add_argument(
        "--draws", type=positive, default=100, help="hyperparameter settings tried per task (default: 100)"
    )
    _add_seeds(verb, "draws", "jobs")
    verb.add_argument("--jobs", type=positive, help="processes (default: one per core)")

    _add_seeds(
        _add_protocol(protocols, "fishnet", "nine traits of fishes, by a small head on frozen features")
    )
    _add_seeds(_add_protocol(protocols, "awa2", "85 attributes of animal classes held out from training"))

    verb = _add_protocol(protocols, "herbarium19", "classification of known species, discovery of new ones")
    _add_seeds(verb, "old")
    verb.add_argument(
        "--old-classes",
        dest="old",
        type=int,
        nargs="+",
        metavar="INDEX",
        help="the known classes (default: the benchmark's)",
    )

    verb = _add_protocol(protocols, "plantdoc", "healthy and diseased leaves from one image per class")
    verb.add_argument("--shots", type=positive, default=1, help="images per class (default: 1)")
    verb.add_argument("--repeats", type=positive, default=5, help="random draws (default: 5)")
    verb.set_defaults(options=("shots", "repeats"))

    verb = add_verb(protocols, _SUITE, eval_suite, "all entries of a suite whose data are available")
    verb.add_argument("suite", type=Path, metavar="SUITE.yaml", help="as configs/bioclip2.yaml")
    _add_evaluated(verb)
    verb.add_argument(
        "--output", type=Path, required=True, metavar="DIR", help="folder of results.json, .md and .png"
    )
    verb.add_argument(
        "--resume", action="store_true", help="keep results in DIR of the same model, data and options"
    )
    verb.set_defaults(status=_suite_status)


def _add_protocol(protocols: Any, name: str, help: str) -> argparse.ArgumentParser:
    verb = add_verb(protocols, name, eval_protocol, help)
    verb.set_defaults(protocol=name, options=())
    _add_evaluated(verb)
    data = verb.add_mutually_exclusive_group(required=True)
    data.add_argument("--data", metavar="DATA", help=f"the publisher's folder, {DATA}")
    data.add_argument("--images", type=Path, metavar="DIR", help="root of the file paths in --labels")
    verb.add_argument("--labels", type=Path, metavar="CSV", help="annotations of --images")
    verb.add_argument(
        "--output",
        type=Path,
        metavar="DIR",
        help="write results.json and CSV tables of details to this folder",
    )
    return verb


def _add_evaluated(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--model", required=True, metavar="MODEL", help=MODEL)
    verb.add_argument("--data-root", type=Path, metavar="DIR", help="parent of the publishers' folders")
    verb.add_argument(
        "--all-checkpoints",
        action="store_true",
        help="score every checkpoint of the training directory MODEL",
    )
    add_device(verb)
    add_transform(verb, default="the model's own")
    add_reading(verb)
    verb.add_argument("--no-cache", action="store_true", help="encode every image, without the vector cache")


def _add_text_type(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--text-type", default="taxon_com", choices=_TEXT_TYPES, help="form of the class names")


def _add_seeds(verb: argparse.ArgumentParser, *options: str) -> None:
    verb.add_argument(
        "--seeds", type=non_negative, nargs="+", default=[0, 1, 2], help="one run each (default: 0 1 2)"
    )
    verb.set_defaults(options=("seeds", *options))
