"""Pictures of nothing: too small, or of one colour all over."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import UInt8

TINY = "tiny"
UNIFORM = "uniform"

# Averages over fields of this many to a side still show an organism that takes a thirtieth of the side, and
# hardly any of a sensor's noise.
_FIELDS = 32


@dataclass(frozen=True)
class ImageChecks:
    """Below which size and contrast an image is of no use.

    min_side: pixels of the shorter side as stored. min_range: how far the brightest and the darkest of 32 x
    32 fields must lie apart, of 255, in some colour channel; of 1,972 photographs of produce, the flattest
    has 146. A blank page, a covered lens with its noise, an overexposed sky have less than 16. 0 turns either
    check off.
    """

    min_side: int = 32
    min_range: int = 16

    def __call__(
        self, pixels: UInt8[np.ndarray, "height width 3"], width: int, height: int
    ) -> tuple[str, str] | None:
        """The cause, TINY or UNIFORM, and what was found; None for a sound image.

        pixels: RGB, perhaps decoded smaller than the `width` x `height` pixels that are stored.
        """
        if min(width, height) < self.min_side:
            return TINY, f"{width} x {height} pixels"
        if (found := field_range(pixels)) < self.min_range:
            return UNIFORM, f"range {found} of 255"
        return None


def field_range(pixels: UInt8[np.ndarray, "height width 3"]) -> int:
    """How far the brightest and the darkest of 32 x 32 fields lie apart, 0 to 255, in the channel where it is most."""
    fields = cv2.resize(pixels, (_FIELDS, _FIELDS), interpolation=cv2.INTER_AREA).reshape(-1, 3).astype(int)
    return int((fields.max(axis=0) - fields.min(axis=0)).max())
