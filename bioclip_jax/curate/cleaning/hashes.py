"""What tells images apart: a hash of the bytes, and the perceptual hash PDQ of the picture.

PDQ: "The TMK+PDQF video-hashing algorithm and the PDQ image-hashing algorithm", Facebook, 2019. It takes the
luminance of 64 x 64 blocks, transforms it, and says of each of the 16 x 16 lowest frequencies whether it is
above their median. Its blocks start differently for every image size, by which a picture and its half differ
in 8 bits of 256 and a picture and its quarter in 20. Here every picture is squashed to 64 x 64 by averaging
first, and both differ in 0 to 2 (medians over 1,972 photographs). So these hashes are to be compared with
each other, not with another program's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import product

import cv2
import numpy as np
from jaxtyping import UInt8

from bioclip_jax.errors import UserError

# Enough for PDQ: 15 JPEGs of up to 1536 pixels hashed within 2 bits, decoded with this min_side or in full.
DECODE_SIDE = 256
# PDQ's authors advise not to compare hashes of lower quality: too little in the picture stands out.
MIN_QUALITY = 50
# Shares of a side that an evaluation image's variants are cropped by, at each side.
CROPS = (0.0, 0.025, 0.05)

_SIDE = 64

Pixels = UInt8[np.ndarray, "height width 3"]


def content_hash(data: bytes) -> str:
    """The BLAKE2b hash of `data`, 16 bytes, as 32 hexadecimal digits."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def pdq(pixels: Pixels) -> tuple[UInt8[np.ndarray, " 32"], int]:
    """The PDQ hash of upright RGB pixels, 256 bits, and its quality from 0 to 100.

    pixels: from pipeline.images.decode, with min_side=DECODE_SIDE or any more. Two hashes are comparable if
    both have a quality of MIN_QUALITY. UserError if the package pdqhash is missing.
    """
    return _compute(_reduce(pixels))


def pdq_variants(
    pixels: Pixels, *, mirrored: bool = True, crops: Sequence[float] = CROPS
) -> tuple[UInt8[np.ndarray, "variants 32"], int]:
    """The PDQ hashes of a picture and of what may have been made of it, the unchanged one first, and its quality.

    PDQ does not find mirrored copies, and few of those that were cropped by more than a fiftieth. So a
    picture that is looked for, an evaluation image, is hashed in all its variants: each of `crops` off each
    side, and mirrored. With the defaults 162 variants; copies cropped by up to 0.05 in all are then within
    PDQ's usual distance.
    """
    height, width = pixels.shape[:2]
    found = []
    for top, bottom, left, right in product(crops, repeat=4):
        rows = slice(round(height * top), height - round(height * bottom))
        reduced = _reduce(pixels[rows, round(width * left) : width - round(width * right)])
        found.append(_compute(reduced))
        if mirrored:
            found.append(_compute(np.ascontiguousarray(reduced[:, ::-1])))
    return np.stack([bits for bits, _ in found]), found[0][1]


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
