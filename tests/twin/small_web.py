"""A small web for calibrations: grass, two herbivores and their predator, monthly rain."""

from __future__ import annotations

import datetime

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from bioclip_jax.twin.calibrate import Observations
from bioclip_jax.twin.community import Blueprint, Community, Conditions, steady_conditions
from bioclip_jax.twin.world import Climate, Link, Patch, Species, Twin

NAMES = ("Grass", "Equus quagga", "Lepus capensis", "Panthera leo")
MASS_KG = np.array([1e-3, 250.0, 2.5, 150.0])
BIOMASS = np.array([2e5, 2000.0, 300.0, 40.0])
MONTH_DAYS = 30.4375


def small_blueprint(patches: int = 1) -> Blueprint:
    """The balanced web; x64 on."""
    community = Community.create(
        NAMES,
        [(0, 1), (0, 2), (1, 3), (2, 3)],
        producer=[True, False, False, False],
        mass_kg=MASS_KG,
        n_patches=patches,
        metabolism=[0.0, 0.015, 0.03, 0.012],
        growth=[0.02, 0.0, 0.0, 0.0],
        efficiency=[0.45, 0.45, 0.85, 0.85],
        preference=[1.0, 1.0, 0.6, 2.0],
        hill=1.2,
        rain_exponent=[1.0, 0.0, 0.0, 0.0],
        extinction_kg=MASS_KG,
        area_km2=100.0,
    )
    return Blueprint(
        community,
        jnp.asarray(BIOMASS),
        jnp.asarray([0.0, 0.004, 0.012, 0.004]),
        jnp.asarray([0.0, 0.5, 0.5, 0.5]),
    )


def seasonal_conditions(blueprint: Blueprint, months: int) -> tuple[Conditions, jax.Array]:
    """Months of a yearly cycle of rain, and their lengths in days; x64 on."""
    conditions = steady_conditions(blueprint.community, months)
    rain = 1 + 0.6 * np.sin(2 * np.pi * np.arange(months) / 12)
    rain = jnp.broadcast_to(jnp.asarray(rain)[:, None], conditions.rain.shape)
    return eqx.tree_at(lambda c: c.rain, conditions, rain), jnp.full(months, MONTH_DAYS)


def empty_survey(months: int, classes: tuple[str, ...], effort_days: float = 600.0, **given) -> Observations:
    """A survey of one patch by months, with counts of 0."""
    ends = np.arange(1, months + 1) * MONTH_DAYS
    return Observations(
        classes=classes,
        counts=np.zeros((months, 1, len(classes))),
        effort_days=np.full((months, 1), effort_days),
        start_day=ends - MONTH_DAYS,
        end_day=ends,
        **given,
    )


def small_twin(patches: int = 2) -> Twin:
    """The web as a twin of the Serengeti's latitude, that starts in January 2020."""
    grazing = {"plants": 1.0, "vertebrates": 0.0, "invertebrates": 0.0}
    hunting = {"plants": 0.0, "vertebrates": 1.0, "invertebrates": 0.0}
    species = (
        Species("Grass", "producer", 1.0, biomass_kg_per_km2=3e5, growth_per_day=0.02),
        Species("Equus quagga", "endotherm", 250e3, density_per_km2=8.0, diet=grazing),
        Species("Lepus capensis", "endotherm", 2.5e3, density_per_km2=60.0, diet=grazing),
        Species("Panthera leo", "endotherm", 150e3, density_per_km2=0.1, diet=hunting),
    )
    links = tuple(Link(NAMES[resource], NAMES[eater]) for resource, eater in ((0, 1), (0, 2), (1, 3), (2, 3)))
    places = tuple(
        Patch(name, 200.0, -2.5 + 0.2 * number, 34.8, 0.0, 2.2e4 * number)
        for number, name in enumerate(("south", "north", "east")[:patches])
    )
    months = np.arange(12)
    rain = 80 * (1 + 0.7 * np.cos(2 * np.pi * (months - 3) / 12))[:, None] * np.ones(patches)
    climate = Climate(rain, np.full((12, patches), 295.0))
    return Twin("small", species, links, places, climate, datetime.date(2020, 1, 1))
