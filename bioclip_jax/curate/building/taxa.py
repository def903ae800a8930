"""The distinct taxa of a source: numbered while its parts are read, and aligned to a backbone once each."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Int32, Int64

from bioclip_jax.text import RANKS, Taxon

from .settings import BuildSettings

if TYPE_CHECKING:
    from bioclip_jax.curate.taxonomy import Backbone

TAXON_COLUMNS = (*RANKS, "common_name")
REPORT_FILES = ("alignment.md", "alignment.csv")
_SEPARATOR = "\x1f"


class TaxonNumbers:
    """Numbers taxa in the order in which they first occur."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def of(self, table: pa.Table) -> Int32[np.ndarray, " rows"]:
        """The number of each row's taxon, from its TAXON_COLUMNS."""
        columns = [table.column(name) for name in TAXON_COLUMNS]
        joined = pc.binary_join_element_wise(*columns, _SEPARATOR).combine_chunks().dictionary_encode()
        numbers = [
            self._numbers.setdefault(text, len(self._numbers)) for text in joined.dictionary.to_pylist()
        ]
        return np.array(numbers, np.int32)[joined.indices.to_numpy()]

    def taxa(self) -> list[Taxon]:
        """All taxa by number."""
        return [Taxon(*text.split(_SEPARATOR)) for text in self._numbers]


def align(
    taxa: list[Taxon], images: Int64[np.ndarray, " taxa"], settings: BuildSettings, report: Path
) -> tuple[pa.Table, dict[str, dict[str, int]]]:
    """The taxa as the backbone has them, and how many names and images have each status.

    The table has TAXON_COLUMNS, alignment (the status), resolved (whether the backbone has the name) and
    proposal.
    images: how many each taxon has. Written into the folder `report`: alignment.md and alignment.csv.
    """
    import polars as pl

    from bioclip_jax.curate.taxonomy import align_names, write_report

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
    """The backbone that the settings name; UserError if its tables cannot be read."""
    from bioclip_jax.curate.taxonomy import Backbone

    vernacular = settings.vernacular and Path(settings.vernacular).expanduser()
    return Backbone(Path(settings.backbone).expanduser(), vernacular, settings.language)


def taxon_row(taxon: Taxon) -> dict[str, str]:
    """The taxon's TAXON_COLUMNS."""
    return dict(zip(TAXON_COLUMNS, (*taxon.lineage(), taxon.common_name)))
