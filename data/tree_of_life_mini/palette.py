"""Colors: hex notation, mixing, and shifts for age and sex."""

import numpy as np

Color = tuple[float, float, float]


def parse(text: str) -> Color:
    """Parse '#e8a020' to an RGB triple in 0 … 255. Raises ValueError on anything else."""
    if len(text) != 7 or text[0] != "#":
        raise ValueError(f"a color is written #rrggbb, not {text!r}")
    return tuple(float(int(text[i : i + 2], 16)) for i in (1, 3, 5))


def mix(a: Color, b: Color, share: float) -> Color:
    """Color at `share` of the way from a to b."""
    return tuple(p + (q - p) * share for p, q in zip(a, b))


def shade(color: Color, factor: float) -> Color:
    """Color multiplied by a brightness, kept in range."""
    return tuple(min(255.0, c * factor) for c in color)


def dull(color: Color, amount: float) -> Color:
    """Color mixed with a drab gray-brown of its own brightness."""
    gray = 0.3 * color[0] + 0.59 * color[1] + 0.11 * color[2]
    return mix(color, (min(255.0, gray * 1.06), gray, gray * 0.88), amount)


def vary(rng: np.random.Generator, color: Color, spread: float = 0.06) -> Color:
    """Color with slight random changes of brightness and tint."""
    gains = 1 + spread * rng.standard_normal(4)
    return tuple(float(min(255.0, max(0.0, c * gains[0] * g))) for c, g in zip(color, gains[1:]))
