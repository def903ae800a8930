"""The place, time and event of each frame, from input tables, EXIF and folders."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Int64

from bioclip_jax.predict.inputs import ImageFile
from bioclip_jax.tables import fold_name, texts

from .grouping import event_id, event_numbers
from .times import Moment, parse_time

if TYPE_CHECKING:
    import pyarrow as pa

# Columns of event rows, before the prediction.
EVENT_COLUMNS = ("event", "event_start", "event_end", "frames", "disagreeing")
# Names of columns, in order of preference: Camtrap DP, Timelapse's templates, and what people write.
_PLACES = (
    "deploymentid deployment_id deployment site site_id siteid station station_id stationid camera camera_id "
    "cameraid location location_id locationid location_name locationname place"
).split()
_TIMES = (
    "timestamp datetime date_time datetimeoriginal datetime_original date_taken eventdate event_date date"
).split()
_DATE, _CLOCK = "date", "time"
# No time: before all others.
_NONE = np.iinfo(np.int64).min
_READ = "write it as 2020-05-30 04:57:37"


class Event(NamedTuple):
    """An event: its id, its place, the times of its first and last frame ("" without one), and its images."""

    id: str
    place: str
    start: str
    end: str
    images: Int64[np.ndarray, " images"]


class FrameEvents:
    """The events of frames, in the order of each one's first image.

    numbers: of each image, its event. untimed: number of events without a time.
    """

    def __init__(
        self,
        numbers: Int64[np.ndarray, " images"],
        ids: list[str],
        places: list[str],
        times: Int64[np.ndarray, " images"],
        texts: list[str],
        untimed: int,
    ) -> None:
        """ids: of the events. places, times and their texts: of the images."""
        self.numbers, self.untimed = numbers, untimed
        self._ids, self._places, self._times, self._texts = ids, places, times, texts
        self._numbers_by_id: dict[str, int] | None = None
        self._order = np.argsort(numbers, kind="stable")
        self._starts = np.searchsorted(numbers[self._order], np.arange(len(ids) + 1))

    def __len__(self) -> int:
        return len(self._ids)

    def __getitem__(self, number: int) -> Event:
        if not 0 <= number < len(self):
            raise IndexError(number)
        images = self._order[self._starts[number] : self._starts[number + 1]]
        times = self._times[images]
        first, last = images[times.argmin()], images[times.argmax()]
        return Event(self._ids[number], self._places[first], self._texts[first], self._texts[last], images)

    def by_id(self, event: str) -> Event:
        """Return the event with an id."""
        if self._numbers_by_id is None:
            self._numbers_by_id = {name: number for number, name in enumerate(self._ids)}
        return self[self._numbers_by_id[event]]

    def text_of(self, image: int) -> str:
        """Return an image's time as ISO 8601, "" without one."""
        return self._texts[image]

    def id_of(self, image: int) -> str:
        """Return the id of an image's event."""
        return self._ids[self.numbers[image]]


def find_events(
    images: Sequence[ImageFile],
    table: pa.Table | None,
    gap_seconds: float,
    read_times: Callable[[Sequence[ImageFile]], Iterable[str]],
) -> FrameEvents:
    """Group frames by place and time.

    images: frames, or several crops of one, which share its event. table: columns of the inputs' tables, one
    row per image, or None. read_times: EXIF times of images, which is asked for those without one in `table`.

    A frame's place is the first of deploymentID, site, station, camera and location that the table has, else
    its file's folder; its time that of the first of timestamp, DateTime, date and the like, else that of its
    EXIF. A time without a zone has the usual one of the other frames of its place, if they have any.
    A frame without a time is an event of its own.
    """
    places = _places(images, table)
    moments = _moments(images, table, read_times)
    names, codes = np.unique(np.asarray(places, object), return_inverse=True)
    times = _comparable(moments, codes)
    timed = np.flatnonzero(times != _NONE)
    numbers = np.empty(len(images), np.int64)
    numbers[timed] = event_numbers(codes[timed], times[timed], gap_seconds)
    count = int(numbers[timed].max()) + 1 if len(timed) else 0
    files: dict[str, int] = {}
    for index in np.flatnonzero(times == _NONE).tolist():
        numbers[index] = files.setdefault(_file_of(images[index]), count + len(files))
    # Events are answered in the order of the inputs.
    _, first, inverse = np.unique(numbers, return_index=True, return_inverse=True)
    order = np.argsort(first)
    position = np.empty(len(order), np.int64)
    position[order] = np.arange(len(order))
    earliest = np.full(len(order), np.iinfo(np.int64).max)
    np.minimum.at(earliest, inverse, times)
    ids = []
    for number in order.tolist():
        image, start = int(first[number]), int(earliest[number])
        ids.append(event_id(_file_of(images[image]) if start == _NONE else places[image], start))
    written = ["" if moment is None else moment.text for moment in moments]
    return FrameEvents(position[inverse], ids, places, times, written, len(files))


def _file_of(image: ImageFile) -> str:
    """Return the file of a frame without a time; the frames of a video are one event."""
    return image.name.partition("#t=")[0]


def _places(images: Sequence[ImageFile], table: pa.Table | None) -> list[str]:
    columns = _columns(table, _PLACES)
    given = texts(table[columns[0]]) if columns else [""] * len(images)
    return [cell.strip() or os.path.dirname(image.name) for cell, image in zip(given, images)]


def _columns(table: pa.Table | None, names: Sequence[str]) -> list[str]:
    """Return the columns of a table with one of these names, in order of preference."""
    folded = {fold_name(name): name for name in ([] if table is None else reversed(table.column_names))}
    return [folded[name] for name in names if name in folded]


def _moments(
    images: Sequence[ImageFile],
    table: pa.Table | None,
    read_times: Callable[[Sequence[ImageFile]], Iterable[str]],
) -> list[Moment | None]:
    cells, column = _time_cells(table, len(images))
    moments = [parse_time(cell) if cell else None for cell in cells]
    wrong = [cell for cell, moment in zip(cells, moments) if cell and moment is None]
    if wrong:
        print(
            f"note: cannot read {len(wrong):,} {'time' if len(wrong) == 1 else 'times'} in the column "
            f"{column}, such as {wrong[0][:40]!r}; {_READ}, or the EXIF counts",
            file=sys.stderr,
        )
    missing = [index for index, moment in enumerate(moments) if moment is None]
    if missing:
        for index, text in zip(missing, _each_file([images[index] for index in missing], read_times)):
            moments[index] = parse_time(text) if text else None
    return moments


def _each_file(
    images: Sequence[ImageFile], read_times: Callable[[Sequence[ImageFile]], Iterable[str]]
) -> Iterator[str]:
    """Yield the time of each image, reading a file once for all its crops that follow one another."""
    first = [index for index, image in enumerate(images) if not index or image.name != images[index - 1].name]
    times = iter(read_times([images[index] for index in first]))
    text, starts = "", set(first)
    for index in range(len(images)):
        if index in starts:
            text = next(times)
        yield text


def _time_cells(table: pa.Table | None, count: int) -> tuple[list[str], str]:
    """Return the texts of the column of times, or of a date and a time joined, and its name."""
    columns = _columns(table, _TIMES)
    if table is None or not columns:
        return [""] * count, ""
    column = columns[0]
    cells = [cell.strip() for cell in texts(table[column])]
    clock = _columns(table, [_CLOCK])
    if fold_name(column) == _DATE and clock:
        clocks = [cell.strip() for cell in texts(table[clock[0]])]
        cells = [f"{day} {time}".strip() for day, time in zip(cells, clocks)]
    return cells, column


def _comparable(
    moments: Sequence[Moment | None], codes: Int64[np.ndarray, " images"]
) -> Int64[np.ndarray, " images"]:
    """Return times that can be compared within a place, _NONE without one.

    A time without a zone has the usual zone of the others of its place, or none has.
    """
    times = np.full(len(moments), _NONE, np.int64)
    zones: dict[int, list[int]] = {}
    for index, moment in enumerate(moments):
        if moment is not None and moment.instant is not None:
            times[index] = moment.instant
            zones.setdefault(int(codes[index]), []).append(moment.local - moment.instant)
    usual = {place: sorted(offsets)[len(offsets) // 2] for place, offsets in zones.items()}
    for index, moment in enumerate(moments):
        if moment is not None and moment.instant is None:
            times[index] = moment.local - usual.get(int(codes[index]), 0)
    return times
