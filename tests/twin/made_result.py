"""A made-up, plausible result of `twin estimate`, for figures."""

from __future__ import annotations

from typing import Any

import numpy as np

GENERA = (
    "Vulpes", "Panthera", "Ichneumia", "Cercopithecus", "Loxodonta", "Genetta", "Hystrix", "Tragelaphus",
)  # fmt: skip
EPITHETS = ("vulpes", "pardus", "albicauda", "mitis", "africana", "maculata", "cristata", "scriptus")
LONG = "Cercopithecus mitis stuhlmanni × Cercopithecus ascanius schmidti"


def interval(mean: float, lower: float, upper: float, **more: float) -> dict[str, float]:
    return {"mean": mean, "lower": lower, "upper": upper, **more}


def made_result(n: int, seed: int = 0) -> dict[str, Any]:
    """Species of which the second was hardly seen, the third never and the fourth has a long name."""
    random = np.random.default_rng(seed)
    hours = np.arange(24) + 0.5
    species = {}
    for number in range(n):
        name = f"{GENERA[number % 8]} {EPITHETS[(number // 8 + number) % 8]}"
        name = LONG if number == 3 else name
        occupancy, width = random.uniform(0.05, 0.95), random.uniform(0.02, 0.2)
        rate = float(np.exp(random.normal(0, 2)))
        events = float(random.integers(12, 3000))
        peak = np.exp(random.uniform(0.3, 3) * np.cos((hours - random.uniform(0, 24)) * np.pi / 12))
        peak += np.exp(2 * np.cos((hours - random.uniform(0, 24)) * np.pi / 12)) * random.uniform(0, 1)
        values = {
            "occupancy": interval(occupancy, max(occupancy - width, 0.01), min(occupancy + width, 0.99)),
            "naive_occupancy": max(occupancy - random.uniform(0, 0.2), 0.02),
            "relative_abundance_per_100_days": interval(rate, rate / 1.7, rate * 1.6, naive=rate * 1.3),
            "density_per_km2": None,
            "activity": {"events": events, "solar_hour": (peak / peak.sum()).tolist(), "reason": None},
        }
        if number == 1:
            values["occupancy"] = interval(0.07, 0.0, 1.0)
            values["relative_abundance_per_100_days"] = interval(0.02, 0.0, 80.0, naive=0.05)
        if number == 2:
            values["occupancy"] = interval(0.0, 0.0, 0.21)
            values["naive_occupancy"] = 0.0
            values["relative_abundance_per_100_days"] = interval(0.0, 0.0, 0.3, naive=0.0)
        if number in (1, 2):
            values["activity"] = {"events": 3.0, "solar_hour": None, "reason": "3 events; 10 are needed"}
        if n > 3 and number % 3 == 0:
            values["density_per_km2"] = interval(rate / 3, rate / 9, rate / 1.1)
        species[name] = values
    daylight = {"sunrise": 5.9, "sunset": 18.1}
    totals = {"effort_days": 1234.5, "events": 4321, "level": 0.9}
    return {"species": species, "daylight": daylight, **totals}


def made_sites(result: dict[str, Any], decimals: int | None, n: int = 30, seed: int = 0) -> list[dict]:
    """Sites within half a degree around 36.3° E, 1.2° S, at a number of decimals; None: as recorded."""
    random = np.random.default_rng(seed)
    latitude, longitude = random.normal(-1.2, 0.12, n), random.normal(36.3, 0.16, n)
    if decimals is not None:
        latitude, longitude = latitude.round(decimals), longitude.round(decimals)
    names = list(result["species"])
    return [
        {
            "site": f"site {row + 1}", "latitude": float(latitude[row]), "longitude": float(longitude[row]),
            "uncertainty_m": 15_700, "effort_days": float(random.integers(5, 90)),
            "events": {name: int(random.poisson(random.gamma(0.4, 10))) for name in names},
        }
        for row in range(n)
    ]  # fmt: skip
