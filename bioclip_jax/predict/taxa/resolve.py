"""Look up the taxa of a checklist among those of a head."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Bool

from bioclip_jax.errors import count_of, listing
from bioclip_jax.predict.rank import Rank
from bioclip_jax.text import fold

from .checklist import OTHERS, Checklist, Listed
from .names import COLUMNS, COMMON_NAME, TaxaNames
from .suggest import MAX_LISTED, UnknownTaxa, similar_names, similar_taxa

if TYPE_CHECKING:
    from .synonyms import Synonyms

_HYBRID = re.compile(r"(?:^|(?<=\s))(?:[×✕⨯]\s*|x\s+)")


class TaxonRows(NamedTuple):
    """A taxon of a head: its rows from `start` to before `stop`, and its rank."""

    start: int
    stop: int
    rank: Rank


@dataclass(frozen=True)
class Resolution:
    """The taxa of a checklist in a head.

    taxa: for each row of the checklist, the head's taxa of that name; () for an unknown one. unknown: the
    unknown names, as written. divided: rows of higher taxa that only hold the list's other taxa. synonyms,
    common_names: rows found by another name of theirs than the one given, and by their common name.
    """

    checklist: Checklist
    taxa: tuple[tuple[TaxonRows, ...], ...]
    unknown: tuple[str, ...]
    divided: frozenset[int] = frozenset()
    synonyms: int = 0
    common_names: int = 0
    ambiguous: tuple[str, ...] = ()

    def chosen(self) -> Iterable[tuple[Listed, tuple[TaxonRows, ...]]]:
        """Yield the rows that stand for all their species, with their taxa, those known."""
        for index, (listed, taxa) in enumerate(zip(self.checklist.taxa, self.taxa)):
            if taxa and index not in self.divided:
                yield listed, taxa

    def mask(self, names: TaxaNames) -> Bool[np.ndarray, " taxa"]:
        """Return True for each of the head's rows that a row of the checklist names or holds."""
        chosen = np.zeros(len(names), bool)
        for _, taxa in self.chosen():
            for taxon in taxa:
                chosen[taxon.start : taxon.stop] = True
        return chosen

    def summary(self, names: TaxaNames) -> dict[str, Any]:
        """Return counts for a result: names, by_rank, species (selected), synonyms, common_names, unknown."""
        ranks = Counter(taxa[0].rank.get_label() for _, taxa in self.chosen())
        starts = names.starts(Rank.SPECIES)
        counts = {
            "names": sum(taxon.text not in OTHERS for taxon in self.checklist.taxa),
            "by_rank": {
                rank.get_label(): ranks[rank.get_label()] for rank in Rank if ranks[rank.get_label()]
            },
            "species": int(self.mask(names)[starts].sum()),
            "synonyms": self.synonyms,
            "common_names": self.common_names,
            "unknown": len(self.unknown),
        }
        extra = {"divided": len(self.divided), "skipped_rows": dict(self.checklist.skipped)}
        return counts | {name: value for name, value in extra.items() if value}

    def describe(self, names: TaxaNames, kind: str = "subset") -> str:
        """Return a line for people: names, ranks, species, and what is not used."""
        counts = self.summary(names)
        ranks = ", ".join(f"{count:,} {_plural(rank, count)}" for rank, count in counts["by_rank"].items())
        parts = [f"{kind} {self.checklist.path}: {count_of(counts['names'], 'name')} ({ranks})"]
        parts[0] += f", {count_of(counts['species'], 'species', 'species')} of the model"
        if self.synonyms:
            parts.append(f"{self.synonyms:,} found by a synonym")
        if self.common_names:
            parts.append(f"{self.common_names:,} by the common name")
        if self.divided:
            headings = count_of(len(self.divided), "higher taxon", "higher taxa")
            parts.append(f"{headings} only as a heading of others")
        parts += [f"skipped {count_of(count, 'row')} {why}" for why, count in self.checklist.skipped.items()]
        if self.ambiguous:
            parts.append(f"several taxa of one name, all taken: {listing(self.ambiguous, MAX_LISTED)}")
        if self.unknown:
            count = count_of(len(self.unknown), "unknown name")
            parts.append(f"skipped {count}: {listing(self.unknown, MAX_LISTED)}")
        return "; ".join(parts)


def resolve_checklist(
    names: TaxaNames,
    checklist: Checklist,
    *,
    synonyms: Synonyms | None = None,
    skip_unknown: bool = False,
) -> Resolution:
    """Find the head's taxa of each row of a checklist, in any case, with or without hybrid signs and accents.

    A subspecies is its species if the head has no subspecies of that name. synonyms: of a backbone; a row
    then also means the accepted name of its taxon and that name's synonyms. Homonyms are told apart by the
    higher taxa beside the name; all are taken if these do not decide.

    Raises UserError for unknown names, with similar ones, unless they are skipped and others are known.
    """
    listed = list(checklist.taxa)
    if synonyms is not None:
        more = synonyms.other_names(listed)
        listed = [taxon._replace(names=(*taxon.names, *other)) for taxon, other in zip(listed, more)]
    keys = {taxon_key(name) for taxon in listed for spellings in taxon.names for name in spellings}
    known = find_taxa(names, keys)
    taxa, counts, ambiguous = [], Counter(), []
    missing: list[int] = []
    for index, taxon in enumerate(listed):
        found, by_synonym = _of_row(names, taxon, known)
        counts["synonyms"] += by_synonym
        if len({rows.start for rows in found if rows.rank is not Rank.SPECIES}) > 1 and not by_synonym:
            ambiguous.append(taxon.text)
        if not found and taxon.text not in OTHERS:
            missing.append(index)
        taxa.append(found)
    by_common_name = find_common_names(names, [listed[index].text for index in missing])
    for index, found in zip(missing, by_common_name):
        # A name of a stated rank is not a common name.
        if listed[index].rank in (None, COMMON_NAME, Rank.SPECIES):
            taxa[index] = found
            counts["common_names"] += bool(found) and listed[index].rank != COMMON_NAME
    unknown = tuple(dict.fromkeys(listed[index].text for index in missing if not taxa[index]))
    resolution = Resolution(
        checklist,
        tuple(taxa),
        unknown,
        _divided(checklist, taxa) if checklist.has_ranks else frozenset(),
        counts["synonyms"],
        counts["common_names"],
        tuple(ambiguous),
    )
    if unknown and not (skip_unknown and any(taxa)):
        raise _unknown_taxa(names, checklist, resolution)
    return resolution


def taxon_key(name: str) -> str:
    """Return the key that spellings of a name share: lower case, without hybrid signs and accents."""
    return " ".join(fold(_HYBRID.sub("", name.lower())).split())


def find_taxa(names: TaxaNames, keys: Collection[str]) -> dict[str, list[TaxonRows]]:
    """Return the taxa of any rank whose key (of taxon_key) is in `keys`; species are "genus epithet"."""
    found: dict[str, list[TaxonRows]] = {}
    for rank in list(Rank)[:-1]:
        folded = [taxon_key(value) for value in names.dictionary(COLUMNS[rank.value]).to_pylist()]
        wanted = np.array([bool(key) and key in keys for key in folded], bool)
        starts, codes = names.starts(rank), names.codes(COLUMNS[rank.value])
        stops = np.append(starts[1:], len(names))
        for group in np.flatnonzero(wanted[codes[starts]]):
            rows = TaxonRows(int(starts[group]), int(stops[group]), rank)
            found.setdefault(folded[codes[starts[group]]], []).append(rows)
    # Species are compared only in the genera of the keys; a species may lack either of its two names.
    genera = [taxon_key(value) for value in names.dictionary("genus").to_pylist()]
    first = {key.partition(" ")[0] for key in keys}
    wanted = np.array([not genus or genus.partition(" ")[0] in first for genus in genera], bool)
    starts = names.starts(Rank.SPECIES)
    stops = np.append(starts[1:], len(names))
    epithets = names.dictionary("species").to_pylist()
    genus_codes, epithet_codes = names.codes("genus"), names.codes("species")
    for group in np.flatnonzero(wanted[genus_codes[starts]]).tolist():
        row = starts[group]
        key = f"{genera[genus_codes[row]]} {taxon_key(epithets[epithet_codes[row]])}".strip()
        if key in keys:
            found.setdefault(key, []).append(TaxonRows(int(row), int(stops[group]), Rank.SPECIES))
    return found


def _of_row(
    names: TaxaNames, listed: Listed, known: dict[str, list[TaxonRows]]
) -> tuple[tuple[TaxonRows, ...], bool]:
    """Return the taxa of a row, and True if only another name than the first led to one."""
    found: dict[TaxonRows, None] = {}
    by_synonym = False
    for number, spellings in enumerate(listed.names):
        for name in spellings:
            candidates = [rows for rows in known.get(taxon_key(name), ()) if _fits(rows, name, listed)]
            if candidates:
                by_synonym |= number > 0 and not found
                found |= dict.fromkeys(_most_alike(names, candidates, listed))
                break
    return tuple(found), by_synonym


def _fits(rows: TaxonRows, name: str, listed: Listed) -> bool:
    """Check the rank; a name of several words may always be a species."""
    if listed.rank is None or listed.rank == COMMON_NAME:
        return listed.rank is None
    return rows.rank is listed.rank or (rows.rank is Rank.SPECIES and " " in name)


def _most_alike(names: TaxaNames, candidates: list[TaxonRows], listed: Listed) -> list[TaxonRows]:
    """Return the candidates that share most of the higher taxa beside the name; nested ones count once."""
    if len(candidates) > 1:
        nested = [
            any(
                other.start <= rows.start and rows.stop <= other.stop and other != rows
                for other in candidates
            )
            for rows in candidates
        ]
        # An order and its class may have the same species, so that each is within the other.
        candidates = [rows for rows, inside in zip(candidates, nested) if not inside] or candidates[:1]
    above = listed.folded_above
    if len(candidates) == 1 or not above:
        return candidates
    shared = [
        len(above & {value.lower() for value in names.taxon(rows.start).lineage()[: rows.rank.value]})
        for rows in candidates
    ]
    return [rows for rows, count in zip(candidates, shared) if count == max(shared)]


def find_common_names(names: TaxaNames, texts: Sequence[str]) -> list[tuple[TaxonRows, ...]]:
    """Return the species of each common name, in any case."""
    if not texts:
        return []
    wanted = {text.lower() for text in texts}
    values = [value.lower() for value in names.dictionary(COMMON_NAME).to_pylist()]
    codes = names.codes(COMMON_NAME)
    chosen = np.array([bool(value) and value in wanted for value in values], bool)
    starts = names.starts(Rank.SPECIES)
    stops = np.append(starts[1:], len(names))
    found: dict[str, dict[TaxonRows, None]] = {}
    for row in np.flatnonzero(chosen[codes]).tolist():
        group = int(np.searchsorted(starts, row, side="right")) - 1
        rows = TaxonRows(int(starts[group]), int(stops[group]), Rank.SPECIES)
        found.setdefault(values[codes[row]], {})[rows] = None
    return [tuple(found.get(text.lower(), ())) for text in texts]


def _divided(checklist: Checklist, taxa: Sequence[tuple[TaxonRows, ...]]) -> frozenset[int]:
    """Return the rows of higher taxa within which the list has other taxa, known to the head or not."""
    above = set().union(*(listed.folded_above for listed in checklist.taxa if listed.is_species))
    above |= {
        spelling.partition(" ")[0].lower()
        for listed in checklist.taxa
        if listed.is_species
        for spelling in listed.names[0][:1]
    }
    starts = np.sort(np.array([rows.start for found in taxa for rows in found if rows.rank is Rank.SPECIES]))
    divided = set()
    for index, (listed, found) in enumerate(zip(checklist.taxa, taxa)):
        if listed.is_species or not found or found[0].rank is Rank.SPECIES:
            continue
        inside = any(
            np.searchsorted(starts, rows.start) < np.searchsorted(starts, rows.stop) for rows in found
        )
        named = any(name.lower() in above for spellings in listed.names for name in spellings)
        # Records of a class or a kingdom are not identified further, which excludes no species.
        high = checklist.has_counts and found[0].rank.value < Rank.FAMILY.value
        if inside or named or high:
            divided.add(index)
    return frozenset(divided)


def _unknown_taxa(names: TaxaNames, checklist: Checklist, resolution: Resolution) -> UnknownTaxa:
    unknown = resolution.unknown
    similar: dict[str, list[str]] = dict.fromkeys(unknown, [])
    for text in unknown[:MAX_LISTED]:
        row = next(taxon for taxon in checklist.taxa if taxon.text == text)
        name = row.names[0][-1] if row.names and row.names[0] else text
        near = similar_taxa(names, Rank.SPECIES, name) if " " in name else []
        if not near:
            values = [
                value
                for rank in list(Rank)[:-1]
                for value in names.dictionary(COLUMNS[rank.value]).to_pylist()
            ]
            near = similar_names(name, values) if " " not in name else []
        similar[text] = near
    hint = "; ".join(f"{text!r} is nearest to {' or '.join(near)}" for text, near in similar.items() if near)
    known = any(resolution.taxa)
    advice = "--skip-unknown skips them" if known else "correct them, or give another model or --taxa"
    message = (
        f"{checklist.path}: the model has no taxon called {listing(unknown, 4 * MAX_LISTED)}"
        f"{'; ' + hint if hint else ''}; {advice}"
    )
    return UnknownTaxa(message, similar, others_known=known)


def _plural(rank: str, count: int) -> str:
    plurals = {
        "phylum": "phyla",
        "class": "classes",
        "family": "families",
        "genus": "genera",
        "species": "species",
    }
    return rank if count == 1 else plurals.get(rank, rank + "s")
