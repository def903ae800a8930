"""What a person may name as INPUTS: files, folders, globs, a CSV of file paths, tars."""

from __future__ import annotations

import csv
import glob
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

from bioclip_jax.errors import UserError
from bioclip_jax.pipeline.sources.tar_format import BadTar, members

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif"})
_ADVICE = "give images, folders, globs, a CSV with a filepath column, or tars"


@dataclass(frozen=True)
class ImageFile:
    """One image on disk: a file, or `size` bytes at `offset` of a tar.

    name: what results call it, the path as the person gave it; a tar's member is TAR/MEMBER.
    """

    name: str
    path: str
    offset: int = 0
    size: int | None = None

    def read(self) -> bytes:
        """The encoded image. OSError if it cannot be read."""
        with open(self.path, "rb") as file:
            file.seek(self.offset)
            return file.read(-1 if self.size is None else self.size)


def find_images(inputs: Sequence[str | os.PathLike[str]]) -> list[ImageFile]:
    """The images that INPUTS name, in their order; those of a folder or glob sorted by path.

    A file that is named itself is taken whatever its suffix; in folders and tars only files with an image's suffix.
    Nothing is opened here but CSVs and tars. UserError for a path that is missing, and for a folder, glob, CSV or
    tar without images.
    """
    if not inputs:
        raise UserError(f"there is no input; {_ADVICE}")
    return [image for item in inputs for image in _expand(os.fspath(item))]


def _expand(item: str) -> Iterable[ImageFile]:
    if os.path.isdir(item):
        found = [image for path in _walk(item) for image in _expand(path)]
        if not found:
            raise UserError(f"the folder {item} holds no image ({', '.join(sorted(IMAGE_SUFFIXES))}); {_ADVICE}")
        return found
    if os.path.exists(item):
        suffix = Path(item).suffix.lower()
        if suffix == ".csv":
            return _from_csv(item)
        return _from_tar(item) if suffix == ".tar" else [ImageFile(item, item)]
    if glob.has_magic(item):
        matches = sorted(glob.glob(item, recursive=True))
        if not matches:
            raise UserError(f"nothing matches {item}; {_ADVICE}")
        return [image for path in matches for image in _expand(path)]
    raise UserError(f"{item} does not exist; {_ADVICE}")


def _walk(folder: str) -> Iterator[str]:
    """Images and tars below a folder, hidden ones left out, sorted by path."""
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                yield from _walk(entry.path)
            elif Path(entry.name).suffix.lower() in IMAGE_SUFFIXES | {".tar"}:
                yield entry.path


def _from_csv(path: str) -> list[ImageFile]:
    """The filepath column; relative paths start from the CSV's folder."""
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file)
            if "filepath" not in (rows.fieldnames or ()):
                raise UserError(f"{path} has no filepath column, but {rows.fieldnames or 'nothing'}; add one")
            paths = [row["filepath"] for row in rows if row["filepath"]]
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} cannot be read as CSV ({error}); give comma separated text in UTF-8") from error
    if not paths:
        raise UserError(f"{path} names no file; put one path a line into its filepath column")
    return [ImageFile(name, name) for name in (os.path.join(os.path.dirname(path), p) for p in paths)]


def _from_tar(path: str) -> list[ImageFile]:
    """The images in an uncompressed tar, found by their headers; nothing is unpacked."""
    try:
        with open(path, "rb") as file:
            read = partial(_read_at, file)
            found = [m for m in members(read, os.path.getsize(path)) if Path(m.name).suffix.lower() in IMAGE_SUFFIXES]
    except BadTar as error:
        raise UserError(f"the tar {path} cannot be read: {error}; make it again") from error
    if not found:
        raise UserError(f"{path} holds no image ({', '.join(sorted(IMAGE_SUFFIXES))}); {_ADVICE}")
    return [ImageFile(f"{path}/{m.name}", path, m.offset, m.size) for m in found]


def _read_at(file: BinaryIO, offset: int, size: int) -> bytes:
    file.seek(offset)
    return file.read(size)
