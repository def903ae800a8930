"""Communities in balance at reference biomasses: rates from masses, diets and densities."""

from __future__ import annotations

import datetime
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bioclip_jax.errors import UserError
from bioclip_jax.twin.community import Allometry, blueprint_of, preferences, simulate, steady_conditions
from bioclip_jax.twin.world import Climate, Link, Patch, Species, Twin

SPECIES = (
    Species("grass", "producer", 100.0, biomass_kg_per_km2=300_000.0, growth_per_day=0.02),
    Species("insects", "invertebrate", 0.1, biomass_kg_per_km2=1000.0),
    Species("zebra", "endotherm", 250_000.0, density_per_km2=8.0),
    Species(
        "mouse",
        "endotherm",
        40.0,
        density_per_km2=1000.0,
        diet={"plants": 0.7, "invertebrates": 0.3, "vertebrates": 0.0},
    ),
    Species("lion", "endotherm", 160_000.0, density_per_km2=0.1),
)
LINKS = tuple(
    Link(resource, consumer)
    for resource, consumer in [
        ("grass", "insects"),
        ("grass", "zebra"),
        ("grass", "mouse"),
        ("insects", "mouse"),
        ("zebra", "lion"),
    ]
)
CLIMATE = Climate(np.full((12, 2), 60.0), np.full((12, 2), 295.0))
PATCHES = (Patch("west", 500.0, -2.0, 35.0), Patch("east", 1000.0, -2.0, 35.1, x_m=11_000.0))
TWIN = Twin("toy", SPECIES, LINKS, PATCHES, CLIMATE, datetime.date(2025, 1, 1))


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


# Compiled once for all tests: intervals of any length, of the same number.
_simulate = jax.jit(simulate)
_INTERVALS = 24


def _run(years: float, factor: np.ndarray, twin: Twin = TWIN, allometry: Allometry | None = None):
    blueprint = blueprint_of(twin, allometry)
    community = blueprint.build()
    conditions = steady_conditions(community, _INTERVALS)
    biomass = jnp.broadcast_to(blueprint.biomass, (2, len(SPECIES))) * factor
    return blueprint, _simulate(
        community, biomass, conditions, jnp.full(_INTERVALS, years * 360 / _INTERVALS)
    )


def test_reference_biomasses_are_an_equilibrium():
    blueprint, trajectory = _run(5, np.ones(5))
    change = np.log(trajectory.biomass[-1] / blueprint.biomass)
    assert np.abs(change).max() < 1e-10, f"log change in five years: {change}"


def test_equilibrium_is_stable():
    blueprint, trajectory = _run(20, np.array([[0.8, 1.3, 0.9, 1.2, 1.1]]))
    change = np.log(trajectory.biomass[-1] / blueprint.biomass)
    assert np.abs(change).max() < 0.05, f"log distance from balance after 20 years: {change}"


def test_intake_meets_the_needs():
    """A zebra respires 54.9 · 250^-0.25 a year and loses what a lion needs; grass is 45 % digestible."""
    community = blueprint_of(TWIN).build()
    zebras, lions, grass = 8 * 250.0, 0.1 * 160.0, 300_000.0
    lions_need = 54.9 / 365.25 * 160**-0.25 * lions / 0.85
    need = (54.9 / 365.25 * 250**-0.25 * zebras + lions_need) / 0.45
    link = LINKS.index(Link("grass", "zebra"))
    cleared = float(community.capture[link]) * grass**1.2
    slowed = float(community.interference[2]) * zebras + float(community.handling[link]) * cleared
    assert 8 * cleared / (1 + slowed) == pytest.approx(need, rel=1e-9)


def test_consumer_with_plenty_grows_at_fenchels_rate():
    community = blueprint_of(TWIN).build()
    assimilated = 0.45 / (float(community.handling[LINKS.index(Link("grass", "zebra"))]) * 250)
    respired = 54.9 / 365.25 * 250**-0.25
    lost_to_lions = 54.9 / 365.25 * 160**-0.25 * 16 / 0.85 / 2000
    assert assimilated - respired - lost_to_lions == pytest.approx(10**-1.4 * 250_000**-0.275, rel=1e-9)


def test_preferences_reproduce_the_diet():
    biomass = np.array([one.reference_biomass for one in SPECIES])
    weight = preferences(SPECIES, LINKS, biomass, 1.2)
    plants, insects = weight[2] * biomass[0] ** 1.2, weight[3] * biomass[1] ** 1.2
    assert plants / (plants + insects) == pytest.approx(0.7)
    assert weight[2] + weight[3] == pytest.approx(1)


@pytest.mark.parametrize(
    "grass, message",
    [
        (replace(SPECIES[0], biomass_kg_per_km2=None), "grass has no density_per_km2"),
        (replace(SPECIES[0], growth_per_day=0.0001), "more of grass is eaten than grows"),
    ],
)
def test_impossible_worlds_name_the_species(grass, message):
    with pytest.raises(UserError, match=message):
        blueprint_of(replace(TWIN, species=(grass, *SPECIES[1:])))


def test_equal_densities_stay_equal_between_unequal_patches():
    species = tuple(
        replace(one, dispersal_per_day=0.0 if one.kind == "producer" else 0.01) for one in SPECIES
    )
    blueprint, trajectory = _run(2, np.ones(5), replace(TWIN, species=species), Allometry(interference=0.4))
    expected = np.broadcast_to(blueprint.biomass, (2, len(species)))
    np.testing.assert_allclose(trajectory.biomass[-1], expected, rtol=1e-9)
