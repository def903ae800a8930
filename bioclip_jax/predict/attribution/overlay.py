"""A heat map as a small transparent picture, and the part of a photograph that it lies over."""

from __future__ import annotations

import io

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from bioclip_jax.html import data_url
from bioclip_jax.pipeline.images import Preprocess
from bioclip_jax.predict.crop import Box

# Okabe and Ito's orange and blue, which every color-blind person tells apart; the photograph below is gray.
SUPPORTS, OPPOSES = (230, 159, 0), (0, 114, 178)
_MOST_OPAQUE = 225


def overlay_pixels(values: Float[np.ndarray, "grid grid"]) -> UInt8[np.ndarray, "grid grid 4"]:
    """Return RGBA pixels: orange for positive values, blue for negative ones, opaque as their size."""
    largest = float(np.abs(values).max()) or 1.0
    pixels = np.empty((*values.shape, 4), np.uint8)
    pixels[..., :3] = np.where(values[..., None] >= 0, SUPPORTS, OPPOSES)
    pixels[..., 3] = np.round(_MOST_OPAQUE * np.abs(values) / largest)
    return pixels


def overlay_url(values: Float[np.ndarray, "grid grid"]) -> str:
    """Return overlay_pixels as the data URL of a PNG, one pixel a patch."""
    stream = io.BytesIO()
    Image.fromarray(overlay_pixels(values), "RGBA").save(stream, "PNG", optimize=True)
    return data_url(stream.getvalue(), "image/png")


def seen_part(preprocess: Preprocess, width: int, height: int) -> Box:
    """Return the part of an upright image of this size that becomes the model's input.

    It reaches beyond an image that is padded to a square.
    """
    if preprocess.resize_mode == "squash":
        return Box(0.0, 0.0, 1.0, 1.0)
    side = min(width, height) if preprocess.resize_mode == "shortest" else max(width, height)
    return Box((1 - side / width) / 2, (1 - side / height) / 2, side / width, side / height)
