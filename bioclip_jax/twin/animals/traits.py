"""Behavior of species in scenes: guild, size, speeds, distances and the lengths of bouts.

Mass and top speed come from the twin's species. All else is assumed: plausible values that make a scene look
right, not measurements.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import resources
from types import MappingProxyType

from bioclip_jax.datasets import twin_savanna
from bioclip_jax.errors import UserError
from bioclip_jax.twin.world import Species, read_species

GUILDS = ("grazer", "browser", "bird", "lion", "hyena", "jackal", "cat", "vulture")
CARNIVORES = ("lion", "hyena", "jackal", "cat")
# Bouts of animals that nothing disturbs.
STAND, GRAZE, STEP, WALK, REST = range(5)
# Mean seconds of a bout. STEP: a slow step while grazing.
BOUT_S = {
    "grazer": (5.0, 7.0, 2.5, 6.0, 45.0),
    "browser": (9.0, 10.0, 3.0, 12.0, 60.0),
    "bird": (2.5, 3.0, 2.0, 3.0, 30.0),
    "lion": (6.0, 1.0, 1.0, 8.0, 80.0),
    "hyena": (6.0, 1.0, 1.0, 14.0, 50.0),
    "jackal": (4.0, 1.0, 1.0, 10.0, 30.0),
    "cat": (8.0, 1.0, 1.0, 10.0, 60.0),
    "vulture": (8.0, 1.0, 1.0, 4.0, 60.0),
}
# Chances of the next bout: in the twilight, in the middle of the day, and at night.
BOUT_CHANCES = {
    "grazer": ((0.16, 0.44, 0.28, 0.12, 0.0), (0.24, 0.3, 0.18, 0.06, 0.22), (0.28, 0.28, 0.18, 0.08, 0.18)),
    "browser": ((0.3, 0.3, 0.1, 0.3, 0.0), (0.5, 0.25, 0.1, 0.15, 0.0), (0.5, 0.2, 0.1, 0.2, 0.0)),
    "bird": ((0.15, 0.35, 0.3, 0.2, 0.0), (0.2, 0.3, 0.2, 0.1, 0.2), (0.1, 0.0, 0.0, 0.0, 0.9)),
    "lion": ((0.25, 0.0, 0.0, 0.1, 0.65), (0.03, 0.0, 0.0, 0.0, 0.97), (0.25, 0.0, 0.0, 0.15, 0.6)),
    "hyena": ((0.3, 0.0, 0.0, 0.5, 0.2), (0.1, 0.0, 0.0, 0.05, 0.85), (0.3, 0.0, 0.0, 0.6, 0.1)),
    "jackal": ((0.4, 0.0, 0.0, 0.55, 0.05), (0.3, 0.0, 0.0, 0.3, 0.4), (0.4, 0.0, 0.0, 0.55, 0.05)),
    "cat": ((0.3, 0.0, 0.0, 0.4, 0.3), (0.05, 0.0, 0.0, 0.0, 0.95), (0.3, 0.0, 0.0, 0.5, 0.2)),
    "vulture": ((0.7, 0.0, 0.0, 0.1, 0.2), (0.7, 0.0, 0.0, 0.1, 0.2), (0.0, 0.0, 0.0, 0.0, 1.0)),
}
# Most animals that stay together, and the distance between them in body lengths.
_HERDS = {"grazer": 24, "browser": 6, "bird": 14, "lion": 8, "hyena": 6, "jackal": 2, "cat": 1, "vulture": 12}
_HERDS_OF = {
    "Connochaetes taurinus": 60,
    "Equus quagga": 14,
    "Eudorcas thomsonii": 22,
    "Syncerus caffer": 30,
    "Phacochoerus africanus": 4,
    "Madoqua kirkii": 2,
    "Loxodonta africana": 9,
}
_SPACING = {"grazer": 1.7, "browser": 2.2, "bird": 2.5, "vulture": 1.4}
_BROWSERS = ("Giraffidae", "Elephantidae")
# Its mass and top speed are assumed.
_VULTURE = Species(
    name="Gyps africanus",
    kind="endotherm",
    mass_g=5500,
    speed_m_per_s=14.0,
    common_name="white-backed vulture",
    taxonomy={"family": "Accipitridae", "order": "Accipitriformes", "class": "Aves"},
)


@dataclass(frozen=True)
class Traits:
    """Behavior of a species. Lengths in m, speeds in m/s, accelerations in m/s²."""

    name: str
    guild: str
    mass_kg: float
    length: float
    walking: float
    top_speed: float
    acceleration: float
    spacing: float
    herd: int
    flight_distance: float

    @property
    def radius(self) -> float:
        """Half the distance at which two bodies would touch."""
        return 0.3 * self.length


def read_traits(names: Iterable[str], species: Iterable[Species] = ()) -> dict[str, Traits]:
    """Return the traits of species, by name.

    species: of the twin; common savanna species need not be among them. Raises UserError for a species
    without a mass.
    """
    known = {**savanna_species(), **{one.name: one for one in species}}
    names = list(names)
    for name in names:
        if name not in known:
            raise UserError(f"the scene's species {name} is not in the twin's table; add its row")
    return {name: _traits(known[name]) for name in names}


@functools.cache
def savanna_species() -> Mapping[str, Species]:
    """Return the mammals and birds of the embedded savanna and a vulture, by name."""
    table = resources.files(twin_savanna) / "species.csv"
    with resources.as_file(table) as path:
        animals = [one for one in read_species(path) if one.kind == "endotherm"]
    return MappingProxyType({one.name: one for one in (*animals, _VULTURE)})


def _traits(species: Species) -> Traits:
    mass, guild = species.mass_g / 1000, guild_of(species)
    length = 0.41 * mass ** (1 / 3)
    top_speed = species.speed_m_per_s or 7.0
    return Traits(
        name=species.name,
        guild=guild,
        mass_kg=mass,
        length=length,
        walking=min(0.75 * mass**0.1, 0.3 * top_speed),
        top_speed=top_speed,
        acceleration={"lion": 7.5, "cat": 7.5, "hyena": 5.0}.get(guild, 5.0 if mass < 400 else 2.5),
        spacing=_SPACING.get(guild, 1.6) * length,
        herd=_HERDS_OF.get(species.name, _HERDS[guild]),
        flight_distance=25.0 + 3.0 * min(mass, 200) ** 0.5 if mass < 450 else 25.0,
    )


def guild_of(species: Species) -> str:
    """Return the guild, one of GUILDS, from taxonomy and mass."""
    family, order, of_class = (species.taxonomy.get(rank, "") for rank in ("family", "order", "class"))
    if of_class == "Aves":
        return (
            "vulture"
            if species.name.split()[0] in ("Gyps", "Torgos", "Necrosyrtes", "Trigonoceps")
            else "bird"
        )
    eats_animals = species.diet is None or species.diet["vertebrates"] >= 0.3
    if order == "Carnivora" and eats_animals:
        if family == "Felidae":
            return "lion" if species.mass_g > 100_000 else "cat"
        return "hyena" if species.mass_g > 20_000 else "jackal"
    return "browser" if family in _BROWSERS else "grazer"
