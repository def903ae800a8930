"""Map of images: projection of vectors to two dimensions, and points in the colors of a column."""

from __future__ import annotations

import importlib.util
import math
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32, Float64
from markupsafe import Markup

from bioclip_jax.errors import UserError

from .cards import html
from .language import Language, language

# Fewer images have no neighborhoods for t-SNE or UMAP to preserve.
_MIN_NEIGHBORHOOD = 5
_umap_compiled = threading.Event()

# The palette of Okabe and Ito, safe for color blindness, for the most frequent values.
COLORS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#8f7a00", "#7b5ea7")
OTHER = "#8a8f98"
# Six steps of viridis, for numbers.
_SCALE = ("#440154", "#414487", "#2a788e", "#22a884", "#7ad151", "#fde725")
# Maps of at most this number of images show the images instead of points.
_MAX_PICTURES = 60


def methods() -> list[str]:
    """Available methods of `project`; UMAP is in the extra [web]."""
    return ["PCA", "t-SNE", *(["UMAP"] if importlib.util.find_spec("umap") else [])]


def compiles_first(n: int, method: str) -> bool:
    """Return True if `project` of n vectors would compile code first, for up to a minute: the first UMAP."""
    return method == "UMAP" and n >= _MIN_NEIGHBORHOOD and not _umap_compiled.is_set()


def project(vectors: Float32[np.ndarray, "n dim"], method: str) -> Float64[np.ndarray, "n 2"]:
    """Project unit vectors to coordinates between 0 and 1, the same for the same vectors.

    PCA: the two directions of most variance. t-SNE (van der Maaten and Hinton 2008) and UMAP (McInnes et al.
    2018) preserve neighborhoods; below 5 images PCA replaces both. Raises UserError for another method.
    """
    if method not in methods():
        raise UserError(f"the map {method[:20]!r} does not exist; choose from {', '.join(methods())}")
    n = len(vectors)
    if n < 2:
        return np.full((n, 2), 0.5)
    if method == "PCA" or n < _MIN_NEIGHBORHOOD:
        points = _pca(vectors)
    elif method == "t-SNE":
        points = _tsne(vectors)
    else:
        points = _umap(vectors)
    points = np.nan_to_num(np.asarray(points, np.float64))
    low, span = points.min(axis=0), np.ptp(points, axis=0)
    return np.where(span > 0, (points - low) / np.where(span > 0, span, 1), 0.5)


def _pca(vectors: Float32[np.ndarray, "n dim"]) -> Float32[np.ndarray, "n 2"]:
    """First two principal components at unit spread, the largest coordinate of each positive."""
    centered = vectors - vectors.mean(axis=0)
    left, scales, _ = np.linalg.svd(centered, full_matrices=False)
    points = np.zeros((len(vectors), 2), np.float32)
    count = min(2, left.shape[1])
    points[:, :count] = left[:, :count] * (scales[:count] > 1e-6)
    signs = np.sign(points[np.abs(points).argmax(axis=0), range(2)])
    spread = points.std(axis=0)
    return points * np.where(signs == 0, 1, signs) / np.where(spread > 0, spread, 1)


def _tsne(vectors: Float32[np.ndarray, "n dim"]) -> np.ndarray:
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    perplexity = min(30.0, (len(vectors) - 1) / 3)
    # Beside a busy model, several threads would mostly wait for each other.
    with threadpool_limits(1):
        tsne = TSNE(perplexity=perplexity, init=_pca(vectors) * 1e-4, random_state=0)
        return tsne.fit_transform(vectors)


def _umap(vectors: Float32[np.ndarray, "n dim"]) -> np.ndarray:
    with warnings.catch_warnings():
        # Numba and UMAP warn about their own defaults.
        warnings.simplefilter("ignore")
        from umap import UMAP

        neighbors, init = min(15, len(vectors) - 1), _pca(vectors) * 10
        umap = UMAP(n_neighbors=neighbors, metric="cosine", init=init, random_state=0, n_jobs=1)
        points = umap.fit_transform(vectors)
    _umap_compiled.set()
    return points


class Point(NamedTuple):
    """An image on the map. picture: URL of its thumbnail. value: in the column of the colors."""

    name: str
    picture: str
    value: str


def draw(code: str, points: Sequence[Point], coordinates: Float[np.ndarray, "n 2"], column: str) -> Markup:
    """Render the map of `points` at coordinates between 0 and 1, with a legend of the column's colors."""
    color, legend = _color_scale([point.value for point in points], language(code))
    marks = [(point, x, y, color(point.value)) for point, (x, y) in zip(points, coordinates.tolist())]
    return html(code).map(marks, legend, language(code).rank(column), len(points) <= _MAX_PICTURES)


def _color_scale(
    values: Sequence[str], words: Language
) -> tuple[Callable[[str], str], list[tuple[str, str]]]:
    """Return a function from a value to its color, and the legend: (name, color) pairs.

    More than eight different numbers get a scale of six colors. Otherwise the most frequent values have one
    color each, and the others are gray.
    """
    numbers = [number for value in values if (number := _number(value)) is not None]
    filled = [value for value in values if value]
    if len(set(numbers)) > len(COLORS) and len(numbers) == len(filled):
        low, high = min(numbers), max(numbers)
        step = (high - low) / len(_SCALE)

        def color(value: str) -> str:
            number = _number(value)
            return OTHER if number is None else _SCALE[min(int((number - low) / step), len(_SCALE) - 1)]

        ends = [low + step * i for i in range(len(_SCALE) + 1)]
        spans = (words("map.range", low=f"{a:.4g}", high=f"{b:.4g}") for a, b in zip(ends, ends[1:]))
        return color, list(zip(spans, _SCALE))
    frequent = [value for value, _ in Counter(filled).most_common(len(COLORS))]
    colors = dict(zip(frequent, COLORS))
    legend = list(colors.items())
    if frequent and len(set(values)) > len(frequent):
        others = "map.other" if len(set(filled)) > len(frequent) else "map.unknown"
        legend.append((words(others), OTHER))
    return lambda value: colors.get(value, OTHER), legend


def _number(value: str) -> float | None:
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
