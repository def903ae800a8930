"""Taxa: the seven ranks of an organism, and the names made from them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from .names import clean_text, genus_and_epithet, known_text, rank_name
from .scientific_names import split_name

RANKS = ("kingdom", "phylum", "class", "order", "family", "genus", "species")

_RANKS_BESIDE_CLASS = ("phylum", "order", "family", "genus", "species")
# Columns with a whole scientific name, in order of preference.
NAME_COLUMNS = ("scientific_name", "scientificName")
# The beginning of every training caption.
PREFIX = "a photo of "
COMMON_SEPARATOR = " with common name "


@dataclass(frozen=True)
class Taxon:
    """Ranks of an organism from kingdom to species epithet, and its common name; "" if unknown."""

    kingdom: str = ""
    phylum: str = ""
    class_: str = ""
    order: str = ""
    family: str = ""
    genus: str = ""
    species: str = ""
    common_name: str = ""

    def rank(self, name: str) -> str:
        """Return the name at one of RANKS. Raises ValueError for another rank."""
        if name not in RANKS:
            raise ValueError(f"{name!r} is not a rank; the ranks are {', '.join(RANKS)}")
        return getattr(self, "class_" if name == "class" else name)

    def lineage(self, rank: str = "species") -> tuple[str, ...]:
        """Return the names from kingdom down to and including `rank`, "" if unknown."""
        if rank not in RANKS:
            raise ValueError(f"{rank!r} is not a rank; the ranks are {', '.join(RANKS)}")
        return tuple(self.rank(name) for name in RANKS[: RANKS.index(rank) + 1])

    @property
    def scientific_name(self) -> str:
        """Genus and species epithet ("Malus domestica"); the lowest known rank if there is no species."""
        if self.species:
            return f"{self.genus} {self.species}".strip()
        return next((value for value in reversed(self.lineage()) if value), "")

    @property
    def taxonomic_name(self) -> str:
        """The known ranks from kingdom to species epithet, joined by spaces."""
        return " ".join(value for value in self.lineage() if value)

    @property
    def tagged_name(self) -> str:
        """The known ranks, each preceded by its rank: "kingdom Plantae ... species domestica"."""
        return " ".join(f"{rank} {value}" for rank, value in zip(RANKS, self.lineage()) if value)

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> "Taxon":
        """Make a taxon from a table's row with any of the columns RANKS and common_name, normalized.

        Missing columns, None, NaN and words for "unknown" are unknown. The class may be in `class`, `cls` or
        `class_`; `cls` takes precedence, because annotation files that have it use `class` for the label. A
        class without a column of another rank may be a label, too, and keeps its words and capitals. A
        species column may repeat the genus ("Malus domestica", "M. domestica"). Genus and species of a row
        without ranks are those of its scientific_name.
        """
        class_column = next((name for name in ("cls", "class_", "class") if name in row), "class")
        if "kingdom" not in row and not any(name in row for name in _RANKS_BESIDE_CLASS):
            if label := clean_text(row.get(class_column)):
                return cls(class_=label, common_name=known_text(row.get("common_name")))
        columns = ("kingdom", "phylum", class_column, "order", "family", "genus", "species", "common_name")
        cells = [row.get(column) for column in columns]
        taxon = _from_cells(*(cell if type(cell) is str else clean_text(cell) for cell in cells))
        if taxon.scientific_name or not (name := row_scientific_name(row)):
            return taxon
        return replace(taxon, **dict(zip(("genus", "species"), split_name(name))))

    @classmethod
    def from_tagged(cls, text: str) -> "Taxon":
        """Parse a taxonTag or taxonTag_com caption. Raises ValueError if it has no rank."""
        text = text.strip().removeprefix(PREFIX).removesuffix(".")
        text, _, common_name = text.partition(COMMON_SEPARATOR)
        match = _TAGGED.fullmatch(text)
        values = [known_text(value) for value in match.groups()] if match else []
        if not any(values):
            raise ValueError(f"not a tagged taxon name: {text!r}")
        return cls(*values, common_name=known_text(common_name))


def row_scientific_name(row: Mapping[str, Any]) -> str:
    """Return the scientific name that a row has in addition to or instead of its ranks; "" if none."""
    return next((name for column in NAME_COLUMNS if (name := known_text(row.get(column)))), "")


# Any rank may be missing, but the order is fixed; a name extends to the next rank's tag.
_TAGGED = re.compile("".join(rf"(?:(?:^|(?<=\S) ){rank} (\S.*?))?" for rank in RANKS))


# Training data repeat a species thousands of times.
@lru_cache(maxsize=1 << 16)
def _from_cells(*cells: str) -> Taxon:
    *higher, genus, species, common_name = cells
    return Taxon(*map(rank_name, higher), *genus_and_epithet(genus, species), known_text(common_name))
