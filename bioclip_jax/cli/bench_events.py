"""The verb bench events."""

from __future__ import annotations

import argparse
from typing import Any

from .options import DATA, Result, add_verb, positive, probability, register_datasets, seed


def bench_events(arguments: argparse.Namespace) -> Result:
    """Measure the accuracy of events and of their frames."""
    from bioclip_jax.bench import bursts_table, measure_bursts

    register_datasets()
    options = {name: getattr(arguments, name) for name in ("bursts", "severity", "seed")}
    result = measure_bursts(arguments.data, arguments.model, **options)
    if not arguments.json:
        print(bursts_table(result))
    return result


def add_bench_events(family: Any) -> None:
    """Declare the verb."""
    verb = add_verb(family, "events", bench_events, "accuracy per event and per frame, on planted bursts")
    verb.add_argument("data", metavar="DATA", help=f"images with species: {DATA}")
    verb.add_argument("--model", required=True, metavar="MODEL", help="a model with taxa")
    verb.add_argument("--bursts", type=positive, default=300, metavar="N", help="default: 300")
    verb.add_argument(
        "--severity",
        type=probability,
        default=0.5,
        metavar="S",
        help="of the damage to frames (default: 0.5)",
    )
    verb.add_argument("--seed", type=seed, default=0, metavar="N", help="of the bursts (default: 0)")
