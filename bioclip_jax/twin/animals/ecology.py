"""Parameters of the hour clock: a community's rates, how individuals live, and the ground they live on."""

from __future__ import annotations

from collections.abc import Mapping

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from bioclip_jax.errors import UserError
from bioclip_jax.twin.community import Community, Conditions, environment, steady_conditions

from .cells import Grid

HOURS_PER_DAY = 24.0
# Energies are multiples of a unit, this share of a power of two near the body mass: float32 holds them up to
# 2^24 units, so that every gain, loss and sum of them is exact.
_UNITS = 2.0**22


class Life(eqx.Module):
    """Life history of a species, in shares of its adult body mass; the defaults are assumed.

    birth: energy at which an animal gives birth. newborn: energy that the newborn gets of it. starvation:
    energy below which an animal dies. meal: most that it eats of bodies in an hour, per kg. digestion_hours:
    time in which a group eats all but 1/e of the bodies that it has. persistence: mean cosine of the angle
    between an hour's step and the last. step_m: mean length of an hour's step, m.
    """

    birth: Float[Array, " species"]
    newborn: Float[Array, " species"]
    starvation: Float[Array, " species"]
    meal: Float[Array, " species"]
    digestion_hours: Float[Array, " species"]
    persistence: Float[Array, " species"]
    step_m: Float[Array, " species"]


class Selection(eqx.Module):
    """Coefficients β of step selection, weight exp(β · x), by species; the defaults are assumed.

    food: of log(1 + food / mean food). risk: of predators / mean predators. water: of the distance to water,
    1/km. slope: 1/degree. Habitat selection by weighted candidate steps: Fortin et al. 2005, Ecology 86:1320.
    """

    food: Float[Array, " species"]
    risk: Float[Array, " species"]
    water: Float[Array, " species"]
    slope: Float[Array, " species"]


_LIFE_DEFAULTS = {
    **{"birth": 1.5, "newborn": 0.5, "starvation": 0.35, "meal": 0.05},
    **{"digestion_hours": 24.0, "persistence": 0.3, "step_m": 200.0},
}
_SELECTION_DEFAULTS = {"food": 1.0, "risk": -0.5, "water": -0.2, "slope": -0.05}


class Habitat(eqx.Module):
    """The ground in cells.

    grid: of at least three cells a side, or of one. water_m: distance to water. slope: degrees. capacity: of
    producers, relative to the community's, so that its mean should be 1.
    """

    grid: Grid
    water_m: Float[Array, " cells"]
    slope: Float[Array, " cells"]
    capacity: Float[Array, " cells"]

    @classmethod
    def create(
        cls,
        grid: Grid,
        *,
        water_m: Float[np.ndarray, "*cells"] | float = 0.0,
        slope: Float[np.ndarray, "*cells"] | float = 0.0,
        capacity: Float[np.ndarray, "*cells"] | float = 1.0,
    ) -> Habitat:
        """Return the habitat of a grid; maps are [rows, columns] from the south-west, or one number."""
        with jax.enable_x64(True):
            maps = [
                jnp.broadcast_to(jnp.asarray(one, jnp.float64), (grid.rows, grid.columns)).reshape(-1)
                for one in (water_m, slope, capacity)
            ]
        return cls(grid, *maps)

    @classmethod
    def well_mixed(cls, area_km2: float) -> Habitat:
        """Return one cell, in which every animal meets the mean field."""
        side = 1000 * area_km2**0.5
        return cls.create(Grid(side, side, 1, 1))

    @property
    def area_km2(self) -> float:
        """Area of all cells."""
        return self.grid.width * self.grid.height / 1e6

    @property
    def cell_km2(self) -> float:
        """Area of a cell."""
        return self.area_km2 / self.grid.n_cells


class Ecology(eqx.Module):
    """All parameters of the hour clock.

    community, environment: as twin.community's equations take them, arrays with a last axis of one member;
    of one patch. life, selection, habitat: of individuals. unit: of each species' energy, kg.
    """

    community: Community
    environment: tuple
    life: Life
    selection: Selection
    habitat: Habitat
    unit: Float[Array, " species"]

    @property
    def n_species(self) -> int:
        """Producers and animals."""
        return self.community.n_species

    @property
    def producer(self) -> np.ndarray:
        """True for the species that are a field of cells, not individuals."""
        return np.array(self.community.producer)

    @classmethod
    def create(
        cls,
        community: Community,
        habitat: Habitat,
        *,
        conditions: Conditions | None = None,
        patch: int = 0,
        life: Mapping[str, object] | None = None,
        selection: Mapping[str, object] | None = None,
    ) -> Ecology:
        """Return the ecology of individuals with a community's rates.

        conditions: of one interval (default: average). patch: of the community. life, selection: fields of
        Life and Selection that differ from the defaults, each a number or an array by species. Raises
        UserError for a community with nutrient pools and for energies that do not ascend.
        """
        if community.n_nutrients:
            raise UserError(
                "this community has nutrient pools, which individuals do not; give its producers a capacity"
            )
        with jax.enable_x64(True):
            community = jax.tree.map(jnp.asarray, community)
            rates = environment(community, conditions or steady_conditions(community))
            rates = jax.tree.map(lambda leaf: leaf[patch : patch + 1], rates)
            life = Life(**_by_species(community, _LIFE_DEFAULTS, life))
            selection = Selection(**_by_species(community, _SELECTION_DEFAULTS, selection))
            one_member = jax.tree.map(lambda leaf: leaf[..., None], community)
            unit = 2.0 ** jnp.floor(jnp.log2(community.mass_kg)) / _UNITS
        _check_life(community.names, life)
        return cls(one_member, rates, life, selection, habitat, unit)


def _by_species(community: Community, defaults: Mapping[str, float], given: Mapping | None) -> dict:
    given = given or {}
    if unknown := given.keys() - defaults.keys():
        raise UserError(f"animals have no parameter {sorted(unknown)[0]!r}; known are {', '.join(defaults)}")
    return {
        name: jnp.broadcast_to(jnp.asarray(value, jnp.float64), community.n_species)
        for name, value in {**defaults, **given}.items()
    }


def _check_life(names: tuple[str, ...], life: Life) -> None:
    for number, name in enumerate(names):
        starvation, newborn, birth = (
            float(one[number]) for one in (life.starvation, life.newborn, life.birth)
        )
        if not 0 < starvation < newborn < birth - starvation <= 2.5:
            raise UserError(
                f"{name}: starvation ({starvation:g}), newborn ({newborn:g}) and birth ({birth:g}) must "
                "ascend, and a birth must leave the parent more than starvation"
            )
