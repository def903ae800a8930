"""The verb bench twin."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from .options import Result, add_verb, positive, print_result


def bench_twin(arguments: argparse.Namespace) -> Result:
    """Measure twin observe and twin estimate, an ensemble of food webs, or models of individuals."""
    from bioclip_jax.bench import (
        INDIVIDUAL_PARTS,
        individuals_table,
        measure_individuals,
        measure_network,
        measure_twin,
        network_table,
    )

    if arguments.individuals:
        result = measure_individuals(
            arguments.parts or INDIVIDUAL_PARTS,
            animals=arguments.animals,
            steps=arguments.steps,
            population=arguments.population,
            hours=arguments.hours,
            peer=arguments.peer,
        )
        if not arguments.json:
            print(individuals_table(result))
        return result
    if arguments.network:
        result = measure_network(
            arguments.members,
            species=arguments.species or 56,
            years=arguments.years,
            tolerance=arguments.tolerance,
        )
        if not arguments.json:
            print(network_table(result))
        return result
    result = measure_twin(
        arguments.rows, cameras=arguments.cameras, species=arguments.species or 40, folder=arguments.folder
    )
    if not arguments.json:
        print_result(result)
    return result


def add_twin_verb(family: Any) -> None:
    """Declare the verb."""
    verb = add_verb(
        family,
        "twin",
        bench_twin,
        "time and memory of twin observe and twin estimate, of food webs against SciPy, or of individuals",
    )
    verb.add_argument("--rows", type=positive, default=1_000_000, metavar="N", help="photographs")
    verb.add_argument("--cameras", type=positive, default=500, metavar="N", help="(default: 500)")
    verb.add_argument(
        "--species", type=positive, metavar="N", help="(default: 40 of a survey, 56 of a food web)"
    )
    verb.add_argument(
        "--network", action="store_true", help="an ensemble of random food webs, ours and SciPy's LSODA"
    )
    verb.add_argument("--members", type=positive, default=1000, metavar="N", help="of the ensemble")
    verb.add_argument("--years", type=float, default=10.0, metavar="N", help="simulated (default: 10)")
    verb.add_argument(
        "--tolerance", type=float, default=1e-6, metavar="X", help="relative, of both (default: 1e-6)"
    )
    verb.add_argument("--folder", type=Path, metavar="DIR", help="keep the tables and outputs there")
    verb.add_argument(
        "--individuals", action="store_true", help="models of individuals: Wolf-Sheep, flocking, hour clock"
    )
    verb.add_argument("--peer", action="store_true", help="also measure individuals of Mesa and ABMax")
    verb.add_argument(
        "--parts",
        nargs="+",
        metavar="PART",
        help="of individuals: wolf_sheep, flocking, hour_clock (default: all)",
    )
    verb.add_argument(
        "--animals", type=positive, default=10_000, metavar="N", help="of the first two (default: 10,000)"
    )
    verb.add_argument("--steps", type=positive, default=100, metavar="N", help="of the same (default: 100)")
    verb.add_argument(
        "--population",
        type=positive,
        default=1_000_000,
        metavar="N",
        help="of the hour clock (default: 1,000,000)",
    )
    verb.add_argument("--hours", type=positive, default=10, metavar="N", help="of the same (default: 10)")
