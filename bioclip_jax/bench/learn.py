"""Accuracy of `taxa learn` beside names alone and what one would do by hand, by photographs per class."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Int

from bioclip_jax.errors import UserError, count_of
from bioclip_jax.intervals import bootstrap_interval, t_interval, wilson_interval
from bioclip_jax.predict import VectorCache, load_model
from bioclip_jax.predict.learn import (
    Labels,
    Photographs,
    choose_head,
    group_photographs,
    label_photographs,
    read_photographs,
    text_vectors,
)

LEARNED = "taxa learn"
NAMES = "names alone"
CENTROID = "nearest centroid"
LOGISTIC = "logistic regression"

Vectors = Float32[np.ndarray, "n dim"]


def measure_learning(
    train: str,
    val: str,
    model: str | None = None,
    *,
    labels: Sequence[str] = ("species",),
    shots: Sequence[int] = (5, 10, 20, 50),
    draws: int = 5,
    loading: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Measure accuracy on `val` after learning from some photographs of each class of `train`.

    train, val: labeled photographs, as learn_head. labels: columns of classes, as learn_head's `label`.
    shots: photographs of each class; a class with fewer gives all it has. draws: of the photographs, each
    with its own seed. The methods by hand are scikit-learn's NearestCentroid, and LogisticRegression on
    standardized vectors at C of 1 (its default) and 0.01, neither of which uses code of `taxa learn`.

    Returns {"model", "train", "val", "draws", "labels": {LABEL: {"classes", "n" of val, "missing"
    (photographs of val of other classes), "sizes": [...]}}}. A size has "shots", "photographs" (of all
    classes), "methods": {METHOD: {"accuracy" (mean), "interval" (of t, over draws), "by_draw", "intervals"
    (Wilson's, of each draw)}}, "best" (of the other methods), "difference" of taxa learn from it and its
    "difference_interval" (bootstrap over photographs of val, each with all its draws), "chosen" (head of each
    draw) and "below": the draws in which taxa learn is below the best other method of that draw by more than
    its own interval.
    """
    loaded = load_model(model, **(loading or {}))
    learned, tested = (read_photographs(data, loaded, VectorCache()) for data in (train, val))
    result: dict[str, Any] = {
        "model": loaded.source,
        "train": train,
        "val": val,
        "draws": draws,
        "labels": {},
    }
    for column in labels:
        classes = label_photographs(learned.samples, column)
        rows, true = _matched(label_photographs(tested.samples, column), classes)
        if not len(rows):
            raise UserError(
                f"no photograph of {val} has a {column} of {train}; give data of the same classes"
            )
        texts = text_vectors(loaded, classes)
        counts = np.bincount(classes.labels)
        sizes = [shot for shot in shots if shot <= counts.max()] or [int(counts.max())]
        if skipped := [shot for shot in shots if shot not in sizes]:
            print(f"note: no {column} has {min(skipped)} photographs; left out", file=sys.stderr)
        result["labels"][column] = {
            "classes": len(classes.names),
            "n": len(rows),
            "missing": len(tested) - len(rows),
            "sizes": [
                _measure_size(
                    learned, classes, texts, tested.vectors[rows], true, shot, draws, loaded.logit_scale
                )
                for shot in sizes
            ],
        }
    return result


def _matched(tested: Labels, classes: Labels) -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, " n"]]:
    """Return the photographs of known classes, and their class's index."""
    known = {name.casefold(): index for index, name in enumerate(classes.names)}
    indices = np.array([known.get(name.casefold(), -1) for name in tested.names])[tested.labels]
    return tested.kept[indices >= 0], indices[indices >= 0]


def _measure_size(
    photographs: Photographs,
    classes: Labels,
    texts: Float32[np.ndarray, "classes dim"] | None,
    vectors: Vectors,
    true: Int[np.ndarray, " n"],
    shots: int,
    draws: int,
    logit_scale: float,
) -> dict[str, Any]:
    correct: dict[str, list[Bool[np.ndarray, " n"]]] = {}
    chosen, size = [], 0
    for draw in range(draws):
        random = np.random.default_rng(draw)
        members = (np.flatnonzero(classes.labels == index) for index in range(len(classes.names)))
        rows = np.concatenate([np.sort(random.permutation(some)[:shots]) for some in members])
        drawn, labels = photographs.vectors[classes.kept[rows]], classes.labels[rows]
        size = len(rows)
        if texts is not None:
            correct.setdefault(NAMES, []).append((vectors @ texts.T).argmax(axis=1) == true)
        for name, predict in _by_hand().items():
            correct.setdefault(name, []).append(predict(drawn, labels, vectors) == true)
        of_draw = classes._replace(kept=np.arange(size), labels=labels)
        _, folds = group_photographs(drawn, of_draw)
        choice = choose_head(drawn, labels, len(classes.names), folds, texts, logit_scale)
        correct.setdefault(LEARNED, []).append(choice.head(vectors).argmax(axis=1) == true)
        chosen.append(choice.name)
    return {"shots": shots, "photographs": size, **_figures(correct), "chosen": chosen}


def _by_hand() -> dict[str, Callable[[Vectors, np.ndarray, Vectors], np.ndarray]]:
    """Return scikit-learn's classifiers, as functions from training vectors, labels and vectors to labels."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import NearestCentroid
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    def logistic(strength: float) -> Any:
        return make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=1000))

    makers = {
        CENTROID: NearestCentroid,
        f"{LOGISTIC}, C = 1": lambda: logistic(1.0),
        f"{LOGISTIC}, C = 0.01": lambda: logistic(0.01),
    }
    return {
        name: lambda drawn, labels, vectors, make=make: make().fit(drawn, labels).predict(vectors)
        for name, make in makers.items()
    }


def _figures(correct: Mapping[str, Sequence[Bool[np.ndarray, " n"]]]) -> dict[str, Any]:
    """Return the methods' accuracies, and the difference of taxa learn from the best of the others."""
    methods: dict[str, Any] = {}
    for name, hits in correct.items():
        by_draw = [float(hit.mean()) for hit in hits]
        methods[name] = {
            "accuracy": float(np.mean(by_draw)),
            "interval": t_interval(by_draw),
            "by_draw": by_draw,
            "intervals": [wilson_interval(int(hit.sum()), len(hit)) for hit in hits],
        }
    others = [name for name in methods if name != LEARNED]
    best = max(others, key=lambda name: methods[name]["accuracy"])
    gains = np.mean(correct[LEARNED], axis=0) - np.mean(correct[best], axis=0)
    learned = methods[LEARNED]
    below = [
        draw
        for draw, (_, high) in enumerate(learned["intervals"])
        if high < max(methods[name]["by_draw"][draw] for name in others)
    ]
    return {
        "methods": methods,
        "best": best,
        "difference": float(gains.mean()),
        "difference_interval": bootstrap_interval(
            lambda times: float((times * gains).sum() / times.sum()), len(gains)
        ),
        "below": below,
    }


def learning_comparison(result: Mapping[str, Any]) -> str:
    """Return the result of measure_learning as a Markdown table for each label."""
    parts = []
    for label, figures in result["labels"].items():
        methods = list(figures["sizes"][0]["methods"])
        lines = [
            f"{label}: {figures['classes']} classes, {figures['n']} photographs to test on, "
            f"{count_of(result['draws'], 'draw')}",
            "",
            f"| a class | in all | {' | '.join(methods)} | difference from the best |",
            "|---:" * (len(methods) + 3) + "|",
        ]
        for size in figures["sizes"]:
            cells = [_with_interval(size["methods"][name]) for name in methods]
            low, high = size["difference_interval"]
            difference = f"{100 * size['difference']:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"
            lines.append(f"| {size['shots']} | {size['photographs']} | {' | '.join(cells)} | {difference} |")
        worst = sum(len(size["below"]) for size in figures["sizes"])
        of = result["draws"] * len(figures["sizes"])
        lines += [
            "",
            f"{LEARNED} is below the best of the others by more than its own interval in {worst} of "
            f"{count_of(of, 'draw')}; the last column compares photograph by photograph",
        ]
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def _with_interval(method: Mapping[str, Any]) -> str:
    if method["interval"] is None:
        return f"{100 * method['accuracy']:.1f}"
    half = method["interval"][1] - method["accuracy"]
    return f"{100 * method['accuracy']:.1f} ± {100 * half:.1f}"
