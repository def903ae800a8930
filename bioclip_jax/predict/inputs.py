"""What a person may name as INPUTS: files, folders, globs, a table of file paths (CSV or Parquet), tars."""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

from bioclip_jax.errors import UserError
from bioclip_jax.file_kinds import IMAGE_SUFFIXES
from bioclip_jax.pipeline.sources.tar_format import BadTar, members
from bioclip_jax.tables import PATH_COLUMNS, find_file, is_table, path_column, read_table, texts

_IN_FOLDERS = IMAGE_SUFFIXES | {".tar"}
_ADVICE = "give images, folders, globs, a CSV or Parquet with a filepath column, or tars"


@dataclass(frozen=True, slots=True)
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
    Nothing is opened here but tables and tars. UserError for a path that is missing, and for a folder, glob, table or
    tar without images.
    """
    return [image for path in expand(inputs) for image in _at(path)]


def expand(inputs: Sequence[str | os.PathLike[str]]) -> list[str]:
    """The paths that INPUTS name, with what its globs match, in their order; of these it makes the same again.

    UserError where there is none, or nothing at one of them.
    """
    if not inputs:
        raise UserError(f"there is no input; {_ADVICE}")
    return [path for item in inputs for path in _matches(os.fspath(item))]


def _matches(item: str) -> list[str]:
    if os.path.exists(item):
        return [item]
    if not glob.has_magic(item):
        raise UserError(f"{item} does not exist; {_ADVICE}")
    found = sorted(glob.glob(item, recursive=True))
    if not found:
        raise UserError(f"nothing matches {item}; {_ADVICE}")
    return [path for match in found for path in _matches(match)]


def _at(path: str) -> Sequence[ImageFile]:
    if not os.path.isdir(path):
        return _in_file(path)
    found = [image for file in _walk(path) for image in _in_folder(file)]
    if not found:
        raise UserError(f"the folder {path} holds no image ({', '.join(sorted(IMAGE_SUFFIXES))}); {_ADVICE}")
    return found


def _in_folder(path: str) -> Sequence[ImageFile]:
    if os.path.splitext(path)[1].lower() != ".tar":
        return [ImageFile(path, path)]
    found = _members(path)
    if not found:
        print(f"left out: {path} holds no image", file=sys.stderr)
    return found


def _in_file(path: str) -> Sequence[ImageFile]:
    suffix = os.path.splitext(path)[1].lower()
    if suffix == ".tar":
        found = _members(path)
        if not found:
            raise UserError(f"{path} holds no image ({', '.join(sorted(IMAGE_SUFFIXES))}); {_ADVICE}")
        return found
    if is_table(path):
        return _from_table(path)
    return [ImageFile(path, path)]


def _walk(folder: str, above: tuple[tuple[int, int], ...] = ()) -> Iterator[str]:
    """Images and tars below a folder, hidden ones left out, sorted by path; `above`: the folders that it lies in."""
    about = os.stat(folder)
    here = (about.st_dev, about.st_ino)
    # A link may lead back to where one comes from. Other links are followed, because tables may name files by them.
    if here in above:
        return
    with os.scandir(folder) as entries:
        found = sorted((entry.name, entry.is_dir()) for entry in entries if not entry.name.startswith("."))
    for name, is_folder in found:
        path = os.path.join(folder, name)
        if is_folder:
            yield from _walk(path, (*above, here))
        elif os.path.splitext(name)[1].lower() in _IN_FOLDERS:
            yield path


def _from_table(path: str) -> list[ImageFile]:
    """The images of a table's filepath column; relative paths start from the table's folder."""
    # Nothing else of it: vectors may lie beside.
    table = read_table(path, PATH_COLUMNS, only=PATH_COLUMNS)
    paths = [text for text in texts(table[path_column(table)]) if text.strip()]
    if not paths:
        raise UserError(f"{path} names no file; put one path a row into its filepath column")
    folder = os.path.dirname(path)
    return [ImageFile(os.path.join(folder, name), find_file(folder, name)) for name in paths]


def _members(path: str) -> list[ImageFile]:
    """The images in an uncompressed tar, found by their headers; nothing is unpacked."""
    try:
        with open(path, "rb") as file:
            read = partial(_read_at, file)
            found = [m for m in members(read, os.path.getsize(path)) if Path(m.name).suffix.lower() in IMAGE_SUFFIXES]
    except BadTar as error:
        raise UserError(f"the tar {path} cannot be read: {error}; make it again") from error
    return [ImageFile(f"{path}/{m.name}", path, m.offset, m.size) for m in found]


def _read_at(file: BinaryIO, offset: int, size: int) -> bytes:
    file.seek(offset)
    return file.read(size)
