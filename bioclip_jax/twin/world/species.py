"""Species of a twin and the table that they are read from: one row per species, CSV or TOML.

Units stand in the columns' names. Other columns are ignored.

    name                      scientific name, or that of a group such as "C4 grasses"; needed
    kind                      producer, invertebrate, ectotherm (vertebrate) or endotherm; needed
    mass_g                    mean body mass of an individual; needed
    common_name
    kingdom ... genus         taxonomy; the genus of a binomial need not be given
    diet_plants, diet_vertebrates, diet_invertebrates      shares of the diet that sum to 1
    density_per_km2           individuals
    biomass_kg_per_km2        fresh mass
    growth_per_day            intrinsic growth rate, of producers
    speed_m_per_s, eye_height_m, acuity_cycles_per_degree
    dispersal_per_day         share of the population that leaves its patch
    citation                  source of all numbers of the row
    COLUMN_citation           source of one column (diet_citation: of the diet)

A TOML file holds a [[species]] table per species with the same keys.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bioclip_jax.errors import UserError, closest, did_you_mean
from bioclip_jax.tables import read_table, table_rows
from bioclip_jax.text import RANKS, parse_name

from .toml_table import read_toml

KINDS = ("producer", "invertebrate", "ectotherm", "endotherm")
FOODS = ("plants", "vertebrates", "invertebrates")
TAXONOMY = RANKS[:-1]
# Least and largest plausible values.
_LIMITS = {
    "mass_g": (1e-13, 2e8),  # from the smallest bacteria to the blue whale
    "density_per_km2": (0.0, math.inf),
    "biomass_kg_per_km2": (0.0, math.inf),
    "growth_per_day": (0.0, 50.0),
    "speed_m_per_s": (0.0, 60.0),
    "eye_height_m": (0.0, 20.0),
    "acuity_cycles_per_degree": (0.0, 200.0),
    "dispersal_per_day": (0.0, 1.0),
}
NUMBERS = tuple(_LIMITS)
_DIET = tuple(f"diet_{food}" for food in FOODS)
_CITED = (*NUMBERS, "diet")
COLUMNS = (
    *("name", "common_name", "kind", *TAXONOMY, *NUMBERS[:1], *_DIET, *NUMBERS[1:], "citation"),
    *(f"{column}_citation" for column in _CITED),
)
_REQUIRED = ("name", "kind", "mass_g")
# Tables of a TOML file, and the columns that their entries stand for.
_TOML_TABLES = {"taxonomy": "{}", "diet": "diet_{}", "citations": "{}_citation"}
# A quantity and its unit, such as mass_kg.
_QUANTITY = re.compile(
    r"(mass|body_?mass|density|biomass|growth(?:_rate)?|speed|eye_?height|acuity|dispersal)(?:_(.+))?"
)
_RIGHT_UNIT = {name.split("_")[0]: name for name in NUMBERS} | {
    **dict.fromkeys(("body", "bodymass"), "mass_g"),
    "eyeheight": "eye_height_m",
}
_CONVERSIONS = {
    ("mass_g", "kg"): "1 kg = 1000 g",
    ("mass_g", "mg"): "1 mg = 0.001 g",
    ("speed_m_per_s", "km_per_h"): "1 km/h = 0.2778 m/s",
    ("speed_m_per_s", "kmh"): "1 km/h = 0.2778 m/s",
    ("density_per_km2", "per_ha"): "1 per ha = 100 per km²",
    ("density_per_km2", "per_m2"): "1 per m² = 1,000,000 per km²",
    ("biomass_kg_per_km2", "g_per_m2"): "1 g/m² = 1000 kg/km²",
    ("biomass_kg_per_km2", "kg_per_ha"): "1 kg/ha = 100 kg/km²",
    ("growth_per_day", "per_year"): "1 per year = 0.002738 per day",
    ("dispersal_per_day", "per_year"): "1 per year = 0.002738 per day",
    ("eye_height_m", "cm"): "1 cm = 0.01 m",
}
_KIND_OF = {
    **dict.fromkeys(("mammal", "mammals", "bird", "birds"), "endotherm"),
    **dict.fromkeys(("reptile", "amphibian", "fish", "vertebrate ectotherm"), "ectotherm"),
    **dict.fromkeys(("plant", "plants", "grass", "tree", "alga", "algae", "phytoplankton"), "producer"),
    **dict.fromkeys(("insect", "spider", "crustacean", "zooplankton"), "invertebrate"),
}


@dataclass(frozen=True)
class Species:
    """A species, or a group of species that the twin treats as one.

    kind: one of KINDS; an ectotherm is a vertebrate. mass_g: mean body mass. taxonomy: names by rank.
    diet: shares by FOODS, None if unknown. density_per_km2: individuals. growth_per_day: of producers.
    dispersal_per_day: share that leaves a patch in a day. citations: sources by column, as in the table.
    """

    name: str
    kind: str
    mass_g: float
    common_name: str = ""
    taxonomy: Mapping[str, str] = field(default_factory=dict)
    diet: Mapping[str, float] | None = None
    density_per_km2: float | None = None
    biomass_kg_per_km2: float | None = None
    growth_per_day: float | None = None
    speed_m_per_s: float | None = None
    eye_height_m: float | None = None
    acuity_cycles_per_degree: float | None = None
    dispersal_per_day: float = 0.0
    citations: Mapping[str, str] = field(default_factory=dict)

    @property
    def food(self) -> str:
        """Kind of food that the species is for its consumers, one of FOODS."""
        return {"producer": "plants", "invertebrate": "invertebrates"}.get(self.kind, "vertebrates")

    @property
    def reference_biomass(self) -> float | None:
        """Fresh biomass in kg/km²: as given, else density × body mass, else None."""
        if self.biomass_kg_per_km2 is not None:
            return self.biomass_kg_per_km2
        return None if self.density_per_km2 is None else self.density_per_km2 * self.mass_g / 1000

    @property
    def uncited(self) -> tuple[str, ...]:
        """Columns with a number that has no citation."""
        given = [name for name in NUMBERS if getattr(self, name) is not None]
        if not self.dispersal_per_day:
            given.remove("dispersal_per_day")
        if self.diet is not None:
            given.append("diet")
        return tuple(name for name in given if not self.citations.get(name))


def read_species(path: str | os.PathLike[str]) -> tuple[Species, ...]:
    """Read a table of species, in its order.

    Raises UserError, which names file, row and column, for a missing column, a number that is missing, not a
    number, negative or implausible, a column in another unit, an unknown kind, a diet that does not sum to 1,
    and a name that is there twice.
    """
    rows = list(_toml_rows(path) if str(path).lower().endswith(".toml") else _csv_rows(path))
    species: dict[str, Species] = {}
    seen: dict[str, str] = {}
    for row in rows:
        one = row.species()
        if (first := seen.setdefault(one.name.casefold(), row.where)) != row.where:
            raise UserError(f"{row.where}: {one.name} is there twice (first: {first}); keep one")
        species[one.name] = one
    return tuple(species.values())


@dataclass(frozen=True)
class _Row:
    """One species as text by column; `where`: file and row for messages."""

    where: str
    cells: Mapping[str, str]

    def fail(self, column: str, reason: str) -> UserError:
        shown = f"{column} is {self.cells[column]!r}" if self.cells.get(column) else f"no {column}"
        return UserError(f"{self.where}: {shown}; {reason}")

    def number(self, column: str) -> float | None:
        """The value of a column, None for an empty cell."""
        text = self.cells.get(column, "")
        if not text:
            return None
        try:
            value = float(text)
        except ValueError:
            raise self.fail(column, "write a number, with a point for decimals") from None
        least, most = _LIMITS.get(column, (0.0, 1.0))
        if not math.isfinite(value):
            raise self.fail(column, "write a finite number, or leave the cell empty")
        if not least <= value <= most:
            limits = f"between {least:g} and {most:g}" if math.isfinite(most) else f"at least {least:g}"
            raise self.fail(column, f"it must be {limits}: is the unit right?")
        return value

    def species(self) -> Species:
        name = self.cells.get("name", "")
        if not name:
            raise self.fail("name", "give one to every species")
        numbers = {column: self.number(column) for column in NUMBERS}
        if numbers["mass_g"] is None:
            raise self.fail("mass_g", f"every species needs a body mass in grams, {name} too")
        kind = self._kind()
        if kind != "producer" and numbers["growth_per_day"] is not None:
            raise self.fail("growth_per_day", f"only producers have one, and {name} is an {kind}; empty it")
        numbers["dispersal_per_day"] = numbers["dispersal_per_day"] or 0.0
        diet = self._diet()
        whole = self.cells.get("citation", "")
        given = [column for column in NUMBERS if self.cells.get(column)] + ["diet"] * (diet is not None)
        citations = {column: self.cells.get(f"{column}_citation", "") or whole for column in given}
        return Species(
            name=name,
            kind=kind,
            common_name=self.cells.get("common_name", ""),
            taxonomy=self._taxonomy(name),
            diet=diet,
            citations={column: text for column, text in citations.items() if text},
            **numbers,
        )

    def _kind(self) -> str:
        kind = self.cells.get("kind", "").lower()
        if kind in KINDS:
            return kind
        right = _KIND_OF.get(kind)
        hint = f"write {right}" if right else f"write one of {', '.join(KINDS)}"
        raise self.fail("kind", hint)

    def _taxonomy(self, name: str) -> dict[str, str]:
        taxonomy = {rank: self.cells[rank] for rank in TAXONOMY if self.cells.get(rank)}
        parsed = parse_name(name)
        if "genus" not in taxonomy and parsed.genus and (parsed.species or parsed.qualifier):
            taxonomy["genus"] = parsed.genus
        return taxonomy

    def _diet(self) -> dict[str, float] | None:
        shares = {food: self.number(f"diet_{food}") for food in FOODS}
        if all(share is None for share in shares.values()):
            return None
        diet = {food: share or 0.0 for food, share in shares.items()}
        if abs(sum(diet.values()) - 1) > 0.01:
            raise UserError(
                f"{self.where}: the diet sums to {sum(diet.values()):g}; give {', '.join(_DIET)} as shares "
                "that sum to 1"
            )
        return diet


def _csv_rows(path: str | os.PathLike[str]) -> Iterator[_Row]:
    table = read_table(path, _REQUIRED, known=COLUMNS)
    _check_columns(str(path), table.column_names)
    for number, row in enumerate(table_rows(table), 2):
        yield _Row(f"{path}, row {number}", {column: _text(value) for column, value in row.items()})


def _toml_rows(path: str | os.PathLike[str]) -> Iterator[_Row]:
    entries = read_toml(path, "the table of species").values.get("species")
    if not isinstance(entries, list) or not entries or not all(isinstance(e, dict) for e in entries):
        raise UserError(f"{path} has no [[species]]; give a table for each species")
    for number, entry in enumerate(entries, 1):
        where = f"{path}, species {number} ({entry.get('name', 'without name')})"
        # Taxonomy, diet and citations may be tables, as in Species, or flat, as in the CSV.
        cells = {key: value for key, value in entry.items() if key not in _TOML_TABLES}
        for key, column in _TOML_TABLES.items():
            if not isinstance(values := entry.get(key, {}), dict):
                raise UserError(f"{where}: {key} is {values!r}; write a table")
            cells |= {column.format(name): value for name, value in values.items()}
        _check_columns(where, tuple(cells))
        yield _Row(where, {column: _text(value) for column, value in cells.items()})


def _check_columns(where: str, columns: Sequence[str]) -> None:
    """Raise UserError for a quantity in another unit, a misspelled column and a missing one."""
    for column in columns:
        if column in COLUMNS:
            continue
        if column.startswith("diet_") or column.endswith("_citation"):
            hint = did_you_mean(column, COLUMNS, f"diets are {', '.join(_DIET)}")
            raise UserError(f"{where}: column {column} is not known{hint}")
        match = _QUANTITY.fullmatch(column.lower().replace(" ", "_"))
        if match:
            right = _RIGHT_UNIT[match[1].split("_")[0]]
            if right in columns:
                continue
            conversion = _CONVERSIONS.get((right, match[2] or ""), "")
            conversion = f" ({conversion})" if conversion else ""
            raise UserError(f"{where}: column {column} is not known; give {right}{conversion}")
        if near := closest(column, COLUMNS, cutoff=0.85):
            raise UserError(f"{where}: column {column} is not known; did you mean {near[0]}?")
    for column in _REQUIRED:
        if column not in columns:
            raise UserError(f"{where} has no column {column}{did_you_mean(column, columns, 'add it')}")


def _text(value: Any) -> str:
    return "" if value is None else " ".join(str(value).split())
