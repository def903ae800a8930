"""Tables of images: any with a filepath column, corrections, media.csv of Camtrap DP, and Timelapse."""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from bioclip_jax.errors import UserError, listing
from bioclip_jax.predict.review import REJECTED
from bioclip_jax.tables import (
    PATH_COLUMNS,
    find_file,
    images_folder,
    path_column,
    read_table,
    table_rows,
    texts,
)

from .crop import BOX_COLUMNS, Box, row_box
from .image_file import image_file

if TYPE_CHECKING:
    import pyarrow as pa

_CAMTRAP_PATH, _TIMELAPSE_FILE, _TIMELAPSE_FOLDER, _TIMELAPSE_ROOT = (
    "filePath",
    "File",
    "RelativePath",
    "RootFolder",
)
# In order of preference. The tools' own spellings are kept, so that their columns come out as they went in.
_REQUIRED = (PATH_COLUMNS[0], _CAMTRAP_PATH, *PATH_COLUMNS[1:], _TIMELAPSE_FOLDER)
_PATHS = (*_REQUIRED, _TIMELAPSE_FILE, _TIMELAPSE_ROOT)
# Columns of corrections. Another table may have a status that means something else.
_LABEL, _STATUS = CORRECTION_MARKS = ("label", "status")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
PACKAGE = "datapackage.json"
_PROFILE = "camtrap-dp"
_LARGEST_DESCRIPTOR = 1 << 26
# Rows of an export of Timelapse that are looked for, to find the folder that its paths are relative to.
_PROBES = 20
# Missing photographs that a message names.
_MOST_LISTED = 3


class ImageTable(NamedTuple):
    """The rows of a table of images.

    paths: of each row's file, relative to `folder`; "" for a row without one, with the address of a file
    elsewhere, or that a reviewer rejected. columns: all others; paths of Camtrap DP and Timelapse stay among
    them. urls, rejected: number of rows with an address, and of rejected ones. column: of the paths, for
    messages. boxes: of rows that mean a part of their image. corrections: it has the columns of corrections.
    """

    folder: str
    paths: list[str]
    columns: pa.Table
    urls: int
    column: str
    boxes: list[Box | None]
    rejected: int = 0
    corrections: bool = False

    @property
    def names(self) -> list[str]:
        """The name of each row's image in results, "" without one."""
        return [os.path.join(self.folder, path) if path else "" for path in self.paths]


def read_image_table(path: str, *, paths_only: bool = False, quiet: bool = False) -> ImageTable:
    """Read a table of images, whose paths are relative to its folder, or to that of images_folder.

    The path of a row is in filepath, filePath (Camtrap DP) or file_name; without these, it is RelativePath
    joined with File (Timelapse). paths_only: read no other column, as a table may hold vectors. quiet: as
    read_table. Raises UserError as read_table, and for a RelativePath without File.
    """
    only = (*_PATHS, *BOX_COLUMNS, *CORRECTION_MARKS) if paths_only else None
    table = read_table(path, _REQUIRED, known=_PATHS, only=only, quiet=quiet)
    column, folder = path_column(table, _REQUIRED), os.path.dirname(path)
    if column == _TIMELAPSE_FOLDER:
        column = _TIMELAPSE_FILE
        if column not in table.column_names:
            raise UserError(f"{path} has a column {_TIMELAPSE_FOLDER} but no column {column}; add it")
        cells = _timelapse_paths(table, folder)
    else:
        cells = [cell if cell.strip() else "" for cell in texts(table[column])]
        if column != _CAMTRAP_PATH:
            table = table.drop_columns([column])
        folder = images_folder(path, cells)
    paths = ["" if _URL.match(cell) else cell for cell in cells]
    urls = sum(cell != path for cell, path in zip(cells, paths))
    corrections = all(name in table.column_names for name in CORRECTION_MARKS)
    rejected = 0
    if corrections:
        statuses = [cell.strip().lower() for cell in texts(table[_STATUS])]
        rejected = sum(status == REJECTED and path != "" for status, path in zip(statuses, paths))
        paths = ["" if status == REJECTED else path for status, path in zip(statuses, paths)]
    return ImageTable(folder, paths, table, urls, column, _boxes(path, table), rejected, corrections)


def _boxes(path: str, table: pa.Table) -> list[Box | None]:
    """Return the box of each row, as corrections of crops have."""
    if not all(name in table.column_names for name in BOX_COLUMNS):
        return [None] * table.num_rows
    rows = table_rows(table.select(BOX_COLUMNS))
    return [row_box(row, f"row {number:,} of {path}") for number, row in enumerate(rows, 1)]


def _timelapse_paths(table: pa.Table, folder: str) -> list[str]:
    """Join the folders and names of Timelapse, which writes the backslashes of Windows."""
    folders = [cell.strip().replace("\\", "/") for cell in texts(table[_TIMELAPSE_FOLDER])]
    files = [cell if cell.strip() else "" for cell in texts(table[_TIMELAPSE_FILE])]
    paths = [os.path.join(above, file) if file else "" for above, file in zip(folders, files)]
    if _TIMELAPSE_ROOT in table.column_names:
        roots = [cell.strip() for cell in texts(table[_TIMELAPSE_ROOT])]
        below = [os.path.join(root, path) if path else "" for root, path in zip(roots, paths)]
        # The table is usually saved in the root folder, but may lie beside it.
        if not _any_exists(folder, paths) and _any_exists(folder, below):
            return below
    return paths


def _any_exists(folder: str, paths: list[str]) -> bool:
    return any(os.path.lexists(os.path.join(folder, path)) for path in paths[:_PROBES] if path)


def package_media(path: str) -> list[str] | None:
    """Return the media tables of a Camtrap DP package, given as its folder or datapackage.json.

    None for any other path. Raises UserError for a datapackage.json without a table of media beside it.
    """
    is_folder = os.path.isdir(path)
    descriptor = os.path.join(path, PACKAGE) if is_folder else path
    if os.path.basename(descriptor) != PACKAGE or not os.path.isfile(descriptor):
        return None
    package = _read_descriptor(descriptor)
    if is_folder and _PROFILE not in str(package.get("profile")):
        return None
    resources = package.get("resources")
    media = [
        resource
        for resource in (resources if isinstance(resources, list) else ())
        if isinstance(resource, dict) and resource.get("name") == "media"
    ]
    files = media[0].get("path") if media else None
    files = [files] if isinstance(files, str) else files
    if not isinstance(files, list) or not files or not all(map(_is_below, files)):
        raise UserError(
            f"{descriptor} names no table of media beside it; give the table of photographs itself"
        )
    return [os.path.join(os.path.dirname(descriptor), file) for file in files]


def _is_below(path: Any) -> bool:
    """Return True for a path that stays in its folder, as the standard demands."""
    return (
        isinstance(path, str)
        and bool(path)
        and not (_URL.match(path) or os.path.isabs(path) or ".." in path.split("/") or "\0" in path)
    )


def _read_descriptor(path: str) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            package = json.loads(file.read(_LARGEST_DESCRIPTOR))
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not JSON"
        raise UserError(f"{path} cannot be read ({reason}); give the table of photographs itself") from None
    return package if isinstance(package, dict) else {}


def problems_of_rows(path: str, table: ImageTable) -> list[str]:
    """Return a message for each kind of row without a file on this machine."""
    problems = []
    empty = table.paths.count("") - table.urls - table.rejected
    if empty:
        problems.append(f"{empty:,} rows of {path}, whose {table.column} is empty")
    if table.urls:
        problems.append(f"{table.urls:,} rows of {path}, whose {table.column} is an address on the web")
    if table.rejected:
        problems.append(f"{table.rejected:,} rejected rows of {path}")
    return problems


def check_reviewed(path: str, table: ImageTable) -> None:
    """Raise UserError if all rows of a table of corrections are rejected, or none of its files exists.

    Such a table is often opened on another computer, or in the folder of downloads.
    """
    if not table.corrections:
        return
    files = [file for file in table.paths if file]
    if not files and table.rejected:
        raise UserError(f"all rows of {path} are rejected; confirm or correct some")
    if files and not any(os.path.lexists(_file_of(table.folder, file)) for file in files):
        raise UserError(
            f"none of the {len(files):,} photographs of {path} exists ({listing(files, _MOST_LISTED)}); find "
            f"them with `bioclip-jax review {path} --images FOLDER --output NEW.csv`"
        )


def _file_of(folder: str, file: str) -> str:
    """Return the file of a row, without its page or its time."""
    return image_file(file, find_file(folder, file)).path
