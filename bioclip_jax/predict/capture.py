"""Columns of a photograph's capture, from its EXIF: date, place and camera (`--add`)."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from bioclip_jax.errors import UserError, did_you_mean
from bioclip_jax.pipeline.images import Exif, read_exif

from .frames import frame_time
from .image_file import ImageFile
from .progress import track
from .results import NUMBERS, Prediction

if TYPE_CHECKING:
    import pyarrow as pa

# The columns of each choice, and the fields of Exif that they show.
_COLUMNS = {
    "date": {"date_taken": "time"},
    "place": {"latitude": "latitude", "longitude": "longitude", "altitude": "altitude"},
    "camera": {"camera": "camera", "camera_serial": "serial"},
}
ADDED = tuple(_COLUMNS)
# Most of the time is spent waiting for disks and networks.
_THREADS = 16
# Photographs whose headers are read ahead of their use.
_AHEAD = 256


def check_added(added: str | Sequence[str]) -> tuple[str, ...]:
    """Return the choices of columns, given as a list or as "date,place", in the order of ADDED.

    Raises UserError for an unknown one.
    """
    names = [name.strip() for name in (added.split(",") if isinstance(added, str) else added)]
    for name in names:
        if name not in ADDED:
            hint = did_you_mean(name, ADDED, f"choose from {', '.join(ADDED)}")
            raise UserError(f"--add cannot add {name!r}{hint}")
    return tuple(name for name in ADDED if name in names)


class CaptureColumns:
    """The columns of `added`, as check_added, of any photographs; nothing is kept in memory.

    missing: photographs so far whose EXIF has none of a choice's facts, by choice.
    """

    def __init__(self, added: Sequence[str]) -> None:
        self._fields = {choice: _COLUMNS[choice] for choice in added}
        self.missing = dict.fromkeys(added, 0)
        self._count = 0

    def append_to(self, predictions: Iterable[Prediction]) -> Iterator[Prediction]:
        """Append the columns to the rows of predictions, whose headers are read in parallel."""
        if not self._fields:
            yield from predictions
            return
        for (image, rows), facts in read_ahead(predictions, lambda prediction: exif_of(prediction[0])):
            values = self._values(facts)
            yield image, [{**row, **values} for row in rows]

    def append_to_table(self, table: pa.Table, images: Sequence[ImageFile]) -> pa.Table:
        """Append the columns to a table with a row per image; one that it has already becomes input_NAME."""
        import pyarrow as pa

        if not self._fields:
            return table
        rows = [self._values(facts) for _, facts in read_ahead(images, exif_of)]
        names = [name for fields in self._fields.values() for name in fields]
        own = [f"input_{name}" if name in names else name for name in table.column_names]
        columns = dict(zip(own, table.columns))
        for name in names:
            kind = pa.float64() if name in NUMBERS else pa.large_string()
            columns[name] = pa.array([row[name] for row in rows], kind)
        return pa.table(columns)

    def _values(self, facts: Exif) -> dict[str, Any]:
        self._count += 1
        values = {}
        for choice, fields in self._fields.items():
            part = {column: getattr(facts, field) for column, field in fields.items()}
            self.missing[choice] += all(value in (None, "") for value in part.values())
            values |= part
        return values

    def notes(self) -> list[str]:
        """Return a line for each choice that some photographs lack."""
        return [
            f"note: {count:,} of {self._count:,} images have no {choice} in their EXIF"
            for choice, count in self.missing.items()
            if count
        ]


def exif_of(image: ImageFile) -> Exif:
    """Return the EXIF facts of an image; none for an unreadable one. A video's frame has its time only."""
    if isinstance(image.frame, float):
        return Exif(time=frame_time(image))
    if image.content is None and image.size is None:
        return read_exif(image.path)
    try:
        return read_exif(image.read())
    except OSError:
        return Exif()


def read_times(images: Sequence[ImageFile]) -> Iterator[str]:
    """Yield the EXIF time of each image, "" without one, with a progress bar."""
    tracked = track(images, "reading times", len(images))
    for _, facts in read_ahead(tracked, exif_of):
        yield facts.time


def read_ahead(items: Iterable[Any], read: Any) -> Iterator[tuple[Any, Any]]:
    """Yield each item with `read` of it, in order; threads read some ahead."""
    pending: deque[tuple[Any, Future]] = deque()
    with ThreadPoolExecutor(min(_THREADS, 4 * (os.cpu_count() or 1))) as pool:
        try:
            for item in items:
                pending.append((item, pool.submit(read, item)))
                if len(pending) > _AHEAD:
                    first, future = pending.popleft()
                    yield first, future.result()
            while pending:
                first, future = pending.popleft()
                yield first, future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
