"""Rows of the index from what is known of images."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float32

from bioclip_jax.predict.results import plain_text
from bioclip_jax.text import RANKS, Taxon

from .table import LINEAGE

if TYPE_CHECKING:
    import pyarrow as pa

_OURS = frozenset({"id", "path", "vector", "sha256", "query", "rank", "score", *LINEAGE})
# Columns from which a taxon is read, and which therefore are not kept beside it.
_OF_TAXON = frozenset({*RANKS, "cls", "class_", "common_name", "species_epithet"})


def make_rows(
    ids: Sequence[str],
    paths: Sequence[str],
    vectors: Float32[np.ndarray, "rows dim"],
    columns: pa.Table,
    sha256: Sequence[str | None] | None = None,
) -> pa.Table:
    """Rows of an ImageIndex; `columns` as ImageMetadata.take gives them.

    The lineage is read from the ranks and common_name as Taxon.from_row does. The other columns stay as they
    are; one whose name the index itself uses gets "_" behind it, and so does a class that is no rank, beside
    "cls".
    """
    import pyarrow as pa

    vectors = np.ascontiguousarray(vectors, np.float32)
    table = {
        "id": pa.array(ids, pa.string()),
        "path": pa.array(map(plain_text, paths), pa.string()),
        "vector": pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1]),
        "sha256": pa.array([None] * len(ids) if sha256 is None else sha256, pa.string()),
    }
    of_taxon = [name for name in columns.column_names if name in _OF_TAXON]
    lineages = [lineage(row) for row in columns.select(of_taxon).to_pylist()] or [lineage({})] * len(ids)
    for name in LINEAGE:
        table[name] = pa.array([row[name] for row in lineages], pa.string())
    for name in columns.column_names:
        if name in of_taxon and not (name == "class" and "cls" in of_taxon):
            continue
        # LanceDB takes a dot for a field of a field, and a filter could not quote the others.
        kept = re.sub(r"[.`\"]", "_", name)
        table[f"{kept}_" if kept in _OURS else kept] = columns[name]
    return pa.table(table)


def lineage(row: dict[str, Any]) -> dict[str, str]:
    """LINEAGE from the columns of a table, as the predictions write it; "" where unknown."""
    taxon = Taxon.from_row(row)
    names = {name: taxon.rank(name) for name in RANKS[:-1]}
    species = taxon.scientific_name if taxon.species else ""
    return names | {"species_epithet": taxon.species, "species": species, "common_name": taxon.common_name}
