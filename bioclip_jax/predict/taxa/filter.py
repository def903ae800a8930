"""Filters of taxa: those named at a rank, or all within a taxon."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Int32, Int64

from bioclip_jax.errors import InvalidValue, UserError
from bioclip_jax.predict.rank import Rank, as_rank
from bioclip_jax.tables import read_table, texts
from bioclip_jax.text import NAME_COLUMNS, RANKS, clean_text, genus_and_epithet, known_text, without_author

from .names import COLUMNS, COMMON_NAME, TaxaNames
from .suggest import MAX_LISTED, UnknownTaxa, similar_of_any_rank, unknown_names

if TYPE_CHECKING:
    import pyarrow


def read_subset(path: str | os.PathLike[str]) -> tuple[Rank | str, list[str]]:
    """Read a rank, or COMMON_NAME, and names at it from a table.

    As in pybioclip, the names are the first column if that is a rank. Otherwise, as in a species list of
    GBIF, they are the species, the scientific names or the common names. Cells with words for "unknown" are
    skipped. Raises UserError for an unreadable file, and for a column that is missing or empty.
    """
    table = read_table(path, known=NAME_COLUMNS)
    columns = table.column_names
    kind = columns[0]
    if kind not in (*RANKS, "cls", *NAME_COLUMNS, COMMON_NAME):
        order = ("species", *NAME_COLUMNS, COMMON_NAME, *reversed(RANKS))
        kind = next((name for name in order if name in columns), None)
    if kind is None:
        raise InvalidValue(
            f"{path} has none of the columns {', '.join(RANKS)}, scientificName or {COMMON_NAME}, only "
            f"{', '.join(columns)}; rename one of them"
        )
    cells = texts(table[kind])
    if kind in NAME_COLUMNS:
        cells = map(without_author, cells)
    elif kind == "species" and "genus" in columns and columns[0] != "species":
        # The species column may hold the epithet only.
        pairs = zip(texts(table["genus"]), cells)
        cells = (
            " ".join(genus_and_epithet(genus, cell)) if known_text(cell) else "" for genus, cell in pairs
        )
    values = [value for value in dict.fromkeys(known_text(cell) for cell in cells) if value]
    if not values:
        raise UserError(f"the subset {path} lists no {kind}; write one per line below the column name")
    rank = {"cls": "class", **dict.fromkeys(NAME_COLUMNS, "species")}.get(kind, kind)
    return COMMON_NAME if rank == COMMON_NAME else Rank(RANKS.index(rank)), values


def rows_named(
    names: TaxaNames, rank: Rank | str, values: Sequence[str], *, skip_unknown: bool = False
) -> Int32[np.ndarray, " rows"]:
    """Return the rows of taxa named by `values` at `rank` (or COMMON_NAME), in any case.

    A species is "Genus epithet". Raises UserError for an unknown name, with similar ones; with
    `skip_unknown` unknown names are reported on standard error, and only a subset without a known name is an
    error.
    """
    rank = rank if rank == COMMON_NAME else as_rank(rank)
    values = [clean_text(value) for value in values]
    if rank is Rank.SPECIES:
        chosen, known = _species(names, values)
    else:
        column, lower = _folded(names, COMMON_NAME if rank == COMMON_NAME else COLUMNS[rank.value])
        code = _indices([value.lower() for value in values], lower)
        # The last element stays False, for values without a code (-1).
        wanted, present = np.zeros((2, len(lower) + 1), bool)
        wanted[code[code >= 0]] = True
        present[column] = True
        chosen, known = wanted[column], present[code]
    unknown = list(dict.fromkeys(value for value, is_known in zip(values, known) if not is_known))
    if unknown and not (skip_unknown and any(known)):
        raise InvalidValue(unknown_names(names, rank, unknown))
    if unknown:
        shown = ", ".join(unknown[:MAX_LISTED]) + (" and others" if len(unknown) > MAX_LISTED else "")
        label = "common" if rank == COMMON_NAME else rank.get_label()
        print(f"note: skipped {len(unknown)} unknown {label} names of the subset: {shown}", file=sys.stderr)
    return np.flatnonzero(chosen).astype(np.int32)


def _folded(names: TaxaNames, column: str) -> tuple[Int32[np.ndarray, " taxa"], pyarrow.StringArray]:
    """Return each taxon's index in the distinct lower-case values of a column, and those values."""
    import pyarrow.compute as pc

    encoded = pc.dictionary_encode(pc.utf8_lower(names.dictionary(column)))
    return np.from_dlpack(encoded.indices)[names.codes(column)], encoded.dictionary


def rows_within(names: TaxaNames, taxon: str) -> Int32[np.ndarray, " rows"]:
    """Return the rows of all taxa within `taxon`, of any rank and in any case.

    taxon: "Mammalia", "Felis catus", or a common name; a homonym is preceded by some or all taxa above it:
    "Animalia Mammalia", "Animalia > Morus" or "Animalia/Morus".
    Raises UserError for an unknown name, with similar ones, and for an ambiguous one, with its lineages.
    """
    import pyarrow.compute as pc

    text = clean_text(taxon)
    lower = {column: pc.utf8_lower(names.dictionary(column)) for column in COLUMNS}
    groups = [group for above, last in _paths(text) for group in _groups(names, lower, last, above)]
    if not groups:
        near = similar_of_any_rank(names, text)
        hint = f"did you mean {' or '.join(near)}?" if near else "give a taxon of any rank, or a common name"
        raise UnknownTaxa(f"no taxon is called {text!r}; {hint}", {text: near})
    # A taxon nested in another of the same name, as an order in its class, is not a homonym.
    groups = sorted(set(groups), key=lambda group: (group[0], -group[1]))
    ends = np.maximum.accumulate([stop for _, stop, _ in groups])
    outer = [group for group, before in zip(groups, [0, *ends]) if group[1] > before]
    if len(outer) > 1:
        # A full path is unambiguous.
        full = [group for group in outer if _lineage(names, *group).lower() == _words(text).lower()]
        outer = full if len(full) == 1 else outer
    if len(outer) > 1:
        shown = "; ".join(_lineage(names, *group) for group in outer[:MAX_LISTED])
        more = f"; and {len(outer) - MAX_LISTED} more" if len(outer) > MAX_LISTED else ""
        raise UserError(f"{text!r} is {len(outer)} taxa; give the taxa above it, as in: {shown}{more}")
    start, stop, _ = outer[0]
    return np.arange(start, stop, dtype=np.int32)


# First row, last row + 1, rank.
_Group = tuple[int, int, Rank]
# Lower-case values of each column.
_Dictionaries = Mapping[str, "pyarrow.StringArray"]


def _paths(text: str) -> list[tuple[list[str], str]]:
    """Return all readings of a text: names of taxa above, and the name itself (one or more words)."""
    if re.search("[>/]", text):
        *above, last = [part.strip().lower() for part in re.split("[>/]", text)]
        paths = [([], text.lower()), (above, last)]
        # "Genus > epithet" is a species too.
        return paths + [(above[:-1], f"{above[-1]} {last}")]
    words = text.lower().split()
    return [(words[:split], " ".join(words[split:])) for split in range(len(words))]


def _groups(names: TaxaNames, lower: _Dictionaries, name: str, above: Sequence[str]) -> list[_Group]:
    """Return the taxa of any rank with this lower-case name, below the taxa `above`, in that order."""
    import pyarrow.compute as pc

    def rows(column: str, value: str) -> Bool[np.ndarray, " taxa"]:
        same = pc.equal(lower[column], value).to_numpy(zero_copy_only=False).astype(bool)
        return same[names.codes(column)] if value and same.any() else np.zeros(len(names), bool)

    groups: list[_Group] = []
    for rank in list(Rank)[:-1]:
        groups += _groups_at(names, rank, rows(COLUMNS[rank.value], name))
    genus, _, epithet = name.partition(" ")
    groups += _groups_at(names, Rank.SPECIES, rows("genus", genus) & rows("species", epithet))
    if not groups:
        groups = _groups_at(names, Rank.SPECIES, rows(COMMON_NAME, name))
    return [group for group in groups if _is_below(names, group, above)]


def _groups_at(names: TaxaNames, rank: Rank, mask: Bool[np.ndarray, " taxa"]) -> list[_Group]:
    rows = np.flatnonzero(mask)
    starts = names.starts(rank)
    groups = np.unique(np.searchsorted(starts, rows, side="right") - 1)
    stops = np.append(starts[1:], len(names))
    return [(int(starts[group]), int(stops[group]), rank) for group in groups]


def _is_below(names: TaxaNames, group: _Group, above: Sequence[str]) -> bool:
    lineage = iter([value.lower() for value in names.taxon(group[0]).lineage()[: group[2].value]])
    return all(any(value == name for value in lineage) for name in above)


def _lineage(names: TaxaNames, start: int, stop: int, rank: Rank) -> str:
    """Return the known ranks down to `rank`, as a path for rows_within."""
    return " ".join(value for value in names.taxon(start).lineage()[: rank.value + 1] if value)


def _words(text: str) -> str:
    return " ".join(re.sub("[>/]", " ", text).split())


def _indices(texts: Sequence[str], values: pyarrow.StringArray) -> Int64[np.ndarray, " texts"]:
    """Return each text's index in distinct values, -1 for an unknown one."""
    import pyarrow as pa
    import pyarrow.compute as pc

    texts = pa.array(texts, pa.string())
    index = pc.index_in(texts, value_set=values)
    if index.null_count and not all(text.isascii() for text in texts.filter(pc.is_null(index)).to_pylist()):
        # Published names may be in decomposed Unicode.
        index = pc.coalesce(index, pc.index_in(texts, value_set=pc.utf8_normalize(values, "NFC")))
    return index.fill_null(-1).to_numpy().astype(np.int64)


def _species(
    names: TaxaNames, values: Sequence[str]
) -> tuple[Bool[np.ndarray, " taxa"], Bool[np.ndarray, " values"]]:
    """Return the mask of rows of these species, and the mask of known values."""
    # Genus and epithet may each be unknown, and each may have several words.
    splits = [
        (owner, " ".join(words[:split]), " ".join(words[split:]))
        for owner, words in enumerate(value.lower().split() for value in values)
        for split in range(len(words) + 1)
        if words
    ]
    owners, genera, epithets = zip(*splits) if splits else ((), (), ())
    genus_of, genus_names = _folded(names, "genus")
    epithet_of, epithet_names = _folded(names, "species")
    genus = _indices(genera, genus_names)
    wanted = np.zeros(len(genus_names), bool)
    wanted[genus[genus >= 0]] = True
    # Search only the epithets in these genera, out of a million.
    rows = np.flatnonzero(wanted[genus_of])
    width = len(epithet_names)
    present = np.zeros(width, bool)
    present[epithet_of[rows]] = True
    present = np.append(np.flatnonzero(present), -1)
    epithet = present[_indices(epithets, epithet_names.take(present[:-1]))]
    keys = np.where((genus >= 0) & (epithet >= 0), genus * width + epithet, -1)
    column = genus_of[rows].astype(np.int64) * width + epithet_of[rows]
    order = np.sort(keys)
    # Far faster than np.isin, which sorts the long side.
    position = np.minimum(np.searchsorted(order, column), len(order) - 1)
    chosen, known = np.zeros(len(names), bool), np.zeros(len(values), bool)
    matches = order[position] == column
    chosen[rows[matches]] = True
    known[np.array(owners, np.int64)[np.isin(keys, column[matches])]] = True
    return chosen, known
