"""The photographs of a survey: a folder, or a table of paths with or without deployments and times."""

from __future__ import annotations

import mimetypes
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from bioclip_jax.errors import UserError
from bioclip_jax.predict import find_images
from bioclip_jax.tables import find_file, lists_images, path_column, read_table, shown_path

from .camtrap_dp import FIELDS, MEDIA_FOLDER
from .events import stable_ids
from .matching import PATH_NAMES

if TYPE_CHECKING:
    import polars as pl

_URL = r"^[A-Za-z][A-Za-z0-9+.-]*://"
_FOLDER = "^(.*)/[^/]*$"
# Parts of a path that have to be resolved.
_ODD = r"//|(^|/)\.\.?(/|$)"
_FIELDS = tuple(field.name for field in FIELDS["media"])


@dataclass(frozen=True)
class Photos:
    """Photographs of a survey.

    frame: "path" (as given, absolute if local), "folder" (of the file, below root), the fields of Camtrap
    DP's media, of which deploymentID and timestamp may be "", and "is_local".
    root: the folder that the package's MEDIA_FOLDER links to, None if no photograph is on this machine.
    source: the folder or table, for messages.
    """

    frame: pl.DataFrame
    root: Path | None
    source: str


def find_photos(source: str | os.PathLike[str]) -> Photos:
    """List the photographs of a folder and its subfolders, or of a table.

    A table has filepath (or Camtrap DP's filePath): URLs, or paths, absolute or relative to the table; and
    maybe deploymentID, timestamp and other fields of media. No photograph is opened.
    Raises UserError if there are none, for a path that occurs twice or that a package cannot hold, and, if
    some photographs exist on this machine, for one that does not.
    """
    source = os.fspath(source)
    return _in_table(source) if not os.path.isdir(source) and lists_images(source) else _in_folder(source)


def _in_folder(source: str) -> Photos:
    if not os.path.isdir(source):
        raise UserError(
            f"{source} is not a folder of photographs, nor a table of them; give a folder with a sub-folder "
            "per deployment, or a CSV or Parquet with a filepath column"
        )
    images = find_images([source])
    # A photograph inside a tar has no path of its own.
    paths = [os.path.abspath(image.path) for image in images if image.size is None]
    if packed := len(images) - len(paths):
        print(f"skipped {packed:,} photographs inside tars; unpack them to use them", file=sys.stderr)
    if not paths:
        raise UserError(f"{source} has photographs in tars alone; unpack them")
    return _photos({}, paths, Path(os.path.abspath(source)), source)


def _in_table(source: str) -> Photos:
    import polars as pl

    table = read_table(source, PATH_NAMES, known=_FIELDS, only=(*PATH_NAMES, *_FIELDS))
    cells = _texts(pl.from_arrow(table[path_column(table, PATH_NAMES)]), "path")
    if (empty := cells == "").any():
        row = empty.arg_true()[0] + 2
        raise UserError(f"{source}, row {row:,}: no path of a photograph; give it, or delete the row")
    given = {
        name: _texts(pl.from_arrow(table[name]), name)
        for name in table.column_names
        if name in _FIELDS and name != "filePath"
    }
    del table
    folder = os.path.dirname(os.path.abspath(source))
    paths = _absolute(cells, folder)
    local = paths.filter(~paths.str.contains(_URL))
    if not local.len():
        return _photos(given, paths, None, source)
    folders = local.str.extract(_FOLDER, 1).replace("", "/").unique().to_list()
    exist = _check_exist(local, folders, source)
    photos = _photos(given, paths, _root(folder, folders), source)
    return photos if exist else replace(photos, root=None)


def _absolute(cells: pl.Series, folder: str) -> pl.Series:
    """Absolute, normal paths of a table's cells; URLs as they are."""
    import polars as pl

    cell = pl.col("path")
    within = cells.to_frame("path").with_row_index("row")
    # Other paths take a look at the disk each.
    plain = cell.str.contains(_URL) | cell.str.contains(r"^[\x20-\x5b\x5d-\x7e]+$") & ~cell.str.contains(_ODD)
    relative = ~cell.str.contains(_URL) & ~cell.str.starts_with("/")
    paths = pl.when(relative).then(pl.format("{}/{}", pl.lit(folder.rstrip("/")), cell)).otherwise(cell)
    odd = within.filter(~plain)
    result = within.select(paths).to_series()
    return result.scatter(
        odd["row"], [os.path.normpath(find_file(folder, path)) for path in odd["path"].to_list()]
    )


def _texts(column: pl.Series, name: str) -> pl.Series:
    """A column as strings, times of Parquet in ISO 8601."""
    import polars as pl

    if isinstance(column.dtype, pl.Datetime):
        zone = "%:z" if column.dtype.time_zone else ""
        column = column.dt.strftime(f"%Y-%m-%dT%H:%M:%S%.f{zone}")
    return column.cast(pl.String).fill_null("").str.strip_chars().alias(name)


def _root(folder: str, folders: Sequence[str]) -> Path:
    """The folder of the table if all photographs are below it, else the one that holds all of them."""
    root = os.path.commonpath(folders)
    if not Path(root).is_relative_to(folder):
        if root == os.sep:
            raise UserError(
                f"the photographs have no folder in common, such as {folders[0]}; put them into one"
            )
        return Path(root)
    # A package's own media.csv already names its media folder.
    media = os.path.join(folder, MEDIA_FOLDER)
    return Path(media if Path(root).is_relative_to(media) else folder)


def _check_exist(paths: pl.Series, folders: Sequence[str], source: str) -> bool:
    """Return True if all photographs exist. Raises UserError if some of them do not.

    A table may be evaluated away from its photographs, so it is no error if there are none at all.
    """
    import polars as pl

    # Listing folders is much faster than asking for each file, over a network above all.
    existing = [f"{folder.rstrip('/')}/{name}" for folder in folders for name in _names(folder)]
    missing = paths.filter(~paths.is_in(pl.Series(existing, dtype=pl.String).implode()))
    if missing.len() == paths.len():
        print(
            f"note: none of the photographs of {source} is on this machine, such as {paths[0]}",
            file=sys.stderr,
        )
    elif missing.len():
        raise UserError(
            f"{source} lists {shown_path(missing[0])}, which does not exist ({missing.len():,} such files); "
            "restore it, or delete its row"
        )
    return not missing.len()


def _names(folder: str) -> list[str]:
    try:
        # A name that is not valid UTF-8 cannot be in a table.
        return [name for name in os.listdir(folder) if os.fsencode(name).decode(errors="ignore") == name]
    except OSError:
        return []


def _photos(given: dict[str, pl.Series], paths: Sequence[str], root: Path | None, source: str) -> Photos:
    """Assemble the frame, with the fields of media that were not given."""
    import polars as pl

    try:
        path = paths if isinstance(paths, pl.Series) else pl.Series("path", paths, dtype=pl.String)
    except UnicodeEncodeError:
        bad = next(
            path
            for path in paths
            if not path.isascii() and path.encode("utf-8", "ignore") != os.fsencode(path)
        )
        raise UserError(f"the name of {os.fsencode(bad)!r} is not valid UTF-8; rename the file") from None
    is_local = ~path.str.contains(_URL)
    relative = path.str.slice(len(str(root).rstrip("/")) + 1) if root is not None else path
    frame = pl.DataFrame({"path": path, "is_local": is_local}).with_columns(
        filePath=pl.when("is_local").then(pl.format(f"{MEDIA_FOLDER}/{{}}", relative)).otherwise("path"),
        folder=pl.when("is_local").then(relative).otherwise("path").str.extract(_FOLDER, 1).fill_null(""),
        **given,
    )
    dots = frame["filePath"].str.contains("..", literal=True)
    if dots.any():
        raise UserError(
            f"the path {frame['filePath'][dots.arg_true()[0]]} has two dots in a row; rename the file"
        )
    defaults = {
        "mediaID": stable_ids(frame["filePath"]),
        "filePublic": pl.lit("true"),
        "fileName": pl.col("path").str.extract("([^/]*)$", 1),
        "fileMediatype": _media_types(path),
    }
    columns = []
    for name in _FIELDS:
        default = defaults.get(name, pl.lit(""))
        if name != "filePath" and name in frame.columns:
            default = pl.when(pl.col(name) != "").then(name).otherwise(default)
        columns.append((pl.col(name) if name == "filePath" else default).alias(name))
    frame = frame.select("path", "folder", "is_local", *columns)
    for name in ("filePath", "mediaID"):
        if (twice := frame[name].is_duplicated()).any():
            text = frame[name][twice.arg_true()[0]]
            raise UserError(f"{source}: the {name} {text} occurs twice; keep one of its rows")
    return Photos(frame, root, source)


def _media_types(path: pl.Series) -> pl.Series:
    """Media types by suffix, that of JPEG for any other name."""
    import polars as pl

    suffixes = path.str.extract(r"(\.[A-Za-z0-9]+)$", 1).fill_null("").str.to_lowercase()
    types = {}
    for suffix in suffixes.unique().to_list():
        kind = mimetypes.guess_type(f"name{suffix}")[0] or ""
        types[suffix] = kind if kind.startswith(("image/", "video/", "audio/")) else "image/jpeg"
    return suffixes.replace_strict(types, return_dtype=pl.String)
