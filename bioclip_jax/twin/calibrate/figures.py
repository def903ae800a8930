"""Figures of a calibration: counts against predictions, PIT values, priors and posteriors, ranks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from bioclip_jax.plots import GRID, HUES, INK, MUTED, new_figure, save_figure, style_axes

from .likelihood import Calibration
from .priors import BY_KIND

_OBSERVED, _PREDICTED, _WEAK = HUES[5], HUES[0], "#9ca3af"


def draw_predictive(
    calibration: Calibration,
    replicates: Float[np.ndarray, "draws periods patches classes"],
    start_day: Float[np.ndarray, " periods"],
    end_day: Float[np.ndarray, " periods"],
    path: Path,
) -> None:
    """Draw the counts of each class over time, summed over patches, with 50 and 90 % predictive bands."""
    effort = np.asarray(calibration.effort_days)
    sampled = effort.sum(axis=1) > 0
    counts = np.asarray(calibration.counts).sum(axis=1)
    drawn = (replicates * (effort > 0)[:, :, None]).sum(axis=2)
    years = (start_day + end_day)[sampled] / 2 / 365.25
    columns = min(3, len(calibration.classes))
    rows = math.ceil(len(calibration.classes) / columns)
    figure = new_figure(3.6 * columns + 0.4, 1.9 * rows + 0.7, layout="constrained")
    for k, name in enumerate(calibration.classes):
        axes = figure.add_subplot(rows, columns, k + 1)
        style_axes(axes, label_size=7.5)
        for low, high, alpha in ((5, 95, 0.2), (25, 75, 0.35)):
            band = np.percentile(drawn[:, sampled, k], (low, high), axis=0)
            axes.fill_between(years, *band, color=_PREDICTED, alpha=alpha, linewidth=0)
        axes.plot(years, np.median(drawn[:, sampled, k], axis=0), color=_PREDICTED, linewidth=1)
        axes.plot(years, counts[sampled, k], "o", color=_OBSERVED, markersize=3)
        axes.set_ylim(0, None)
        axes.set_title(name, fontsize=9, color=INK, loc="left", style="italic" if " " in name else "normal")
        if k >= len(calibration.classes) - columns:
            axes.set_xlabel("years since the start", fontsize=8, color=MUTED)
        if k % columns == 0:
            axes.set_ylabel("events per period", fontsize=8, color=MUTED)
    figure.suptitle(
        "Counts (points) and predictions: median, 50 % and 90 % bands",
        fontsize=9.5,
        color=INK,
        x=0.01,
        ha="left",
    )
    save_figure(figure, path)


def draw_pit(pit: Sequence[float], path: Path, bins: int = 10) -> None:
    """Draw the histogram of PIT values, with the limits between which 90 % of bins of a good model end."""
    figure = new_figure(4.2, 2.8, layout="constrained")
    axes = figure.add_subplot()
    style_axes(axes)
    _histogram(axes, np.histogram(pit, bins, (0, 1))[0])
    axes.set_xlabel("probability of at most the observed count", fontsize=8.5, color=MUTED)
    axes.set_ylabel("counts", fontsize=8.5, color=MUTED)
    axes.set_title(
        "Probability integral transform: flat if the model fits", fontsize=9.5, color=INK, loc="left"
    )
    save_figure(figure, path)


def draw_prior_posterior(
    calibration: Calibration, u: Float[np.ndarray, "draws parameters"], summary: Mapping[str, Any], path: Path
) -> None:
    """Draw each parameter's posterior in units of its prior; gray where the data say little."""
    shown = [k for k, one in enumerate(calibration.parameters) if one.kind in BY_KIND]
    figure = new_figure(6.4, 0.21 * len(shown) + 1.1, layout="constrained")
    axes = figure.add_subplot()
    style_axes(axes, grid="x", label_size=7.5)
    axes.axvspan(-1.645, 1.645, color=GRID, alpha=0.6, linewidth=0)
    for row, k in enumerate(shown):
        identified = summary["parameters"][calibration.names[k]]["identified"]
        color = _PREDICTED if identified else _WEAK
        low, first, median, third, high = np.quantile(u[:, k], (0.05, 0.25, 0.5, 0.75, 0.95))
        axes.plot([low, high], [row, row], color=color, linewidth=1.2)
        axes.plot([first, third], [row, row], color=color, linewidth=3.5, solid_capstyle="butt")
        axes.plot(median, row, "o", color="white", markeredgecolor=color, markersize=4)
    axes.set_yticks(range(len(shown)), [calibration.names[k] for k in shown])
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.set_xlabel("standard deviations of the prior from its median", fontsize=8.5, color=MUTED)
    axes.set_title(
        "Posterior medians, 50 % and 90 % intervals; gray: not identified\nshaded: 90 % of the prior",
        fontsize=9.5,
        color=INK,
        loc="left",
    )
    save_figure(figure, path)


def draw_ranks(result: Mapping[str, Any], path: Path) -> None:
    """Draw the rank histogram of each parameter; gray where the data say little."""
    parameters = result["parameters"]
    columns = min(5, len(parameters))
    rows = math.ceil(len(parameters) / columns)
    figure = new_figure(2.3 * columns, 1.5 * rows + 0.6, layout="constrained")
    for number, (name, entry) in enumerate(parameters.items()):
        axes = figure.add_subplot(rows, columns, number + 1)
        style_axes(axes, label_size=6.5)
        _histogram(axes, np.array(entry["histogram"]), _PREDICTED if entry["identified"] else _WEAK)
        axes.set_title(f"{name}\np = {entry['p']:.2f}", fontsize=7, color=INK, loc="left")
    figure.suptitle(
        f"Ranks of the true parameters in {result['simulations']} simulations; gray: not identified",
        fontsize=9.5,
        color=INK,
        x=0.01,
        ha="left",
    )
    save_figure(figure, path)


def _histogram(axes: Any, counts: np.ndarray, color: str = _PREDICTED) -> None:
    """Bars of a histogram over 0 to 1, and the limits of 90 % of the bins of a uniform one."""
    from scipy.stats import binom

    bins, total = len(counts), int(counts.sum())
    low, high = binom.ppf((0.05, 0.95), total, 1 / bins)
    axes.bar((np.arange(bins) + 0.5) / bins, counts, 0.9 / bins, color=color)
    for limit in (low, high):
        axes.axhline(limit, color=INK, linewidth=0.8, linestyle=(0, (4, 3)))
    axes.set_xlim(0, 1)
