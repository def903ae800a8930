"""Find the images of INPUTS: files, folders, globs, pipes, tables of paths (CSV or Parquet), and tars."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Iterator, Sequence
from functools import partial
from typing import BinaryIO

from bioclip_jax.errors import UserError
from bioclip_jax.file_kinds import (
    IMAGE_SUFFIXES,
    has_extra,
    is_compressed_tar,
    is_hidden,
    is_hidden_path,
    is_image,
    is_tar,
    is_unsupported,
    is_video,
    kinds_of,
    skipped_kinds,
)
from bioclip_jax.pipeline.sources import METADATA_FILES, BadTar, members
from bioclip_jax.tables import find_file, is_table, lists_images

from .frames import check_every, expand_frames
from .image_file import ImageFile, image_file
from .image_tables import check_reviewed, problems_of_rows, read_image_table
from .input_paths import ADVICE, expand, is_pipe, read_pipe, whole_folders

# Skipped parts of the inputs that are reported one by one.
_MOST_REPORTED = 20


class Skipped:
    """Parts of INPUTS without images: unreadable ones, and files of other kinds. videos: they are read."""

    def __init__(self, videos: bool = False) -> None:
        self.problems: list[UserError] = []
        self.files: list[str] = []
        # Files that a problem's message counts.
        self.reported: set[str] = set()
        self.videos = videos

    def add(self, problem: str) -> None:
        """Add an unreadable part by its message."""
        self.problems.append(UserError(problem))

    @property
    def by_kind(self) -> dict[str, int]:
        """Number of files of other kinds by suffix."""
        return kinds_of(self.files)

    def report(self) -> None:
        """Report the skipped parts on standard error."""
        for problem in self.problems[:_MOST_REPORTED]:
            print(f"skipped: {problem}", file=sys.stderr)
        if (more := len(self.problems) - _MOST_REPORTED) > 0:
            print(f"skipped {more:,} more parts of the inputs", file=sys.stderr)
        for line in skipped_kinds(kinds_of(file for file in self.files if file not in self.reported)):
            print(line, file=sys.stderr)


def find_images(
    inputs: Sequence[str | os.PathLike[str]],
    every: float | None = None,
    skipped: Skipped | None = None,
) -> list[ImageFile]:
    """Find the images of INPUTS, in their order; those of a folder or glob are sorted by path.

    A file given by name may have any suffix; in folders and tars, only image suffixes count. An image in both
    a folder's table and another input is returned once. Each page of a TIFF is an image of its own, and with
    `every` a frame each so many seconds of videos, which are skipped without. Only tables, tars, pipes, TIFFs
    and videos are opened. Folders and tars that are empty or unreadable, and counts of the files that are
    skipped, are added to `skipped`, or without it reported on standard error.
    Raises UserError for a missing path, an unreadable table, and if there is no image at all.
    """
    paths = expand(inputs)
    check_every(every)
    report = skipped is None
    skipped = Skipped() if skipped is None else skipped
    skipped.videos = every is not None and has_extra("video")
    images: list[tuple[str, Sequence[ImageFile]]] = []
    # The shell expands FOLDER/* to everything in it, including tables and system folders.
    whole = whole_folders(paths)
    for path in paths:
        try:
            if os.path.dirname(path) in whole and is_hidden(os.path.basename(path)) and os.path.isdir(path):
                raise UserError(f"the folder {path} is a system folder")
            images.append((path, _images_at(path, skipped)))
        except UserError as problem:
            if len(paths) == 1 or (_is_table_file(path) and os.path.dirname(path) not in whole):
                raise
            skipped.problems.append(problem)
    result = expand_frames(_without_duplicates(images, whole), every, skipped.files.append, skipped.add)
    if not result:
        if skipped.problems:
            raise skipped.problems[0]
        kinds = "; ".join(skipped_kinds(skipped.by_kind))
        raise UserError(f"{paths[0]} holds no image ({kinds})" if kinds else _no_image(paths[0]))
    if report:
        skipped.report()
    return result


def _no_image(path: str) -> str:
    return f"{path} holds no image; {ADVICE}"


def _without_duplicates(
    images: list[tuple[str, Sequence[ImageFile]]], whole: Collection[str]
) -> list[ImageFile]:
    """Flatten images, without those of a folder's table that are also another input, as from FOLDER/*.

    A row of any other table always counts as an image of its own.
    """

    def labels_folder(path: str) -> bool:
        folder, name = os.path.split(path)
        return _is_table_file(path) and (folder in whole or name.lower() in METADATA_FILES)

    if len(images) > 1 and any(labels_folder(path) for path, _ in images):
        others = {_identity(image) for path, part in images if not _is_table_file(path) for image in part}
        for index, (path, part) in enumerate(images):
            if labels_folder(path):
                rest = [image for image in part if _identity(image) not in others]
                if duplicates := len(part) - len(rest):
                    print(
                        f"{duplicates:,} images of {path} are also other inputs; each is used once",
                        file=sys.stderr,
                    )
                images[index] = path, rest
    return [image for _, part in images for image in part]


def _identity(image: ImageFile) -> tuple[str, int]:
    return os.path.abspath(image.path), image.offset


def _is_table_file(path: str) -> bool:
    return is_table(path) and not os.path.isdir(path)


def _images_at(path: str, skipped: Skipped) -> Sequence[ImageFile]:
    if not os.path.isdir(path):
        return _in_file(path, skipped)
    files, problems = len(skipped.files), len(skipped.problems)
    images = [image for file in _walk(path, skipped) for image in _in_folder(file, skipped)]
    if not images:
        if len(skipped.problems) > problems:
            raise skipped.problems.pop(problems)
        kinds = "; ".join(skipped_kinds(kinds_of(skipped.files[files:])))
        skipped.reported |= set(skipped.files[files:])
        raise UserError(f"the folder {path} holds no image ({kinds or _suffixes()}); {ADVICE}")
    return images


def _suffixes() -> str:
    return ", ".join(sorted(IMAGE_SUFFIXES))


def _in_folder(path: str, skipped: Skipped) -> Sequence[ImageFile]:
    if not is_tar(path):
        return [ImageFile(path, path)]
    try:
        images = _members(path, skipped)
    except UserError as problem:
        skipped.problems.append(problem)
        return []
    if not images:
        skipped.add(f"{path} holds no image")
    return images


def _in_file(path: str, skipped: Skipped) -> Sequence[ImageFile]:
    if is_tar(path):
        images = _members(path, skipped)
        if not images:
            raise UserError(f"{path} holds no image ({_suffixes()}); {ADVICE}")
        return images
    if is_compressed_tar(path):
        raise UserError(f"{path} is a compressed tar; uncompress it and give the .tar")
    if lists_images(path):
        return _from_table(path, skipped)
    if _is_text(path):
        raise UserError(
            f"{path} is a text, not an image; the first line of a list of images must be filepath"
        )
    if is_pipe(path):
        return [ImageFile(path, path, content=read_pipe(path))]
    return [image_file(path)]


def _walk(top: str, skipped: Skipped) -> Iterator[str]:
    """Yield visible images and tars in a folder and its subfolders, sorted by path."""
    # The open folders, as (device, inode) and an iterator of the remaining entries.
    open_folders: list[tuple[tuple[int, int], Iterator[os.DirEntry[str]]]] = []

    def enter(folder: str) -> None:
        try:
            status = os.stat(folder)
            identity = (status.st_dev, status.st_ino)
            # A link may lead back to an open folder. Other links are followed, as tables may use them.
            if any(identity == above for above, _ in open_folders):
                return
            with os.scandir(folder) as entries:
                listed = sorted(
                    (entry for entry in entries if not is_hidden(entry.name)), key=lambda entry: entry.name
                )
        except OSError as error:
            skipped.add(f"the folder {folder} cannot be read ({error.strerror})")
            return
        open_folders.append((identity, iter(listed)))

    enter(top)
    while open_folders:
        entry = next(open_folders[-1][1], None)
        if entry is None:
            open_folders.pop()
        elif _is_folder(entry):
            enter(entry.path)
        elif is_image(entry.name) or is_tar(entry.name) or (skipped.videos and is_video(entry.name)):
            yield entry.path
        elif entry.name.lower() not in METADATA_FILES:
            skipped.files.append(entry.path)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _is_text(path: str) -> bool:
    """Return True for a .txt file, unless its content looks binary."""
    if not path.lower().endswith(".txt"):
        return False
    try:
        with open(path, "rb") as file:
            return not any(byte < 9 for byte in file.read(512))
    except OSError:
        return False


def _from_table(path: str, skipped: Skipped) -> list[ImageFile]:
    """Return the images that a table lists."""
    table = read_image_table(path, paths_only=True)
    problems = problems_of_rows(path, table)
    check_reviewed(path, table)
    cells = [cell for cell in table.paths if cell]
    if not cells and table.urls:
        raise UserError(
            f"all {table.urls:,} files of {path} are on the web; download them, and list their paths in its "
            f"column {table.column}"
        )
    if not cells:
        raise UserError(f"{path} lists no file; put one path per row in its {table.column} column")
    for problem in problems:
        skipped.add(problem)
    folder, boxes = table.folder, table.boxes
    return [
        image_file(os.path.join(folder, cell), find_file(folder, cell), box)
        for cell, box in zip(table.paths, boxes)
        if cell
    ]


def _members(path: str, skipped: Skipped) -> list[ImageFile]:
    """Return the images in an uncompressed tar, from its headers; nothing is unpacked."""
    try:
        with open(path, "rb") as file:
            files = list(members(partial(_read_at, file), os.path.getsize(path)))
    except (BadTar, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UserError(f"the tar {path} cannot be read: {reason}; create it again") from error
    files = [member for member in files if not is_hidden_path(member.name)]
    images = []
    for member in files:
        name = f"{path}/{member.name}"
        if is_image(name) or (skipped.videos and is_video(name)):
            images.append(ImageFile(name, path, member.offset, member.size))
        elif is_unsupported(name):  # and not the captions of samples
            skipped.files.append(name)
    return images


def _read_at(file: BinaryIO, offset: int, size: int) -> bytes:
    file.seek(offset)
    return file.read(size)
