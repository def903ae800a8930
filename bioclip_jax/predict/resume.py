"""Long predictions that go on where they were stopped: finished images wait in a journal beside the output."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import os
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

from bioclip_jax.errors import UserError
from bioclip_jax.locks import lock
from bioclip_jax.predict.inputs import ImageFile

Row = Mapping[str, Any]
# An image and the rows about it, best first.
Answer = tuple[ImageFile, Sequence[Row]]

_VERSION = 1
_LONGEST_TOLD = 60


class _Mention(str):
    """An image's name that knows its place, since one image may be named twice."""

    place: int


def mentions(images: Iterable[ImageFile]) -> Iterator[ImageFile]:
    """The images as a classifier has to get them for by_image."""
    for place, image in enumerate(images):
        name = _Mention(image.name)
        name.place = place
        yield replace(image, name=name)


def by_image(rows: Iterable[Row], images: Sequence[ImageFile]) -> Iterator[tuple[int, list[Row]]]:
    """Places among `images` and their rows, in order, from a classifier's stream of rows about their `mentions`.

    Images without a row (unreadable, or no taxon is probable enough) are left out.
    """
    for place, found in itertools.groupby(rows, key=lambda row: row["file_name"].place):
        yield place, [{**row, "file_name": images[place].name} for row in found]


def inputs_digest(images: Iterable[ImageFile]) -> str:
    """What the images are: their names and places, and the files' sizes and times, without reading them."""
    digest, last, state = hashlib.sha256(), None, None
    for image in images:
        if image.path != last:
            last = image.path
            try:
                status = os.stat(last)
                state = [status.st_size, status.st_mtime_ns]
            except OSError:  # it is told as unreadable when its turn comes
                state = None
        digest.update(json.dumps([image.name, image.path, image.offset, image.size, state]).encode() + b"\n")
    return digest.hexdigest()


class Journal:
    """Finished images of a run, a JSON line each, in the file .NAME.partial beside the output NAME.

    The first line is what was asked. A line is with the kernel as soon as its image is done, so a killed process
    loses no image that it finished; a torn last line is cut off.

    bad: what is wrong with each unreadable image that is known, by its place.
    """

    def __init__(self, file: BinaryIO, path: Path, images: Sequence[ImageFile]) -> None:
        self._file = file
        self._path = path
        self._images = images
        self.bad: dict[int, str] = {}
        # Of the images that were finished when the file was opened: where each one's line begins, and its place.
        self._starts, self._places = array("q"), array("q")
        self.complete = False

    @classmethod
    @contextlib.contextmanager
    def open(cls, output: Path, question: Mapping[str, Any], images: Sequence[ImageFile]) -> Iterator[Journal]:
        """The journal of `output`, begun anew where there is none. It goes when the block ends well, and else stays if
        it holds an image.

        Errors: UserError where it was begun with another `question` (says what differs), or another process has it.
        """
        path = output.with_name(f".{output.name}.partial")
        with open(path, "a+b") as file:
            lock(file, f"another process is working on {output}; wait for it, or name another output")
            journal = cls(file, path, images)
            journal._read(output, {"journal": _VERSION, **question})
            done = False
            try:
                yield journal
                done = True
            finally:
                if done or next(journal.answers(), None) is None:
                    path.unlink(missing_ok=True)

    def rest(self, together: int) -> list[int]:
        """The places of the images that are not finished and may be readable.

        `together`: images that a classifier answers in one piece. The rest begins where a piece did, and where little
        is left with the last finished one, so that all pieces are what they would have been, in the same compiled
        shapes: to the bit.
        """
        if self.complete:
            return []
        # A piece holds readable images only, whether or not they have an answer.
        end = self._places[-1] + 1 if self._places else 0
        readable = [place for place in range(end) if place not in self.bad]
        first = len(readable) // together * together
        # Fewer than fill a piece would be compiled in a smaller shape.
        if first and len(self._images) - end < 2 * together:
            first -= together
        start = readable[first] if first < len(readable) else end
        self._cut(start)
        return [place for place in range(start, len(self._images)) if place not in self.bad]

    def add(self, place: int, rows: Sequence[Row]) -> None:
        """Note an image that is finished, in the order of the images."""
        self._append([place, rows])

    def add_bad(self, place: int, problem: str) -> None:
        """Note an image that cannot be read, as soon as that is known."""
        self.bad[place] = problem
        self._append([place, problem])

    def finish(self) -> None:
        """Note that all images are done."""
        self._append("all")
        self.complete = True

    def answers(self) -> Iterator[Answer]:
        """All finished images, in order, with their rows."""
        with open(self._path, "rb") as file:
            next(file)
            for line in file:
                entry = json.loads(line)
                if isinstance(entry, list) and isinstance(entry[1], list):
                    yield self._images[entry[0]], entry[1]

    def _append(self, entry: Any) -> None:
        self._file.write(json.dumps(entry).encode() + b"\n")
        self._file.flush()

    def _read(self, output: Path, question: dict[str, Any]) -> None:
        self._file.seek(0)
        head = _entry(self._file.readline())
        if head is None:
            self._file.truncate(0)
            self._append(question)
            return
        keys = (key for key in dict.fromkeys([*question, *head]) if head.get(key) != question.get(key))
        differences = [_difference(key, head.get(key), question.get(key)) for key in keys]
        if differences:
            raise UserError(
                f"{output} was begun with another question ({'; '.join(differences)}); ask as then, name another, "
                f"or delete {self._path} to begin anew"
            )
        start = self._file.tell()
        for line in self._file:
            if (entry := _entry(line)) is None:
                break
            if entry == "all":
                self.complete = True
            elif isinstance(entry[1], str):
                self.bad[entry[0]] = entry[1]
            else:
                self._starts.append(start)
                self._places.append(entry[0])
            start += len(line)
        self._file.truncate(start)
        self._file.seek(0, os.SEEK_END)

    def _cut(self, first: int) -> None:
        """Forget the finished images from place `first` on."""
        kept = bisect_left(self._places, first)
        if kept == len(self._places):
            return
        self._file.truncate(self._starts[kept])
        self._file.seek(0, os.SEEK_END)
        del self._starts[kept:], self._places[kept:]
        # Some of their lines may have been among those that are gone.
        for place, problem in list(self.bad.items()):
            self.add_bad(place, problem)


def _entry(line: bytes) -> Any:
    """What a line holds; None for one that was cut off."""
    try:
        return json.loads(line) if line.endswith(b"\n") else None
    except ValueError:
        return None


def _difference(key: str, then: Any, now: Any) -> str:
    then, now = json.dumps(then), json.dumps(now)
    if max(len(then), len(now)) > _LONGEST_TOLD:
        return f"the {key} are others, or have changed"
    return f"{key} was {then} and is {now}"
