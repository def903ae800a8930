"""A person who tends a camera, as a simple figure."""

import cv2
import numpy as np
from jaxtyping import UInt8

from bioclip_jax.datasets.tree_of_life_mini import curves, palette
from bioclip_jax.datasets.tree_of_life_mini.canvas import Canvas

_JACKETS = ((186, 88, 44), (58, 84, 120), (70, 92, 62), (150, 40, 48))


def draw(rng: np.random.Generator) -> UInt8[np.ndarray, "256 256 4"]:
    """Draw a standing person in premultiplied RGBA."""
    canvas = Canvas()
    jacket = palette.vary(rng, _JACKETS[rng.integers(len(_JACKETS))])
    trousers, skin = palette.vary(rng, (62, 60, 66)), palette.vary(rng, (190, 146, 116), 0.15)
    stride = rng.uniform(0.04, 0.14)
    for side in (-1, 1):
        leg = curves.path([(0.06 * side, 0.1), (0.08 * side + 0.3 * stride, 0.45), (stride * side, 0.8)])
        canvas.fill(curves.ribbon(leg, np.linspace(0.17, 0.11, len(leg))), trousers, relief=0.5)
        arm = curves.path([(0.17 * side, -0.48), (0.22 * side, -0.2), (0.2 * side + stride, 0.06)])
        canvas.fill(curves.ribbon(arm, 0.1), palette.shade(jacket, 0.85), relief=0.5)
    trunk = [(-0.2, -0.5), (0, -0.58), (0.2, -0.5), (0.19, -0.1), (0.17, 0.16), (-0.17, 0.16), (-0.19, -0.1)]
    canvas.fill(curves.smooth(trunk), jacket, relief=0.6, radius=0.2)
    canvas.fill(curves.ellipse(0, -0.72, 0.1, 0.13), skin, relief=0.5)
    canvas.fill(curves.ellipse(0, -0.79, 0.12, 0.08), palette.vary(rng, (56, 50, 44), 0.2), relief=0.4)
    return cv2.merge([*cv2.split(canvas.rgb), canvas.alpha])
