"""Charts as inline SVG: rank-abundance curve, image sizes in pixels and in bytes; styled by style.css."""

import math
from collections import Counter
from collections.abc import Mapping

import numpy as np
from jaxtyping import Int64
from markupsafe import Markup

from bioclip_jax.html import data_size, number

from .counts import SHAPE_BINS

# Small, so that text stays legible when a phone scales the whole chart down.
_WIDTH, _HEIGHT = 340, 250
_LEFT, _RIGHT, _TOP, _BOTTOM = 54, 18, 12, 40
_MAX_POINTS = 240
_SIZE_BINS = 8
_MAX_TICKS = 5
_PIXEL_TICKS = (16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536)


def rank_abundance(abundance: Int64[np.ndarray, " species"]) -> Markup:
    """Rank-abundance curve: images of each species over its rank, on log axes (Whittaker 1965)."""
    ranks = np.unique(np.geomspace(1, len(abundance), _MAX_POINTS).round().astype(np.int64))
    x_top, y_top = _decade(len(abundance)), _decade(int(abundance[0]))

    def x(rank: float) -> float:
        return _LEFT + math.log10(rank) / math.log10(x_top) * (_WIDTH - _LEFT - _RIGHT)

    def y(images: float) -> float:
        return _HEIGHT - _BOTTOM - math.log10(images) / math.log10(y_top) * (_HEIGHT - _BOTTOM - _TOP)

    # Steps, because ranks are integers.
    steps, last = [f"M{x(1):.1f} {y(abundance[0]):.1f}"], int(abundance[0])
    for rank in ranks[1:].tolist():
        images = int(abundance[rank - 1])
        steps.append(f"H{x(rank):.1f}" + (f"V{y(images):.1f}" if images != last else ""))
        last = images
    parts = [_axis_x(x(10**power), _power_of_ten(power)) for power in range(round(math.log10(x_top)) + 1)]
    parts += [_axis_y(y(10**power), _power_of_ten(power)) for power in range(round(math.log10(y_top)) + 1)]
    curve = "".join(steps)
    area = f"{curve}V{_HEIGHT - _BOTTOM}H{x(1):.1f}Z"
    parts.append(f'<path class="area" d="{area}"/><path class="curve" d="{curve}"/>')
    half = int(np.searchsorted(np.cumsum(abundance), abundance.sum() / 2) + 1)
    if len(abundance) > 1:
        at = x(half)
        side, shift = ("end", -5) if at > _WIDTH - _RIGHT - 110 else ("start", 5)
        parts.append(f'<path class="mark" d="M{at:.1f} {_TOP}V{_HEIGHT - _BOTTOM}"/>')
        for line, label in enumerate(("half of the images", f"in {number(half)} species")):
            position = f'x="{at + shift:.1f}" y="{_TOP + 11 + 13 * line}"'
            parts.append(f'<text class="halo" {position} text-anchor="{side}">{label}</text>')
    parts.append(_titles("species, most frequent first", "images"))
    most, fewest = number(int(abundance[0])), number(int(abundance[-1]))
    summary = f"{number(len(abundance))} species, from {most} images down to {fewest}"
    return _svg("Rank-abundance curve on log axes: " + summary, parts)


def size_grid(shapes: Mapping[tuple[int, int], int]) -> Markup:
    """Images by width and height on log axes; cells grow with the count, the dashed line marks squares."""
    exponents = np.array(list(shapes), np.float64) / SHAPE_BINS
    low, high = math.floor(exponents.min() - 0.2), math.ceil(exponents.max() + 0.2)
    side = (_HEIGHT - _BOTTOM - _TOP) / (high - low)

    def x(exponent: float) -> float:
        return _LEFT + (exponent - low) * side

    def y(exponent: float) -> float:
        return _HEIGHT - _BOTTOM - (exponent - low) * side

    ticks = [tick for tick in _PIXEL_TICKS if low <= math.log2(tick) <= high] or [2**low, 2**high]
    parts = [_axis_x(x(math.log2(tick)), number(tick)) for tick in ticks]
    parts += [_axis_y(y(math.log2(tick)), number(tick), x(high)) for tick in ticks]
    parts.append(f'<path class="mark" d="M{x(low):.1f} {y(low):.1f}L{x(high):.1f} {y(high):.1f}"/>')
    most = max(shapes.values())
    for (width, height), count in sorted(shapes.items()):
        width, height, weight = width / SHAPE_BINS, height / SHAPE_BINS, math.sqrt(count / most)
        edge = side / SHAPE_BINS * (0.35 + 0.65 * weight)
        about = f"about {number(2**width)} × {number(2**height)} pixels"
        parts.append(
            f'<rect class="cell" x="{x(width) - edge / 2:.1f}" y="{y(height) - edge / 2:.1f}" '
            f'width="{edge:.1f}" height="{edge:.1f}" fill-opacity="{0.45 + 0.55 * weight:.2f}">'
            f"<title>{about}: {number(count)} images</title></rect>"
        )
    parts.append(_titles("width in pixels", "height in pixels", (_LEFT + x(high)) / 2))
    return _svg("Images by width and height on log axes", parts)


def size_histogram(sizes: Mapping[int, int]) -> Markup:
    """Histogram of images by encoded bytes, on a log axis."""
    bins: Counter[int] = Counter()
    for size, count in sizes.items():
        bins[math.floor(_SIZE_BINS * math.log2(max(size, 1)))] += count
    low, high = min(bins) - 1, max(bins) + 2
    low, high = min(low, high - _SIZE_BINS), high
    step, most = (_WIDTH - _LEFT - _RIGHT) / (high - low), max(bins.values())
    scale = (_HEIGHT - _BOTTOM - _TOP) / _round_up(most)

    def x(edge: float) -> float:
        return _LEFT + (edge - low) * step

    ticks = _size_ticks(2 ** (low / _SIZE_BINS), 2 ** (high / _SIZE_BINS))
    parts = [_axis_x(x(_SIZE_BINS * math.log2(size)), data_size(size)) for size in ticks]
    levels = [_round_up(most) * part // 2 for part in range(3)] if _round_up(most) > 1 else [0, 1]
    parts += [_axis_y(_HEIGHT - _BOTTOM - level * scale, number(level)) for level in levels]
    for left, count in sorted(bins.items()):
        low_end, high_end = (data_size(2 ** (edge / _SIZE_BINS)) for edge in (left, left + 1))
        parts.append(
            f'<rect class="cell" x="{x(left) + 0.5:.1f}" y="{_HEIGHT - _BOTTOM - count * scale:.1f}" '
            f'width="{max(step - 1, 0.5):.1f}" height="{count * scale:.1f}">'
            f"<title>{low_end} to {high_end}: {number(count)} images</title></rect>"
        )
    parts.append(_titles("encoded size", "images"))
    return _svg("Images by encoded size on a log axis", parts)


def _size_ticks(low: float, high: float) -> list[float]:
    """Round sizes in a range, as coarse as gives at least three, at most as many as fit with labels."""
    ticks = []
    for digits in ((1,), (1, 2, 5), range(1, 10), [tenth / 10 for tenth in range(10, 100)]):
        sizes = (digit * 10.0**power for power in range(13) for digit in digits)
        ticks = [size for size in sizes if low <= size <= high and size == int(size)]
        if len(ticks) >= 3:
            break
    return ticks[:: max(1, -(-len(ticks) // _MAX_TICKS))]


def _round_up(value: int) -> int:
    """Round up to 1, 2, 4, 6, 8 or 10 times a power of ten."""
    power = 10 ** math.floor(math.log10(value))
    return next(digit * power for digit in (1, 2, 4, 6, 8, 10) if digit * power >= value)


def _decade(value: int) -> int:
    """Round up to a power of ten, at least 10."""
    return 10 ** max(1, math.ceil(math.log10(value)))


def _power_of_ten(power: int) -> str:
    """Short label: 1, 10, 100, 1,000, 10k, 100k, 1M."""
    return number(10**power) if power < 4 else f"{10 ** (power % 3)}{'kMGT'[power // 3 - 1]}"


def _axis_x(at: float, label: str) -> str:
    bottom = _HEIGHT - _BOTTOM
    return (
        f'<path class="grid" d="M{at:.1f} {_TOP}V{bottom}"/>'
        f'<text x="{at:.1f}" y="{bottom + 14}" text-anchor="middle">{label}</text>'
    )


def _axis_y(at: float, label: str, right: float = _WIDTH - _RIGHT) -> str:
    return (
        f'<path class="grid" d="M{_LEFT} {at:.1f}H{right:.1f}"/>'
        f'<text x="{_LEFT - 5}" y="{at + 3.5:.1f}" text-anchor="end">{label}</text>'
    )


def _titles(x: str, y: str, middle: float = (_LEFT + _WIDTH - _RIGHT) / 2) -> str:
    across = (_HEIGHT - _BOTTOM + _TOP) / 2
    return (
        f'<text class="title" x="{middle:.1f}" y="{_HEIGHT - 6}" text-anchor="middle">{x}</text>'
        f'<text class="title" transform="translate(9 {across:.1f}) rotate(-90)" '
        f'text-anchor="middle">{y}</text>'
    )


def _svg(label: str, parts: list[str]) -> Markup:
    # Labels and parts hold only numbers and fixed words, nothing of the data.
    return Markup(
        f'<svg class="chart" role="img" aria-label="{label}" viewBox="0 0 {_WIDTH} {_HEIGHT}">'
        f"{''.join(parts)}</svg>"
    )
