"""Species of the tests, and pictures of them: a color each, with noise."""

from __future__ import annotations

import numpy as np
from PIL import Image

SPECIES = [
    ("Vulpes", "vulpes"),
    ("Vulpes", "lagopus"),
    ("Lynx", "lynx"),
    ("Meles", "meles"),
    ("Felis", "silvestris"),
]
FAMILIES = {"Vulpes": "Canidae", "Lynx": "Felidae", "Felis": "Felidae", "Meles": "Mustelidae"}
EACH = 9


def picture(color: int, seed: int) -> Image.Image:
    """A noisy picture of one of several colors."""
    base = np.random.default_rng(100 + color).integers(30, 226, 3)
    noise = np.random.default_rng(seed).normal(0, 40, (32, 32, 3))
    return Image.fromarray(np.clip(base + noise, 0, 255).astype(np.uint8))
