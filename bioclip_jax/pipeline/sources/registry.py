"""Open the data source at a location, detecting its format."""

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

from .sample import ConcatSource, Source
from .storage import Location, is_url, list_files, local_copy

METADATA_FILE = "metadata.csv"
# Tables that label the images of a folder; the first that exists is used.
METADATA_FILES = (METADATA_FILE, "metadata.tsv", "metadata.csv.gz", "metadata.parquet")
# Separator of several locations, as between open_clip's shards of several data sets.
SEPARATOR = "::"


def open_source(
    location: str | Path,
    *,
    split: str = "train",
    bad_shards: Literal["error", "skip"] = "error",
    tfds_dir: str | Path | None = None,
    forward: bool = False,
    class_folders: bool = False,
) -> Source:
    """Open the source at `location`; its format is detected.

    location: a tar, an ArrayRecord file or a Parquet file with images, a folder or glob of such files; a
    table of image files, or a folder with metadata.csv, .tsv or .parquet; or a TFDS builder,
    NAME[/CONFIG][:SPLIT], with `split` as the default split. Tars and ArrayRecord files may be in any storage
    that fsspec reads, as s3://BUCKET/FOLDER; ArrayRecord files are copied to the user's cache. Several
    locations are joined by "::".
    bad_shards: treatment of unreadable tars. tfds_dir: directory of TFDS data.
    forward: samples will be read shard by shard from front to back, so tars need no index if a sizes.json
    gives their numbers of samples.
    class_folders: a folder may also hold one folder of images for each class, see ClassFolderSource.

    Raises UserError if there is no data at the location.
    """
    from .tfds import TFDSSource, looks_like_tfds_name

    text = str(location)
    if not text.strip():
        raise UserError(
            "no data is given; name a folder of tars, a folder with metadata.csv or a TFDS builder"
        )
    if SEPARATOR in text:
        options = {"split": split, "bad_shards": bad_shards, "tfds_dir": tfds_dir, "forward": forward}
        options["class_folders"] = class_folders
        return ConcatSource([open_source(part.strip(), **options) for part in text.split(SEPARATOR)])
    if is_url(text):
        return _open_files(list_files(text), text.rstrip("/"), bad_shards, forward)
    path = Path(text).expanduser()
    if path.is_file():
        if is_table(path) and suffix_of(path) not in PARQUET_SUFFIXES:
            from .tabular import FolderSource

            return FolderSource(None, path)
        return _open_files([path], path, bad_shards, forward)
    if path.is_dir():
        return _open_folder(path, bad_shards, forward, class_folders)
    # Before the globs, because a split such as NAME:train[:25%] looks like one.
    if looks_like_tfds_name(text):
        return TFDSSource(text, split=split, tfds_dir=tfds_dir)
    if _is_glob(text):
        return _open_files(sorted(_glob(path)), path, bad_shards, forward)
    raise UserError(
        f"{location} does not exist; give a folder of tars, a folder with {METADATA_FILE} or a TFDS name"
    )


def find_metadata(folder: Path) -> Path | None:
    """The table that labels a folder's images, if it has one."""
    return next((folder / name for name in METADATA_FILES if (folder / name).is_file()), None)


def data_files(location: str | Path) -> Iterator[Path]:
    """Local files that open_source reads at a location: tables, their images, shards.

    Skips unreadable files and invalid locations, which open_source reports.
    """
    for part in str(location).split(SEPARATOR):
        path = Path(part.strip()).expanduser()
        table = path if path.is_file() else find_metadata(path)
        if table is not None:
            yield table
            if is_table(table):
                from .tabular import FolderSource

                with contextlib.suppress(UserError):
                    yield from FolderSource(None, table).files()
        elif path.is_dir():
            yield from (file for file in _files_below(path, []) if _is_shard(file) or file.name == SIZES_FILE)
        elif not is_url(part) and _is_glob(part):
            yield from _glob(path)


def _is_glob(text: str) -> bool:
    return any(character in text for character in "*?[")


def _glob(path: Path) -> Iterator[Path]:
    return Path(path.anchor or ".").glob(str(path.relative_to(path.anchor)))


def _is_shard(file: Path) -> bool:
    return is_tar(file) or suffix_of(file) in (*RECORD_SUFFIXES, *PARQUET_SUFFIXES)


def _open_folder(
    folder: Path, bad_shards: Literal["error", "skip"], forward: bool, class_folders: bool
) -> Source:
    if table := find_metadata(folder):
        from .tabular import FolderSource

        return FolderSource(folder, table)
    unreadable: list[str] = []
    files = _files_below(folder, unreadable)
    if unreadable and bad_shards == "error":
        raise UserError(f"the folder {unreadable[0]}; make it readable, or skip it with data.bad_shards=skip")
    if class_folders and not any(map(_is_shard, files)):
        from .class_folders import ClassFolderSource

        if len(source := ClassFolderSource(folder, files)):
            return source
        if not any(map(is_compressed_tar, files)):
            raise UserError(
                f"{folder} holds no {METADATA_FILE}, no shards and no folders of images; put the photographs "
                "of each class into a folder with its name"
            )
    source = _open_files(files, folder, bad_shards, forward)
    source.skipped_shards += unreadable
    return source


def _files_below(folder: Path, unreadable: list[str]) -> list[Path]:
    """The files in a folder and its subfolders without hidden ones, sorted by path.

    Unreadable folders are appended to `unreadable`, each with the reason.
    """
    files = []

    def on_error(error: OSError) -> None:
        unreadable.append(f"{error.filename} cannot be read ({error.strerror})")

    for parent, folders, names in os.walk(folder, onerror=on_error):
        folders[:] = [name for name in folders if not is_hidden(name)]
        files += [path for name in names if not is_hidden(name) and (path := Path(parent, name)).is_file()]
    return sorted(files)


def _open_files(
    files: Sequence[Location], location: Location, bad_shards: Literal["error", "skip"], forward: bool
) -> Source:
    files = [file for file in files if not is_hidden(str(file).rpartition("/")[2])]
    if records := [file for file in files if suffix_of(str(file)) in RECORD_SUFFIXES]:
        from .array_record import RecordSource

        return RecordSource([local_copy(file) for file in records])
    if tars := [file for file in files if is_tar(str(file))]:
        from .tar import StreamingTarSource, TarSource, read_sizes

        if forward and (sizes := read_sizes(tars)) is not None:
            return StreamingTarSource(tars, sizes, bad_shards)
        return TarSource(tars, bad_shards)
    if is_url(location):
        raise UserError(f"{location} holds no tars and no ArrayRecord files; give a folder that does")
    if tables := [file for file in files if suffix_of(file) in PARQUET_SUFFIXES]:
        from .tabular import ParquetSource

        return ParquetSource(tables)
    if any(map(is_compressed_tar, files)):
        raise UserError(f"{location} holds only compressed tars; uncompress them, random access needs it")
    if location.is_file():
        raise UserError(
            f"{location} is neither a tar nor an ArrayRecord file nor a Parquet table; "
            "name it .tar, .array_record or .parquet if it is"
        )
    raise UserError(
        f"{location} holds no tars, ArrayRecord or Parquet files and no {METADATA_FILE}; give a folder that "
        f"does"
    )
