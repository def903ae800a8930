"""Photos as people send them: any bytes under any name."""

from __future__ import annotations

import base64
import contextlib
import io
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import BinaryIO

import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image, ImageOps

from bioclip_jax.errors import UserError
from bioclip_jax.pipeline.images import BadImage, Preprocess, read_image, without_texts
from bioclip_jax.predict.classifiers import Explained

# Pillow reads more, some of it through programs of the system (EPS through Ghostscript).
FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF", "JPEG2000", "PPM")
_WANTED = "a JPEG, PNG, WebP, GIF, TIFF or BMP"
_THUMBNAIL = 224
# What strangers may make the server decode; less than a file of one's own may have.
_MAX_PIXELS = 89_000_000
_NAME_LENGTH = 80


class Upload:
    """A file that somebody sent, which is read when its turn comes.

    name: what it was called there, as clean_name.
    """

    def __init__(self, name: str, file: BinaryIO) -> None:
        self.name = clean_name(name)
        self._file = file

    def read(self, most: int) -> bytes:
        """What is in it. UserError for an empty file, or one of more than `most` bytes."""
        size = self._file.seek(0, os.SEEK_END)
        if size == 0:
            raise UserError(f"{self.name} is empty (0 bytes); choose the file again")
        if size > most:
            raise UserError(
                f"{self.name} has {size / 1e6:,.0f} MB; at most {most / 1e6:,.0f} MB a file are taken"
            )
        self._file.seek(0)
        return self._file.read()


@dataclass(frozen=True, eq=False)
class Photo:
    """One photo of one person: all that is kept of it.

    thumbnail: a small JPEG. vector: the unit vector. explained: what the taxa head says, where there is one.
    about: columns of a table that came with it.
    """

    name: str
    thumbnail: bytes
    vector: Float32[np.ndarray, " embed_dim"]
    explained: Explained | None = None
    about: Mapping[str, str] = field(default_factory=dict)


def clean_name(name: str) -> str:
    """The last part of a path as a person would show it: no folders, no control characters, not long."""
    last = re.split(r"[/\\]", name)[-1]
    # Marks that turn the direction of writing could make photo<mark>gpj.exe look like photoexe.jpg.
    shown = "".join(letter for letter in last if letter.isprintable()).strip() or "photo"
    if len(shown) > _NAME_LENGTH:
        shown = f"{shown[: _NAME_LENGTH - 12]}…{shown[-11:]}"
    return shown


def read_photo(
    upload: Upload, most: int, preprocess: Preprocess
) -> tuple[UInt8[np.ndarray, "size size 3"], bytes] | UserError:
    """The model's pixels and a thumbnail, or what is wrong with the file, in a sentence for who sent it."""
    try:
        return _pixels(upload.read(most), preprocess)
    except UserError as problem:
        return problem
    except BadImage as problem:
        sentences = {
            "not_an_image": f"{upload.name} is not an image; choose {_WANTED}",
            "too_large": f"{upload.name} has more than {_MAX_PIXELS // 10**6} million pixels; make it smaller",
            "too_thin": f"{upload.name} is too long and thin to be scaled to a square; crop it",
        }
        damaged = f"{upload.name} is damaged or cut off; save it again, or choose another"
        return UserError(sentences.get(problem.cause, damaged))
    except (OSError, ValueError, MemoryError):
        return UserError(f"{upload.name} cannot be read; choose {_WANTED}")


def _pixels(data: bytes, preprocess: Preprocess) -> tuple[UInt8[np.ndarray, "size size 3"], bytes]:
    Image.init()
    plain = without_texts(data) if data.startswith(b"\x89PNG\r") else data
    try:
        Image.open(io.BytesIO(plain), formats=[name for name in FORMATS if name in Image.OPEN])
    except Image.UnidentifiedImageError:
        raise BadImage("not_an_image", "no format that is taken") from None
    except Image.DecompressionBombError as error:
        raise BadImage("too_large", str(error)) from None
    except Exception as error:  # Pillow's readers raise whatever their parsing ran into
        raise BadImage("truncated", str(error)) from None
    picture = read_image(
        data, replace(preprocess.read, max_pixels=min(_MAX_PIXELS, preprocess.read.max_pixels))
    )
    return preprocess(picture), make_thumbnail(picture)


def make_thumbnail(picture: Image.Image) -> bytes:
    """A JPEG of at most 224 pixels a side, upright as people want to see it."""
    picture = picture.convert("RGB")
    picture.thumbnail((_THUMBNAIL, _THUMBNAIL), reducing_gap=2.0)
    with contextlib.suppress(Exception):  # broken EXIF does not make a bad picture
        picture = ImageOps.exif_transpose(picture)
    file = io.BytesIO()
    # Nothing of the photo's own notes goes along, such as where it was taken.
    picture.save(file, "JPEG", quality=82, exif=b"")
    return file.getvalue()


def data_url(content: bytes, kind: str = "image/jpeg") -> str:
    """Content that stands in the page itself, so that there is no file to ask the server for."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
