"""The verb duplicates."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from bioclip_jax.errors import count_of

from .options import Result, add_inputs, add_output, add_reading, add_verb, non_negative, reading


def duplicates(arguments: argparse.Namespace) -> Result:
    """Find copies among photographs."""
    from bioclip_jax.predict import find_duplicates

    result = find_duplicates(
        arguments.inputs,
        arguments.output,
        threshold=arguments.threshold,
        format=arguments.format,
        reading=reading(arguments),
        as_result=arguments.json,
    )
    if not arguments.json:
        copies = f"{result['exact']:,} exact and {count_of(result['near'], 'near copy', 'near copies')} in "
        copies += count_of(result["groups"], "group")
        print(f"{copies}, {result['bytes'] / 1e6:,.1f} MB; nothing is deleted", file=sys.stderr)
        if plain := result["too_plain"]:
            print(f"note: {plain:,} photos are too plain to find near copies of", file=sys.stderr)
    return result


def add_verbs(verbs: Any) -> None:
    """Declare the verb."""
    verb = add_verb(verbs, "duplicates", duplicates, "find exact and near copies among photographs")
    add_inputs(verb)
    add_reading(verb)
    verb.add_argument(
        "--threshold",
        type=non_negative,
        default=31,
        metavar="BITS",
        help="largest distance of near copies, of 256 bits of PDQ; 64 also joins most bursts (default: 31)",
    )
    add_output(verb)
