"""Photos of visitors: decoding, thumbnails, and the columns of a metadata table."""

from __future__ import annotations

import contextlib
import io
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image, ImageOps

from bioclip_jax.errors import UserError
from bioclip_jax.pipeline.images import (
    BadImage,
    MissingLibrary,
    Preprocess,
    foreign_kind,
    read_image,
    without_texts,
)
from bioclip_jax.predict.classifiers import Explanation
from bioclip_jax.tables import path_column, read_table, texts
from bioclip_jax.text import RANKS

from .language import VisitorError
from .uploads import Upload

Columns = Mapping[str, str]

# Pillow reads more formats, some through programs of the system (EPS through Ghostscript).
FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF", "JPEG2000", "PPM")
_THUMBNAIL_SIDE = 224
# Below the limit for a user's own files, because strangers choose what the server decodes.
_MAX_PIXELS = 89_000_000

_FILE_COLUMNS = ("filepath", "file_name", "filename", "file", "path", "image")
_PREDICTED = "predicted "
_CELL_LENGTH = 60


@dataclass(frozen=True, eq=False)
class Photo:
    """A visitor's photo, without its pixels.

    thumbnail: a small JPEG. vector: its unit vector. explained: probabilities of the taxa, if the server has
    any. metadata: columns of a table that came with it, and the predicted lineage. digest: SHA-256 of the
    file, which names the photo in the page. ranked: rows of a learned head.
    """

    name: str
    thumbnail: bytes
    vector: Float32[np.ndarray, " embed_dim"]
    explained: Explanation | None = None
    metadata: Columns = field(default_factory=dict)
    digest: str = ""
    ranked: tuple[Mapping[str, Any], ...] = ()


def read_photo(
    upload: Upload, max_bytes: int, preprocess: Preprocess
) -> tuple[UInt8[np.ndarray, "size size 3"], bytes] | UserError:
    """Decode an upload to the model's pixels and a thumbnail, or return an error for the sender."""
    try:
        return _decode(upload.read(max_bytes), preprocess)
    except UserError as error:
        return error
    except MissingLibrary:
        return VisitorError("heic", name=upload.name)
    except BadImage as error:
        cause = error.cause if error.cause in ("not_an_image", "too_large", "too_thin") else "damaged"
        return VisitorError(cause, name=upload.name, kinds=None, most=_MAX_PIXELS // 10**6)
    except (OSError, ValueError, MemoryError):
        return VisitorError("unreadable", name=upload.name, kinds=None)


def _decode(data: bytes, preprocess: Preprocess) -> tuple[UInt8[np.ndarray, "size size 3"], bytes]:
    # Photographs of iPhones; other formats than Pillow's are not for strangers' files.
    if foreign_kind(data) != "heic":
        _check_format(data)
    max_pixels = min(_MAX_PIXELS, preprocess.read.max_pixels)
    picture = read_image(data, replace(preprocess.read, max_pixels=max_pixels))
    return preprocess(picture), make_thumbnail(picture)


def _check_format(data: bytes) -> None:
    """Raise BadImage if the data are not one of FORMATS."""
    Image.init()
    plain = without_texts(data) if data.startswith(b"\x89PNG\r") else data
    try:
        Image.open(io.BytesIO(plain), formats=[name for name in FORMATS if name in Image.OPEN])
    except Image.UnidentifiedImageError:
        raise BadImage("not_an_image", "unknown format") from None
    except Image.DecompressionBombError as error:
        raise BadImage("too_large", str(error)) from None
    except Exception as error:  # Pillow's parsers raise exceptions of many types
        raise BadImage("truncated", str(error)) from None
    if foreign_kind(data) is not None:  # a TIFF of a camera
        raise BadImage("not_an_image", "camera raw")


def make_thumbnail(picture: Image.Image) -> bytes:
    """Encode a JPEG of at most 224 pixels a side, upright and without EXIF, which may hold a location."""
    picture = picture.convert("RGB")
    picture.thumbnail((_THUMBNAIL_SIDE, _THUMBNAIL_SIDE), reducing_gap=2.0)
    with contextlib.suppress(Exception):  # a picture with broken EXIF is still a picture
        picture = ImageOps.exif_transpose(picture)
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=82, exif=b"")
    return file.getvalue()


def read_metadata(content: bytes, name: str) -> dict[str, Columns]:
    """Read a table's columns for each file, by its path in the table and by its file name.

    The column of paths is called filepath, file_name or the like. Raises UserError if the table cannot be
    read or has no such column.
    """
    table = read_table(name, _FILE_COLUMNS, content=content)
    files = path_column(table, _FILE_COLUMNS)
    columns = {column: texts(table[column]) for column in table.column_names if column != files}
    rows: dict[str, Columns] = {}
    for number, path in enumerate(texts(table[files])):
        row = {column: cells[number][:_CELL_LENGTH] for column, cells in columns.items()}
        rows[path] = row
        file_name = re.split(r"[/\\]", path.strip())[-1]
        # macOS decomposes the letters of file names.
        for form in ("NFC", "NFD"):
            rows.setdefault(unicodedata.normalize(form, file_name), row)
    return rows


def predicted_columns(species: Mapping[str, Any]) -> Columns:
    """Metadata columns for the lineage of a classifier's row."""
    return {_PREDICTED + rank: species[rank] for rank in RANKS if rank in species}


def color_columns(photos: Sequence[Photo]) -> list[str]:
    """Metadata columns of any photo, in order, those of visitors' tables before predicted ones."""
    columns = list(dict.fromkeys(column for photo in photos for column in photo.metadata))
    return sorted(columns, key=lambda column: column.startswith(_PREDICTED))


def default_column(columns: Sequence[str]) -> str | None:
    """Initial column of the map's colors."""
    order = _PREDICTED + "order"
    return order if order in columns else next(iter(columns), None)
