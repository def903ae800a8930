"""Labels of a build's samples: joined from a metadata table, and aligned with a backbone taxonomy."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Int32, Int64

from bioclip_jax.errors import UserError
from bioclip_jax.pipeline.sources import KEY_COLUMNS, Sample, Source, sample_from_row
from bioclip_jax.tables import read_table, table_row
from bioclip_jax.text import RANKS, Taxon

from .settings import BuildSettings

if TYPE_CHECKING:
    from bioclip_jax.curate.align import Backbone

TAXON_COLUMNS = (*RANKS, "common_name")
REPORT_FILES = ("alignment.md", "alignment.csv")
_SEPARATOR = "\x1f"


class LabeledSource:
    """A source joined with a table of labels on the sample's key; unmatched samples keep their own labels.

    table: CSV or Parquet with one of KEY_COLUMNS, held in the memory of every worker. Raises UserError if it
    has no such column or repeats a key.
    """

    def __init__(self, source: Source, table: Path):
        self.skipped_shards = source.skipped_shards
        self._source = source
        labels = read_table(table, KEY_COLUMNS)
        column = next(name for name in KEY_COLUMNS if name in labels.column_names)
        keys = labels[column].cast(pa.large_string())
        valid = keys.is_valid()
        labels, keys = labels.filter(valid), keys.filter(valid)
        order = pc.sort_indices(keys)
        self._labels = labels.drop_columns([column]).take(order).combine_chunks()
        self._keys = keys.take(order).combine_chunks()
        same = pc.equal(self._keys[1:], self._keys[:-1]).to_numpy(zero_copy_only=False)
        if same.any():
            raise UserError(
                f"{table} names the key {self._keys[int(np.argmax(same))].as_py()!r} twice; keep one row"
            )
        if hasattr(source, "group_starts"):
            self.group_starts = source.group_starts

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> Sample:
        """Return the sample with the table's labels if the table has its key."""
        sample = self._source[index]
        row = self._find(sample.key)
        if row is None:
            return sample
        labeled = sample_from_row(sample.key, sample.image, table_row(self._labels, row))
        return replace(labeled, metadata={**sample.metadata, **labeled.metadata})

    def _find(self, key: str) -> int | None:
        low, high = 0, len(self._keys)
        while low < high:
            middle = (low + high) // 2
            if self._keys[middle].as_py().encode() < key.encode():
                low = middle + 1
            else:
                high = middle
        return low if low < len(self._keys) and self._keys[low].as_py() == key else None


class TaxonNumbers:
    """Number distinct taxa in order of first occurrence."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def encode(self, table: pa.Table) -> Int32[np.ndarray, " rows"]:
        """Return the taxon number of each row, from its TAXON_COLUMNS."""
        columns = [table.column(name) for name in TAXON_COLUMNS]
        joined = pc.binary_join_element_wise(*columns, _SEPARATOR).combine_chunks().dictionary_encode()
        numbers = [
            self._numbers.setdefault(text, len(self._numbers)) for text in joined.dictionary.to_pylist()
        ]
        return np.array(numbers, np.int32)[joined.indices.to_numpy()]

    def taxa(self) -> list[Taxon]:
        """Return all taxa, indexed by number."""
        return [Taxon(*text.split(_SEPARATOR)) for text in self._numbers]


def align_taxa(
    taxa: list[Taxon], images: Int64[np.ndarray, " taxa"], settings: BuildSettings, report: Path
) -> tuple[pa.Table, dict[str, dict[str, int]]]:
    """Align distinct taxa with the settings' backbone and write its reports into the folder `report`.

    images: number of images of each taxon. Returns a table of TAXON_COLUMNS, alignment (the status), resolved
    (True if the backbone has the name) and proposal, and the numbers of names and images by status.
    """
    import polars as pl

    from bioclip_jax.curate.align import align_names, write_report

    given = pl.DataFrame([taxon_row(taxon) for taxon in taxa]).with_columns(images=pl.Series(images))
    result = align_names(given, open_backbone(settings), apply_fuzzy=settings.apply_fuzzy)
    counts = write_report(result, *(report / name for name in REPORT_FILES), count_column="images")
    aligned = result.select(
        *TAXON_COLUMNS, "proposal", alignment="status", resolved=pl.col("matched_id").fill_null("") != ""
    )
    table = aligned.to_arrow(compat_level=pl.CompatLevel.oldest())
    texts = {pa.large_string(): pa.string()}
    return table.cast(pa.schema([(f.name, texts.get(f.type, f.type)) for f in table.schema])), counts


def open_backbone(settings: BuildSettings) -> "Backbone":
    """Open the settings' backbone. Raises UserError if its tables cannot be read."""
    from bioclip_jax.curate.align import Backbone

    vernacular = settings.vernacular and Path(settings.vernacular).expanduser()
    return Backbone(Path(settings.backbone).expanduser(), vernacular, settings.language)


def taxon_row(taxon: Taxon) -> dict[str, str]:
    """Return the taxon's TAXON_COLUMNS."""
    return dict(zip(TAXON_COLUMNS, (*taxon.lineage(), taxon.common_name)))
