"""Taxa and their traits from taxa/*.toml; each taxon inherits the traits of those above it."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from bioclip_jax.datasets.tree_of_life_mini import palette
from bioclip_jax.text import RANKS, Taxon


@dataclass(frozen=True)
class Species:
    """A species: its taxon, its traits for drawing, and True if it is held out of training."""

    taxon: Taxon
    traits: Mapping[str, Any]
    unseen: bool

    @property
    def name(self) -> str:
        """Binomial, as in 'Geospiza fortis'."""
        return f"{self.taxon.genus} {self.taxon.species}"


@cache
def species() -> tuple[Species, ...]:
    """All species, sorted by name. Raises ValueError if a table is invalid."""
    all_species: list[Species] = []
    for file in sorted(resources.files(__package__).joinpath("taxa").iterdir(), key=lambda f: f.name):
        if file.name.endswith(".toml"):
            all_species.extend(_descend(tomllib.loads(file.read_text(encoding="utf-8")), (), {}))
    return tuple(sorted(all_species, key=lambda s: s.name))


def _descend(node: Mapping[str, Any], lineage: tuple[str, ...], inherited: Mapping[str, Any]):
    """Yield the species below a node; above species rank, tables are child taxa, other values are traits."""
    at_species = len(lineage) == len(RANKS)
    own = {key: _value(value) for key, value in node.items() if at_species or not isinstance(value, dict)}
    traits = {**inherited, **own}
    if at_species:
        common_name, unseen = traits.pop("common_name"), traits.pop("unseen", False)
        ranks = dict(zip(RANKS, lineage))
        yield Species(Taxon.from_row({**ranks, "common_name": common_name}), traits, unseen)
        return
    for key, value in node.items():
        if isinstance(value, dict):
            yield from _descend(value, (*lineage, key), traits)


def _value(value: Any) -> Any:
    """Convert '#rrggbb' strings of a trait to colors, at any depth."""
    if isinstance(value, str) and value.startswith("#"):
        return palette.parse(value)
    if isinstance(value, list):
        return tuple(_value(item) for item in value)
    if isinstance(value, dict):
        return {key: _value(item) for key, item in value.items()}
    return value
