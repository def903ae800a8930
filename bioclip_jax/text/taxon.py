"""A taxon: the seven ranks of one organism, and the names made from them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from .names import clean_text, genus_and_epithet, known_text, rank_name
from .scientific_names import split_name

RANKS = ("kingdom", "phylum", "class", "order", "family", "genus", "species")

_RANKS_BESIDE_CLASS = ("phylum", "order", "family", "genus", "species")
# Columns that hold a whole scientific name, the first that is there.
NAME_COLUMNS = ("scientific_name", "scientificName")
# What every training caption is made with.
PREFIX = "a photo of "
COMMON_SEPARATOR = " with common name "


@dataclass(frozen=True)
class Taxon:
    """One organism's ranks from kingdom to species epithet, and its common name; "" where unknown."""

    kingdom: str = ""
    phylum: str = ""
    class_: str = ""
    order: str = ""
    family: str = ""
    genus: str = ""
    species: str = ""
    common_name: str = ""

    def rank(self, name: str) -> str:
        """The value at one of RANKS; ValueError for any other name."""
        if name not in RANKS:
            raise ValueError(f"{name!r} is not a rank; the ranks are {', '.join(RANKS)}")
        return getattr(self, "class_" if name == "class" else name)

    def lineage(self, rank: str = "species") -> tuple[str, ...]:
        """The values from kingdom down to and including `rank`, unknown ones as ""."""
        if rank not in RANKS:
            raise ValueError(f"{rank!r} is not a rank; the ranks are {', '.join(RANKS)}")
        return tuple(self.rank(name) for name in RANKS[: RANKS.index(rank) + 1])

    @property
    def scientific_name(self) -> str:
        """ "Malus domestica"; the lowest known rank where there is no species."""
        if self.species:
            return f"{self.genus} {self.species}".strip()
        return next((value for value in reversed(self.lineage()) if value), "")

    @property
    def taxonomic_name(self) -> str:
        """The known ranks from kingdom to species epithet, joined by spaces."""
        return " ".join(value for value in self.lineage() if value)

    @property
    def tagged_name(self) -> str:
        """The known ranks, each after the name of its rank: "kingdom Plantae ... species domestica"."""
        return " ".join(f"{rank} {value}" for rank, value in zip(RANKS, self.lineage()) if value)

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> "Taxon":
        """A taxon from a table's row with any of the columns RANKS and common_name, in the normal form of text.names.

        Columns that are missing, None, NaN or say "unknown" in one of its many words are unknown. The class
        may be in `class`, `cls` or `class_`; where `cls` is there it is the rank, because annotation files
        then use `class` for the label. A class without a column of another rank may be a label too, and keeps
        its words and capitals. A species column may repeat the genus ("Malus domestica", "M. domestica").
        Genus and species of a row without any rank are those of its scientific_name.
        """
        class_column = next((name for name in ("cls", "class_", "class") if name in row), "class")
        if "kingdom" not in row and not any(name in row for name in _RANKS_BESIDE_CLASS):
            if label := clean_text(row.get(class_column)):
                return cls(class_=label, common_name=known_text(row.get("common_name")))
        columns = ("kingdom", "phylum", class_column, "order", "family", "genus", "species", "common_name")
        cells = [row.get(column) for column in columns]
        taxon = _from_cells(*(cell if type(cell) is str else clean_text(cell) for cell in cells))
        if taxon.scientific_name or not (name := given_name(row)):
            return taxon
        return replace(taxon, **dict(zip(("genus", "species"), split_name(name))))

    @classmethod
    def from_tagged(cls, text: str) -> "Taxon":
        """The taxon that a taxonTag or taxonTag_com caption names; ValueError if it names no rank."""
        text = text.strip().removeprefix(PREFIX).removesuffix(".")
        text, _, common_name = text.partition(COMMON_SEPARATOR)
        match = _TAGGED.fullmatch(text)
        values = [known_text(value) for value in match.groups()] if match else []
        if not any(values):
            raise ValueError(f"not a tagged taxon name: {text!r}")
        return cls(*values, common_name=known_text(common_name))


def given_name(row: Mapping[str, Any]) -> str:
    """The scientific name that a row gives beside its ranks, or instead of them; "" if none."""
    return next((name for column in NAME_COLUMNS if (name := known_text(row.get(column)))), "")


# Every rank may be absent, but those present stand in order; a value runs up to the next rank's tag.
_TAGGED = re.compile("".join(rf"(?:(?:^|(?<=\S) ){rank} (\S.*?))?" for rank in RANKS))


# Rows of one species come by the thousand while training.
@lru_cache(maxsize=1 << 16)
def _from_cells(*cells: str) -> Taxon:
    *higher, genus, species, common_name = cells
    return Taxon(*map(rank_name, higher), *genus_and_epithet(genus, species), known_text(common_name))
