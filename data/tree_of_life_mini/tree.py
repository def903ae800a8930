"""The taxa and their traits, read from taxa/*.toml, where each taxon inherits the traits of those above it."""

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
    """A species: its taxon, the traits it is drawn with, and whether training may see it."""

    taxon: Taxon
    traits: Mapping[str, Any]
    unseen: bool

    @property
    def name(self) -> str:
        """Binomial, as in 'Geospiza fortis'."""
        return f"{self.taxon.genus} {self.taxon.species}"


@cache
def species() -> tuple[Species, ...]:
    """Every species, sorted by name; raises ValueError where a table is wrong."""
    found: list[Species] = []
    for file in sorted(resources.files(__package__).joinpath("taxa").iterdir(), key=lambda f: f.name):
        if file.name.endswith(".toml"):
            found.extend(_descend(tomllib.loads(file.read_text(encoding="utf-8")), (), {}))
    return tuple(sorted(found, key=lambda s: s.name))


def _descend(node: Mapping[str, Any], lineage: tuple[str, ...], inherited: Mapping[str, Any]):
    """Species below a node: above species rank, tables are child taxa and everything else is a trait."""
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
    """A trait with its '#rrggbb' strings turned into colors, at any depth."""
    if isinstance(value, str) and value.startswith("#"):
        return palette.parse(value)
    if isinstance(value, list):
        return tuple(_value(item) for item in value)
    if isinstance(value, dict):
        return {key: _value(item) for key, item in value.items()}
    return value
