"""Boxes of animals in photographs, and the crops that are predicted instead of the whole photograph."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from PIL import Image

from bioclip_jax.errors import UserError
from bioclip_jax.pipeline.images import BadImage

# A crop with a shorter side in pixels has nothing to name.
LEAST_SIDE = 4
# BadImage.cause of a box without enough pixels.
SMALL_CROP = "small_crop"


# Columns of a box in tables.
BOX_COLUMNS = ("box_x", "box_y", "box_width", "box_height")


class Box(NamedTuple):
    """A part of an upright image, from its upper left corner, in shares of the image's width and height."""

    x: float
    y: float
    width: float
    height: float


def row_box(row: Mapping[str, Any], where: str) -> Box | None:
    """Return the box of a table's row, of texts or numbers by column; None without one.

    where: the row in messages. Raises UserError for a part of a box, and for one that is not in the image.
    """
    cells = [row.get(name) for name in BOX_COLUMNS]
    # Excel saves a decimal comma in some languages.
    texts = ["" if cell is None else str(cell).strip().replace(",", ".") for cell in cells]
    if not any(texts):
        return None
    if not all(texts):
        raise UserError(
            f"{where} has only a part of a box; fill in {', '.join(BOX_COLUMNS)}, or none of them"
        )
    try:
        box = Box(*map(float, texts))
    except ValueError:
        raise UserError(
            f"{where} has the box {', '.join(texts)}, which is not four numbers; correct it"
        ) from None
    # Detectors exceed an image by a rounding error.
    if not (min(box) >= -0.01 and max(box) <= 1.01 and box.width > 0 and box.height > 0):
        raise UserError(f"{where} has a box outside of its image; its edges are shares from 0 to 1")
    return box


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
