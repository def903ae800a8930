"""Open evaluation data: a publisher's folder as downloaded, a table and its images, or any other source."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import tensorflow_datasets as tfds

from bioclip_jax.datasets.manual import ManualBuilder, Row
from bioclip_jax.errors import DataMissing, UserError, first_line
from bioclip_jax.pipeline.sources import (
    FolderSource,
    Sample,
    Source,
    find_metadata,
    open_source,
    sample_from_row,
)

# Column of a table with the split of each row.
SPLIT_COLUMN = "split"
# Publishers' other names of "validation".
_SAME_SPLIT = {"val": "validation", "valid": "validation"}


class PublishedSource:
    """Rows that a ManualBuilder reads from its publisher's folder, without copying the images."""

    def __init__(self, name: str, rows: Sequence[Row]) -> None:
        self.skipped_shards: list[str] = []
        self._name, self._rows = name, rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Sample:
        """The sample; its image is empty if the file is missing."""
        row = dict(self._rows[index])
        image, key = row.pop("image"), str(row.pop("key"))
        if isinstance(image, Path):
            try:
                image = image.read_bytes()
            except (FileNotFoundError, IsADirectoryError):
                image = b""
        # As in the builder's examples, `class` is the label and `cls` the rank.
        return sample_from_row(key, image, {"class": "", "cls": ""} | row)


def open_published(name: str, folder: Path, split: str) -> PublishedSource:
    """Open splits of a publisher's download in `folder`.

    name: the builder's NAME[/CONFIG]. split: one or more, joined by "+". Raises UserError as the builder.
    """
    builder_name, _, config = name.partition("/")
    builder = _builders()[builder_name]
    try:
        reader = builder(config=config or None, data_dir=folder)
    except (ValueError, KeyError) as error:
        raise UserError(f"{builder_name} has no set {config!r} ({first_line(error)})") from None
    parts = reader.read(folder)
    rows: list[Row] = []
    for part in split.split("+"):
        if part not in parts:
            raise UserError(f"{name} has no split {part!r}; it has {', '.join(parts)}")
        chosen = list(parts[part])
        reader.check(part, chosen, folder)
        rows += chosen
    return PublishedSource(name, rows)


def open_evaluation(
    data: str | None,
    split: str,
    *,
    images: Path | None = None,
    labels: Path | None = None,
    root: Path | None = None,
    protocol: str = "",
) -> Source:
    """Open a split of evaluation data.

    data: a builder's NAME[/CONFIG][:SPLIT], whose publisher's folder is read directly if it is in `root`
    (TFDS's manual folder by default); or that folder itself, for the builder named as the `protocol`; or a
    location for open_source.
    images, labels: in place of data, a folder and the table of its images. The rows with `split` in the
    column split are used; without such a column all rows are "test".

    Raises DataMissing if the data does not exist, UserError if it is invalid.
    """
    if images is not None and labels is not None:
        for path in (images, labels):
            if not path.exists():
                raise DataMissing(
                    f"{path} does not exist; give the folder of the images and the table of their labels"
                )
        return TableSplit(FolderSource(images, labels), split, labels)
    if data is None:
        raise UserError("no data is given; give --data, or --images with --labels")
    builders = _builders()
    name, _, own_split = data.partition(":")
    builder_name = name.partition("/")[0]
    path = Path(data).expanduser()
    if root is not None and not path.is_absolute() and builder_name not in builders:
        path = root / path
    if builder_name in builders and not path.exists():
        folder = (root or _manual_folder()) / builder_name
        if folder.is_dir():
            return open_published(name, folder, own_split or split)
        if root is not None or not _prepared(name):
            needs = builders[builder_name].MANUAL_DOWNLOAD_INSTRUCTIONS
            raise DataMissing(f"{folder} does not exist; {builder_name} needs {needs}")
    if path.is_dir():
        if (table := find_metadata(path)) is not None:
            return TableSplit(FolderSource(path, table), split, table)
        if protocol in builders:
            return open_published(protocol, path, split)
    if path.exists():
        return open_source(path, split=split)
    try:
        return open_source(data, split=split)
    except UserError as problem:
        if builder_name in _known():
            raise
        # A name that is not a registered builder is the path of missing data.
        raise DataMissing(str(problem)) from problem


def _known() -> list[str]:
    return tfds.list_builders(with_community_datasets=False)


def _prepared(name: str) -> bool:
    """True if TFDS has already prepared the data set, maybe from a folder that no longer exists."""
    try:
        return tfds.builder(name, file_format="array_record").is_prepared()
    except (ValueError, KeyError, tfds.core.DatasetNotFoundError):
        return False


class TableSplit:
    """Rows of a labeled folder that belong to one split.

    Raises DataMissing if no row has the split, or if the split is not "test" and the table has no column
    `split`.
    """

    def __init__(self, source: FolderSource, split: str, table: Path) -> None:
        self.skipped_shards: list[str] = []
        self._source = source
        column = source.column(SPLIT_COLUMN)
        if column is None:
            if split != "test":
                raise DataMissing(
                    f"{table} has no column {SPLIT_COLUMN!r}, and {split} images are needed; add it"
                )
            self._indexes: Sequence[int] = range(len(source))
            return
        wanted = set(split.split("+"))
        self._indexes = [
            index
            for index, name in enumerate(column)
            if name in wanted or _SAME_SPLIT.get(name, name) in wanted
        ]
        if not self._indexes:
            splits = ", ".join(sorted({str(name) for name in column}))
            raise DataMissing(f"{table} has no row whose {SPLIT_COLUMN} is {split}; it has {splits}")

    def __len__(self) -> int:
        return len(self._indexes)

    def __getitem__(self, index: int) -> Sample:
        """The sample; its image is empty if the file is missing."""
        sample = self._source[self._indexes[index]]
        return replace(
            sample, metadata={n: value for n, value in sample.metadata.items() if n != SPLIT_COLUMN}
        )


def _builders() -> dict[str, type[ManualBuilder]]:
    return {builder.name: builder for builder in ManualBuilder.__subclasses__()}


def _manual_folder() -> Path:
    return Path(tfds.core.constants.DATA_DIR).expanduser() / "downloads" / "manual"
