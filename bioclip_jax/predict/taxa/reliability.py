"""Reliability diagram and expected calibration error of predictions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from bioclip_jax.files import atomic_write
from bioclip_jax.intervals import bootstrap_interval, wilson_interval
from bioclip_jax.plots import new_figure

BINS = 15


def reliability_bins(
    confidence: Float[np.ndarray, " n"], correct: Bool[np.ndarray, " n"]
) -> list[dict[str, float]]:
    """Return BINS equal-width bins of confidence, each {"from", "to", "images", "confidence", "accuracy"}.

    confidence, accuracy: means over the bin's images, 0 for an empty bin.
    """
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    count = np.bincount(bins, minlength=BINS)
    divisor = np.maximum(count, 1)
    mean_confidence = np.bincount(bins, confidence, BINS) / divisor
    accuracy = np.bincount(bins, correct.astype(float), BINS) / divisor
    edges = np.arange(BINS + 1) / BINS
    columns = (edges[:-1], edges[1:], count, mean_confidence, accuracy)
    keys = ("from", "to", "images", "confidence", "accuracy")
    return [dict(zip(keys, row)) for row in zip(*(column.tolist() for column in columns))]


def calibration_error(bins: Sequence[dict[str, float]]) -> float:
    """Return the expected calibration error of reliability_bins (Guo et al. 2017, equation 3)."""
    images = sum(row["images"] for row in bins)
    return sum(row["images"] * abs(row["accuracy"] - row["confidence"]) for row in bins) / max(images, 1)


def error_interval(
    confidence: Float[np.ndarray, " n"], correct: Bool[np.ndarray, " n"]
) -> list[float] | None:
    """Return the 95 % interval of the expected calibration error, by a bootstrap over the images."""
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    gaps = correct - confidence

    def error(drawn: Int[np.ndarray, " n"]) -> float:
        return float(np.abs(np.bincount(bins, drawn * gaps, BINS)).sum() / drawn.sum())

    return bootstrap_interval(error, len(confidence))


def draw_reliability(result: dict[str, Any], output: Path) -> None:
    """Draw reliability diagrams before and after calibration, as PNG, PDF or SVG, with 95 % intervals.

    result: of calibrate_temperature.
    """
    figure = new_figure(9, 5.2)
    axes = figure.subplots(1, 2)
    figure.subplots_adjust(left=0.08, right=0.98, bottom=0.12, top=0.84, wspace=0.16)
    titles = ("as trained", f"at temperature {result['fitted_temperature']:.2f}")
    for axis, title, part in zip(axes, titles, (result["before"], result["after"])):
        rows = [row for row in part["reliability"] if row["images"]]
        most = max(row["images"] for row in rows)
        axis.plot([0, 1], [0, 1], color="0.6", linewidth=1, linestyle="--", zorder=1)
        for row in rows:
            limits = wilson_interval(round(row["accuracy"] * row["images"]), int(row["images"]))
            axis.plot([row["confidence"]] * 2, limits, color="#2b6a4f", linewidth=1, alpha=0.6, zorder=1.5)
        axis.scatter(
            [row["confidence"] for row in rows],
            [row["accuracy"] for row in rows],
            s=[20 + 280 * row["images"] / most for row in rows],
            color="#2b6a4f",
            alpha=0.75,
            edgecolor="white",
            clip_on=False,
            zorder=2,
        )
        axis.set(title=title, xlabel="confidence in the best species", xlim=(0, 1), ylim=(0, 1))
        error = part["ece"]["species"]
        low, high = part["ece_interval"]
        axis.text(
            0.04,
            0.93,
            f"expected calibration error {error:.3f} ({low:.3f} to {high:.3f})",
            transform=axis.transAxes,
        )
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("accuracy")
    figure.suptitle(
        f"{result['images']} images, each at the temperature fitted to the folds without it",
        y=0.97,
        fontsize=10,
        color="0.35",
    )
    with atomic_write(output) as path:
        figure.savefig(path)
