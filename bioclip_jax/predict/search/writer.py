"""Rows of an index, and a writer that adds new and changed images in batches."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float32

from bioclip_jax.errors import UserError
from bioclip_jax.predict.results import plain_text
from bioclip_jax.text import RANKS, Taxon

from .approximate import update_index
from .table import LINEAGE, ImageIndex, check_same_model

if TYPE_CHECKING:
    import pyarrow as pa

# Rows or seconds per version of the table: at most what a killed build loses.
_ROWS = 4096
_SECONDS = 30

_INDEX_COLUMNS = frozenset({"id", "path", "vector", "sha256", "query", "rank", "score", *LINEAGE})
# Columns that a taxon is read from, and that are therefore not stored again.
_TAXON_COLUMNS = frozenset({*RANKS, "cls", "class_", "common_name", "species_epithet"})


class IndexWriter:
    """Adds rows to an index, which it creates with the first of them, and counts them."""

    def __init__(self, output: Path, index: ImageIndex | None) -> None:
        """`index`: the existing index at `output`, if any."""
        self._output, self._index = output, index
        self._known = index.known() if index else {}
        self._contents = {content for content in self._known.values() if content}
        self._about: dict[str, Any] = {}
        self._pending: list[pa.Table] = []
        self._flushed = time.monotonic()
        self._counts = {"added": 0, "replaced": 0, "known": 0}

    def set_model(
        self,
        dim: int,
        fingerprint: str,
        source: str,
        model: str | None = None,
        transform: str | None = None,
        precision: str = "fp32",
    ) -> None:
        """Declare the model of the rows that follow, as ImageIndex.create.

        Raises UserError if the index has rows of another model, transform or precision.
        """
        about = {
            "dim": dim,
            "fingerprint": fingerprint,
            "source": source,
            "model": model,
            "transform": transform,
            "precision": precision,
        }
        existing = self._index.about if self._index else self._about
        if existing:
            check_same_model(self._output, existing, about)
            _check_precision(self._output, existing, precision)
        else:
            self._about = about

    def select_new(self, ids: Sequence[str], contents: Sequence[str | None]) -> list[int]:
        """Return the indices of images to add; the others are counted as known.

        contents: SHA-256, None if unknown. An image with a known id is new if its content changed; any other
        is new if the index has no image of its content.
        """
        indices = []
        for index, (id, content) in enumerate(zip(ids, contents)):
            if content is None:
                known = id in self._known
            elif id in self._known:
                known = content == self._known[id]
            else:
                known = content in self._contents
            if known:
                self._counts["known"] += 1
                continue
            indices.append(index)
            # The replaced content may come back under another name.
            self._contents.discard(self._known.get(id))
            if content is not None:
                self._contents.add(content)
        return indices

    def add(self, rows: pa.Table) -> None:
        """Add rows of make_rows; a row with a known id replaces the old one."""
        self._pending.append(rows)
        is_full = sum(map(len, self._pending)) >= _ROWS
        if is_full or time.monotonic() - self._flushed > _SECONDS:
            self.flush()

    def finish(self) -> dict[str, Any]:
        """Write all rows and update the approximate index.

        Returns: numbers of rows "added", "replaced" and "known", and the result of update_index.
        """
        self.flush()
        if self._index is None:
            raise UserError(
                f"no image was added, so the index {self._output} is not created; give readable images"
            )
        return self._counts | update_index(self._index)

    def flush(self) -> int:
        """Write pending rows; return the number of images in the index."""
        import pyarrow as pa

        if self._pending:
            rows = pa.concat_tables(self._pending, promote_options="default")
            self._pending, self._flushed = [], time.monotonic()
            if self._index is None:
                self._index = ImageIndex.create(self._output, **self._about)
            ids = rows["id"].to_pylist()
            # A table holds an id once: the last row wins.
            last = {id: row for row, id in enumerate(ids)}
            for replace in (False, True):
                chosen = [row for id, row in last.items() if (id in self._known) == replace]
                if chosen:
                    self._index.add(rows.take(pa.array(chosen)), replace)
                self._counts["replaced" if replace else "added"] += len(chosen)
            self._known |= dict(zip(ids, rows["sha256"].to_pylist()))
        return len(self._index) if self._index is not None else 0


def _check_precision(directory: Path, held: dict[str, Any], precision: str) -> None:
    """Raise UserError if an index, described by `held`, has vectors of another precision.

    Only for adding images, so that the record stays true; queries may be of any precision, since their
    cosines differ by less than a thousandth.
    """
    own = held.get("precision", "fp32")
    if own != precision:
        raise UserError(
            f"the index {directory} holds vectors in {own}, not {precision}; give --precision {own}, or "
            "build another index"
        )


def make_rows(
    ids: Sequence[str],
    paths: Sequence[str],
    vectors: Float32[np.ndarray, "rows dim"],
    columns: pa.Table,
    sha256: Sequence[str | None] | None = None,
) -> pa.Table:
    """Return rows of an ImageIndex; `columns` as ImageMetadata.take returns them.

    The lineage is read from ranks and common_name, as Taxon.from_row does; other columns are kept. A column
    named like one of the index's gets the suffix "_", and so does a class that is not a rank, beside "cls".
    """
    import pyarrow as pa

    vectors = np.ascontiguousarray(vectors, np.float32)
    table = {
        "id": pa.array(ids, pa.string()),
        "path": pa.array(map(plain_text, paths), pa.string()),
        "vector": pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1]),
        "sha256": pa.array([None] * len(ids) if sha256 is None else sha256, pa.string()),
    }
    taxon_columns = [name for name in columns.column_names if name in _TAXON_COLUMNS]
    lineages = [_lineage(row) for row in columns.select(taxon_columns).to_pylist()]
    lineages = lineages or [_lineage({})] * len(ids)
    for name in LINEAGE:
        table[name] = pa.array([row[name] for row in lineages], pa.string())
    for name in columns.column_names:
        if name in taxon_columns and not (name == "class" and "cls" in taxon_columns):
            continue
        # LanceDB reads a dot as a nested field, and a filter cannot quote the other characters.
        kept = re.sub(r"[.`\"]", "_", name)
        table[f"{kept}_" if kept in _INDEX_COLUMNS else kept] = columns[name]
    return pa.table(table)


def _lineage(row: dict[str, Any]) -> dict[str, str]:
    """Return LINEAGE from the columns of a table, as in predictions; "" for unknown."""
    taxon = Taxon.from_row(row)
    names = {name: taxon.rank(name) for name in RANKS[:-1]}
    species = taxon.scientific_name if taxon.species else ""
    return names | {"species_epithet": taxon.species, "species": species, "common_name": taxon.common_name}
