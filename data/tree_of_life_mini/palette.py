"""Colours: hex notation, mixing, and the shifts that age and sex bring."""

import numpy as np

Colour = tuple[float, float, float]


def parse(text: str) -> Colour:
    """'#e8a020' as an RGB triple in 0 … 255; raises ValueError on anything else."""
    if len(text) != 7 or text[0] != "#":
        raise ValueError(f"a colour is written #rrggbb, not {text!r}")
    return tuple(float(int(text[i : i + 2], 16)) for i in (1, 3, 5))


def mix(a: Colour, b: Colour, share: float) -> Colour:
    """Colour at `share` of the way from a to b."""
    return tuple(p + (q - p) * share for p, q in zip(a, b))


def shade(colour: Colour, factor: float) -> Colour:
    """Colour multiplied by a brightness, kept in range."""
    return tuple(min(255.0, c * factor) for c in colour)


def dull(colour: Colour, amount: float) -> Colour:
    """Colour moved towards a drab grey-brown of its own brightness."""
    grey = 0.3 * colour[0] + 0.59 * colour[1] + 0.11 * colour[2]
    return mix(colour, (min(255.0, grey * 1.06), grey, grey * 0.88), amount)


def vary(rng: np.random.Generator, colour: Colour, spread: float = 0.06) -> Colour:
    """Colour with a little individual brightness and tint."""
    gains = 1 + spread * rng.standard_normal(4)
    return tuple(float(min(255.0, max(0.0, c * gains[0] * g))) for c, g in zip(colour, gains[1:]))
