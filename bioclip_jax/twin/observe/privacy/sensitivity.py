"""The sensitivity of species: a table of the user, and what it means for a package."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bioclip_jax.errors import UserError
from bioclip_jax.tables import read_table, texts
from bioclip_jax.text import name_key
from bioclip_jax.twin.observe.camtrap_dp import HUMAN_NAME, PEOPLE

if TYPE_CHECKING:
    from bioclip_jax.twin.observe.camtrap_dp import Package

NOT_SENSITIVE, WITHHELD, UNKNOWN, LEAST = 0, 1, 2, 4
_SPELLINGS = {"none": NOT_SENSITIVE, **{str(category): category for category in range(5)}}
# From the narrowest, as the taxonomic entries of a Camtrap DP name them.
_RANKS = ("genus", "family", "order", "class", "phylum", "kingdom")


@dataclass(frozen=True)
class Sensitivity:
    """GBIF's category of each taxon that a user's table lists: 1 withheld, 2 to 4 a grid, 0 not sensitive.

    categories: by scientific name in lower case. Anything that it does not cover counts as category 2.
    """

    categories: Mapping[str, int] = field(default_factory=dict)

    def category(self, name: str, above: Iterable[str] = ()) -> int:
        """Return the category of a taxon: its own, else that of the next taxon above it that is listed.

        above: the names of its genus, family and so on; a binomial's genus is known from the name.
        """
        for taxon in (*lineage(name), *map(folded, above)):
            if taxon in self.categories:
                return self.categories[taxon]
        return UNKNOWN


def folded(name: str) -> str:
    """The name in lower case with single blanks, by which taxa are compared."""
    return " ".join(name.lower().split())


def lineage(name: str) -> Iterator[str]:
    """Yield the folded name, its species and its genus: of `Panthera leo persica`, all three."""
    words = folded(name).split()
    yield " ".join(words)
    # An author, as in "Vulpes vulpes (Linnaeus, 1758)", or "sp." is no epithet.
    if len(words) > 1 and words[1].replace("-", "").isalpha():
        yield " ".join(words[:2])
    if words:
        yield words[0]


def read_sensitivity(path: str | os.PathLike[str]) -> Sensitivity:
    """Read a table with the columns scientificName and category (1 to 4, 0 or none); others are ignored.

    Raises UserError for a missing column, an empty name, another category or a name that is listed twice.
    """
    table = read_table(path, ("scientificName",), known=("category",))
    if "category" not in table.column_names:
        raise UserError(
            f"{path} has no column category; give each taxon's sensitivity there: 1 (withheld), 2 (0.1 "
            "degrees), 3 (0.01), 4 (0.001) or none"
        )
    categories: dict[str, int] = {}
    rows: dict[str, int] = {}
    names, values = texts(table.column("scientificName")), texts(table.column("category"))
    for row, (name, value) in enumerate(zip(names, values, strict=True), 2):
        taxon = name_key(name)
        if not taxon:
            raise UserError(f"{path}, row {row:,}: scientificName is empty; name the taxon or delete the row")
        if value.strip().lower() not in _SPELLINGS:
            raise UserError(
                f"{path}, row {row:,}: category is {value!r}; write 1 (withheld), 2 (0.1 degrees), 3 (0.01), "
                "4 (0.001) or none (not sensitive)"
            )
        if taxon in rows:
            raise UserError(f"{path}, row {row:,}: {name.strip()} is in row {rows[taxon]:,} too; keep one")
        categories[taxon], rows[taxon] = _SPELLINGS[value.strip().lower()], row
    return Sensitivity(categories)


def package_category(package: Package, sensitivity: Sensitivity) -> int:
    """Return the one category, 2 to 4, at which all deployments of a package are generalized.

    It is the strictest of all animals observed, apart from those withheld: if each deployment had its own, a
    coarse cell would tell which camera saw the sensitive species. Even if no species is sensitive it is 4, as
    exact positions give away the cameras.
    """
    entries = ranks_above(package.descriptor)
    withheld = withheld_names(package, sensitivity)
    categories = (
        sensitivity.category(name, _above(name, entries).values())
        for name in observed_names(package)
        if name not in withheld
    )
    return min((category for category in categories if category > WITHHELD), default=LEAST)


def withheld_names(package: Package, sensitivity: Sensitivity) -> frozenset[str]:
    """Return the scientific names, as the package spells them, that nobody else may see.

    They are the taxa of category 1, and the genus and family of each where an animal is identified no
    further, which would still give it away; these are shared if the table lists them in another category.
    """
    entries = ranks_above(package.descriptor)
    names = {*observed_names(package), *(name for name, _ in taxonomic_entries(package.descriptor))}
    hidden, unlisted = set(), set()
    for name in names:
        above = _above(name, entries)
        if sensitivity.category(name, above.values()) == WITHHELD:
            hidden.add(name)
            unlisted |= {*list(lineage(name))[1:], above.get("genus", ""), above.get("family", "")}
    unlisted -= {"", *sensitivity.categories}
    return frozenset(hidden | {name for name in names if folded(name) in unlisted})


def observed_names(package: Package) -> list[str]:
    """The scientific names of animals in the observations, sorted."""
    import polars as pl

    observations = package.observations
    if "scientificName" not in observations.columns:
        return []
    animals = observations.filter(~pl.col("observationType").is_in(PEOPLE))
    names = animals["scientificName"].unique().to_list()
    return sorted(name for name in names if folded(name) not in ("", folded(HUMAN_NAME)))


def ranks_above(descriptor: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Return the folded taxa by rank, from genus to kingdom, of each taxonomic entry by its folded name."""
    return {
        folded(name): {rank: folded(entry[rank]) for rank in _RANKS if isinstance(entry.get(rank), str)}
        for name, entry in taxonomic_entries(descriptor)
    }


def _above(name: str, entries: Mapping[str, dict[str, str]]) -> dict[str, str]:
    return next((entries[taxon] for taxon in lineage(name) if taxon in entries), {})


def taxonomic_entries(descriptor: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the name and the entry of each taxon in the descriptor."""
    for entry in descriptor.get("taxonomic") or ():
        if isinstance(entry, Mapping) and isinstance(entry.get("scientificName"), str):
            yield entry["scientificName"], entry
