"""Long predictions that resume where they were stopped: finished images are kept in a journal beside the output."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from jaxtyping import Int64

from bioclip_jax.errors import Interrupted, UserError
from bioclip_jax.files import write_text
from bioclip_jax.locks import lock

from .inputs import ImageFile

Row = Mapping[str, Any]
# An image and the rows about it, best first.
Answer = tuple[ImageFile, Sequence[Row]]

_VERSION = 2
_LONGEST_TOLD = 60
_DELETED = "delete {} to begin anew"


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


def image_keys(images: Iterable[ImageFile]) -> Int64[np.ndarray, " images"]:
    """A number for each image, of its name and place and the file's size and time, without reading it."""
    last, state, keys = None, None, []
    for image in images:
        if image.path != last:
            last = image.path
            try:
                status = os.stat(last)
                state = [status.st_size, status.st_mtime_ns]
            except OSError:  # it is told as unreadable when its turn comes
                state = None
        text = json.dumps([image.name, image.path, image.offset, image.size, state])
        keys.append(hashlib.sha256(text.encode()).digest()[:8])
    return np.frombuffer(b"".join(keys), "<i8")


def journal_path(output: Path) -> Path:
    """The file that keeps what is finished of an output."""
    return output.with_name(f".{output.name}.partial")


def record_path(output: Path) -> Path:
    """The file that says what a finished output is the answer to."""
    return output.with_name(f".{output.name}.finished")


def finished(
    output: Path,
    question: Mapping[str, Any],
    keys: Int64[np.ndarray, " images"],
    form: Mapping[str, Any] = {},
    columns: str = "",
) -> bool:
    """True where `output` is the finished answer to `question` about these images.

    form: options that matter to the file alone. columns: a hash of what is known of the images besides.
    UserError where it is there and answers another question, was changed since, or no record tells.
    """
    if not output.exists():
        return False
    record = record_path(output)
    advice = f"leave --resume out to replace {output}, or name another output"
    try:
        told = json.loads(record.read_text(encoding="utf-8"))
        told, images, state = told["question"], told["images"], told["output"]
    except FileNotFoundError:
        # A process that was killed between the output and its record has left its journal.
        if journal_path(output).exists():
            return False
        raise UserError(f"{output} is there already, and no interrupted run to resume; {advice}") from None
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(f"{record} cannot be read; {advice}") from None
    _check_question(output, told, _whole_question(question, form), advice)
    if state != _state(output):
        raise UserError(f"{output} was changed since it was finished; {advice}")
    same = images == [_digest(keys), columns]
    if not same:
        note = f"note: the images or their table are not those of {output}; predicting all of them again"
        print(note, file=sys.stderr)
    return same


def record_finished(
    output: Path,
    question: Mapping[str, Any],
    keys: Int64[np.ndarray, " images"],
    form: Mapping[str, Any] = {},
    columns: str = "",
) -> None:
    """Note what `output`, which was just written, is the answer to; the others as `finished`."""
    question = _whole_question(question, form)
    told = {"question": question, "images": [_digest(keys), columns], "output": _state(output)}
    write_text(record_path(output), json.dumps(told) + "\n")


def _whole_question(question: Mapping[str, Any], form: Mapping[str, Any]) -> dict[str, Any]:
    return {"journal": _VERSION, **question, **form}


class Journal:
    """Finished images of a run, a JSON line each, in the file .NAME.partial beside the output NAME.

    The first line is what was asked, and of which images. A line is with the kernel as soon as its image is
    done, so a killed process loses no image that it finished; a torn last line is cut off. An image is known
    by its key, so the journal of fewer, more or other images is of use as well; of two lines about an image
    the later counts.

    bad: what is wrong with each unreadable image that is known, by its place. complete: all images are
    finished.
    """

    def __init__(
        self, file: BinaryIO, path: Path, images: Sequence[ImageFile], keys: Int64[np.ndarray, " n"]
    ) -> None:
        self._file, self._path, self._images, self._keys = file, path, images, keys
        self.bad: dict[int, str] = {}
        # Where the line of each image begins, -1 where there is none.
        self._starts = np.full(len(images), -1, np.int64)
        self._order = np.argsort(keys, kind="stable")
        self._sorted = keys[self._order]
        self._same_images = True
        self.complete = False

    @classmethod
    @contextlib.contextmanager
    def open(
        cls,
        output: Path,
        question: Mapping[str, Any],
        images: Sequence[ImageFile],
        keys: Int64[np.ndarray, " images"] | None = None,
    ) -> Iterator[Journal]:
        """The journal of `output`, begun anew where there is none. `keys`: of the images, where they are known already.

        It goes when the block ends well, and else stays if it holds an image; Ctrl-C then becomes
        Interrupted.
        Errors: UserError where it was begun with another `question` (says what differs), or another process
        has it.
        """
        path = journal_path(output)
        keys = image_keys(images) if keys is None else keys
        with open(path, "a+b") as file:
            lock(file, f"another process is working on {output}; wait for it, or name another output")
            journal = cls(file, path, images, keys)
            journal._read(output, {"journal": _VERSION, **question})
            try:
                yield journal
            except BaseException as error:
                kept = journal.count
                if not kept:
                    path.unlink(missing_ok=True)
                elif isinstance(error, KeyboardInterrupt):
                    raise Interrupted(
                        f"{kept:,} of {len(images):,} images are kept in {path}; run the same command again "
                        f"to resume"
                    ) from None
                raise
            path.unlink(missing_ok=True)

    @property
    def count(self) -> int:
        """Images that are finished."""
        return int((self._starts >= 0).sum())

    def rest(self, together: int) -> list[int]:
        """The places of the images that are not finished and may be readable.

        `together`: images that a classifier answers in one piece. Where the images are those of the journal's
        first line, the rest begins where a piece did, and where little is left with the last finished one, so
        that all pieces are what they would have been, in the same compiled shapes: to the bit.
        """
        if self.complete:
            return []
        if not self._same_images:
            return [place for place in np.flatnonzero(self._starts < 0).tolist() if place not in self.bad]
        # A piece holds readable images only, whether or not they have an answer.
        done = np.flatnonzero(self._starts >= 0)
        end = int(done[-1]) + 1 if len(done) else 0
        readable = [place for place in range(end) if place not in self.bad]
        first = len(readable) // together * together
        # Fewer than fill a piece would be compiled in a smaller shape.
        if first and len(self._images) - end < 2 * together:
            first -= together
        start = readable[first] if first < len(readable) else end
        self._starts[start:] = -1
        return [place for place in range(start, len(self._images)) if place not in self.bad]

    def add(self, place: int, rows: Sequence[Row]) -> None:
        """Note an image that is finished."""
        self._starts[place] = self._file.tell()
        self._append([int(self._keys[place]), rows])

    def add_bad(self, place: int, problem: str) -> None:
        """Note an image that cannot be read, as soon as that is known."""
        self.bad[place] = problem
        self._append([int(self._keys[place]), problem])

    def finish(self) -> None:
        """Note that all images are done."""
        self._append({"all": _digest(self._keys)})
        self.complete = True

    def answers(self) -> Iterator[Answer]:
        """All finished images, in order, with their rows."""
        with open(self._path, "rb") as file:
            for place in np.flatnonzero(self._starts >= 0).tolist():
                file.seek(int(self._starts[place]))
                rows = json.loads(file.readline())[1]
                yield self._images[place], rows

    def _append(self, entry: Any) -> None:
        self._file.write(json.dumps(entry).encode() + b"\n")
        self._file.flush()

    def _read(self, output: Path, question: dict[str, Any]) -> None:
        self._file.seek(0)
        head = _entry(self._file.readline())
        digest = _digest(self._keys)
        if head is None:
            self._file.truncate(0)
            self._append(question | {"images": digest, "count": len(self._keys)})
            return
        images, count = head.pop("images", None), head.pop("count", 0)
        _check_question(output, head, question, _DELETED.format(self._path))
        self._same_images = images == digest
        start = self._file.tell()
        for line in self._file:
            if (entry := _entry(line)) is None:
                break
            if isinstance(entry, dict):
                self.complete = entry["all"] == digest
            else:
                for place in self._places_of(entry[0]):
                    if isinstance(entry[1], str):
                        self.bad[place] = entry[1]
                    else:
                        self._starts[place] = start
            start += len(line)
        self._file.truncate(start)
        self._file.seek(0, os.SEEK_END)
        if not self._same_images:
            print(
                f"note: the images are not the {count:,} of the interrupted run; {self.count:,} of "
                f"{len(self._keys):,} "
                "are done already",
                file=sys.stderr,
            )

    def _places_of(self, key: int) -> list[int]:
        """The places of the images with this key: none, one, or several where one is named again."""
        first, last = (int(np.searchsorted(self._sorted, key, side)) for side in ("left", "right"))
        return self._order[first:last].tolist()


def _digest(keys: Int64[np.ndarray, " images"]) -> str:
    return hashlib.sha256(np.ascontiguousarray(keys).tobytes()).hexdigest()


def _state(path: Path) -> list[int]:
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]


def _entry(line: bytes) -> Any:
    """What a line holds; None for one that was cut off."""
    try:
        return json.loads(line) if line.endswith(b"\n") else None
    except ValueError:
        return None


def _check_question(output: Path, then: Mapping[str, Any], now: Mapping[str, Any], advice: str) -> None:
    """UserError that says what differs between two questions."""
    keys = (key for key in dict.fromkeys([*now, *then]) if then.get(key) != now.get(key))
    differences = [_difference(key, then.get(key), now.get(key)) for key in keys]
    if differences:
        told = "; ".join(differences)
        raise UserError(f"{output} was made with other options ({told}); use the same ones, or {advice}")


def _difference(key: str, then: Any, now: Any) -> str:
    then, now = json.dumps(then), json.dumps(now)
    if max(len(then), len(now)) > _LONGEST_TOLD:
        return f"the {key} are others, or have changed"
    return f"{key} was {then} and is {now}"
