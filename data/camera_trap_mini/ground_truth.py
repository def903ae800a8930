"""The truth that estimates are compared with."""

from typing import Any

import numpy as np
from jaxtyping import Float

from bioclip_jax.datasets.camera_trap_mini.ecology import BLANK, PERSON, World


def expected_rates(world: World) -> dict[str, Float[np.ndarray, " species"]]:
    """Recorded events per camera-day, by species: over all sites that there might be, and over these.

    "planted": occupancy × passages × detection. "realized": the sites' own rates × detection, weighted by the
    effort.
    """
    detection = np.array([traits.detection for traits in world.species])
    return {
        "planted": world.occupancy * world.passages_per_day * detection,
        "realized": detection * (world.site_rates @ world.effort_days) / world.effort_days.sum(),
    }


def truth(world: World) -> dict[str, Any]:
    """Planted and realized values of a world, ready for JSON.

    Rates are recorded events per 100 camera-days, densities individuals per km². "realized" refers to the
    sites drawn, those with effort, and "counted" to the events recorded there.
    """
    rates, counts = expected_rates(world), world.event_counts()
    effort, worked = world.effort_days, world.effort_days > 0
    names = [deployment.deployment_id for deployment in world.deployments]
    species = {}
    for index, traits in enumerate(world.species):
        planted, realized = (float(rates[kind][index]) for kind in ("planted", "realized"))
        species[traits.name] = {
            "occupancy": float(world.occupancy[index]),
            "realized_occupancy": float(world.occupied[index, worked].mean()),
            "observed_occupancy": float((counts[index, worked] > 0).mean()),
            "passages_per_day_if_occupied": float(world.passages_per_day[index]),
            "detection": traits.detection,
            "events_per_100_days": 100 * planted,
            "realized_events_per_100_days": 100 * realized,
            "counted_events_per_100_days": float(100 * counts[index].sum() / effort.sum()),
            "density_per_km2": traits.density_per_km2(planted),
            "realized_density_per_km2": traits.density_per_km2(realized),
            "mean_group": traits.mean_group,
            "speed_m_per_s": traits.speed,
            "radius_m": traits.effective_radius,
            "angle_rad": traits.angle,
            "activity": {"solar_hour": traits.activity_by_hour().tolist()},
            "occupied": dict(zip(names, world.occupied[index].tolist())),
            "events": dict(zip(names, counts[index].tolist())),
        }
    others = {
        label: np.bincount(world.events.site[world.events.species == kind], minlength=len(names)).tolist()
        for label, kind in (("blank_events", BLANK), ("person_events", PERSON))
    }
    return {
        "seed": world.seed,
        "sites": len(names),
        "effort_days": float(effort.sum()),
        "effort_days_by_deployment": dict(zip(names, effort.tolist())),
        "species": species,
        **{label: dict(zip(names, values)) for label, values in others.items()},
    }
