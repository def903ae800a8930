"""The verbs bench field, events and learn: memory and accuracy in field work."""

from __future__ import annotations

import argparse
from typing import Any

from .options import (
    DATA,
    Result,
    add_model,
    add_reading,
    add_transform,
    add_verb,
    loading,
    non_negative,
    positive,
    probability,
    register_datasets,
    seed,
)


def bench_field(arguments: argparse.Namespace) -> Result:
    """Measure predict over a memory card."""
    from bioclip_jax.bench import field_table, measure_field

    result = measure_field(
        arguments.images,
        model=arguments.model,
        events=arguments.events,
        kills=arguments.kills,
        folder=arguments.folder,
    )
    if not arguments.json:
        print(field_table(result))
    return result


def bench_events(arguments: argparse.Namespace) -> Result:
    """Measure the accuracy of events and of their frames."""
    from bioclip_jax.bench import bursts_table, measure_bursts

    register_datasets()
    options = {name: getattr(arguments, name) for name in ("bursts", "severity", "seed")}
    result = measure_bursts(arguments.data, arguments.model, **options)
    if not arguments.json:
        print(bursts_table(result))
    return result


def bench_learn(arguments: argparse.Namespace) -> Result:
    """Measure taxa learn."""
    from bioclip_jax.bench import learning_comparison, measure_learning

    register_datasets()
    result = measure_learning(
        arguments.train,
        arguments.val,
        arguments.model,
        labels=arguments.label,
        shots=arguments.shots,
        draws=arguments.draws,
        loading=loading(arguments),
    )
    if not arguments.json:
        print(learning_comparison(result))
    return result


def add_field_verbs(family: Any) -> None:
    """Declare the verbs."""
    verb = add_verb(family, "field", bench_field, "memory and resumption of predict over a memory card")
    verb.add_argument(
        "--images", type=positive, default=100_000, metavar="N", help="photographs (default: 100,000)"
    )
    verb.add_argument(
        "--model",
        default="ViT-Test-16",
        metavar="MODEL",
        help="a model, or an architecture with random weights (default: ViT-Test-16)",
    )
    verb.add_argument(
        "--kills", type=non_negative, default=3, metavar="N", help="times to kill and resume (default: 3)"
    )
    verb.add_argument(
        "--events", type=positive, metavar="SECONDS", help="also pool events (default: photographs alone)"
    )
    verb.add_argument("--folder", metavar="DIR", help="keep the card and the outputs in this empty folder")

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

    verb = add_verb(
        family, "learn", bench_learn, "accuracy of taxa learn beside names alone and classifiers by hand"
    )
    verb.add_argument("train", metavar="TRAIN", help="labeled photographs to learn from, as of taxa learn")
    verb.add_argument("val", metavar="VAL", help="labeled photographs of the same classes to test on")
    add_model(verb)
    add_transform(verb)
    add_reading(verb)
    verb.add_argument(
        "--label",
        nargs="+",
        default=("species",),
        metavar="COLUMN",
        help="ranks or columns of the classes (default: species)",
    )
    verb.add_argument(
        "--shots",
        type=positive,
        nargs="+",
        default=(5, 10, 20, 50),
        metavar="N",
        help="photographs of each class (default: 5 10 20 50)",
    )
    verb.add_argument(
        "--draws", type=positive, default=5, metavar="N", help="draws of the photographs (default: 5)"
    )
