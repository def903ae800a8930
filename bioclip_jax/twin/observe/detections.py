"""Detections of photographs of the survey."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bioclip_jax.errors import UserError
from bioclip_jax.predict import detections as detector

from .matching import match_paths

if TYPE_CHECKING:
    import polars as pl


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
    """Read a detector's file, as predict's read_detections, and match it with photographs.

    photos: as match_paths. threshold: boxes of less confidence are dropped.
    Raises UserError for JSON of another shape, and if no image matches.
    """
    import polars as pl

    content = detector.read_detections(path, threshold)
    numbers = np.flatnonzero(~content.failed)
    if not len(numbers):
        raise UserError(f"{path} has no image that the detector could read; {detector.ADVICE}")
    files = pl.Series([content.files[number] for number in numbers], dtype=pl.String)
    images = pl.DataFrame({"image": numbers, "row": match_paths(files, photos)}).drop_nulls()
    if not images.height:
        raise UserError(
            f"no image of {path} is a photograph of the survey; its paths must end in the same folders and "
            f"names as theirs, such as {photos['path'][0]}"
        )
    sides = ("x", "y", "width", "height")
    boxes = (
        pl.DataFrame(
            {
                "image": np.repeat(np.arange(len(content.files)), np.diff(content.starts)),
                "kind": np.array(detector.KINDS)[content.kinds],
                "confidence": content.confidences,
                **dict(zip(sides, content.boxes.T)),
            },
            {
                "image": pl.Int64,
                "kind": pl.String,
                "confidence": pl.Float64,
                **dict.fromkeys(sides, pl.Float64),
            },
        )
        .with_columns(_inside(*sides))
        .filter((pl.col("width") > 0) & (pl.col("height") > 0))
    )
    return Detections(
        images.select("row"),
        boxes.join(images, "image", maintain_order="left").drop("image"),
        content.detector,
        len(files) - images.height,
    )


def _inside(*sides: str) -> list[pl.Expr]:
    """Clip boxes to the image, to six decimals."""
    import polars as pl

    x, y, width, height = (pl.col(side) for side in sides)
    left, top = x.clip(0, 1), y.clip(0, 1)
    right, bottom = (x + width).clip(0, 1), (y + height).clip(0, 1)
    sizes = ((right - left).round(6).alias("width"), (bottom - top).round(6).alias("height"))
    return [left.round(6).alias("x"), top.round(6).alias("y"), *sizes]
