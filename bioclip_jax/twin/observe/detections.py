"""Boxes of animals, people and vehicles, from MegaDetector's JSON."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bioclip_jax.errors import UserError, first_line

from .matching import match_paths

if TYPE_CHECKING:
    import polars as pl

_KINDS = ("animal", "person", "vehicle")
# Names of categories in MegaDetector's own files; others are animals.
_CATEGORIES = {"1": "animal", "2": "person", "3": "vehicle"}
_LARGEST_SIDE = 2.0
_FORMAT = "give MegaDetector's output: {'images': [{'file', 'detections'}], 'detection_categories'}"


@dataclass(frozen=True)
class Detections:
    """Detections in photographs.

    images: "row" of each photograph that the detector read. boxes: "row", "kind" (animal, person, vehicle),
    "confidence", "x", "y", "width", "height" (shares of the image, from its upper left corner).
    detector: its name. unmatched: images that match no photograph.
    """

    images: pl.DataFrame
    boxes: pl.DataFrame
    detector: str
    unmatched: int


def read_detections(path: str | os.PathLike[str], photos: pl.DataFrame, threshold: float = 0.2) -> Detections:
    """Read a MegaDetector JSON, formats 1.0 to 1.6, and match it with photographs.

    photos: as match_paths. threshold: boxes of less confidence are dropped.
    Source: https://github.com/agentmorris/MegaDetector, section "MegaDetector batch output format".
    Raises UserError for JSON of another shape, and if no image matches.
    """
    import polars as pl

    content = _read(path)
    categories = {**_CATEGORIES, **content.get("detection_categories", {})}
    files: list[str] = []
    rows: list[tuple] = []
    number = 0
    try:
        for image in content["images"]:
            number += 1
            file, detections = image
            if detections is None:  # the detector could not read the image
                continue
            for category, confidence, box in detections:
                if not 0 <= confidence <= 1:
                    raise ValueError(f"its confidence is {confidence}, not from 0 to 1")
                if confidence >= threshold:
                    kind = str(categories.get(str(category), "animal")).lower()
                    x, y, width, height = map(float, box)
                    # Boxes may reach a little beyond the image, but not in pixels.
                    if not max(abs(x), abs(y), abs(width), abs(height)) <= _LARGEST_SIDE:
                        raise ValueError(f"its bbox is {box}, not in shares of the image")
                    kind = kind if kind in _KINDS else "animal"
                    rows.append((len(files), kind, float(confidence), x, y, width, height))
            files.append(os.fspath(file))
    except (TypeError, ValueError, OverflowError) as error:
        raise UserError(f"{path}: image {number:,} cannot be used ({first_line(error)}); {_FORMAT}") from None
    if not files:
        raise UserError(f"{path} has no image that the detector could read; {_FORMAT}")
    matched = match_paths(pl.Series(files, dtype=pl.String), photos)
    images = pl.DataFrame({"image": range(len(files)), "row": matched}).drop_nulls()
    if not images.height:
        raise UserError(
            f"no image of {path} is a photograph of the survey; its paths must end in the same folders and "
            f"names as theirs, such as {photos['path'][0]}"
        )
    sides = ("x", "y", "width", "height")
    schema = {
        "image": pl.Int64,
        "kind": pl.String,
        "confidence": pl.Float64,
        **dict.fromkeys(sides, pl.Float64),
    }
    boxes = (
        pl.DataFrame(rows, schema, orient="row")
        .with_columns(_inside(*sides))
        .filter((pl.col("width") > 0) & (pl.col("height") > 0))
    )
    info = content.get("info")
    detector = info.get("detector") if isinstance(info, dict) else None
    return Detections(
        images.select("row"),
        boxes.join(images, "image", maintain_order="left").drop("image"),
        detector if isinstance(detector, str) and detector else "MegaDetector",
        len(files) - images.height,
    )


def _read(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read the JSON with images as (file, detections) and detections as (category, confidence, box).

    Tuples take a quarter of the memory of JSON's objects.
    """

    def compact(value: dict[str, Any]) -> Any:
        if "bbox" in value and "conf" in value:
            return value.get("category"), value["conf"], value["bbox"]
        if "file" in value:
            return value["file"], None if value.get("failure") else value.get("detections")
        return value

    try:
        with open(path, encoding="utf-8-sig") as file:
            content = json.load(file, object_hook=compact)
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; {_FORMAT}") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not readable JSON ({first_line(error)}); {_FORMAT}") from None
    if not isinstance(content, dict) or not isinstance(content.get("images"), list):
        raise UserError(f"{path} has no list of images; {_FORMAT}")
    if not isinstance(content.get("detection_categories", {}), dict):
        raise UserError(f"{path}: detection_categories is not an object; {_FORMAT}")
    return content


def _inside(*sides: str) -> list[pl.Expr]:
    """Clip boxes to the image, to six decimals."""
    import polars as pl

    x, y, width, height = (pl.col(side) for side in sides)
    left, top = x.clip(0, 1), y.clip(0, 1)
    right, bottom = (x + width).clip(0, 1), (y + height).clip(0, 1)
    sizes = ((right - left).round(6).alias("width"), (bottom - top).round(6).alias("height"))
    return [left.round(6).alias("x"), top.round(6).alias("y"), *sizes]
