"""The picture of a calibration: how often answers are right, against how sure they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bioclip_jax.files import atomic_write


def draw(result: dict[str, Any], output: Path) -> None:
    """Draw what `calibrate` found, before and after, into a PNG, PDF or SVG."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(9, 5.2))
    figure.subplots_adjust(left=0.08, right=0.98, bottom=0.12, top=0.84, wspace=0.16)
    titles = ("as trained", f"at temperature {result['fitted_temperature']:.2f}")
    for axis, title, part in zip(axes, titles, (result["before"], result["after"])):
        rows = [row for row in part["reliability"] if row["images"]]
        most = max(row["images"] for row in rows)
        axis.plot([0, 1], [0, 1], color="0.6", linewidth=1, linestyle="--", zorder=1)
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
        axis.set(title=title, xlabel="score of the best species", xlim=(0, 1), ylim=(0, 1))
        error = part["ece"]["species"]
        axis.text(0.04, 0.93, f"expected calibration error {error:.3f}", transform=axis.transAxes)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("share that is right")
    figure.suptitle(
        f"{result['images']} images, each at the temperature fitted to the folds without it",
        y=0.97,
        fontsize=10,
        color="0.35",
    )
    with atomic_write(output) as path:
        figure.savefig(path, dpi=150)
    pyplot.close(figure)
