"""The journal of a resumable prediction: a file of finished images that survives a kill."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from jaxtyping import Float32, Int64

from bioclip_jax.errors import Interrupted, UserError
from bioclip_jax.locks import lock

from .inputs import ImageFile
from .results import Prediction, Row

VERSION = 2
_LONGEST_QUOTED = 60


class Journal:
    """Predictions of finished images, one JSON line each, in the file .NAME.partial beside the output NAME.

    A line also holds the image's vector if it is to be pooled.
    The first line holds the settings and a digest of the images. Each line reaches the kernel when its image
    is finished, so a killed process loses no finished image; a torn last line is dropped. Images are
    identified by their keys, so a journal stays useful if images are added, removed or reordered; the later
    of two lines about an image counts.

    failures: the error of each known unreadable image, by index. complete: all images are finished.
    """

    def __init__(
        self, file: BinaryIO, path: Path, images: Sequence[ImageFile], keys: Int64[np.ndarray, " n"]
    ) -> None:
        self._file, self._path, self._images, self._keys = file, path, images, keys
        self.failures: dict[int, str] = {}
        # The offset of each image's line, -1 without one.
        self._offsets = np.full(len(images), -1, np.int64)
        self._order = np.argsort(keys, kind="stable")
        self._sorted_keys = keys[self._order]
        self._same_images = True
        self.complete = False

    @classmethod
    @contextlib.contextmanager
    def open(
        cls,
        output: Path,
        settings: Mapping[str, Any],
        images: Sequence[ImageFile],
        keys: Int64[np.ndarray, " images"] | None = None,
    ) -> Iterator[Journal]:
        """Open the journal of `output`, or create it; `keys` are image_keys, if already computed.

        The journal is removed when the block succeeds, and otherwise kept if it holds a finished image;
        Ctrl-C then becomes Interrupted, unless the block has done so. Raises UserError if the journal has
        other settings or is in use.
        """
        path = journal_path(output)
        keys = image_keys(images) if keys is None else keys
        with open(path, "a+b") as file:
            lock(file, f"another process is writing {output}; wait for it, or name another output")
            journal = cls(file, path, images, keys)
            journal._read(output, {"journal": VERSION, **settings})
            try:
                yield journal
            except BaseException as error:
                if not journal.count:
                    path.unlink(missing_ok=True)
                elif isinstance(error, KeyboardInterrupt) and not isinstance(error, Interrupted):
                    raise Interrupted(
                        f"{journal.count:,} of {len(images):,} images are kept in {path}; run the same "
                        "command again to resume"
                    ) from None
                raise
            path.unlink(missing_ok=True)

    @property
    def count(self) -> int:
        """Number of finished images."""
        return int((self._offsets >= 0).sum())

    def remaining(self, group_size: int) -> list[int]:
        """Return the indices of unfinished images that are not known to be unreadable.

        group_size: images that the classifier predicts together. If the images are those of the journal's
        first line, work restarts at a group's start, and near the end with the last finished group: every
        group then has the images and compiled shapes of an uninterrupted run, so results are bit-identical.
        """
        if self.complete:
            return []
        if not self._same_images:
            return [
                index for index in np.flatnonzero(self._offsets < 0).tolist() if index not in self.failures
            ]
        # A group counts readable images only, with or without a prediction.
        finished = np.flatnonzero(self._offsets >= 0)
        end = int(finished[-1]) + 1 if len(finished) else 0
        readable = [index for index in range(end) if index not in self.failures]
        first = len(readable) // group_size * group_size
        # Fewer images than a group would be compiled in a smaller shape.
        if first and len(self._images) - end < 2 * group_size:
            first -= group_size
        start = readable[first] if first < len(readable) else end
        self._offsets[start:] = -1
        return [index for index in range(start, len(self._images)) if index not in self.failures]

    def add(self, index: int, rows: Sequence[Row], vector: Float32[np.ndarray, " dim"] | None = None) -> None:
        """Record a finished image, with its vector for a later pooling: in one line, so that none is torn."""
        self._offsets[index] = self._file.tell()
        entry: list[Any] = [int(self._keys[index]), rows]
        if vector is not None:
            entry.append(base64.b64encode(np.asarray(vector, "<f4").tobytes()).decode())
        self._append(entry)

    def add_failure(self, index: int, problem: str) -> None:
        """Record an unreadable image, as soon as it is known."""
        self.failures[index] = problem
        self._append([int(self._keys[index]), problem])

    def finish(self) -> None:
        """Record that all images are finished."""
        self._append({"all": digest(self._keys)})
        self.complete = True

    def predictions(self) -> Iterator[Prediction]:
        """Yield all finished images with their rows, in order."""
        for index, rows, _ in self.finished(np.flatnonzero(self._offsets >= 0).tolist()):
            yield self._images[index], rows

    def finished(
        self, indices: Iterable[int]
    ) -> Iterator[tuple[int, list[Row], Float32[np.ndarray, " dim"] | None]]:
        """Yield those of the images that are finished, with their rows and vectors, if any."""
        with open(self._path, "rb") as file:
            for index in indices:
                if self._offsets[index] >= 0:
                    file.seek(int(self._offsets[index]))
                    entry = json.loads(file.readline())
                    vector = np.frombuffer(base64.b64decode(entry[2]), "<f4") if len(entry) > 2 else None
                    yield index, entry[1], vector

    def _append(self, entry: Any) -> None:
        self._file.write(json.dumps(entry).encode() + b"\n")
        self._file.flush()

    def _read(self, output: Path, settings: dict[str, Any]) -> None:
        self._file.seek(0)
        header = _parse_line(self._file.readline())
        images_digest = digest(self._keys)
        if header is None:
            self._file.truncate(0)
            self._append(settings | {"images": images_digest, "count": len(self._keys)})
            return
        images, count = header.pop("images", None), header.pop("count", 0)
        check_same_settings(output, header, settings, f"delete {self._path} to start over")
        self._same_images = images == images_digest
        offset = self._file.tell()
        for line in self._file:
            if (entry := _parse_line(line)) is None:
                break
            if isinstance(entry, dict):
                self.complete = entry["all"] == images_digest
            else:
                for index in self._indices_of(entry[0]):
                    if isinstance(entry[1], str):
                        self.failures[index] = entry[1]
                    else:
                        self._offsets[index] = offset
            offset += len(line)
        self._file.truncate(offset)
        self._file.seek(0, os.SEEK_END)
        if not self._same_images:
            print(
                f"note: the images are not the {count:,} of the interrupted run; "
                f"{self.count:,} of {len(self._keys):,} are finished",
                file=sys.stderr,
            )

    def _indices_of(self, key: int) -> list[int]:
        """Return the indices of the images with this key; several if an input is repeated."""
        first, last = (int(np.searchsorted(self._sorted_keys, key, side)) for side in ("left", "right"))
        return self._order[first:last].tolist()


def journal_path(output: Path) -> Path:
    """Return the path of an output's journal."""
    return output.with_name(f".{output.name}.partial")


def image_keys(images: Iterable[ImageFile]) -> Int64[np.ndarray, " images"]:
    """Hash each image's name, location, box, frame, file size and modification time, without reading it."""
    last, state, keys = None, None, []
    for image in images:
        if image.path != last:
            last = image.path
            try:
                status = os.stat(last)
                state = [status.st_size, status.st_mtime_ns]
            except OSError:  # reported as unreadable when the image is loaded
                state = None
        identity = [image.name, image.path, image.offset, image.size, state]
        # Whole images keep the keys that they had before there were boxes.
        if image.box is not None:
            identity.append({"box": image.box})
        if image.frame is not None:
            identity.append({"frame": image.frame})
        text = json.dumps(identity)
        keys.append(hashlib.sha256(text.encode()).digest()[:8])
    return np.frombuffer(b"".join(keys), "<i8")


def digest(keys: Int64[np.ndarray, " images"]) -> str:
    """Return the SHA-256 of image keys."""
    return hashlib.sha256(np.ascontiguousarray(keys).tobytes()).hexdigest()


def check_same_settings(output: Path, old: Mapping[str, Any], new: Mapping[str, Any], advice: str) -> None:
    """Raise UserError with the differences between two runs' settings."""
    if "precision" in new:
        # Runs from before precision was recorded are in fp32.
        old = {"precision": "fp32", **old}
    names = (name for name in dict.fromkeys([*new, *old]) if old.get(name) != new.get(name))
    differences = [_difference(name, old.get(name), new.get(name)) for name in names]
    if differences:
        raise UserError(
            f"{output} was made with other options ({'; '.join(differences)}); use the same ones, or {advice}"
        )


def _difference(name: str, old: Any, new: Any) -> str:
    old, new = json.dumps(old), json.dumps(new)
    if max(len(old), len(new)) > _LONGEST_QUOTED:
        return f"the {name} differ"
    return f"{name} was {old} and is {new}"


def _parse_line(line: bytes) -> Any:
    """Parse a JSON line; None for a torn one."""
    try:
        return json.loads(line) if line.endswith(b"\n") else None
    except ValueError:
        return None
