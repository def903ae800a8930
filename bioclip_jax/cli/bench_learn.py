"""The verb bench learn."""

from __future__ import annotations

import argparse
from typing import Any

from .options import (
    Result,
    add_model,
    add_reading,
    add_transform,
    add_verb,
    loading,
    positive,
    register_datasets,
)


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


def add_bench_learn(family: Any) -> None:
    """Declare the verb."""
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
