"""Small pictures for figures."""

from __future__ import annotations

import numpy as np
from jaxtyping import UInt8

from bioclip_jax.pipeline.images import BadImage, Preprocess
from bioclip_jax.predict import load_pixels


def thumbnail(content: bytes, pixels: int = 96) -> UInt8[np.ndarray, "pixels pixels 3"] | None:
    """The middle of an encoded image; None if it cannot be read."""
    try:
        return load_pixels(content, Preprocess(pixels, resize_mode="shortest"))
    except (BadImage, OSError, ValueError):
        return None
