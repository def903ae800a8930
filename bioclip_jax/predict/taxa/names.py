"""The names of a head's taxa, as columns, sorted so that every taxon of any rank is one run of rows."""

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

COLUMNS = (*RANKS, "common_name")
PLACE = "place"
# Rows that are held as Python objects while names are read.
_BLOCK_ROWS = 50_000


class TaxaNames:
    """N taxa, sorted by lineage.

    table: a column for each of COLUMNS (texts as dictionaries, whose values are sorted; species is the
    epithet, "" where unknown) and `place`, int32: where each taxon stands in the source that the names came
    from.
    """

    def __init__(self, table: pyarrow.Table) -> None:
        """`table`: as above, in order already; from_columns and from_rows sort."""
        # One that is in a single piece stays where it lies, which may be in a file.
        self.table = table if table[PLACE].num_chunks == 1 else table.combine_chunks()
        self._columns = {name: _in_one_piece(self.table[name]) for name in COLUMNS}
        self._starts: dict[Rank, Int32[np.ndarray, " groups"]] = {}

    def __len__(self) -> int:
        return self.table.num_rows

    def codes(self, column: str) -> Int32[np.ndarray, " taxa"]:
        """Each taxon's place in the dictionary of one of COLUMNS."""
        return _numbers(self._columns[column].indices)

    def dictionary(self, column: str) -> pyarrow.StringArray:
        """The distinct values of one of COLUMNS, sorted; for some of them there may be no taxon."""
        return self._columns[column].dictionary

    @cached_property
    def place(self) -> Int32[np.ndarray, " taxa"]:
        """Where each taxon stands in the source."""
        return _numbers(_in_one_piece(self.table[PLACE]))

    def starts(self, rank: Rank) -> Int32[np.ndarray, " groups"]:
        """The first row of each distinct lineage down to `rank`; a group ends where the next one starts."""
        if rank not in self._starts:
            new = np.zeros(len(self), bool)
            new[:1] = True
            for column in COLUMNS[: rank.value + 1]:
                codes = self.codes(column)
                new[1:] |= codes[1:] != codes[:-1]
            self._starts[rank] = np.flatnonzero(new).astype(np.int32)
        return self._starts[rank]

    def groups(self, rank: Rank, rows: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
        """The number of the group of starts(rank) that each row belongs to."""
        return np.searchsorted(self.starts(rank), rows, side="right") - 1

    def row(self, index: int, rank: Rank = Rank.SPECIES) -> dict[str, str]:
        """A taxon by pybioclip's columns from kingdom to `rank`.

        At species they are the six ranks, species_epithet, species (genus and epithet) and common_name.
        """
        values = [self._columns[name][index].as_py() for name in COLUMNS[: rank.value + 1]]
        if rank is not Rank.SPECIES:
            return dict(zip(RANKS, values))
        genus, epithet = values[5:]
        names = {"species_epithet": epithet, "species": f"{genus} {epithet}".strip()}
        return (
            dict(zip(RANKS, values[:6]))
            | names
            | {"common_name": self._columns["common_name"][index].as_py()}
        )

    def taxon(self, index: int) -> Taxon:
        """A taxon with all its names."""
        return Taxon(*(self._columns[name][index].as_py() for name in COLUMNS))

    def taken(self, indices: Int[np.ndarray, " rows"]) -> TaxaNames:
        """The taxa of these rows, which must ascend."""
        return TaxaNames(self.table.take(np.asarray(indices, np.int64)))

    def label_table(self) -> pyarrow.Table:
        """All taxa by pybioclip's columns at species, in the order of the source."""
        import pyarrow as pa
        import pyarrow.compute as pc

        table = self.table.take(np.argsort(self.place, kind="stable"))
        texts = {name: table[name].cast(pa.string()) for name in COLUMNS}
        epithet = texts.pop("species")
        common_name = texts.pop("common_name")
        species = pc.utf8_trim(pc.binary_join_element_wise(texts["genus"], epithet, " "), " ")
        return pa.table(texts | {"species_epithet": epithet, "species": species, "common_name": common_name})

    @classmethod
    def from_columns(cls, columns: Mapping[str, Any]) -> TaxaNames:
        """Names from texts, in the order of their source.

        columns: for each of COLUMNS, N texts as a list or an Arrow array (plain or dictionary-encoded); nulls
        are unknown, and so is a column that is missing.
        """
        import pyarrow as pa

        count = max(len(column) for column in columns.values())
        blank = pa.DictionaryArray.from_arrays(pa.array(np.zeros(count, np.int32)), pa.array([""]))
        encoded = {name: _sorted_dictionary(columns.get(name, blank)) for name in COLUMNS}
        codes = [encoded[name].indices.to_numpy() for name in COLUMNS]
        order = np.lexsort(codes[::-1])
        arrays = {name: encoded[name].take(pa.array(order)) for name in COLUMNS}
        return cls(pa.table(arrays | {PLACE: pa.array(order.astype(np.int32))}))

    @classmethod
    def from_rows(cls, rows: Iterable[Sequence[str]]) -> TaxaNames:
        """As from_columns, from any number of rows of COLUMNS, one by one."""
        import pyarrow as pa

        schema = pa.schema([(name, pa.dictionary(pa.int32(), pa.string())) for name in COLUMNS])
        blocks, rows = [schema.empty_table()], iter(rows)
        while block := list(islice(rows, _BLOCK_ROWS)):
            texts = (pa.array(column, pa.string()).dictionary_encode() for column in zip(*block))
            blocks.append(pa.table(list(texts), schema=schema))
        return cls.from_columns(dict(zip(COLUMNS, pa.concat_tables(blocks).columns)))


def _in_one_piece(column: pyarrow.ChunkedArray) -> pyarrow.Array:
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _numbers(array: pyarrow.Int32Array) -> Int32[np.ndarray, " n"]:
    """A view of an array without nulls. Arrow's own to_numpy imports pandas where that is installed: half a second."""
    return np.from_dlpack(array)


def _sorted_dictionary(texts: Any) -> pyarrow.DictionaryArray:
    """The texts as codes into their distinct values, sorted, nulls as ""."""
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
        # The same "" as a blank text's, or a new one at the end.
        blank = values.index("").as_py()
        if blank < 0:
            blank, values = len(values), pa.concat_arrays([values, pa.array([""])])
        codes = codes.fill_null(blank)
    order = pc.sort_indices(values)
    rank = np.empty(len(values), np.int32)
    rank[order.to_numpy()] = np.arange(len(values), dtype=np.int32)
    return pa.DictionaryArray.from_arrays(pa.array(rank[codes.to_numpy()]), values.take(order))
