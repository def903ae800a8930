"""The verb `duplicates`: groups of exact and near copies among photographs; nothing is deleted."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8

from bioclip_jax.errors import UserError
from bioclip_jax.files import check_not_read, check_output
from bioclip_jax.pipeline.images import BadImage, ReadOptions, decode, image_header

from .capture import read_ahead
from .image_file import ImageFile, read_upright
from .inputs import Skipped, find_images
from .progress import FailureLog, track
from .results import check_format, write_empty, write_rows

# Bits of 256; PDQ's authors advise 31, and photographs of one scene taken seconds apart are within 64.
THRESHOLD = 31
_MOST_BITS = 64
_COLUMNS = {
    "group": "int64",
    "filepath": "string",
    "kind": "string",
    "distance": "int64",
    "keep": "string",
    "width": "int64",
    "height": "int64",
    "bytes": "int64",
}


class _Photo(NamedTuple):
    """Facts of one readable photograph: hash of its bytes, PDQ with its quality, size in pixels and bytes."""

    content: bytes
    pdq: UInt8[np.ndarray, " 32"]
    quality: int
    width: int
    height: int
    size: int


def find_duplicates(
    inputs: Sequence[str | os.PathLike[str]],
    output: str | os.PathLike[str] | None = None,
    *,
    threshold: int = THRESHOLD,
    format: str | None = None,
    reading: ReadOptions | None = None,
    as_result: bool = False,
) -> dict[str, Any]:
    """Group the photographs of `inputs` (as find_images) that are copies of each other, and write the groups.

    A group is a star: every member has the bytes of the one to keep, or a PDQ hash within `threshold` bits of
    its hash, so that no chain of similar pictures joins different ones. The one to keep has the most pixels,
    then the most bytes, then comes first. Files that are the same file, by links or because they are given
    twice, count once. as_result: without an output, return the rows instead of printing them.

    Rows: "group" from 1, "filepath", "kind" ("exact" or "near" copy of the one to keep, whose own is ""),
    "distance" in bits (empty likewise), "keep" ("yes" or "no"), "width", "height" and "bytes".
    Returns {"images", "skipped" by suffix, "groups", "exact", "near": numbers of copies, "too_plain": photos
    with too little structure for PDQ, of which only exact copies are found, "bytes" of all copies,
    "unreadable", "output" or "duplicates"}.
    Raises UserError for invalid arguments, and if no image can be read.
    """
    if not 0 <= threshold <= _MOST_BITS:
        raise UserError(f"--threshold is {threshold}; it is a number of bits from 0 to {_MOST_BITS}")
    output = None if output is None else Path(output)
    if output is not None or not as_result:
        format = check_format(format, output)
    check_output(output)
    skipped = Skipped()
    images = _distinct_files(find_images(inputs, None, skipped))
    check_not_read({"--output": output}, {"an input": itertools.chain(inputs, (i.path for i in images))})
    skipped.report()
    failures = FailureLog(len(images))
    kept, photos = _read(images, reading or ReadOptions(), failures)
    groups, counts = _group(photos, threshold)
    rows = list(_rows(groups, kept, photos))
    copies = sum(row["bytes"] for row in rows if row["keep"] == "no")
    result: dict[str, Any] = {"images": len(images), "skipped": skipped.by_kind, "groups": len(groups)}
    result |= counts | {"bytes": copies, "unreadable": failures.problems}
    if as_result and output is None:
        return result | {"duplicates": rows}
    if not write_rows(rows, format, output) and output is not None:
        write_empty(list(_COLUMNS), format, output, _COLUMNS)
    return result | {"output": None if output is None else str(output)}


def _distinct_files(images: Sequence[ImageFile]) -> list[ImageFile]:
    """Drop images that are the same file as an earlier one, of which no copy could be deleted."""
    seen: set[Any] = set()
    distinct = []
    for image in images:
        try:
            status = os.stat(image.path)
            key: Any = (status.st_dev, status.st_ino, image.offset, image.frame)
        except OSError:
            key = image  # is reported as unreadable
        if image.content is not None or key not in seen:
            seen.add(key)
            distinct.append(image)
    if same := len(images) - len(distinct):
        print(f"note: {same:,} images are the same files as others, and count once", file=sys.stderr)
    return distinct


def _read(
    images: Sequence[ImageFile], read: ReadOptions, failures: FailureLog
) -> tuple[list[ImageFile], list[_Photo]]:
    kept, photos = [], []
    tracked = track(enumerate(images), "hashing", len(images))
    for (index, image), photo in read_ahead(tracked, lambda item: _hash(item[1], read)):
        if isinstance(photo, UserError):
            failures(index, photo)
        else:
            kept.append(image)
            photos.append(photo)
    return kept, photos


def _hash(image: ImageFile, read: ReadOptions) -> _Photo | UserError:
    from bioclip_jax.curate.dedup import DECODE_SIDE, content_hash, pdq

    try:
        data = image.read()
        if image.frame is None:
            pixels = decode(data, DECODE_SIDE, read=read)
            width, height = image_header(data)[1:] if data.startswith(b"\xff\xd8") else pixels.shape[1::-1]
            if (width > height) != (pixels.shape[1] > pixels.shape[0]):
                width, height = height, width  # turned by EXIF
            identity = data
        else:
            pixels = np.asarray(read_upright(image, read))
            height, width = pixels.shape[:2]
            identity = pixels.tobytes()
        bits, quality = pdq(pixels)
    except (BadImage, OSError, ValueError, MemoryError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        return UserError(f"{image.name} cannot be read ({reason}); give a JPEG, PNG or the like")
    return _Photo(bytes.fromhex(content_hash(identity)), bits, quality, width, height, len(identity))


def _group(photos: Sequence[_Photo], threshold: int) -> tuple[list[list[Any]], dict[str, int]]:
    """Return groups of (index, kind, distance), the one to keep first, and counts for the result."""
    from bioclip_jax.curate.dedup import MIN_QUALITY, decide_duplicates

    quality = np.array([photo.quality for photo in photos], np.int16)
    decisions = decide_duplicates(
        [photo.content.hex() for photo in photos],
        np.stack([photo.pdq for photo in photos]),
        quality,
        _priority(photos),
        distance=threshold,
    )
    groups: dict[int, list[Any]] = {}
    for index in np.flatnonzero(decisions.instead >= 0).tolist():
        first = int(decisions.instead[index])
        kind = "exact" if photos[index].content == photos[first].content else "near"
        groups.setdefault(first, [(first, "", None)]).append((index, kind, int(decisions.distance[index])))
    found = [kind for group in groups.values() for _, kind, _ in group[1:]]
    counts = {kind: found.count(kind) for kind in ("exact", "near")}
    counts["too_plain"] = int((quality < MIN_QUALITY).sum())
    return sorted(groups.values(), key=lambda group: min(index for index, *_ in group)), counts


def _priority(photos: Sequence[_Photo]) -> np.ndarray:
    """Rank by pixels, then bytes: of equal sizes, the sharper or less compressed picture has more bytes."""
    order = sorted(range(len(photos)), key=lambda i: (photos[i].width * photos[i].height, photos[i].size, -i))
    priority = np.empty(len(photos), np.int64)
    priority[order] = np.arange(len(photos))
    return priority


def _rows(
    groups: Sequence[Sequence[Any]], images: Sequence[ImageFile], photos: Sequence[_Photo]
) -> Iterator[dict[str, Any]]:
    for number, group in enumerate(groups, 1):
        for index, kind, distance in group:
            photo = photos[index]
            keep = "no" if kind else "yes"
            name, sides = images[index].name, (photo.width, photo.height)
            yield dict(zip(_COLUMNS, (number, name, kind, distance, keep, *sides, photo.size)))
