"""The report of a learned head: how good it is, class by class, and which photographs to look at again."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from bioclip_jax import html
from bioclip_jax.html import number, share
from bioclip_jax.intervals import wilson_interval
from bioclip_jax.predict.inputs import ImageFile
from bioclip_jax.predict.report import thumbnails

from .choose import CENTROID, DISCRIMINANT, LOGISTIC, MIXTURE, NAMES, Choice
from .labels import Labels
from .second_look import Suspect

TITLES = {
    NAMES: "the names alone",
    CENTROID: "nearest centroid",
    DISCRIMINANT: "linear discriminant",
    LOGISTIC: "logistic regression",
    MIXTURE: "mixture of all",
}
# Confidence limits of the calibration table.
_LIMITS = (0.0, 0.2, 0.4, 0.6, 0.8, 0.9, 1.0)
_MOST_CONFUSED = 20
_MOST_PICTURES = 60


def write_report(
    path: Path,
    about: Mapping[str, Any],
    labels: Labels,
    choice: Choice,
    probabilities: Float[np.ndarray, "held classes"],
    suspects: Sequence[Suspect],
    images: Sequence[ImageFile],
    paths: Sequence[str],
    notes: Sequence[str],
) -> None:
    """Write the page. about: head.json. probabilities: of the held-out photographs. images, paths: of all."""
    held_labels = labels.labels[choice.held]
    predicted = probabilities.argmax(axis=1)
    html.write_page(
        path,
        "learned.html",
        about=about,
        made=datetime.fromisoformat(about["created"]),
        notes=notes,
        figures=[
            ("photographs", number(about["photographs"])),
            ("classes", number(len(labels.names))),
            ("right when held out", share(about["accuracy"], 1)),
            ("95 % interval", _interval(about["interval"])),
            ("to look at again", number(len({suspect.photograph for suspect in suspects}))),
        ],
        chosen=TITLES[choice.name],
        candidates=_candidates(about),
        without=[(TITLES[name], reason) for name, reason in choice.without.items()],
        calibration=_calibration(probabilities.max(axis=1), predicted == held_labels),
        classes=_classes(about, held_labels, predicted, labels.names),
        confusions=_confusions(held_labels, predicted, labels.names),
        suspects=_cards(suspects, labels, images, paths),
        more=max(0, len(suspects) - _MOST_PICTURES),
    )


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def _interval(interval: Sequence[float] | None) -> str:
    return "–" if interval is None else f"{100 * interval[0]:.0f} to {100 * interval[1]:.0f} %"


def _candidates(about: Mapping[str, Any]) -> list[tuple[str, ...]]:
    return [
        (
            TITLES[one["name"]] + (" (chosen)" if one["name"] == about["chosen"] else ""),
            _percent(one["accuracy"]),
            _interval(one["interval"]),
            f"{one['log_likelihood']:.3f}",
        )
        for one in about["candidates"]
    ]


def _calibration(confidence: Float[np.ndarray, " held"], correct: np.ndarray) -> list[tuple[str, ...]]:
    rows = []
    for low, high in zip(_LIMITS, _LIMITS[1:]):
        inside = (confidence >= low) & ((confidence < high) | (high == 1))
        if n := int(inside.sum()):
            hits = int(correct[inside].sum())
            rows.append(
                (
                    f"{100 * low:.0f} to {100 * high:.0f} %",
                    number(n),
                    _percent(float(confidence[inside].mean())),
                    _percent(hits / n),
                    _interval(wilson_interval(hits, n)),
                )
            )
    return rows


def _classes(
    about: Mapping[str, Any],
    labels: Int[np.ndarray, " held"],
    predicted: Int[np.ndarray, " held"],
    names: Sequence[str],
) -> list[tuple[str, ...]]:
    rows = []
    for index, one in enumerate(about["labels"]):
        others = np.bincount(predicted[(labels == index) & (predicted != index)], minlength=len(names))
        taken_for = f"{names[others.argmax()]} ({others.max()})" if others.any() else "–"
        accuracy = _percent(one["accuracy"]) if "accuracy" in one else "not measured"
        rows.append(
            (
                one["label"],
                number(one["photographs"]),
                number(one["held_out"]),
                accuracy,
                _interval(one.get("interval")),
                taken_for,
            )
        )
    return rows


def _confusions(
    labels: Int[np.ndarray, " held"], predicted: Int[np.ndarray, " held"], names: Sequence[str]
) -> list[tuple[str, float, float, str]]:
    wrong = np.flatnonzero(labels != predicted)
    pairs, counts = np.unique(np.stack([labels[wrong], predicted[wrong]]), axis=1, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:_MOST_CONFUSED]
    return [
        (
            f"{names[pairs[0, one]]} taken for {names[pairs[1, one]]}",
            int(counts[one]),
            int(counts.max()),
            number(int(counts[one])),
        )
        for one in order
    ]


def _cards(
    suspects: Sequence[Suspect], labels: Labels, images: Sequence[ImageFile], paths: Sequence[str]
) -> list[dict[str, Any]]:
    """Return the first suspects with their pictures."""
    shown = suspects[:_MOST_PICTURES]
    wanted = sorted({index for one in shown for index in (one.photograph, one.beside) if index is not None})
    pictures = dict(zip(wanted, thumbnails([images[index] for index in wanted])))
    names = labels.names

    def card(suspect: Suspect) -> dict[str, Any]:
        index = suspect.photograph
        other = suspect.beside
        return {
            "picture": pictures[index],
            "file": os.path.basename(paths[index]),
            "label": names[labels.labels[index]],
            "predicted": "" if suspect.predicted is None else names[suspect.predicted],
            "probability": "" if suspect.probability is None else share(suspect.probability, 1),
            "reason": suspect.reason,
            "beside": None
            if other is None
            else {
                "picture": pictures[other],
                "file": os.path.basename(paths[other]),
                "label": names[labels.labels[other]],
            },
        }

    return [card(suspect) for suspect in shown]
