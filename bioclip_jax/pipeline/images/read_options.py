"""Options for reading image files, and the limit of their size."""

from dataclasses import dataclass
from typing import Literal

from bioclip_jax.errors import UserError

from .bad_image import BadImage

# Pillow's limit, and so pybioclip's, beyond which an image is refused as a decompression bomb.
MAX_PIXELS = 178_956_970


@dataclass(frozen=True)
class ReadOptions:
    """Options for reading image files.

    exif: "apply" rotates images upright by their EXIF orientation; "ignore" reads them as stored, as
    pybioclip and open_clip do. max_pixels: larger images are refused, except JPEGs of up to twice as many
    pixels, which are decoded at half their size. strict: refuse JPEGs without their last rows, which are
    otherwise read and reported.
    """

    exif: Literal["apply", "ignore"] = "apply"
    max_pixels: int = MAX_PIXELS
    strict: bool = False

    def __post_init__(self):
        if self.exif not in ("apply", "ignore"):
            raise UserError(f"exif is {self.exif!r}; choose apply or ignore")
        if not isinstance(self.max_pixels, int) or self.max_pixels < 1:
            raise UserError(f"max_pixels is {self.max_pixels!r}; give a whole number of pixels above 0")

    def check_size(self, width: int, height: int, is_jpeg: bool = False) -> None:
        """Raise BadImage if the image has too many pixels."""
        if width * height > self.max_pixels * (2 if is_jpeg else 1):
            raise BadImage("too_large", f"{width} x {height} pixels are more than {self.max_pixels:,}")
