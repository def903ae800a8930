"""Food webs of a lake, with body mass and abundance of each species."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float

from bioclip_jax.errors import UserError
from bioclip_jax.twin.world import Species

from .published_table import read_rows

_KINDS = {"producer": "producer", "invertebrate": "invertebrate", "vert.ecto": "ectotherm"}


@dataclass(frozen=True)
class LakeWeb:
    """The food web of one year; links are (resource, consumer), cannibalism left out.

    mass_kg: M. per_m3: numerical abundance N. kinds: as of Species.
    """

    names: tuple[str, ...]
    kinds: tuple[str, ...]
    mass_kg: Float[np.ndarray, " species"]
    per_m3: Float[np.ndarray, " species"]
    links: tuple[tuple[int, int], ...]

    @property
    def biomass(self) -> Float[np.ndarray, " species"]:
        """Fresh biomass, kg/m³."""
        return self.mass_kg * self.per_m3

    def is_kind(self, kind: str) -> Bool[np.ndarray, " species"]:
        """Return which species are of a kind."""
        return np.array(self.kinds) == kind

    def species(self) -> tuple[Species, ...]:
        """Return the species for the community's allometry."""
        return tuple(
            Species(name, kind, float(mass) * 1000)
            for name, kind, mass in zip(self.names, self.kinds, self.mass_kg)
        )


def slope(mass_kg: Float[np.ndarray, " species"], per_m3: Float[np.ndarray, " species"]) -> float:
    """Return the slope of log10 N on log10 M by ordinary least squares."""
    return float(np.polyfit(np.log10(mass_kg), np.log10(per_m3), 1)[0])


def read_web(nodes: Path, links: Path) -> LakeWeb:
    """Read a web from its table of nodes and that of links.

    Raises UserError for a missing file or column, an unknown category, a mass or abundance that is not
    positive, and a link of a species that the nodes lack.
    """
    rows = read_rows(nodes, ("node", "category", "M", "N"))
    index: dict[str, int] = {}
    for row in rows:
        if row["node"] in index:
            raise UserError(f"{nodes} has {row['node']} twice; keep one row")
        if row["category"] not in _KINDS:
            raise UserError(
                f"{nodes}: {row['node']} has the category {row['category']!r}; use {', '.join(_KINDS)}"
            )
        index[row["node"]] = len(index)
    pairs = []
    for row in read_rows(links, ("resource", "consumer")):
        for end in ("resource", "consumer"):
            if row[end] not in index:
                raise UserError(
                    f"{links}: {nodes.name} has no {row[end]!r}; correct the link or add the node"
                )
        if row["resource"] != row["consumer"]:
            pairs.append((index[row["resource"]], index[row["consumer"]]))
    return LakeWeb(
        tuple(index),
        tuple(_KINDS[row["category"]] for row in rows),
        np.array([_positive(row, "M", nodes) for row in rows]),
        np.array([_positive(row, "N", nodes) for row in rows]),
        tuple(pairs),
    )


def _positive(row: dict[str, str], column: str, path: Path) -> float:
    try:
        value = float(row[column])
    except ValueError:
        value = float("nan")
    if not 0 < value < float("inf"):
        raise UserError(f"{path}: {column} of {row['node']} is {row[column]!r}; give a positive number")
    return value
