"""Small pictures that stand in the page itself."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from PIL import Image

from bioclip_jax.pipeline.images import BadImage, decode
from bioclip_jax.predict.inputs import ImageFile
from bioclip_jax.predict.progress import track

# What the page shows on a plain screen, and still sharp on one of double density at phone width.
SIDE = 168
_QUALITY = 72


def thumbnails(images: Sequence[ImageFile]) -> list[str]:
    """A JPEG of each image, upright and whole, as a data URL; "" for one that is no longer to be read."""
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        return list(track(pool.map(_thumbnail, images), "making thumbnails", len(images)))


def _thumbnail(image: ImageFile) -> str:
    try:
        picture = Image.fromarray(decode(image.read(), min_side=SIDE))
    except (BadImage, OSError, ValueError, MemoryError):
        return ""
    picture.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=_QUALITY, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode()
