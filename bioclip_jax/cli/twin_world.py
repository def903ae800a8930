"""The verbs of the twin's worlds: twin build, run, compare; calibrate is in twin_calibrate."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from bioclip_jax.errors import listing

from .options import Result, add_verb, positive, probability, seed
from .twin_calibrate import add_calibrate_verb


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


def run(arguments: argparse.Namespace) -> Result:
    """Simulate a twin without and with scenarios."""
    from bioclip_jax.twin.scenario import RunOptions, run_twin

    options = RunOptions(arguments.members, arguments.years, arguments.seed, arguments.posterior)
    result = run_twin(arguments.twin, arguments.output, arguments.scenario, options)
    if result["note"]:
        print(f"warning: {result['note']}", file=sys.stderr)
    if not arguments.json:
        branches = ", ".join(("baseline", *result["scenarios"]))
        print(
            f"{result['members']:,} members of {result['species']:,} species in {result['patches']:,} "
            f"patches over {result['years']:,} years: {branches}",
            file=sys.stderr,
        )
        for branch, shares in result["extinct"].items():
            listed = [f"{name} {share:.1%}" for name, share in shares.items()]
            if listed:
                print(
                    f"{branch}, extinct in the share of members: {listing(listed, 8)}",
                    file=sys.stderr,
                )
        print(f"wrote {result['output']}", file=sys.stderr)
    return result


def compare(arguments: argparse.Namespace) -> Result:
    """Compare a scenario with the baseline."""
    from bioclip_jax.twin.scenario import CompareOptions, compare_runs, comparison_table

    options = CompareOptions(
        scenario=arguments.scenario,
        against=arguments.against,
        window=arguments.window,
        quasi_extinction=arguments.quasi_extinction,
        observed=arguments.observed,
    )
    result = compare_runs(arguments.runs, arguments.output, options)
    if result["note"]:
        print(f"warning: {result['note']}", file=sys.stderr)
    if result["unpaired_because"]:
        print(
            f"note: compared without pairs of members, because {result['unpaired_because']}", file=sys.stderr
        )
    if not arguments.json:
        print(comparison_table(result))
        print(f"wrote {result['output']}", file=sys.stderr)
    return result


def add_world_verbs(family: Any) -> None:
    """Declare the verbs in the family of `twin`."""
    verb = add_verb(
        family, "build", build, "build the twin of a world from its species, links, map and climate"
    )
    verb.add_argument("world", metavar="WORLD.toml", type=Path, help="the description of the world")
    verb.add_argument("output", metavar="OUT", type=Path, help="the twin, a new folder")
    verb.add_argument("--overwrite", action="store_true", help="replace the twin in OUT")

    add_calibrate_verb(family)

    verb = add_verb(
        family, "run", run, "simulate a twin many times, without and with scenarios; resumes where it stopped"
    )
    verb.add_argument("twin", metavar="TWIN", type=Path, help="folder that twin build wrote")
    verb.add_argument("output", metavar="OUT", type=Path, help="the run, a new folder or an interrupted run")
    verb.add_argument(
        "--scenario",
        nargs="+",
        action="extend",
        default=[],
        type=Path,
        metavar="FILE.toml",
        help="dated events; each file is a branch beside the common baseline",
    )
    verb.add_argument(
        "--members",
        type=positive,
        default=200,
        metavar="N",
        help="draws of parameters and weather (default: 200)",
    )
    verb.add_argument(
        "--years", type=positive, default=10, metavar="N", help="length of the run (default: 10)"
    )
    verb.add_argument("--seed", type=seed, default=0, metavar="N", help="of all draws (default: 0)")
    verb.add_argument(
        "--posterior",
        type=Path,
        metavar="DIR",
        help="folder that twin calibrate wrote (default: parameters from the priors, which is no forecast)",
    )

    verb = add_verb(
        family, "compare", compare, "compare a scenario with its baseline, or a second run with a first"
    )
    verb.add_argument(
        "runs",
        metavar="RUN",
        nargs="+",
        type=Path,
        help="one run, with a scenario, or two, of which the first is the reference",
    )
    verb.add_argument(
        "output", metavar="OUT", type=Path, help="folder of the JSON, the table and the figures"
    )
    verb.add_argument("--scenario", metavar="NAME", help="which one, if the run has several")
    verb.add_argument("--against", metavar="NAME", help="the reference (default: baseline)")
    verb.add_argument(
        "--window",
        type=float,
        default=1.0,
        metavar="YEARS",
        help="compare the mean biomass of the last years (default: 1)",
    )
    verb.add_argument(
        "--quasi-extinction",
        type=probability,
        default=0.1,
        metavar="SHARE",
        help="share of the biomass at the start that counts as nearly extinct (default: 0.1)",
    )
    verb.add_argument(
        "--observed", type=Path, metavar="CSV", help="observed effects, to score: species, ratio"
    )
