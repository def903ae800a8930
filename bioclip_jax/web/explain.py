"""Explanations of one photo for the API and the page: heat maps of candidates, and reference pictures."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from PIL import Image

from bioclip_jax.errors import UserError
from bioclip_jax.html import data_url
from bioclip_jax.predict import Rank
from bioclip_jax.predict.attribution import (
    HeatMap,
    Reference,
    choose_method,
    explain_pixels,
    overlay_url,
    references,
    seen_part,
)
from bioclip_jax.predict.classifiers import BaseClassifier

from .photos import read_photo
from .similar import indexed_thumbnail, shown_columns
from .uploads import Upload

if TYPE_CHECKING:
    from bioclip_jax.predict import Model
    from bioclip_jax.predict.search import ImageIndex

MOST_CANDIDATES = 10


def explain_upload(
    upload: Upload,
    max_bytes: int,
    classifier: BaseClassifier,
    index: ImageIndex | None,
    *,
    k: int = 5,
    rank: Rank = Rank.SPECIES,
    pictures: int = 3,
) -> dict[str, Any]:
    """Explain a visitor's photo: its k best candidates, each with a heat map and reference pictures.

    Returns {"file_name", "method": of heat_maps, "seen": [x, y, width, height] of the photo in shares,
    "photo": a small JPEG as a data URL, "candidates": [{"prediction": columns and score, "heat_map": None or
    {"values": rows of patches in nats, "png": data URL of one pixel a patch, orange for, blue against,
    "log_probability", "without"}, "references": [{"score", "path", "thumbnail": data URL or None, names}]}]}.
    references is None without an index. Raises UserError for an unreadable photo.
    """
    model = classifier.model
    read = read_photo(upload, max_bytes, model.preprocess)
    if isinstance(read, UserError):
        raise read
    pixels, thumbnail = read
    vector, explained = explain_pixels(classifier, pixels, k=min(k, MOST_CANDIDATES), rank=rank)
    rows = [target.row for target, _ in explained]
    found = None if index is None else references(index, vector, rows, pictures)
    return {
        "file_name": upload.name,
        "method": choose_method(model),
        "seen": list(_seen(model, thumbnail)),
        "photo": data_url(thumbnail),
        "candidates": [
            {
                "prediction": target.row,
                "heat_map": None if drawn is None else heat_map_json(drawn),
                "references": None if found is None else [_picture(one) for one in found[number]],
            }
            for number, (target, drawn) in enumerate(explained)
        ],
    }


def heat_map_json(drawn: HeatMap) -> dict[str, Any]:
    """Return a HeatMap for a response."""
    return drawn.figures() | {"png": overlay_url(drawn.values)}


def _seen(model: Model, thumbnail: bytes) -> Sequence[float]:
    with Image.open(io.BytesIO(thumbnail)) as picture:
        return [round(share, 5) for share in seen_part(model.preprocess, *picture.size)]


def _picture(reference: Reference) -> dict[str, Any]:
    thumbnail = indexed_thumbnail(reference.path)
    shown = None if thumbnail is None else data_url(thumbnail)
    return {"score": reference.score, "path": reference.path, "thumbnail": shown} | shown_columns(
        reference.row
    )
