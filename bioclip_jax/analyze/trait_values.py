"""Reading of species traits, from a table or from columns of the embeddings."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int

from bioclip_jax.errors import UserError, closest, did_you_mean
from bioclip_jax.text import clean_text, is_missing, known_text

if TYPE_CHECKING:
    from .embeddings import Embeddings

# Columns that may name the species of a row, in order of preference.
_NAMED_BY = ("species", "scientific_name", "name")
_MOST_UNMATCHED = 20
_UNIT = re.compile(
    r"^(?P<name>.+?)(?:_(?P<unit>mm|cm|m|km|g|mg|kg|ml|l|s|days|years|c)|\s*[(\[](?P<bracket>[^)\]]+)[)\]])$"
)


@dataclass(frozen=True)
class Traits:
    """Values of traits by species, NaN where unknown.

    images: values by image, of traits that are columns of the embeddings. unmatched: names in the table
    without images, the first twenty with the most similar species name.
    """

    values: dict[str, Float[np.ndarray, " species"]]
    images: dict[str, Float[np.ndarray, " n"]]
    unmatched: Sequence[tuple[str, str]] = ()
    unmatched_number: int = 0


def read_traits(
    embeddings: Embeddings,
    species: Sequence[str],
    groups: Int[np.ndarray, " n"],
    *,
    species_column: str | None,
    table: Path | None,
    names: Sequence[str] = (),
) -> Traits:
    """Read the traits `names`, by default every numeric column of `table` except those that name the species.

    A name that is not in the table is a column of `embeddings`: a species' value is the mean over its images
    (groups: index of each image's species, or -1). The table names species in `species_column`, species,
    scientific_name or name; an epithet is combined with a genus column. Case, spaces and underscores are
    ignored. Several rows of a species are averaged.

    Raises UserError for a column that is missing or not numeric, a table without a species column, and if no
    species of the table has images.
    """
    wanted = list(dict.fromkeys([*([species_column] if species_column else []), *_NAMED_BY]))
    columns = _read_columns(table, wanted) if table is not None else {}
    values: dict[str, np.ndarray] = {}
    images: dict[str, np.ndarray] = {}
    unmatched: list[str] = []
    if table is not None:
        key, rows, unmatched = _match(columns, table, species, wanted)
        keys = {key, "genus"} if "genus" in columns else {key}
        chosen = [name for name in names if name in columns] if names else _numeric(columns, keys)
        if not names and not chosen:
            raise UserError(f"{table} has no column of numbers beside {key}; add a trait")
        for name in chosen:
            values[name] = _group_mean(_numbers(columns[name], name, table), rows, len(species))
    for name in names:
        if name not in values:
            try:
                images[name] = embeddings.numbers(name)
            except UserError as problem:
                if table is None:
                    raise
                raise UserError(_no_column(name, columns, table)) from problem
            values[name] = _group_mean(images[name], groups, len(species))
    first = [(name, _nearest(name, species)) for name in unmatched[:_MOST_UNMATCHED]]
    return Traits({name: values[name] for name in names or values}, images, first, len(unmatched))


def label_of(trait: str) -> str:
    """Format a column's name for display: "beak depth (mm)" for beak_depth_mm."""
    match = _UNIT.match(trait)
    if match is None:
        return trait.replace("_", " ").strip()
    unit = match["unit"] or match["bracket"]
    return f"{match['name'].replace('_', ' ').strip()} ({'°C' if unit == 'c' else unit})"


def _read_columns(table: Path, wanted: Sequence[str]) -> dict[str, list[Any]]:
    from bioclip_jax.tables import read_table

    rows = read_table(Path(table), required=wanted)
    return {name: rows[name].to_pylist() for name in rows.column_names}


def _match(
    columns: dict[str, list[Any]], table: Path, species: Sequence[str], wanted: Sequence[str]
) -> tuple[str, Int[np.ndarray, " rows"], list[str]]:
    """Return the species column, the index of each row's species or -1, and the names without images."""
    key = next(name for name in wanted if name in columns)
    indices = {_plain(name): index for index, name in enumerate(species)}
    spellings = [[known_text(value) for value in columns[key]]]
    if "genus" in columns and key != "genus":
        spellings.append(
            [f"{known_text(genus)} {name}".strip() for genus, name in zip(columns["genus"], spellings[0])]
        )
    matches = [np.array([indices.get(_plain(name), -1) for name in names], np.int64) for names in spellings]
    best = max(range(len(matches)), key=lambda spelling: (matches[spelling] >= 0).sum())
    names, rows = spellings[best], matches[best]
    if not (rows >= 0).any():
        first = next(filter(None, names), "")
        near = _nearest(first, species)
        hint = f"did you mean {near}?" if near else f"there is {', '.join(list(species)[:3])}"
        raise UserError(f"no species of {table} has images: its first is {first!r}; {hint}")
    return key, rows, [name for name, row in zip(names, rows) if row < 0 and name]


def _numeric(columns: dict[str, list[Any]], keys: set[str]) -> list[str]:
    def is_number(value: Any) -> bool:
        try:
            _number(value)
        except ValueError:
            return False
        return True

    # pandas saves its index as a column without a name.
    candidates = [name for name in columns if name not in keys and name and not name.startswith("Unnamed:")]
    return [
        name
        for name in candidates
        if all(map(is_number, columns[name]))
        and any(_number(value) == _number(value) for value in columns[name])
    ]


def _numbers(values: Sequence[Any], name: str, table: Path) -> Float[np.ndarray, " rows"]:
    numbers = np.empty(len(values))
    for row, value in enumerate(values):
        try:
            numbers[row] = _number(value)
        except ValueError:
            raise UserError(
                f"{value!r} in row {row + 1} of the column {name} of {table} is not a number; correct it"
            ) from None
    return numbers


def _number(value: Any) -> float:
    """Parse a number; NaN for a missing value. Raises ValueError for any other text."""
    if value is None or (isinstance(value, str) and is_missing(value)):
        return math.nan
    number = float(value)
    return number if math.isfinite(number) else math.nan


def _group_mean(
    values: Float[np.ndarray, " n"], groups: Int[np.ndarray, " n"], number: int
) -> Float[np.ndarray, " number"]:
    known = (groups >= 0) & np.isfinite(values)
    counts = np.bincount(groups[known], minlength=number)
    sums = np.bincount(groups[known], weights=values[known], minlength=number)
    return sums / np.where(counts, counts, np.nan)


def _no_column(name: str, columns: dict[str, list[Any]], table: Path) -> str:
    hint = did_you_mean(name, columns, f"it has {', '.join(columns)}")
    return f"neither {table} nor the embeddings have a column of numbers {name}{hint}"


def _nearest(name: str, species: Sequence[str]) -> str:
    plain = {_plain(other): other for other in species}
    near = closest(_plain(name), plain, cutoff=0.75)
    return plain[near[0]] if near else ""


def _plain(name: str) -> str:
    return clean_text(name.replace("_", " ")).casefold()
