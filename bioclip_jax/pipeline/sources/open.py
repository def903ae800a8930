"""One word for where data lies, and the source that reads it."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from bioclip_jax.errors import UserError
from bioclip_jax.file_kinds import (
    PARQUET_SUFFIXES,
    RECORD_SUFFIXES,
    SIZES_FILE,
    is_compressed_tar,
    is_hidden,
    is_tar,
    suffix_of,
)
from bioclip_jax.tables import is_table

from .joined import SEPARATOR, JoinedSource
from .sample import Source
from .storage import Location, is_url, list_files, local_copy

METADATA_FILE = "metadata.csv"
# What labels the images of a folder: the first that is there.
METADATA_FILES = (METADATA_FILE, "metadata.tsv", "metadata.csv.gz", "metadata.parquet")


def open_source(
    location: str | Path,
    *,
    split: str = "train",
    bad_shards: Literal["error", "skip"] = "error",
    tfds_dir: str | Path | None = None,
    forward: bool = False,
) -> Source:
    """The source at `location`, told from what is there.

    location: a tar or a folder of tars; ArrayRecord files or Parquet files with images, likewise; a glob of
    such files; a table of image files, or a folder with metadata.csv, .tsv or .parquet; or the name of a TFDS
    builder, NAME[/CONFIG][:SPLIT], where `split` is taken if it names none. Tars and ArrayRecord files may
    lie in any storage that fsspec reads, as s3://BUCKET/FOLDER; the latter are copied to the user's cache.
    Several locations are joined by "::".
    bad_shards: what to do with a tar that cannot be read. tfds_dir: where TFDS prepares and looks for data.
    forward: the samples will be read in an order that goes through shards from front to back, so tars need no
    index where a sizes.json says how many samples each holds.
    UserError if there is nothing to read.
    """
    from .tfds import TFDSSource, looks_like_tfds_name

    text = str(location)
    if not text.strip():
        raise UserError(
            "no data is given; name a folder of tars, a folder with metadata.csv or a TFDS builder"
        )
    if SEPARATOR in text:
        options = {"split": split, "bad_shards": bad_shards, "tfds_dir": tfds_dir, "forward": forward}
        return JoinedSource([open_source(part.strip(), **options) for part in text.split(SEPARATOR)])
    if is_url(text):
        return _open_files(list_files(text), text.rstrip("/"), bad_shards, forward)
    path = Path(text).expanduser()
    if path.is_file():
        if is_table(path) and suffix_of(path) not in PARQUET_SUFFIXES:
            from .folder import FolderSource

            return FolderSource(path.parent, path)
        return _open_files([path], path, bad_shards, forward)
    if path.is_dir():
        if table := find_metadata(path):
            from .folder import FolderSource

            return FolderSource(path, table)
        closed: list[str] = []
        files = _files_below(path, closed)
        if closed and bad_shards == "error":
            raise UserError(
                f"the folder {closed[0]}; make it readable, or leave it out with data.bad_shards=skip"
            )
        source = _open_files(files, path, bad_shards, forward)
        source.skipped_shards += closed
        return source
    # A part of a split, as in NAME:train[:25%], looks like a glob too.
    if looks_like_tfds_name(text):
        return TFDSSource(text, split=split, tfds_dir=tfds_dir)
    if any(character in text for character in "*?["):
        found = sorted(Path(path.anchor or ".").glob(str(path.relative_to(path.anchor))))
        return _open_files(found, path, bad_shards, forward)
    raise UserError(
        f"{location} does not exist; give a folder of tars, a folder with {METADATA_FILE} or a TFDS name"
    )


def find_metadata(folder: Path) -> Path | None:
    """The table that labels a folder's images, if there is one."""
    return next((folder / name for name in METADATA_FILES if (folder / name).is_file()), None)


def data_files(location: str | Path) -> Iterator[Path]:
    """The files of this machine that open_source reads at a location: tables, the images they list, shards.

    Files that cannot be read, and a location that is none, are left to open_source.
    """
    for part in str(location).split(SEPARATOR):
        path = Path(part.strip()).expanduser()
        table = path if path.is_file() else find_metadata(path)
        if table is not None:
            yield table
            if is_table(table):
                from .folder import FolderSource

                with contextlib.suppress(UserError):
                    yield from FolderSource(table.parent, table).files()
        elif path.is_dir():
            yield from (file for file in _files_below(path, []) if _is_shard(file) or file.name == SIZES_FILE)
        elif not is_url(part) and any(character in part for character in "*?["):
            yield from Path(path.anchor or ".").glob(str(path.relative_to(path.anchor)))


def _is_shard(file: Path) -> bool:
    return is_tar(file) or suffix_of(file) in (*RECORD_SUFFIXES, *PARQUET_SUFFIXES)


def _files_below(folder: Path, closed: list[str]) -> list[Path]:
    """The files in a folder and its folders, but for hidden ones, sorted by path.

    Folders that cannot be read go to `closed`, each with the reason.
    """
    found = []

    def on_error(error: OSError) -> None:
        closed.append(f"{error.filename} cannot be read ({error.strerror})")

    for parent, folders, files in os.walk(folder, onerror=on_error):
        folders[:] = [name for name in folders if not is_hidden(name)]
        found += [path for name in files if not is_hidden(name) and (path := Path(parent, name)).is_file()]
    return sorted(found)


def _open_files(
    files: Sequence[Location], location: Location, bad_shards: Literal["error", "skip"], forward: bool
) -> Source:
    files = [file for file in files if not is_hidden(str(file).rpartition("/")[2])]
    if records := [file for file in files if suffix_of(str(file)) in RECORD_SUFFIXES]:
        from .records import RecordSource

        return RecordSource([local_copy(file) for file in records])
    if tars := [file for file in files if is_tar(str(file))]:
        from .tar import TarSource
        from .tar_stream import StreamedTarSource, read_sizes

        if forward and (sizes := read_sizes(tars)) is not None:
            return StreamedTarSource(tars, sizes, bad_shards)
        return TarSource(tars, bad_shards)
    if is_url(location):
        raise UserError(f"{location} holds no tars and no ArrayRecord files; give a folder that does")
    if tables := [file for file in files if suffix_of(file) in PARQUET_SUFFIXES]:
        from .parquet import ParquetSource

        return ParquetSource(tables)
    if any(map(is_compressed_tar, files)):
        raise UserError(f"{location} holds only compressed tars; uncompress them, random access needs it")
    if location.is_file():
        raise UserError(
            f"{location} is neither a tar nor an ArrayRecord file nor a Parquet table; name it .tar, "
            f".array_record or "
            ".parquet if it is"
        )
    raise UserError(
        f"{location} holds no tars, ArrayRecord or Parquet files and no {METADATA_FILE}; give a folder that "
        f"does"
    )
