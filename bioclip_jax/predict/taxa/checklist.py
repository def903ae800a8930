"""Checklists: taxa of any rank, with authors and weights, from tables, GBIF lists and plain lists."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from io import BytesIO
from typing import NamedTuple

from bioclip_jax.errors import InvalidValue, UserError
from bioclip_jax.predict.rank import Rank
from bioclip_jax.tables import fold_name, possible_encodings, read_table, texts, uncompressed
from bioclip_jax.text import (
    NAME_COLUMNS,
    RANKS,
    clean_text,
    genus_and_epithet,
    known_text,
    parse_name,
)

from .names import COMMON_NAME

# Columns of whole names besides NAME_COLUMNS, in order of preference.
_NAME_COLUMNS = (
    *NAME_COLUMNS,
    "taxon",
    "taxon_name",
    "name",
    "species_name",
    "canonical_name",
    "canonicalName",
    "latin_name",
)
_ACCEPTED, _RANK, _STATUS = ("acceptedScientificName", "acceptedNameUsage"), "taxonRank", "taxonomicStatus"
_COUNT = "numberOfOccurrences"
WEIGHT_COLUMNS = ("weight", "prior", _COUNT, "count", "occurrences", "individualCount")
_KNOWN = (*_NAME_COLUMNS, *_ACCEPTED, _RANK, _STATUS, *WEIGHT_COLUMNS)
_SPECIES_RANKS = frozenset(
    "species subspecies variety form infraspecificname subvariety subform ssp subsp var f".split()
)
_SEPARATORS = "\t;,"
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f]")
# Names of a row of weights for all taxa that the table does not list.
OTHERS = ("*", "others")


class Listed(NamedTuple):
    """A row of a checklist.

    line: its number, the first row below the header being 1. text: the name as written. names: for each name
    of the taxon (given, accepted), its spellings without author, the most specific first. rank: None if
    unknown. above: the names beside it from kingdom to genus, "" if unknown. weight: text of its weight.
    """

    line: int
    text: str
    names: tuple[tuple[str, ...], ...]
    rank: Rank | str | None
    above: tuple[str, ...] = ("",) * 6
    weight: str = ""

    @property
    def is_species(self) -> bool:
        """True for a species or a taxon within one."""
        return self.rank is Rank.SPECIES

    @property
    def folded_above(self) -> frozenset[str]:
        """The known names of `above` in lower case."""
        return frozenset(name.lower() for name in self.above if name)


@dataclass(frozen=True)
class Checklist:
    """Taxa of a table or a list.

    path: its file. taxa: the rows with a name. has_ranks: the table states the ranks, as exports of databases
    do, which list the higher taxa of their species too. has_counts: its weights are occurrences. skipped:
    numbers of rows without a name that can be looked up, by reason.
    """

    path: str
    taxa: tuple[Listed, ...]
    has_ranks: bool = False
    has_counts: bool = False
    skipped: Mapping[str, int] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """A hash of the names, ranks and weights, in order."""
        rows = (repr((taxon.names, str(taxon.rank), taxon.weight)) for taxon in self.taxa)
        return sha256("\n".join(rows).encode()).hexdigest()


def read_checklist(path: str | os.PathLike[str], content: bytes | None = None) -> Checklist:
    """Read the taxa of a checklist.

    A table has a column of names: its first column, if that is common_name, one for scientific names, or its
    lowest rank; otherwise scientific names, the lowest known rank of each row, or common names. The
    separator and the encoding are detected; names may have authors. With taxonRank, each row has its own
    rank; synonyms may have an accepted name beside them, as in a species list of GBIF. A file without such a
    column is a list with one name a line. content: of the checklist, with `path` only as its name.

    Raises UserError for an unreadable file, and for one without names.
    """
    lines = _plain_lines(path, content)
    if lines is not None:
        header, rows = lines
        rank = {"cls": Rank.CLASS, COMMON_NAME: COMMON_NAME}.get(header)
        if header in RANKS:
            rank = Rank(RANKS.index(header))
        rows = [row for row in rows if row]
        listed = (_listed(line, text, rank) for line, text in enumerate(rows, 1))
        return _checklist(path, listed, len(rows))
    table = read_table(path, known=_KNOWN, content=content)
    columns = {name: texts(table[name]) for name in table.column_names if name in _COLUMNS_READ}
    first = table.column_names[0]
    listed = _table_rows(columns, first, table.num_rows)
    ranks = columns.get(_RANK) or []
    other = sum(bool(clean_text(rank)) and _rank_of(rank) is None for rank in ranks)
    return _checklist(
        path,
        listed,
        table.num_rows,
        has_ranks=any(map(clean_text, ranks)),
        has_counts=_weight_column(columns) == _COUNT,
        other_ranks=other,
    )


_COLUMNS_READ = frozenset((*_KNOWN, *RANKS, "cls", COMMON_NAME))


def _checklist(
    path: str | os.PathLike[str],
    listed: Iterator[Listed | None],
    rows: int,
    *,
    has_ranks: bool = False,
    has_counts: bool = False,
    other_ranks: int = 0,
) -> Checklist:
    taxa = tuple(taxon for taxon in listed if taxon is not None)
    if not taxa:
        raise UserError(f"{path} lists no taxon; write one name per line below the column name")
    unnamed = rows - len(taxa) - other_ranks
    skipped = Counter({"without a name": unnamed, "of ranks between the seven": other_ranks})
    return Checklist(
        os.fspath(path), taxa, has_ranks, has_counts, {k: n for k, n in skipped.items() if n > 0}
    )


def _table_rows(columns: Mapping[str, Sequence[str]], first: str, rows: int) -> Iterator[Listed | None]:
    """Yield a Listed for each row, None for one without a name."""
    weights = columns.get(_weight_column(columns) or "")
    kind = _kind(columns, first)
    accepted = next((columns[name] for name in _ACCEPTED if name in columns), None)
    for row in range(rows):
        cells = {name: column[row] for name, column in columns.items()}
        weight = "" if weights is None else weights[row].strip()
        if kind in _NAME_COLUMNS:
            taxon = _whole_name(row + 1, cells, kind, "" if accepted is None else accepted[row])
        elif kind in (COMMON_NAME, *RANKS, "cls") and kind == first:
            taxon = _listed(row + 1, cells[kind], _as_rank(kind))
        else:
            taxon = _lowest_rank(row + 1, cells)
        yield None if taxon is None else taxon._replace(weight=weight)


def _kind(columns: Mapping[str, Sequence[str]], first: str) -> str:
    """Return the column of the names; "" for the lowest known rank of each row."""
    ranks = [name for name in (*RANKS[:2], "class", "cls", *RANKS[3:]) if name in columns]
    # Lineages, from kingdom down, are named by their lowest rank.
    if first in (COMMON_NAME, *_NAME_COLUMNS) or (first in ranks and first == ranks[-1]):
        return first
    names = (name for name in _NAME_COLUMNS if name in columns)
    return next(names, "")


def _whole_name(line: int, cells: Mapping[str, str], kind: str, accepted: str) -> Listed | None:
    """Return a row with a scientific name, and maybe an accepted name, a species and a rank beside it."""
    text = cells[kind]
    stated = clean_text(cells.get(_RANK, ""))
    rank = _rank_of(stated)
    if stated and rank is None:
        return None
    taxon = _listed(line, text, rank)
    if taxon is None:
        return None
    more = [known_text(accepted)]
    if taxon.is_species and kind != "species":
        genus, epithet = genus_and_epithet(cells.get("genus", ""), cells.get("species", ""))
        more.append(f"{genus} {epithet}" if genus and epithet else "")
    names = dict.fromkeys(taxon.names)
    for other in filter(None, more):
        names |= dict.fromkeys(spellings for spellings in _spellings(other) if spellings)
    return taxon._replace(names=tuple(names), above=_above(cells))


def _lowest_rank(line: int, cells: Mapping[str, str]) -> Listed | None:
    """Return the lowest known rank of a row of ranks, or its common name."""
    genus, epithet = genus_and_epithet(cells.get("genus", ""), cells.get("species", ""))
    above = _above(cells)
    if epithet:
        taxon = _listed(line, f"{genus} {epithet}".strip(), Rank.SPECIES)
        return None if taxon is None else taxon._replace(above=above)
    for rank in list(Rank)[-2::-1]:
        if name := above[rank.value]:
            return Listed(line, name, ((name,),), rank, above[: rank.value] + ("",) * (6 - rank.value))
    return _listed(line, cells.get(COMMON_NAME, ""), COMMON_NAME)


def _above(cells: Mapping[str, str]) -> tuple[str, ...]:
    """Return the names in the rank columns from kingdom to genus."""
    columns = ("kingdom", "phylum", "cls" if "cls" in cells else "class", "order", "family", "genus")
    return tuple(known_text(cells.get(name, "")) for name in columns)


def _listed(line: int, text: str, rank: Rank | str | None) -> Listed | None:
    """Return a row from its name, None without one."""
    if clean_text(text).lower() in OTHERS:
        return Listed(line, clean_text(text).lower(), (), None)
    text = known_text(text)
    if not text:
        return None
    if rank == COMMON_NAME:
        return Listed(line, text, ((text,),), rank)
    name = parse_name(text)
    if name.formula:
        # All species of a genus are too many for a hybrid of two of them.
        return Listed(line, text, (), Rank.SPECIES)
    if name.qualifier and name.genus:
        # "Rosa sp.", and "Rosa cf. canina", whose species is not certain; some species are called so.
        return Listed(line, text, ((text, name.genus),), Rank.GENUS)
    if name.species:
        return Listed(line, text, tuple(_spellings(text)), Rank.SPECIES)
    if rank is Rank.SPECIES or not name.genus:
        return Listed(line, text, ((text,),), rank)
    return Listed(line, text, (tuple(dict.fromkeys((text, name.genus))),), rank)


def _spellings(text: str) -> list[tuple[str, ...]]:
    """Return the spellings of a species or a taxon within it, most specific first; none of another name."""
    name = parse_name(text)
    if not name.species:
        return []
    species = f"{name.genus} {name.species}"
    return [tuple(dict.fromkeys((text, name.canonical, species)))]


def _rank_of(text: str) -> Rank | None:
    """Return the rank that a taxonRank means; ranks below species are species, those between are None."""
    word = "".join(filter(str.isalpha, text.lower()))
    if word in _SPECIES_RANKS:
        return Rank.SPECIES
    return Rank(RANKS.index(word)) if word in RANKS else None


def _as_rank(kind: str) -> Rank | str:
    return COMMON_NAME if kind == COMMON_NAME else Rank(RANKS.index({"cls": "class"}.get(kind, kind)))


def _weight_column(columns: Mapping[str, Sequence[str]]) -> str | None:
    return next((name for name in WEIGHT_COLUMNS if name in columns), None)


def _plain_lines(path: str | os.PathLike[str], content: bytes | None) -> tuple[str, list[str]] | None:
    """Return a plain list's kind of names ("" without a header) and its lines; None for a table.

    An author may hold a comma ("Felis catus Linnaeus, 1758"), so the first comma does not make a table.
    """
    name = os.fspath(path)
    try:
        open_content = uncompressed(lambda: open(path, "rb") if content is None else BytesIO(content), name)
        with open_content() as file:
            plain = file.read()
        if plain.startswith(b"PAR1"):
            return None
        text = _decoded(plain, possible_encodings(open_content, name))
    except OSError:
        return None
    if text is None or _CONTROL.search(text):
        raise UserError(f"{path} is not a readable CSV (it is not text); give a table or a list of names")
    lines = [clean_text(line) if "\t" not in line else line.strip(" ") for line in text.splitlines()]
    header = next((line for line in lines if line.strip()), "")
    cells = {separator: header.split(separator) for separator in _SEPARATORS}
    known = {fold_name(column): column for column in reversed(tuple(_COLUMNS_READ))}
    if any(fold_name(cell.strip('"')) in known for row in cells.values() if len(row) > 1 for cell in row):
        return None
    lines = [line.strip().strip('"') for line in lines]
    kind = known.get(fold_name(header.strip('"')))
    if kind in (*_NAME_COLUMNS, *RANKS, "cls", COMMON_NAME):
        rest = lines[lines.index(header.strip().strip('"')) + 1 :]
        return kind, rest
    wide = any(len(cells[separator]) > 1 for separator in "\t;")
    if wide or ("," in header and not parse_name(cells[","][0]).species):
        raise InvalidValue(
            f"{path} has none of the columns {', '.join(RANKS)}, scientificName, taxon or {COMMON_NAME}, "
            f"only {header[:200]!r}; name the column of taxa, or write one name a line"
        )
    return "", lines


def _decoded(content: bytes, encodings: Sequence[str]) -> str | None:
    for encoding in encodings:
        try:
            return content.decode("utf-8-sig" if encoding == "utf-8" else encoding)
        except UnicodeError:
            continue
    return None
