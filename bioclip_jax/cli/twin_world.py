"""The verbs of the twin's worlds: twin build."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from .options import Result, add_verb


def build(arguments: argparse.Namespace) -> Result:
    """Build a twin of a described world."""
    from bioclip_jax.twin.world import build_twin

    result = build_twin(arguments.world, arguments.output, overwrite=arguments.overwrite)
    for warning in result["warnings"]:
        print(f"warning: {warning}", file=sys.stderr)
    if not arguments.json:
        links = result["links"]
        inferred = f" and {links['inferred']:,} inferred" if links["inferred"] else ""
        print(
            f"{len(result['species']):,} species, {links['observed']:,} observed{inferred} links, "
            f"{len(result['patches']):,} patches\nwrote {result['output']}",
            file=sys.stderr,
        )
    return result


def add_world_verbs(family: Any) -> None:
    """Declare the verbs in the family of `twin`."""
    verb = add_verb(
        family, "build", build, "build the twin of a world from its species, links, map and climate"
    )
    verb.add_argument("world", metavar="WORLD.toml", type=Path, help="the description of the world")
    verb.add_argument("output", metavar="OUT", type=Path, help="the twin, a new folder")
    verb.add_argument("--overwrite", action="store_true", help="replace the twin in OUT")
