"""The map of images: points that are colored by a column, and thumbnails that appear at the pointer."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from bioclip_jax.markup import text

# Okabe and Ito's colours, which people tell apart whatever their eyes: the most frequent values get one each.
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#8f7a00", "#7b5ea7")
OTHER = "#8a8f98"
_SCALE = ("#440154", "#414487", "#2a788e", "#22a884", "#7ad151", "#fde725")
# So few images are shown themselves instead of points.
_PICTURES = 60


class Point(NamedTuple):
    """An image on the map. picture: where its thumbnail is. value: of the column that gives the colour."""

    name: str
    picture: str
    value: str


def draw(points: Sequence[Point], places: Float[np.ndarray, "n 2"], column: str) -> str:
    """The map of `points` at `places` between 0 and 1, with a legend of what the colours mean."""
    colours, legend = _colours([point.value for point in points])
    pictures = len(points) <= _PICTURES
    marks = "".join(
        _mark(point, x, y, colours(point.value), pictures) for point, (x, y) in zip(points, places.tolist())
    )
    keys = "".join(f'<li><i style="background:{colour}"></i>{text(name)}</li>' for name, colour in legend)
    shown = f'<ul class="bj-legend" aria-label="Colors: {text(column)}">{keys}</ul>' if keys else ""
    kind = "bj-map bj-map-pictures" if pictures else "bj-map"
    return (
        f'<section class="bj-card">{shown}<div class="{kind}"><div '
        f'class="bj-points">{marks}</div></div></section>'
    )


def _mark(point: Point, x: float, y: float, colour: str, picture: bool) -> str:
    name = text(point.name)
    told = f"{name}, {text(point.value)}" if point.value else name
    place = f"left:{100 * x:.2f}%;top:{100 - 100 * y:.2f}%;--color:{colour}"
    source = text(point.picture)
    button = f'<button class="bj-point" style="{place}" data-told="{told}" aria-label="{told}"'
    return (
        f'{button}><img src="{source}" alt=""></button>'
        if picture
        else f'{button} data-picture="{source}"></button>'
    )


def _colours(values: Sequence[str]):
    """A function from a value to its colour, and the legend: (name, colour) pairs.

    More than eight different numbers are a scale of six colours; everything else is told apart by its most
    frequent values, and the rest is gray.
    """
    numbers = [number for value in values if (number := _number(value)) is not None]
    filled = [value for value in values if value]
    if len(set(numbers)) > len(COLOURS) and len(numbers) == len(filled):
        low, high = min(numbers), max(numbers)
        step = (high - low) / len(_SCALE)

        def of_number(value: str) -> str:
            number = _number(value)
            return OTHER if number is None else _SCALE[min(int((number - low) / step), len(_SCALE) - 1)]

        ends = [low + step * place for place in range(len(_SCALE) + 1)]
        return of_number, [(f"{a:.4g} to {b:.4g}", colour) for a, b, colour in zip(ends, ends[1:], _SCALE)]
    most = [value for value, _ in Counter(filled).most_common(len(COLOURS))]
    chosen = dict(zip(most, COLOURS))
    legend = list(chosen.items())
    if most and len(set(values)) > len(most):
        legend.append(("other" if len(set(filled)) > len(most) else "unknown", OTHER))
    return lambda value: chosen.get(value, OTHER), legend


def _number(value: str) -> float | None:
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
