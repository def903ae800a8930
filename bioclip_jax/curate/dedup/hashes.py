"""Image hashes: BLAKE2b of the bytes, and the perceptual hash PDQ of the pixels.

PDQ ("The TMK+PDQF video-hashing algorithm and the PDQ image-hashing algorithm", Facebook, 2019) applies a
cosine transform to the luminance of 64 x 64 blocks and compares each of the 16 x 16 lowest frequencies with
their median. The reference's blocks depend on the image size: a picture differs from its half in 8 bits of
256, from its quarter in 20. Here, pictures are first squashed to 64 x 64 by averaging, and both differ in 0
to 2 bits (medians over 1,972 photographs). These hashes are therefore comparable only with each other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import product

import cv2
import numpy as np
from jaxtyping import UInt8

from bioclip_jax.errors import UserError

# Sufficient min_side for PDQ: 15 JPEGs of up to 1536 pixels hashed within 2 bits of their full decoding.
DECODE_SIDE = 256
# PDQ's authors advise against comparing hashes of lower quality, which come from pictures with little
# structure.
MIN_QUALITY = 50
# Crops of an evaluation image's variants, as fractions of the side, at each side.
CROPS = (0.0, 0.025, 0.05)

_SIDE = 64

Pixels = UInt8[np.ndarray, "height width 3"]


def content_hash(data: bytes) -> str:
    """Return the 16-byte BLAKE2b hash as 32 hexadecimal digits."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def pdq(pixels: Pixels) -> tuple[UInt8[np.ndarray, " 32"], int]:
    """Return the 256-bit PDQ hash of upright RGB pixels and its quality, 0 to 100.

    pixels: from pipeline.images.decode with min_side=DECODE_SIDE or more. Hashes are comparable from a
    quality of MIN_QUALITY on. Raises UserError if the package pdqhash is missing.
    """
    return _compute(_reduce(pixels))


def pdq_variants(
    pixels: Pixels, *, mirrored: bool = True, crops: Sequence[float] = CROPS
) -> tuple[UInt8[np.ndarray, "variants 32"], int]:
    """Return PDQ hashes of a picture's crops and mirror images, the unchanged picture first, and its quality.

    PDQ matches no mirrored copies and few that are cropped by more than 2 %. Hashing evaluation images in all
    combinations of `crops` at each side, and mirrored, matches them: 162 variants by default, which cover
    crops of up to 0.05 in total.
    """
    height, width = pixels.shape[:2]
    hashes = []
    for top, bottom, left, right in product(crops, repeat=4):
        rows = slice(round(height * top), height - round(height * bottom))
        reduced = _reduce(pixels[rows, round(width * left) : width - round(width * right)])
        hashes.append(_compute(reduced))
        if mirrored:
            hashes.append(_compute(np.ascontiguousarray(reduced[:, ::-1])))
    return np.stack([bits for bits, _ in hashes]), hashes[0][1]


def _reduce(pixels: Pixels) -> UInt8[np.ndarray, "64 64 3"]:
    return cv2.resize(pixels, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)


def _compute(reduced: UInt8[np.ndarray, "64 64 3"]) -> tuple[UInt8[np.ndarray, " 32"], int]:
    try:
        import pdqhash
    except ImportError:
        raise UserError(
            "perceptual hashing needs pdqhash; install it: pip install 'bioclip-jax[curate]'"
        ) from None
    bits, quality = pdqhash.compute(reduced)
    return np.packbits(bits.astype(bool)), int(quality)
