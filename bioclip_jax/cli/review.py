"""The verb review."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from .options import MODEL, Result, add_verb


def review(arguments: argparse.Namespace) -> Result:
    """Merge and apply corrections of predictions."""
    from bioclip_jax.predict.review import describe_review, merge_corrections

    result = merge_corrections(
        arguments.tables,
        arguments.output,
        predictions=arguments.predictions,
        model=arguments.model,
        images=arguments.images,
    )
    for line in describe_review(result):
        print(line, file=sys.stderr if arguments.json else sys.stdout)
    return result


def add_verbs(verbs: Any) -> None:
    """Declare the verb."""
    verb = add_verb(verbs, "review", review, "merge corrections of predictions, and apply them")
    verb.add_argument(
        "tables",
        nargs="+",
        metavar="CORRECTIONS",
        help="tables downloaded from a report or the page, one for each reviewer",
    )
    verb.add_argument(
        "--predictions",
        type=Path,
        metavar="TABLE",
        help="the output of predict: write its rows, one per photograph, with the reviewed names",
    )
    verb.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help="the merged corrections, or the final names (default: none)",
    )
    verb.add_argument(
        "--model", metavar="MODEL", help=f"fill in the ranks of typed names from its taxa; {MODEL}"
    )
    verb.add_argument(
        "--images",
        type=Path,
        metavar="FOLDER",
        help="find the photographs in this folder, and write their paths",
    )
