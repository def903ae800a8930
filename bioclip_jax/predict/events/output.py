"""The frames' own answers, in a file beside that of the events."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from bioclip_jax.predict.inputs import ImageFile
from bioclip_jax.predict.results import Prediction, with_index

from .frames import FrameEvents


def frames_path(output: Path) -> Path:
    """Return the file of the frames: names.frames.csv of names.csv, names.frames.csv.gz of names.csv.gz."""
    stem, suffix = output.name, ""
    if stem.lower().endswith(".gz"):
        stem, suffix = stem[:-3], stem[-3:]
    plain = Path(stem)
    return output.with_name(f"{plain.stem}.frames{plain.suffix}{suffix}")


def with_event(
    predictions: Iterable[Prediction], images: Sequence[ImageFile], events: FrameEvents
) -> Iterator[Prediction]:
    """Insert the id of its event into the rows of each frame; predictions are in image order."""
    for index, (image, rows) in with_index(predictions, images):
        event = {"event": events.id_of(index)}
        yield image, [{"file_name": row["file_name"], **event, **row} for row in rows]
