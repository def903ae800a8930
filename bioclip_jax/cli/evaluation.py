"""The verbs that score models and look into their embeddings: eval, analyze."""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bioclip_jax.errors import UserError
from bioclip_jax.files import Reads, check_folder, check_output

from .options import (
    MODEL,
    Result,
    add_reading,
    add_transform,
    add_verb,
    non_negative,
    positive,
    reading,
    register_datasets,
)

# What the parser calls a suite, which people name by its file alone: eval SUITE.yaml.
_SUITE = "suite"
_SUITE_SUFFIXES = (".yaml", ".yml")
_TEXT_TYPES = ["asis", "sci", "taxon", "com", "sci_com", "taxon_com"]
_DATA = "tars, ArrayRecord, a folder with metadata.csv or NAME:SPLIT"


def suite_first(argv: Sequence[str]) -> list[str]:
    """The arguments with the parser's word for a suite before its file, so that `eval SUITE.yaml` is a verb."""
    if len(argv) > 1 and argv[0] == "eval" and argv[1].endswith(_SUITE_SUFFIXES):
        return [argv[0], _SUITE, *argv[1:]]
    return list(argv)


def open_data(location: Any, split: str) -> Any:
    """The source of what evaluations read, from an evaluation's Location and the split."""
    from bioclip_jax.datasets.published import open_evaluation

    where = {"images": location.images, "labels": location.labels, "root": location.root}
    return open_evaluation(location.data, split, protocol=location.protocol, **where)


def eval_protocol(arguments: argparse.Namespace) -> Result:
    from bioclip_jax.evaluate import Location, check_results_folder, make_protocol, single_entry_suite
    from bioclip_jax.pipeline.sources import data_files

    images, labels = arguments.images, arguments.labels
    if (arguments.data is None) == (images is None) or (images is None) != (labels is None):
        raise UserError("the data to score is not clear; give --data, or --images with --labels")
    read = {"what --labels name": labels, "an input": data_files(arguments.data or images)}
    check_results_folder(arguments.output, read, f"{arguments.protocol}_*.csv")
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
        arguments.model, protocol, location, open_data, output=arguments.output, **_running(arguments)
    )
    if not arguments.json:
        from bioclip_jax.evaluate.report import describe_result

        print(describe_result(result, protocol))
    if arguments.output is not None:
        print(f"wrote {arguments.output}/results.json and its tables", file=sys.stderr)
    return result


def eval_suite(arguments: argparse.Namespace) -> Result:
    from bioclip_jax.evaluate import check_results_folder, read_suite

    check_results_folder(arguments.output)
    register_datasets()
    suite = read_suite(arguments.suite, open_data, data_root=arguments.data_root)
    if arguments.all_checkpoints:
        return _all_checkpoints(arguments, suite)
    from bioclip_jax.evaluate import Evaluator, evaluate_suite

    evaluator = Evaluator(arguments.model, **_running(arguments))
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
    result = evaluate_checkpoints(Path(arguments.model), suite, arguments.output, **_running(arguments))
    print(f"wrote {arguments.output}/results.json, results.csv and the curves", file=sys.stderr)
    return result


def _suite_status(result: dict[str, Any] | None) -> int:
    """Not 0 where an entry failed, so that a script notices."""
    return 1 if result and result.get("failed") else 0


def _candidates(data: str, text_type: str) -> Any:
    """The classes of `data`, as a protocol takes them."""
    from bioclip_jax.evaluate import candidates
    from bioclip_jax.pipeline.sources import open_source
    from bioclip_jax.predict.embedding import read_samples

    return candidates(read_samples(open_source(data, split="train")), text_type)


def _running(arguments: argparse.Namespace) -> dict[str, Any]:
    how = {"batch_size": arguments.batch_size, "device": arguments.device, "transform": arguments.transform}
    how["reading"] = reading(arguments)
    return how | {"cache": not arguments.no_cache}


def analyze_overview(arguments: argparse.Namespace) -> Result:
    from bioclip_jax.analyze import write_overview

    register_datasets()
    check_output(arguments.output)
    return write_overview(arguments.model, arguments.data, arguments.output)


def _analyzed(arguments: argparse.Namespace) -> Reads:
    """The files that an analysis reads."""
    from bioclip_jax.pipeline.sources import data_files

    return {
        "what --traits name": getattr(arguments, "traits", None),
        "what --labels name": arguments.labels,
        "an input": itertools.chain(
            arguments.embeddings, data_files(arguments.data) if arguments.data else ()
        ),
    }


def analyze_between(arguments: argparse.Namespace) -> Result:
    from bioclip_jax.analyze import analyze_between

    result = analyze_between(
        _stages(arguments),
        arguments.output,
        species_column=arguments.species_column,
        traits=arguments.traits,
        trait_names=arguments.trait,
        permutations=arguments.permutations,
        seed=arguments.seed,
        reads=_analyzed(arguments),
    )
    traits = {
        name: {
            "r": found["r"],
            "p": found["p"],
            "r of held-out species": found["r_cv"],
            "its p": found["p_cv"],
        }
        for name, found in result["traits"].items()
    }
    tree = result["tree"]
    told = traits | ({} if tree is None else {"tree": {"cophenetic r": tree["cophenetic"], "p": tree["p"]}})
    return _told(arguments, result, told)


def analyze_within(arguments: argparse.Namespace) -> Result:
    from bioclip_jax.analyze import analyze_within

    result = analyze_within(
        _stages(arguments),
        arguments.output,
        factors=arguments.factor,
        species_column=arguments.species_column,
        permutations=arguments.permutations,
        seed=arguments.seed,
        reads=_analyzed(arguments),
    )
    shown = {"separability": "separability", "majority": "commonest value", "orthogonality": "orthogonality"}
    shown |= {
        "orthogonality_null_mean": "of random directions",
        "orthogonality_permuted_mean": "of shuffled labels",
    }
    told = {
        name: {title: found[key] for key, title in shown.items() if found.get(key) is not None}
        for name, found in result["factors"].items()
    }
    return _told(arguments, result, told)


def _stages(arguments: argparse.Namespace) -> Any:
    from bioclip_jax.analyze import open_stages

    check_folder(arguments.output)
    register_datasets()
    return open_stages(
        embeddings=arguments.embeddings,
        models=arguments.model,
        data=arguments.data,
        images=arguments.images,
        labels=arguments.labels,
        all_checkpoints=arguments.all_checkpoints,
        names=arguments.names,
        where=arguments.where,
        batch_size=arguments.batch_size,
    )


def _figure(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _told(arguments: argparse.Namespace, result: dict[str, Any], told: dict[str, Any]) -> Result:
    if not arguments.json:
        from bioclip_jax.evaluate.report import format_table

        cells = [
            {"": name} | {title: _figure(value) for title, value in found.items()}
            for name, found in told.items()
        ]
        print("\n".join(format_table(cells)))
    print(
        f"wrote {arguments.output}/report.html, results.json, and a PNG and a CSV a figure", file=sys.stderr
    )
    return result


def add_verbs(verbs: Any) -> None:
    """Declare them."""
    _add_eval(verbs.add_parser("eval", help="score a model by a published protocol, or by a suite of them"))
    _add_analyze(verbs.add_parser("analyze", help="look into the embedding space"))


def _add_eval(parser: argparse.ArgumentParser) -> None:
    parser.description = "Score a model by one protocol, or by all entries of a file: eval SUITE.yaml."
    protocols = parser.add_subparsers(title="protocols", metavar="PROTOCOL|SUITE.yaml", required=True)

    verb = _add_protocol(protocols, "zero-shot", "top-1, top-3 and top-5 among class names, and every rank")
    _add_text_type(verb)
    verb.add_argument(
        "--candidates", metavar="DATA", help="take the possible classes from here instead of from the data"
    )
    verb.add_argument(
        "--templates",
        choices=["openai", "one"],
        default="openai",
        help='openai: the 81 of the reference\'s evaluation (default); one: "a photo of {}." alone',
    )
    verb.set_defaults(options=("text_type", "templates", "candidates"))

    verb = _add_protocol(protocols, "few-shot", "nearest centroid of a few images a class, over folds")
    _add_text_type(verb)
    verb.add_argument(
        "--shots", type=positive, nargs="+", default=[1, 5], help="images a class (default 1 5)"
    )
    verb.add_argument("--folds", type=positive, default=5, help="how often they are drawn (default 5)")
    verb.add_argument(
        "--skip-small-classes", dest="skip_small", action="store_true", help="leave out classes with fewer"
    )
    verb.set_defaults(options=("text_type", "shots", "folds", "skip_small"))

    verb = _add_protocol(protocols, "newt", "164 binary questions, a support vector machine each")
    verb.add_argument(
        "--draws", type=positive, default=100, help="settings that are tried for each (default 100)"
    )
    _add_seeds(verb, "draws", "jobs")
    verb.add_argument("--jobs", type=positive, help="processes (default: one a core)")

    _add_seeds(
        _add_protocol(protocols, "fishnet", "nine traits of fishes, by a small head on frozen features")
    )
    _add_seeds(_add_protocol(protocols, "awa2", "85 attributes of animals that the head has not seen"))

    verb = _add_protocol(protocols, "herbarium19", "known species named and new ones discovered")
    _add_seeds(verb, "old")
    verb.add_argument(
        "--old-classes",
        dest="old",
        type=int,
        nargs="+",
        metavar="INDEX",
        help="the known ones, where not the benchmark's",
    )

    verb = _add_protocol(protocols, "plantdoc", "healthy and diseased leaves from one image a class")
    verb.add_argument("--shots", type=positive, default=1, help="images a class (default 1)")
    verb.add_argument("--repeats", type=positive, default=5, help="how often they are drawn (default 5)")
    verb.set_defaults(options=("shots", "repeats"))

    verb = add_verb(protocols, _SUITE, eval_suite, "all entries of a suite whose data are there")
    verb.add_argument("suite", type=Path, metavar="SUITE.yaml", help="as configs/bioclip2.yaml")
    _add_evaluated(verb)
    verb.add_argument(
        "--output", type=Path, required=True, metavar="DIR", help="results.json, results.md, results.png"
    )
    verb.add_argument(
        "--resume", action="store_true", help="keep what DIR holds of the same model, data and options"
    )
    verb.set_defaults(status=_suite_status)


def _add_protocol(protocols: Any, name: str, help: str) -> argparse.ArgumentParser:
    verb = add_verb(protocols, name, eval_protocol, help)
    verb.set_defaults(protocol=name, options=())
    _add_evaluated(verb)
    where = verb.add_mutually_exclusive_group(required=True)
    where.add_argument("--data", metavar="DATA", help=f"the publisher's folder, {_DATA}")
    where.add_argument(
        "--images", type=Path, metavar="DIR", help="the folder that the CSV's file paths start from"
    )
    verb.add_argument("--labels", type=Path, metavar="CSV", help="annotations for --images")
    verb.add_argument(
        "--output", type=Path, metavar="DIR", help="write results.json here, and a CSV a table of details"
    )
    return verb


def _add_evaluated(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--model", required=True, metavar="MODEL", help=MODEL)
    verb.add_argument(
        "--data-root", type=Path, metavar="DIR", help="where the publishers' folders lie, each by its name"
    )
    verb.add_argument(
        "--all-checkpoints",
        action="store_true",
        help="score every checkpoint of the training directory MODEL",
    )
    verb.add_argument(
        "--device", metavar="DEVICE", help="cpu, cuda or cuda:N (default: all there are of the fastest)"
    )
    verb.add_argument("--batch-size", type=positive, help="images that go through the model at once")
    add_transform(verb, default="the model's own")
    add_reading(verb)
    verb.add_argument("--no-cache", action="store_true", help="encode every image, and keep no vectors")


def _add_text_type(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--text-type", default="taxon_com", choices=_TEXT_TYPES, help="how classes are named")


def _add_seeds(verb: argparse.ArgumentParser, *options: str) -> None:
    verb.add_argument(
        "--seeds", type=non_negative, nargs="+", default=[0, 1, 2], help="a run each (default 0 1 2)"
    )
    verb.set_defaults(options=("seeds", *options))


def _add_analyze(parser: argparse.ArgumentParser) -> None:
    kinds = parser.add_subparsers(title="analyses", metavar="ANALYSIS", required=True)
    verb = add_verb(
        kinds, "overview", analyze_overview, "draw the training curve and a map of the embeddings"
    )
    verb.add_argument("--model", required=True, metavar="MODEL", help="a training directory")
    verb.add_argument("--data", required=True, metavar="DATA", help="the images to map")
    verb.add_argument("--output", required=True, type=Path, metavar="PNG")

    verb = add_verb(
        kinds, "between", analyze_between, "traits along the species' means, and the tree in the embedding"
    )
    _add_analyzed(verb)
    verb.add_argument("--traits", type=Path, metavar="CSV", help="a row a species, a column a trait")
    verb.add_argument(
        "--trait",
        nargs="+",
        default=[],
        metavar="COLUMN",
        help="these of --traits, or columns of the data themselves",
    )
    verb.add_argument("--permutations", type=positive, default=9999, help="shuffled traits (default 9999)")

    verb = add_verb(
        kinds, "within", analyze_within, "what varies inside species, and whether apart from the species"
    )
    _add_analyzed(verb)
    verb.add_argument(
        "--factor", nargs="+", required=True, metavar="COLUMN", help="such as life_stage, sex, health"
    )
    verb.add_argument("--permutations", type=positive, default=200, help="shuffled labels (default 200)")


def _add_analyzed(verb: argparse.ArgumentParser) -> None:
    """Where embeddings come from: one file or model, or several, which are then stages of a curve."""
    verb.add_argument(
        "--embeddings",
        type=Path,
        nargs="+",
        default=[],
        metavar="PARQUET",
        help="as `bioclip-jax embed` writes them",
    )
    verb.add_argument(
        "--model", nargs="+", default=[], metavar="MODEL", help="encode --data by these instead"
    )
    verb.add_argument("--data", metavar="DATA", help=_DATA)
    verb.add_argument("--images", type=Path, metavar="DIR", help="in place of --data, with --labels CSV")
    verb.add_argument("--labels", type=Path, metavar="CSV")
    verb.add_argument(
        "--all-checkpoints", action="store_true", help="a stage a checkpoint of the training directory"
    )
    verb.add_argument("--names", nargs="+", default=[], metavar="NAME", help='of the stages, such as "25 %%"')
    verb.add_argument(
        "--species-column",
        metavar="COLUMN",
        help="what tells species apart (default: the name of genus and species)",
    )
    verb.add_argument("--where", nargs="+", default=[], metavar="COLUMN=VALUE", help="only rows that say so")
    verb.add_argument("--seed", type=non_negative, default=0)
    verb.add_argument("--batch-size", type=positive, help="images that go through the model at once")
    verb.add_argument(
        "--output", required=True, type=Path, metavar="DIR", help="the report, its figures and tables"
    )
