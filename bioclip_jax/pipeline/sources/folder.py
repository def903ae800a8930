"""Samples from a folder of images and a CSV that says what is on them."""

import csv
from pathlib import Path

from bioclip_jax.errors import UserError
from bioclip_jax.pipeline.sources.sample import Sample, sample_from_row


class FolderSource:
    """The images that a CSV lists: filepath (relative to the folder), the ranks, common_name, any further columns.

    The class may stand in `class` or `cls`; with both, `cls` is the rank and `class` becomes metadata. A row whose
    image is missing is a bad sample when it is read, not an error here.
    """

    def __init__(self, images: str | Path, table: str | Path):
        self.skipped_shards: list[str] = []
        self._images = Path(images)
        self._rows = _read_table(Path(table))

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Sample:
        """The sample; one whose file is missing has no image."""
        row = self._rows[index]
        try:
            image = (self._images / row["filepath"]).read_bytes()
        except FileNotFoundError:
            image = b""
        labels = {name: value for name, value in row.items() if name != "filepath"}
        return sample_from_row(row["filepath"], image, labels)


def _read_table(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            columns = list(reader.fieldnames or [])
            rows = [{name: value or "" for name, value in row.items() if name} for row in reader]
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; give a CSV with a filepath column") from None
    except (csv.Error, UnicodeDecodeError) as error:
        raise UserError(f"{path} is no readable CSV ({error}); save it as UTF-8 text") from None
    if "filepath" not in columns:
        raise UserError(f"{path} has no column filepath, only {', '.join(columns) or 'nothing'}; add it")
    if not rows:
        raise UserError(f"{path} lists no images; add rows")
    return rows
