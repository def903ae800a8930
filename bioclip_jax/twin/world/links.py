"""Feeding links between the species of a twin, read from a table with the columns of GloBI.

https://www.globalbioticinteractions.org: sourceTaxonName, interactionTypeName, targetTaxonName and
referenceCitation. Two columns are ours: `inferred` (true for a link that nobody observed) and `weight`
(the consumer's preference for the resource, relative to its others; 1 if empty).
"""

from __future__ import annotations

import math
import os
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from bioclip_jax.errors import UserError
from bioclip_jax.tables import read_table, table_rows
from bioclip_jax.text import clean_text, parse_name

from .species import Species

# GloBI's interactions in which one taxon feeds on the other, in lower case: True if the source eats.
FEEDING = {"eats": True, "preyson": True, "eatenby": False, "preyeduponby": False}
_GLOBI = ("sourceTaxonName", "interactionTypeName", "targetTaxonName", "referenceCitation")
LINK_COLUMNS = (*_GLOBI, "inferred", "weight")
_TRUE, _FALSE = ("true", "1", "yes"), ("", "false", "0", "no")
NOT_FEEDING = "interactions other than feeding"
UNKNOWN_TAXA = "links of taxa that are not in the species table"
PRODUCERS_EAT = "links in which a producer eats"
REPEATED = "repeated links"


@dataclass(frozen=True)
class Link:
    """A consumer eats a resource, both by name; a species that eats its own kind is both.

    inferred: nobody observed it. weight: preference for the resource, relative to the consumer's others.
    """

    resource: str
    consumer: str
    inferred: bool = False
    weight: float = 1.0
    citation: str = ""


@dataclass(frozen=True)
class LinkTable:
    """Links, and rows of their table by the reason why they were skipped.

    unknown: taxa that are not in the species table, by number of rows.
    """

    links: tuple[Link, ...]
    skipped: Mapping[str, int] = field(default_factory=dict)
    unknown: Mapping[str, int] = field(default_factory=dict)


def read_links(path: str | os.PathLike[str], species: Sequence[Species]) -> tuple[Link, ...]:
    """Read feeding links; read_link_table counts the skipped rows too."""
    return read_link_table(path, species).links


def read_link_table(path: str | os.PathLike[str], species: Sequence[Species]) -> LinkTable:
    """Read the feeding links of the species, in the species' order.

    A link of a genus, family or other higher taxon applies to its species, except that none of them then
    eats itself. A repeated link is one link with all its citations; it is observed if one of its rows is,
    and rows about species have precedence over rows about higher taxa. Rows that are no feeding, name a taxon
    without species or let a producer eat are skipped and counted.

    Raises UserError for a table without the columns and for an invalid weight or `inferred`.
    """
    table = read_table(path, _GLOBI[:1], known=LINK_COLUMNS)
    for column in _GLOBI[:3]:
        if column not in table.column_names:
            raise UserError(f"{path} has no column {column}; links need {', '.join(_GLOBI[:3])}")
    members = _Members(species)
    kinds = {one.name: one.kind for one in species}
    skipped: Counter[str] = Counter()
    unknown: Counter[str] = Counter()
    rows: dict[tuple[str, str], list[tuple[bool, Link, str]]] = defaultdict(list)
    for number, row in enumerate(table_rows(table), 2):
        where = f"{path}, row {number}"
        source_eats = FEEDING.get(clean_text(row["interactionTypeName"]).replace(" ", "").lower())
        if source_eats is None:
            skipped[NOT_FEEDING] += 1
            continue
        taxa = [clean_text(row[column]) for column in ("sourceTaxonName", "targetTaxonName")]
        consumers, resources = (members.find(taxon) for taxon in (taxa if source_eats else taxa[::-1]))
        if not consumers or not resources:
            skipped[UNKNOWN_TAXA] += 1
            unknown.update(taxon for taxon in taxa if not members.find(taxon))
            continue
        eaters = [name for name in consumers if kinds[name] != "producer"]
        if not eaters:
            skipped[PRODUCERS_EAT] += 1
            continue
        exact = all(members.is_species(taxon) for taxon in taxa)
        given = _read_row(where, row)
        for consumer in eaters:
            for resource in resources:
                if consumer != resource or exact:
                    link = replace(given, resource=resource, consumer=consumer)
                    rows[resource, consumer].append((exact, link, where))
    skipped[REPEATED] = sum(len(entries) - 1 for entries in rows.values())
    order = {one.name: index for index, one in enumerate(species)}
    links = [_merged(entries) for entries in rows.values()]
    links.sort(key=lambda link: (order[link.consumer], order[link.resource]))
    return LinkTable(tuple(links), {reason: n for reason, n in skipped.items() if n}, unknown)


class _Members:
    """Species by the names of the taxa that they belong to."""

    def __init__(self, species: Sequence[Species]):
        self._species = {one.name.casefold(): one.name for one in species}
        self._taxa: dict[str, list[str]] = defaultdict(list)
        for one in species:
            for taxon in dict.fromkeys(name.casefold() for name in one.taxonomy.values()):
                self._taxa[taxon].append(one.name)

    def find(self, taxon: str) -> list[str]:
        """Names of the taxon's species; without authors and subspecies where the whole name is unknown."""
        if name := self._species.get(taxon.casefold()):
            return [name]
        if members := self._taxa.get(taxon.casefold()):
            return members
        parsed = parse_name(taxon)
        if parsed.qualifier or not parsed.species:
            return self._taxa.get(parsed.genus.casefold(), []) if parsed.genus else []
        name = self._species.get(f"{parsed.genus} {parsed.species}".casefold())
        return [name] if name else []

    def is_species(self, taxon: str) -> bool:
        """True for the name of one species."""
        return taxon.casefold() in self._species


def _read_row(where: str, row: Mapping[str, object]) -> Link:
    """The link of a row, without its taxa."""
    inferred = clean_text(row.get("inferred")).lower()
    if inferred not in (*_TRUE, *_FALSE):
        raise UserError(f"{where}: inferred is {inferred!r}; write true or false")
    text = clean_text(row.get("weight"))
    try:
        weight = float(text) if text else 1.0
    except ValueError:
        weight = math.nan
    if not (math.isfinite(weight) and weight > 0):
        raise UserError(f"{where}: weight is {text!r}; write a number above 0, or remove the row")
    return Link("", "", inferred in _TRUE, weight, clean_text(row.get("referenceCitation")))


def _merged(entries: Sequence[tuple[bool, Link, str]]) -> Link:
    """One link of all rows about a pair of species."""
    best = [entry for entry in entries if entry[0]] or list(entries)
    observed = [entry for entry in best if not entry[1].inferred] or best
    weights = {link.weight: where for _, link, where in observed}
    if len(weights) > 1:
        (one, first), (other, second) = list(weights.items())[:2]
        link = observed[0][1]
        raise UserError(
            f"{second}: the weight of {link.resource} for {link.consumer} is {other:g}, and {one:g} in "
            f"{first}; keep one"
        )
    citations = dict.fromkeys(link.citation for _, link, _ in observed if link.citation)
    return replace(observed[0][1], citation="; ".join(citations))
