"""Names of taxa as columns, sorted by lineage, so that every taxon of any rank is one range of rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Int, Int32

from bioclip_jax.predict.rank import Rank
from bioclip_jax.text import RANKS, Taxon

if TYPE_CHECKING:
    import pyarrow

COMMON_NAME = "common_name"
COLUMNS = (*RANKS, COMMON_NAME)
# The name of this column is part of the file format.
SOURCE_INDEX = "place"
# Rows held as Python objects while names are read.
_BLOCK_ROWS = 50_000


class TaxaNames:
    """N taxa, sorted by lineage.

    table: a column for each of COLUMNS (dictionary-encoded strings with sorted values; species is the
    epithet, "" is unknown) and SOURCE_INDEX, int32, each taxon's index in the source of the names.
    """

    def __init__(self, table: pyarrow.Table) -> None:
        """`table`: as above, already sorted; from_columns and from_rows sort."""
        # A table of one chunk is not copied; it may be memory-mapped.
        self.table = table if table[SOURCE_INDEX].num_chunks == 1 else table.combine_chunks()
        self._columns = {name: _one_chunk(self.table[name]) for name in COLUMNS}
        self._starts: dict[Rank, Int32[np.ndarray, " groups"]] = {}

    def __len__(self) -> int:
        return self.table.num_rows

    def codes(self, column: str) -> Int32[np.ndarray, " taxa"]:
        """Return each taxon's index in the dictionary of one of COLUMNS."""
        return _numbers(self._columns[column].indices)

    def dictionary(self, column: str) -> pyarrow.StringArray:
        """Return the sorted distinct values of one of COLUMNS; some may be unused."""
        return self._columns[column].dictionary

    @cached_property
    def source_index(self) -> Int32[np.ndarray, " taxa"]:
        """Each taxon's index in the source of the names."""
        return _numbers(_one_chunk(self.table[SOURCE_INDEX]))

    def starts(self, rank: Rank) -> Int32[np.ndarray, " groups"]:
        """Return the first row of each distinct lineage down to `rank`; a group ends at the next start."""
        if rank not in self._starts:
            new = np.zeros(len(self), bool)
            new[:1] = True
            for column in COLUMNS[: rank.value + 1]:
                codes = self.codes(column)
                new[1:] |= codes[1:] != codes[:-1]
            self._starts[rank] = np.flatnonzero(new).astype(np.int32)
        return self._starts[rank]

    def groups(self, rank: Rank, rows: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
        """Return the index in starts(rank) of each row's group."""
        return np.searchsorted(self.starts(rank), rows, side="right") - 1

    def row(self, index: int, rank: Rank = Rank.SPECIES) -> dict[str, str]:
        """Return a taxon in pybioclip's columns from kingdom to `rank`.

        At species these are the six ranks, species_epithet, species (genus and epithet) and common_name.
        """
        values = [self._columns[name][index].as_py() for name in COLUMNS[: rank.value + 1]]
        if rank is not Rank.SPECIES:
            return dict(zip(RANKS, values))
        genus, epithet = values[5:]
        common_name = self._columns[COMMON_NAME][index].as_py()
        species = {"species_epithet": epithet, "species": f"{genus} {epithet}".strip()}
        return dict(zip(RANKS, values[:6])) | species | {COMMON_NAME: common_name}

    def taxon(self, index: int) -> Taxon:
        """Return a taxon with all its names."""
        return Taxon(*(self._columns[name][index].as_py() for name in COLUMNS))

    def take(self, indices: Int[np.ndarray, " rows"]) -> TaxaNames:
        """Return the taxa of these rows, which must be ascending."""
        return TaxaNames(self.table.take(np.asarray(indices, np.int64)))

    def label_table(self) -> pyarrow.Table:
        """Return all taxa in pybioclip's columns at species, in the order of the source."""
        import pyarrow as pa
        import pyarrow.compute as pc

        table = self.table.take(np.argsort(self.source_index, kind="stable"))
        texts = {name: table[name].cast(pa.string()) for name in COLUMNS}
        epithet = texts.pop("species")
        common_name = texts.pop(COMMON_NAME)
        species = pc.utf8_trim(pc.binary_join_element_wise(texts["genus"], epithet, " "), " ")
        return pa.table(texts | {"species_epithet": epithet, "species": species, COMMON_NAME: common_name})

    @classmethod
    def from_columns(cls, columns: Mapping[str, Any]) -> TaxaNames:
        """Sort names given in the order of their source.

        columns: for each of COLUMNS, N strings as a list or an Arrow array (plain or dictionary-encoded);
        nulls and missing columns are unknown.
        """
        import pyarrow as pa

        count = max(len(column) for column in columns.values())
        blank = pa.DictionaryArray.from_arrays(pa.array(np.zeros(count, np.int32)), pa.array([""]))
        encoded = {name: _sorted_dictionary(columns.get(name, blank)) for name in COLUMNS}
        codes = [encoded[name].indices.to_numpy() for name in COLUMNS]
        order = np.lexsort(codes[::-1])
        arrays = {name: encoded[name].take(pa.array(order)) for name in COLUMNS}
        return cls(pa.table(arrays | {SOURCE_INDEX: pa.array(order.astype(np.int32))}))

    @classmethod
    def from_rows(cls, rows: Iterable[Sequence[str]]) -> TaxaNames:
        """Sort names from an iterable of rows of COLUMNS, in bounded memory."""
        import pyarrow as pa

        schema = pa.schema([(name, pa.dictionary(pa.int32(), pa.string())) for name in COLUMNS])
        blocks, rows = [schema.empty_table()], iter(rows)
        while block := list(islice(rows, _BLOCK_ROWS)):
            texts = (pa.array(column, pa.string()).dictionary_encode() for column in zip(*block))
            blocks.append(pa.table(list(texts), schema=schema))
        return cls.from_columns(dict(zip(COLUMNS, pa.concat_tables(blocks).columns)))


def _one_chunk(column: pyarrow.ChunkedArray) -> pyarrow.Array:
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _numbers(array: pyarrow.Int32Array) -> Int32[np.ndarray, " n"]:
    """Return a view of an array without nulls."""
    # Arrow's to_numpy imports pandas if it is installed, which takes half a second.
    return np.from_dlpack(array)


def _sorted_dictionary(texts: Any) -> pyarrow.DictionaryArray:
    """Dictionary-encode strings with sorted values, nulls as ""."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not isinstance(texts, (pa.Array, pa.ChunkedArray)):
        texts = pa.array(texts, pa.string())
    if not pa.types.is_dictionary(texts.type):
        texts = pc.dictionary_encode(texts.cast(pa.string()))
    if isinstance(texts, pa.ChunkedArray):
        texts = texts.unify_dictionaries().combine_chunks()
    codes = texts.indices
    values = texts.dictionary.cast(pa.string())
    if codes.null_count:
        # Reuse the value "" if there is one, otherwise append it.
        blank = values.index("").as_py()
        if blank < 0:
            blank, values = len(values), pa.concat_arrays([values, pa.array([""])])
        codes = codes.fill_null(blank)
    order = pc.sort_indices(values)
    rank = np.empty(len(values), np.int32)
    rank[order.to_numpy()] = np.arange(len(values), dtype=np.int32)
    return pa.DictionaryArray.from_arrays(pa.array(rank[codes.to_numpy()]), values.take(order))
