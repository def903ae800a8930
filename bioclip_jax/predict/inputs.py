"""INPUTS: images named as files, folders, globs, pipes, tables of file paths (CSV or Parquet), or tars."""

from __future__ import annotations

import contextlib
import glob
import os
import stat
import sys
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import BinaryIO

from bioclip_jax.errors import UserError
from bioclip_jax.file_kinds import (
    IMAGE_SUFFIXES,
    is_compressed_tar,
    is_hidden,
    is_hidden_path,
    is_image,
    is_tar,
    is_unsupported,
    unsupported_kinds,
)
from bioclip_jax.pipeline.sources import METADATA_FILES, BadTar, members
from bioclip_jax.tables import PATH_COLUMNS, find_file, is_table, lists_images, path_column, read_table, texts

STDIN = "/dev/stdin"
_ADVICE = "give images, folders, globs, a CSV or Parquet with a filepath column, or tars"
# A pipe that delivers more is no photograph.
_LARGEST_PIPED = 1 << 29
# Parts of the inputs that are reported one by one; of more, the number is.
_MOST_REPORTED = 20


@dataclass(frozen=True, slots=True)
class ImageFile:
    """One image: a file, or `size` bytes at `offset` of a tar, or what came through a pipe.

    name: what results call it, the path as the person gave it; a tar's member is TAR/MEMBER.
    """

    name: str
    path: str
    offset: int = 0
    size: int | None = None
    content: bytes | None = field(default=None, repr=False)

    def read(self) -> bytes:
        """The encoded image. OSError if it cannot be read."""
        if self.content is not None:
            return self.content
        with open(self.path, "rb") as file:
            if self.offset:  # a pipe, which a table may name, has no places
                file.seek(self.offset)
            return file.read(-1 if self.size is None else self.size)


class _Found:
    """Parts of INPUTS that are not images: those that cannot be read, and unsupported files."""

    def __init__(self) -> None:
        self.problems: list[UserError] = []
        self.unsupported: list[str] = []

    def problem(self, text: str) -> None:
        self.problems.append(UserError(text))

    def report(self) -> None:
        """Name it on standard error."""
        for problem in self.problems[:_MOST_REPORTED]:
            print(f"skipped: {problem}", file=sys.stderr)
        if (more := len(self.problems) - _MOST_REPORTED) > 0:
            print(f"skipped {more:,} more parts of the inputs", file=sys.stderr)
        if line := unsupported_kinds(self.unsupported):
            print(line, file=sys.stderr)


def find_images(inputs: Sequence[str | os.PathLike[str]]) -> list[ImageFile]:
    """The images that INPUTS name, in their order; those of a folder or glob sorted by path.

    A file that is named itself is taken whatever its suffix; in folders and tars only files with an image's
    suffix. An image that a folder's table and another input name is taken once. Nothing is opened here but
    tables, tars and pipes. A folder or tar that is empty or cannot be read is reported on standard error,
    with the numbers of files of unsupported kinds, as long as there is an image elsewhere.
    Errors: UserError for a path that is missing, a table that cannot be read, and where there is no image.
    """
    paths = expand(inputs)
    found = _Found()
    images: list[tuple[str, Sequence[ImageFile]]] = []
    # In these a shell's FOLDER/* has named what a person may not have meant: other tables, a system's own
    # folders.
    whole = _whole_folders(paths)
    for path in paths:
        try:
            if os.path.dirname(path) in whole and is_hidden(os.path.basename(path)) and os.path.isdir(path):
                raise UserError(f"the folder {path} is a system's own")
            images.append((path, _at(path, found)))
        except UserError as problem:
            if len(paths) == 1 or (_is_table_file(path) and os.path.dirname(path) not in whole):
                raise
            found.problems.append(problem)
    result = _once(images, whole)
    if not result:
        raise found.problems[0] if found.problems else UserError(f"{paths[0]} holds no image; {_ADVICE}")
    found.report()
    return result


def expand(inputs: Sequence[str | os.PathLike[str]]) -> list[str]:
    """The paths that INPUTS name, with what its globs match, in their order; of these it makes the same again.

    UserError where there is none, or nothing at one of them.
    """
    if not inputs:
        raise UserError(f"there is no input; {_ADVICE}")
    return [path for item in inputs for path in _matches(os.fspath(item))]


def _matches(item: str) -> list[str]:
    # A link that leads nowhere is reported when its turn comes, as any file that cannot be read.
    if os.path.lexists(item):
        return [item]
    if item == "-":
        return [STDIN]
    if not item.strip():
        raise UserError(f"an input is {item!r}, which names no file; {_ADVICE}")
    if os.path.lexists(spelled := find_file("", item)):
        return [spelled]
    if not glob.has_magic(item):
        raise UserError(f"{item} does not exist; {_ADVICE}")
    asked = item.split(os.sep)
    found = [match for match in sorted(glob.glob(item, recursive=True)) if not _hides(match, asked)]
    if not found:
        raise UserError(f"nothing matches {item}; {_ADVICE}")
    return [path for match in found for path in _matches(match)]


def _whole_folders(paths: Sequence[str]) -> set[str]:
    """The folders of which every visible file and folder is among the paths, as FOLDER/* names them."""
    given: dict[str, set[str]] = {}
    for path in paths:
        given.setdefault(os.path.dirname(path), set()).add(os.path.basename(path))
    whole = set()
    for folder, names in given.items():
        with contextlib.suppress(OSError):
            if len(names) > 1 and all(
                name in names for name in os.listdir(folder or ".") if not name.startswith(".")
            ):
                whole.add(folder)
    return whole


def _hides(match: str, asked: Sequence[str]) -> bool:
    """True for what a glob matches in a hidden folder that it does not name."""
    return any(is_hidden(part) and part not in asked for part in match.split(os.sep))


def _once(images: list[tuple[str, Sequence[ImageFile]]], whole: Collection[str]) -> list[ImageFile]:
    """All images. Those of a folder's table are left out where another input names them, as FOLDER/* does.

    Of any other table, a row counts as an image of its own, whatever else names it.
    """

    def labels_folder(path: str) -> bool:
        folder, name = os.path.split(path)
        return _is_table_file(path) and (folder in whole or name.lower() in METADATA_FILES)

    if len(images) > 1 and any(labels_folder(path) for path, _ in images):
        named = {_normal(image) for path, found in images if not _is_table_file(path) for image in found}
        for place, (path, found) in enumerate(images):
            if labels_folder(path):
                rest = [image for image in found if _normal(image) not in named]
                if twice := len(found) - len(rest):
                    print(
                        f"{twice:,} images of {path} are named by other inputs; each is taken once",
                        file=sys.stderr,
                    )
                images[place] = path, rest
    return [image for _, found in images for image in found]


def _normal(image: ImageFile) -> tuple[str, int]:
    return os.path.abspath(image.path), image.offset


def _is_table_file(path: str) -> bool:
    return is_table(path) and not os.path.isdir(path)


def _at(path: str, found: _Found) -> Sequence[ImageFile]:
    if not os.path.isdir(path):
        return _in_file(path, found)
    unsupported, problems = len(found.unsupported), len(found.problems)
    images = [image for file in _walk(path, found) for image in _in_folder(file, found)]
    if not images:
        if len(found.problems) > problems:
            raise found.problems.pop(problems)
        kinds = unsupported_kinds(found.unsupported[unsupported:])
        raise UserError(f"the folder {path} holds no image ({kinds or _suffixes()}); {_ADVICE}")
    return images


def _suffixes() -> str:
    return ", ".join(sorted(IMAGE_SUFFIXES))


def _in_folder(path: str, found: _Found) -> Sequence[ImageFile]:
    if not is_tar(path):
        return [ImageFile(path, path)]
    try:
        images = _members(path, found)
    except UserError as problem:
        found.problems.append(problem)
        return []
    if not images:
        found.problem(f"{path} holds no image")
    return images


def _in_file(path: str, found: _Found) -> Sequence[ImageFile]:
    if is_tar(path):
        images = _members(path, found)
        if not images:
            raise UserError(f"{path} holds no image ({_suffixes()}); {_ADVICE}")
        return images
    if is_compressed_tar(path):
        raise UserError(f"{path} is a compressed tar; uncompress it and give the .tar")
    if lists_images(path):
        return _from_table(path, found)
    if _is_text(path):
        raise UserError(
            f"{path} is a text, not an image; a list of images begins with a line that says filepath"
        )
    if _is_pipe(path):
        return [ImageFile(path, path, content=_drained(path))]
    return [ImageFile(path, path)]


def _is_pipe(path: str) -> bool:
    """True for what can be read once only: a pipe, a terminal or a socket."""
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISBLK(mode))


def _drained(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            content = file.read(_LARGEST_PIPED + 1)
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); {_ADVICE}") from None
    if len(content) > _LARGEST_PIPED:
        raise UserError(f"{path} delivers more than {_LARGEST_PIPED >> 20} MB; give a file")
    if not content:
        raise UserError(f"{path} delivers nothing; write an image to it")
    return content


def _walk(top: str, found: _Found) -> Iterator[str]:
    """Images and tars in a folder and its folders, sorted by path, without hidden ones."""
    # Folders that are being looked through, as (device, inode) and what is left of each.
    open_folders: list[tuple[tuple[int, int], Iterator[os.DirEntry[str]]]] = []

    def enter(folder: str) -> None:
        try:
            about = os.stat(folder)
            here = (about.st_dev, about.st_ino)
            # A link may lead back to where one comes from. Others are followed: tables may name files by
            # them.
            if any(here == above for above, _ in open_folders):
                return
            with os.scandir(folder) as entries:
                listed = sorted(
                    (entry for entry in entries if not is_hidden(entry.name)), key=lambda entry: entry.name
                )
        except OSError as error:
            found.problem(f"the folder {folder} cannot be read ({error.strerror})")
            return
        open_folders.append((here, iter(listed)))

    enter(top)
    while open_folders:
        entry = next(open_folders[-1][1], None)
        if entry is None:
            open_folders.pop()
        elif _is_folder(entry):
            enter(entry.path)
        elif is_image(entry.name) or is_tar(entry.name):
            yield entry.path
        elif is_unsupported(entry.name):
            found.unsupported.append(entry.path)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _is_text(path: str) -> bool:
    """True for a .txt file, unless an image hides in it."""
    if not path.lower().endswith(".txt"):
        return False
    try:
        with open(path, "rb") as file:
            return not any(byte < 9 for byte in file.read(512))
    except OSError:
        return False


def _from_table(path: str, found: _Found) -> list[ImageFile]:
    """The images of a table's filepath column; relative paths start from the table's folder."""
    # Nothing else of it: vectors may lie beside.
    table = read_table(path, PATH_COLUMNS, only=PATH_COLUMNS)
    paths = [text for text in texts(table[path_column(table)]) if text.strip()]
    if not paths:
        raise UserError(f"{path} names no file; put one path a row into its filepath column")
    if missing := table.num_rows - len(paths):
        found.problem(f"{missing:,} rows of {path}, whose {path_column(table)} is empty")
    folder = os.path.dirname(path)
    return [_listed(os.path.join(folder, cell), find_file(folder, cell)) for cell in paths]


def _listed(name: str, path: str) -> ImageFile:
    # A table may list millions: of two equal texts one is kept.
    return ImageFile(name, name if path == name else path)


def _members(path: str, found: _Found) -> list[ImageFile]:
    """The images in an uncompressed tar, found by their headers; nothing is unpacked."""
    try:
        with open(path, "rb") as file:
            files = list(members(partial(_read_at, file), os.path.getsize(path)))
    except (BadTar, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UserError(f"the tar {path} cannot be read: {reason}; make it again") from error
    files = [member for member in files if not is_hidden_path(member.name)]
    found.unsupported += (f"{path}/{member.name}" for member in files if is_unsupported(member.name))
    return [ImageFile(f"{path}/{m.name}", path, m.offset, m.size) for m in files if is_image(m.name)]


def _read_at(file: BinaryIO, offset: int, size: int) -> bytes:
    file.seek(offset)
    return file.read(size)
