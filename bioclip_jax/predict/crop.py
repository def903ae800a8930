"""Boxes of animals in photographs, and the crops that are predicted instead of the whole photograph."""

from __future__ import annotations

import math
from typing import NamedTuple

from PIL import Image

from bioclip_jax.pipeline.images import BadImage

# A crop with a shorter side in pixels has nothing to name.
LEAST_SIDE = 4
# BadImage.cause of a box without enough pixels.
SMALL_CROP = "small_crop"


class Box(NamedTuple):
    """A part of an upright image, from its upper left corner, in shares of the image's width and height."""

    x: float
    y: float
    width: float
    height: float


def crop(image: Image.Image, box: Box) -> Image.Image:
    """Cut the box out of an upright image, without a margin; parts outside the image are left away.

    Raises BadImage with the cause SMALL_CROP if a side has fewer than LEAST_SIDE pixels.
    """
    if not all(map(math.isfinite, box)):
        raise BadImage(SMALL_CROP, f"its box {list(box)} is not one of finite numbers")
    left, top, right, bottom = pixel_edges(box, image.width, image.height)
    if min(right - left, bottom - top) < LEAST_SIDE:
        raise BadImage(
            SMALL_CROP,
            f"its box [{', '.join(f'{side:.4g}' for side in box)}] has {max(0, right - left)} x "
            f"{max(0, bottom - top)} pixels, fewer than {LEAST_SIDE} on a side",
        )
    return image.crop((left, top, right, bottom))


def pixel_edges(box: Box, width: int, height: int) -> tuple[int, int, int, int]:
    """Return the left, top, right and bottom edges of a box in pixels, clipped to the image."""
    across = (min(max(round(edge * width), 0), width) for edge in (box.x, box.x + box.width))
    down = (min(max(round(edge * height), 0), height) for edge in (box.y, box.y + box.height))
    (left, right), (top, bottom) = across, down
    return left, top, right, bottom
