"""Typical copies of a photograph: recompressed, resized, cropped, with text or watermark."""

from __future__ import annotations

import cv2
import numpy as np
import simplejpeg

from bioclip_jax.pipeline.images import decode


def save(pixels: np.ndarray, quality: int = 90) -> np.ndarray:
    """Encode as JPEG and decode."""
    return decode(simplejpeg.encode_jpeg(np.ascontiguousarray(pixels), quality))


def crop(pixels: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """Random crop with sides shorter by the fraction `share`."""
    height, width = (int(side * (1 - share)) for side in pixels.shape[:2])
    top, left = rng.integers(pixels.shape[0] - height + 1), rng.integers(pixels.shape[1] - width + 1)
    return pixels[top : top + height, left : left + width]


def sign(pixels: np.ndarray) -> np.ndarray:
    """Write a photographer's name in the lower left."""
    height, width = pixels.shape[:2]
    position, scale, thick = (width // 33, height - height // 25), height / 400, max(1, height // 200)
    font, white = cv2.FONT_HERSHEY_SIMPLEX, (255, 255, 255)
    return cv2.putText(pixels.copy(), "(c) J. Smith 2019", position, font, scale, white, thick, cv2.LINE_AA)


def watermark(pixels: np.ndarray) -> np.ndarray:
    """Draw a word across the whole picture, 40 % opaque."""
    height, width = pixels.shape[:2]
    position, scale, thick = (width // 12, height * 3 // 5), width / 130, max(2, height // 30)
    font, white = cv2.FONT_HERSHEY_SIMPLEX, (255, 255, 255)
    marked = cv2.putText(pixels.copy(), "SAMPLE", position, font, scale, white, thick, cv2.LINE_AA)
    return cv2.addWeighted(pixels, 0.6, marked, 0.4, 0)


def scale(pixels: np.ndarray, factor: float) -> np.ndarray:
    return cv2.resize(pixels, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)


def squash(pixels: np.ndarray, side: int = 224) -> np.ndarray:
    return cv2.resize(pixels, (side, side), interpolation=cv2.INTER_AREA)


# Functions of pixels and a random generator, by name.
COPIES = {
    "JPEG quality 75": lambda pixels, rng: save(pixels, 75),
    "JPEG quality 50": lambda pixels, rng: save(pixels, 50),
    "JPEG quality 30": lambda pixels, rng: save(pixels, 30),
    "half the size": lambda pixels, rng: save(scale(pixels, 0.5)),
    "a quarter of the size": lambda pixels, rng: save(scale(pixels, 0.25)),
    "squashed to 224 x 224": lambda pixels, rng: save(squash(pixels), 95),
    "brighter by a fifth": lambda pixels, rng: save(cv2.convertScaleAbs(pixels, alpha=1.2)),
    "a line of text": lambda pixels, rng: save(sign(pixels)),
    "a large watermark": lambda pixels, rng: save(watermark(pixels)),
    "cropped by 2 %": lambda pixels, rng: save(crop(pixels, 0.02, rng)),
    "cropped by 5 %": lambda pixels, rng: save(crop(pixels, 0.05, rng)),
    "cropped by 10 %": lambda pixels, rng: save(crop(pixels, 0.10, rng)),
    "mirrored": lambda pixels, rng: save(pixels[:, ::-1]),
}
