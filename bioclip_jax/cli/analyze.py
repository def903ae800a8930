"""The analyses of the embedding space: analyze overview, between, within."""

from __future__ import annotations

import argparse
import itertools
import sys
from pathlib import Path
from typing import Any

from bioclip_jax.files import Reads, check_folder, check_output

from .options import (
    DATA,
    Result,
    add_batch_size,
    add_family,
    add_verb,
    non_negative,
    positive,
    register_datasets,
)


def overview(arguments: argparse.Namespace) -> Result:
    """Draw the training curve and a map of the embeddings."""
    from bioclip_jax.analyze import write_overview

    register_datasets()
    check_output(arguments.output)
    return write_overview(arguments.model, arguments.data, arguments.output)


def between(arguments: argparse.Namespace) -> Result:
    """Analyze differences between species."""
    from bioclip_jax.analyze import analyze_between

    result = analyze_between(
        _stages(arguments),
        arguments.output,
        species_column=arguments.species_column,
        traits=arguments.traits,
        trait_names=arguments.trait,
        permutations=arguments.permutations,
        seed=arguments.seed,
        reads=_reads(arguments),
    )
    table = {
        name: {
            "r": trait["r"],
            "p": trait["p"],
            "r of held-out species": trait["r_cv"],
            "its p": trait["p_cv"],
        }
        for name, trait in result["traits"].items()
    }
    if (tree := result["tree"]) is not None:
        table["tree"] = {"cophenetic r": tree["cophenetic"], "p": tree["p"]}
    return _report(arguments, result, table)


def within(arguments: argparse.Namespace) -> Result:
    """Analyze variation within species."""
    from bioclip_jax.analyze import analyze_within

    result = analyze_within(
        _stages(arguments),
        arguments.output,
        factors=arguments.factor,
        species_column=arguments.species_column,
        permutations=arguments.permutations,
        seed=arguments.seed,
        reads=_reads(arguments),
    )
    titles = {
        "separability": "separability",
        "majority": "majority class",
        "orthogonality": "orthogonality",
        "orthogonality_null_mean": "of random directions",
        "orthogonality_permuted_mean": "of permuted labels",
    }
    table = {
        name: {title: factor[key] for key, title in titles.items() if factor.get(key) is not None}
        for name, factor in result["factors"].items()
    }
    return _report(arguments, result, table)


def _reads(arguments: argparse.Namespace) -> Reads:
    """Return the files that an analysis reads."""
    from bioclip_jax.pipeline.sources import data_files

    return {
        "the --traits table": getattr(arguments, "traits", None),
        "the --labels table": arguments.labels,
        "an input": itertools.chain(
            arguments.embeddings, data_files(arguments.data) if arguments.data else ()
        ),
    }


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


def _report(arguments: argparse.Namespace, result: dict[str, Any], table: dict[str, Any]) -> Result:
    """Print the table unless --json is given, and the output folder."""
    if not arguments.json:
        from bioclip_jax.evaluate.report import format_table

        rows = [
            {"": name} | {title: _format(value) for title, value in values.items()}
            for name, values in table.items()
        ]
        print("\n".join(format_table(rows)))
    print(
        f"wrote {arguments.output}/report.html, results.json, and a PNG and a CSV per figure", file=sys.stderr
    )
    return result


def _format(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def add_verbs(verbs: Any) -> None:
    """Declare the verbs."""
    family = add_family(verbs, "analyze", "analyze the embedding space", "analyses", "ANALYSIS")
    verb = add_verb(family, "overview", overview, "draw the training curve and a map of the embeddings")
    verb.add_argument("--model", required=True, metavar="MODEL", help="a training directory")
    verb.add_argument("--data", required=True, metavar="DATA", help="the images to map")
    verb.add_argument("--output", required=True, type=Path, metavar="PNG")

    verb = add_verb(family, "between", between, "relate species means to traits and to the taxonomic tree")
    _add_analyzed(verb)
    verb.add_argument("--traits", type=Path, metavar="CSV", help="one row per species, one column per trait")
    verb.add_argument(
        "--trait",
        nargs="+",
        default=[],
        metavar="COLUMN",
        help="columns of --traits, or of the data themselves",
    )
    verb.add_argument(
        "--permutations", type=positive, default=9999, help="trait permutations (default: 9999)"
    )

    verb = add_verb(
        family,
        "within",
        within,
        "measure variation within species, and its separation from species differences",
    )
    _add_analyzed(verb)
    verb.add_argument(
        "--factor", nargs="+", required=True, metavar="COLUMN", help="such as life_stage, sex, health"
    )
    verb.add_argument("--permutations", type=positive, default=200, help="label permutations (default: 200)")


def _add_analyzed(verb: argparse.ArgumentParser) -> None:
    """Add the embeddings: of one file or model, or of several, which become stages of a curve."""
    verb.add_argument(
        "--embeddings",
        type=Path,
        nargs="+",
        default=[],
        metavar="PARQUET",
        help="files from `bioclip-jax embed`",
    )
    verb.add_argument(
        "--model", nargs="+", default=[], metavar="MODEL", help="models to embed --data with instead"
    )
    verb.add_argument("--data", metavar="DATA", help=DATA)
    verb.add_argument("--images", type=Path, metavar="DIR", help="instead of --data, with --labels CSV")
    verb.add_argument("--labels", type=Path, metavar="CSV", help="annotations of --images")
    verb.add_argument(
        "--all-checkpoints", action="store_true", help="each checkpoint of the training directory is a stage"
    )
    verb.add_argument(
        "--names", nargs="+", default=[], metavar="NAME", help='names of the stages, such as "25 %%"'
    )
    verb.add_argument(
        "--species-column",
        metavar="COLUMN",
        help="column of the species (default: genus and species)",
    )
    verb.add_argument(
        "--where", nargs="+", default=[], metavar="COLUMN=VALUE", help="only rows with this value"
    )
    verb.add_argument("--seed", type=non_negative, default=0, help="seed of the permutations (default: 0)")
    add_batch_size(verb)
    verb.add_argument(
        "--output",
        required=True,
        type=Path,
        metavar="DIR",
        help="folder of the report, its figures and tables",
    )
