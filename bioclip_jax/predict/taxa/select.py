"""Which rows of a head to choose among: some taxa by their names, or all below a taxon."""

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

from .names import COLUMNS, TaxaNames
from .nearest import most_alike, nearest

if TYPE_CHECKING:
    import pyarrow

# Unknown or ambiguous names that a message goes into.
_SHOWN = 5
# The one column beside the ranks by which taxa can be chosen.
COMMON_NAME = "common_name"


def read_subset(path: str | os.PathLike[str]) -> tuple[Rank | str, list[str]]:
    """A rank, or COMMON_NAME, and names at it, from a table.

    They stand in the first column where a rank is its name, as pybioclip reads it. Of a table that begins
    with another column, such as a species list of GBIF, they are the species, or else the scientific or the
    common names. Cells that say "unknown" are skipped. UserError if the file cannot be read, has no such
    column, or it is empty.
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
            f"{', '.join(columns)}; name one of them so"
        )
    cells = texts(table[kind])
    if kind in NAME_COLUMNS:
        cells = map(without_author, cells)
    elif kind == "species" and "genus" in columns and columns[0] != "species":
        # The species may be written as an epithet beside its genus.
        pairs = zip(texts(table["genus"]), cells)
        cells = (
            " ".join(genus_and_epithet(genus, cell)) if known_text(cell) else "" for genus, cell in pairs
        )
    values = [value for value in dict.fromkeys(known_text(cell) for cell in cells) if value]
    if not values:
        raise UserError(f"the subset {path} lists no {kind}; write one a line below its name")
    rank = {"cls": "class", **dict.fromkeys(NAME_COLUMNS, "species")}.get(kind, kind)
    return COMMON_NAME if rank == COMMON_NAME else Rank(RANKS.index(rank)), values


def rows_of(
    names: TaxaNames, rank: Rank | str, values: Sequence[str], *, skip_unknown: bool = False
) -> Int32[np.ndarray, " rows"]:
    """The rows of all taxa whose name at `rank` is one of `values`, in any case; a species is "Genus epithet".

    With COMMON_NAME as rank they are common names. UserError if one of them is not there: it names the
    nearest that are. With `skip_unknown` those are counted on standard error, and it is an error only if none
    is there.
    """
    rank = rank if rank == COMMON_NAME else as_rank(rank)
    values = [clean_text(value) for value in values]
    if rank is Rank.SPECIES:
        chosen, known = _species(names, values)
    else:
        column, lower = _folded(names, COMMON_NAME if rank == COMMON_NAME else COLUMNS[rank.value])
        code = _places([value.lower() for value in values], lower)
        # The last place is for values that are not there.
        wanted, there = np.zeros((2, len(lower) + 1), bool)
        wanted[code[code >= 0]] = True
        there[column] = True
        chosen, known = wanted[column], there[code]
    unknown = list(dict.fromkeys(value for value, found in zip(values, known) if not found))
    if unknown and not (skip_unknown and any(known)):
        raise InvalidValue(_unknown(names, rank, unknown))
    if unknown:
        shown = ", ".join(unknown[:_SHOWN]) + (" and others" if len(unknown) > _SHOWN else "")
        print(
            f"note: skipped {len(unknown)} unknown {_label(rank)} names of the subset: {shown}",
            file=sys.stderr,
        )
    return np.flatnonzero(chosen).astype(np.int32)


def _folded(names: TaxaNames, column: str) -> tuple[Int32[np.ndarray, " taxa"], pyarrow.StringArray]:
    """Each taxon's place among the distinct lower-case values of a column, and those values."""
    import pyarrow.compute as pc

    encoded = pc.dictionary_encode(pc.utf8_lower(names.dictionary(column)))
    return np.from_dlpack(encoded.indices)[names.codes(column)], encoded.dictionary


def within(names: TaxaNames, taxon: str) -> Int32[np.ndarray, " rows"]:
    """The rows of all taxa below, or at, the one that `taxon` names, whatever its rank; case does not matter.

    taxon: "Mammalia", "Felis catus", or a common name; where that name occurs at several places of the tree,
    with
    some or all taxa above it before it: "Animalia Mammalia", "Animalia > Morus" or "Animalia/Morus".
    UserError if there is none of that name, or several: it says how to name each.
    """
    import pyarrow.compute as pc

    text = clean_text(taxon)
    lower = {column: pc.utf8_lower(names.dictionary(column)) for column in COLUMNS}
    found = [group for above, last in _paths(text) for group in _groups(names, lower, last, above)]
    if not found:
        raise UserError(f"no taxon is called {text!r} here; {_suggest(names, text)}")
    # A taxon that lies in another one of the same name, as an order in its class, is no second place.
    found = sorted(set(found), key=lambda group: (group[0], -group[1]))
    ends = np.maximum.accumulate([stop for _, stop, _ in found])
    places = [group for group, before in zip(found, [0, *ends]) if group[1] > before]
    if len(places) > 1:
        # The one whose path was given in full.
        full = [place for place in places if _lineage(names, *place).lower() == _words(text).lower()]
        places = full if len(full) == 1 else places
    if len(places) > 1:
        shown = "; ".join(_lineage(names, *place) for place in places[:_SHOWN])
        more = f"; and {len(places) - _SHOWN} more" if len(places) > _SHOWN else ""
        raise UserError(
            f"{text!r} is {len(places)} taxa; say which by the taxa above it, as in: {shown}{more}"
        )
    start, stop, _ = places[0]
    return np.arange(start, stop, dtype=np.int32)


# First row, row behind the last, rank.
_Group = tuple[int, int, Rank]
# The values of each column, in lower case.
_Dictionaries = Mapping[str, "pyarrow.StringArray"]


def _paths(text: str) -> list[tuple[list[str], str]]:
    """How a text can be read: the names of taxa above, and the name itself, which may have several words."""
    if re.search("[>/]", text):
        *above, last = [part.strip().lower() for part in re.split("[>/]", text)]
        paths = [([], text.lower()), (above, last)]
        # The epithet of a species may stand alone behind its genus.
        return paths + [(above[:-1], f"{above[-1]} {last}")]
    words = text.lower().split()
    return [(words[:split], " ".join(words[split:])) for split in range(len(words))]


def _groups(names: TaxaNames, lower: _Dictionaries, name: str, above: Sequence[str]) -> list[_Group]:
    """The taxa of any rank with this name (lower case), below taxa with the names `above`, in that order."""
    import pyarrow.compute as pc

    def rows(column: str, value: str) -> Bool[np.ndarray, " taxa"]:
        same = pc.equal(lower[column], value).to_numpy(zero_copy_only=False).astype(bool)
        return same[names.codes(column)] if value and same.any() else np.zeros(len(names), bool)

    found: list[_Group] = []
    for rank in list(Rank)[:-1]:
        found += _groups_at(names, rank, rows(COLUMNS[rank.value], name))
    genus, _, epithet = name.partition(" ")
    found += _groups_at(names, Rank.SPECIES, rows("genus", genus) & rows("species", epithet))
    if not found:
        found = _groups_at(names, Rank.SPECIES, rows("common_name", name))
    return [group for group in found if _lies_below(names, group, above)]


def _groups_at(names: TaxaNames, rank: Rank, mask: Bool[np.ndarray, " taxa"]) -> list[_Group]:
    rows = np.flatnonzero(mask)
    starts = names.starts(rank)
    groups = np.unique(np.searchsorted(starts, rows, side="right") - 1)
    stops = np.append(starts[1:], len(names))
    return [(int(starts[group]), int(stops[group]), rank) for group in groups]


def _lies_below(names: TaxaNames, group: _Group, above: Sequence[str]) -> bool:
    lineage = iter([value.lower() for value in names.taxon(group[0]).lineage()[: group[2].value]])
    return all(any(value == name for value in lineage) for name in above)


def _lineage(names: TaxaNames, start: int, stop: int, rank: Rank) -> str:
    """The known ranks down to `rank`, as a path that `within` takes."""
    return " ".join(value for value in names.taxon(start).lineage()[: rank.value + 1] if value)


def _words(text: str) -> str:
    return " ".join(re.sub("[>/]", " ", text).split())


def _places(texts: Sequence[str], values: pyarrow.StringArray) -> Int64[np.ndarray, " texts"]:
    """Each text's place among distinct values, -1 for one that is none of them."""
    import pyarrow as pa
    import pyarrow.compute as pc

    texts = pa.array(texts, pa.string())
    found = pc.index_in(texts, value_set=values)
    if found.null_count and not all(text.isascii() for text in texts.filter(pc.is_null(found)).to_pylist()):
        # Published names may be in decomposed Unicode.
        found = pc.coalesce(found, pc.index_in(texts, value_set=pc.utf8_normalize(values, "NFC")))
    return found.fill_null(-1).to_numpy().astype(np.int64)


def _species(
    names: TaxaNames, values: Sequence[str]
) -> tuple[Bool[np.ndarray, " taxa"], Bool[np.ndarray, " values"]]:
    """Which rows are one of these species, and which of the values are there."""
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
    genus = _places(genera, genus_names)
    wanted = np.zeros(len(genus_names), bool)
    wanted[genus[genus >= 0]] = True
    # Of a million epithets only those in these genera are looked at.
    rows = np.flatnonzero(wanted[genus_of])
    width = len(epithet_names)
    there = np.zeros(width, bool)
    there[epithet_of[rows]] = True
    there = np.append(np.flatnonzero(there), -1)
    epithet = there[_places(epithets, epithet_names.take(there[:-1]))]
    keys = np.where((genus >= 0) & (epithet >= 0), genus * width + epithet, -1)
    column = genus_of[rows].astype(np.int64) * width + epithet_of[rows]
    order = np.sort(keys)
    # Far faster than np.isin, which sorts the long side.
    place = np.minimum(np.searchsorted(order, column), len(order) - 1)
    chosen, known = np.zeros(len(names), bool), np.zeros(len(values), bool)
    found = order[place] == column
    chosen[rows[found]] = True
    known[np.array(owners, np.int64)[np.isin(keys, column[found])]] = True
    return chosen, known


def _unknown(names: TaxaNames, rank: Rank | str, unknown: Sequence[str]) -> str:
    label = _label(rank)
    common = names.dictionary(COMMON_NAME).to_pylist() if rank == COMMON_NAME else []
    shown = ", ".join(unknown[: 4 * _SHOWN])
    more = f" and {len(unknown) - 4 * _SHOWN} more" if len(unknown) > 4 * _SHOWN else ""
    alike = [
        most_alike(value, common) if common else nearest(names, rank, value) for value in unknown[:_SHOWN]
    ]
    pairs = zip(unknown, alike)
    hints = "; ".join(f"{value!r} is nearest to {' or '.join(near)}" for value, near in pairs if near)
    label = f"{label} name" if rank == COMMON_NAME else label
    return (
        f"Unknown {label} received: {shown}{more}. Only known {label} may be "
        f"used{': ' + hints if hints else ''}"
    )


def _label(rank: Rank | str) -> str:
    return "common" if rank == COMMON_NAME else rank.get_label()


def _suggest(names: TaxaNames, text: str) -> str:
    near = [name for rank in Rank for name in nearest(names, rank, text)[:1]]
    near += most_alike(text, names.dictionary("common_name").to_pylist())[:1]
    near = most_alike(text, list(dict.fromkeys(near)))
    return (
        f"did you mean {' or '.join(near)}?"
        if near
        else "name a taxon of any rank, or a species' common name"
    )
