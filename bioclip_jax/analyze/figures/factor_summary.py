"""Figures of all factors: separability and chance, orthogonality by size of the species subspace."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bioclip_jax.plots import HUES, INK, MUTED, new_figure, save_figure, style_axes, write_csv

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from bioclip_jax.analyze.orthogonality import Curve

_ROW = 0.52  # inches per factor


def draw_separability(png: Path, csv: Path, factors: Mapping[str, Mapping[str, Any]], *, title: str) -> None:
    """Draw the held-out accuracy of each factor of analyze_within's result, its interval, and chance."""
    height = 1.45 + _ROW * len(factors)
    figure = new_figure(7.6, height)
    axes = figure.add_axes((0.2, 0.8 / height, 0.74, _ROW * len(factors) / height))
    lowest = 1.0
    for row, result in enumerate(factors.values()):
        low, high = result["interval"]
        null = result["separability_null"]
        label = row == 0
        if null is not None:
            axes.plot(
                [null["mean"], null["quantile_95"]], [row, row], color=MUTED, alpha=0.35, linewidth=9,
                solid_capstyle="butt", label="shuffled labels, mean to 95 %" if label else None,
            )  # fmt: skip
            lowest = min(lowest, null["mean"])
        axes.plot(
            result["majority"], row, marker="|", color=INK, markersize=15, markeredgewidth=1.8,
            linestyle="none", label="always the most frequent value" if label else None,
        )  # fmt: skip
        axes.plot([low, high], [row, row], color=HUES[0], linewidth=2)
        axes.plot(
            result["separability"], row, marker="o", color=HUES[0], markersize=8, linestyle="none",
            label="held-out images, 95 % interval" if label else None,
        )  # fmt: skip
        axes.text(
            result["separability"], row - 0.24, f"{100 * result['separability']:.1f} %", ha="center",
            va="bottom", fontsize=8.5, weight="bold", color=HUES[0],
        )  # fmt: skip
        lowest = min(lowest, low, result["majority"])
    axes.set_yticks(range(len(factors)), list(factors), fontsize=9.5, color=INK)
    axes.set(ylim=(len(factors) - 0.4, -0.65), xlim=(max(0, np.floor(20 * lowest) / 20 - 0.03), 1.01))
    axes.xaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
    style_axes(axes, "x")
    axes.tick_params(axis="y", labelcolor=INK)
    figure.legend(
        *axes.get_legend_handles_labels(), loc="lower left", bbox_to_anchor=(0.02, 0.02), ncols=3,
        frameon=False, fontsize=8, labelcolor=INK, columnspacing=1.2, handletextpad=0.5,
    )  # fmt: skip
    figure.text(0.03, 1 - 0.3 / height, title, fontsize=11, color=INK)
    save_figure(figure, png)
    head = ("factor", "separability", "low", "high", "majority", "shuffled_mean", "shuffled_quantile_95", "p")
    write_csv(csv, head, [_separability_row(name, result) for name, result in factors.items()])


def _separability_row(name: str, result: Mapping[str, Any]) -> tuple[Any, ...]:
    null = result["separability_null"] or {"mean": "", "quantile_95": ""}
    p = result["separability_p"]
    return (
        name, result["separability"], *result["interval"], result["majority"], null["mean"],
        null["quantile_95"], "" if p is None else p,
    )  # fmt: skip


def draw_orthogonality(png: Path, csv: Path, curves: Mapping[str, Curve], size: int, *, title: str) -> None:
    """Draw the share of each factor's direction outside the first k components, with chance levels.

    size: the k that holds 99 % of the variance of the species means.
    """
    columns = min(3, len(curves))
    lines = -(-len(curves) // columns)
    width, height = 3.9 * columns + 0.5, 3.5 * lines + 0.95
    figure = new_figure(width, height)
    for number, (name, curve) in enumerate(curves.items()):
        line, column = divmod(number, columns)
        axes = figure.add_axes(
            (
                (0.55 + 3.9 * column) / width,
                (0.95 + 3.5 * (lines - 1 - line)) / height,
                3.3 / width,
                2.55 / height,
            )
        )
        _curve(axes, curve, size)
        axes.set_title(name, loc="left", fontsize=10, color=INK, weight="bold", pad=18)
        if number == 0:
            handles, labels = axes.get_legend_handles_labels()
            figure.legend(
                handles, labels, loc="lower left", bbox_to_anchor=(0.4 / width, 0),
                ncols=4 if columns > 1 else 2, frameon=False, fontsize=8, labelcolor=INK, columnspacing=1.2,
            )  # fmt: skip
    figure.text(0.4 / width, 1 - 0.3 / height, title, fontsize=11, color=INK)
    save_figure(figure, png)
    write_csv(csv, _CURVE_HEAD, _curve_rows(curves))


def _curve(axes: Axes, curve: Curve, size: int) -> None:
    k = np.arange(len(curve.measured))
    axes.fill_between(k, curve.random[0], curve.random[2], color=MUTED, alpha=0.2, linewidth=0)
    axes.plot(k, curve.random[1], color=MUTED, linewidth=1.2, linestyle=(0, (4, 2)), label="random direction")
    if curve.shuffled is not None:
        axes.fill_between(k, curve.shuffled[0], curve.shuffled[2], color=HUES[1], alpha=0.25, linewidth=0)
        axes.plot(
            k,
            curve.shuffled[1],
            color=HUES[1],
            linewidth=1.2,
            linestyle=(0, (4, 2)),
            label="shuffled labels",
        )
    axes.plot(k, curve.measured, color=HUES[0], linewidth=2.2, label="the factor")
    if curve.split_half is not None:
        axes.plot(k, curve.split_half, color=HUES[0], linewidth=1.2, linestyle=":", label="from split halves")
    axes.axvline(size, color=INK, linewidth=0.9, clip_on=False)
    left = size > 0.6 * k[-1]
    axes.text(
        size, 1.02, f" 99 % at k = {size} ", fontsize=8, color=INK, ha="right" if left else "left",
        va="bottom", transform=axes.get_xaxis_transform(),
    )  # fmt: skip
    lowest = min(
        curve.measured.min(), curve.random[0].min(), 1 if curve.shuffled is None else curve.shuffled[0].min()
    )
    bottom = np.floor(lowest * 10) / 10 if lowest > 0.5 else 0.0
    axes.set(xlim=(0, max(1, k[-1])), ylim=(bottom - 0.02 * (1 - bottom), 1 + 0.03 * (1 - bottom)))
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.3g} %")
    axes.set_xlabel("k, components of the species' means", fontsize=8.5, color=MUTED)
    style_axes(axes)
    axes.tick_params(axis="y", labelcolor="black")


_CURVE_HEAD = (
    "factor", "k", "orthogonality", "split_half", "random_low", "random_mean", "random_high", "shuffled_low",
    "shuffled_mean", "shuffled_high",
)  # fmt: skip


def _curve_rows(curves: Mapping[str, Curve]) -> list[Sequence[Any]]:
    rows = []
    for name, curve in curves.items():
        for k in range(len(curve.measured)):
            half = "" if curve.split_half is None else float(curve.split_half[k])
            shuffled = [""] * 3 if curve.shuffled is None else curve.shuffled[:, k].tolist()
            rows.append((name, k, float(curve.measured[k]), half, *curve.random[:, k].tolist(), *shuffled))
    return rows
