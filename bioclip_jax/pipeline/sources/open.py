"""One word for where data lies, and the source that reads it."""

from pathlib import Path
from typing import Literal

from bioclip_jax.errors import UserError
from bioclip_jax.pipeline.sources.sample import Source

METADATA_FILE = "metadata.csv"
RECORD_SUFFIXES = (".array_record", ".arrayrecord")
_COMPRESSED_SUFFIXES = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")


def open_source(
    location: str | Path,
    *,
    split: str = "train",
    bad_shards: Literal["error", "skip"] = "error",
    tfds_dir: str | Path | None = None,
) -> Source:
    """The source at `location`, told from what is there.

    location: a tar or a folder of tars; an ArrayRecord file or a folder of them; a folder with metadata.csv; a glob
    of tars; or the name of a TFDS builder, NAME[/CONFIG][:SPLIT], where `split` is taken if it names none.
    bad_shards: what to do with a tar that cannot be read. tfds_dir: where TFDS prepares and looks for data.
    UserError if there is nothing to read.
    """
    from bioclip_jax.pipeline.sources.tfds import TFDSSource, looks_like_tfds_name

    text = str(location)
    if not text.strip():
        raise UserError("no data is given; name a folder of tars, a folder with metadata.csv or a TFDS builder")
    path = Path(text).expanduser()
    if path.is_file():
        return _open_files([path], path, bad_shards)
    if path.is_dir():
        if (path / METADATA_FILE).is_file():
            from bioclip_jax.pipeline.sources.folder import FolderSource

            return FolderSource(path, path / METADATA_FILE)
        return _open_files(sorted(p for p in path.rglob("*") if p.is_file()), path, bad_shards)
    if any(character in text for character in "*?["):
        return _open_files(sorted(Path(path.anchor or ".").glob(str(path.relative_to(path.anchor)))), path, bad_shards)
    if looks_like_tfds_name(text):
        return TFDSSource(text, split=split, tfds_dir=tfds_dir)
    raise UserError(f"{location} does not exist; give a folder of tars, a folder with {METADATA_FILE} or a TFDS name")


def _open_files(files: list[Path], location: Path, bad_shards: Literal["error", "skip"]) -> Source:
    from bioclip_jax.pipeline.sources.records import RecordSource
    from bioclip_jax.pipeline.sources.tar import TarSource

    if records := [file for file in files if file.suffix in RECORD_SUFFIXES]:
        return RecordSource(records)
    if tars := [file for file in files if file.suffix == ".tar"]:
        return TarSource(tars, bad_shards)
    if any(file.name.endswith(_COMPRESSED_SUFFIXES) for file in files):
        raise UserError(f"{location} holds only compressed tars; uncompress them, random access needs it")
    if location.is_file():
        raise UserError(f"{location} is neither a tar nor an ArrayRecord file; name it .tar or .array_record if it is")
    raise UserError(f"{location} holds no tars, no ArrayRecord files and no {METADATA_FILE}; give a folder that does")
