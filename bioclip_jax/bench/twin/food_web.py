"""A random food web and the weather of its members, as plain arrays for ours and the peer."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float

# Links / species² of Tuesday Lake's web of 1984: 264 links, 56 species.
_CONNECTANCE = 264 / 56**2
# Of consumers: largest intake / metabolism, share assimilated, half saturation, exponent, interference.
MAX_INTAKE, EFFICIENCY, HALF_SATURATION, HILL, INTERFERENCE = 8.0, 0.6, 0.5, 1.2, 0.5
EXTINCTION = 1e-6
DAYS_PER_MONTH = 30.4375


def random_web(species: int, years: float, members: int, seed: int) -> dict[str, Any]:
    """Return the arrays of an ensemble: a niche-model web, rates by body mass, weather by month.

    Niche model: Williams and Martinez 2000, Nature 404:180. Rates: producers grow by m^-0.25 a day, consumers
    respire 0.2 m^-0.25, m relative to the smallest producer (Brose, Williams and Martinez 2006, Ecol. Lett.
    9:1228). capture [members, links] differs by member (log-normal, 20 %), as does the noise of growth and
    capture [members, months, species] (10 %); rain [months] is shared.
    """
    random = np.random.default_rng(seed)
    resource, consumer = _niche_links(species, random)
    producer = ~np.isin(np.arange(species), consumer)
    mass = 10 ** np.where(producer, random.uniform(0, 3, species), 2 + 7 * np.arange(species) / species)
    metabolism = np.where(producer, 0.0, 0.2 * mass**-0.25)
    intake = MAX_INTAKE * metabolism[consumer]
    months = round(12 * years)
    draws = np.random.default_rng([seed, 1])
    return {
        "resource": resource,
        "consumer": consumer,
        "producer": producer,
        "growth": np.where(producer, mass**-0.25, 0.0),
        "metabolism": metabolism,
        "handling": EFFICIENCY / intake,
        "preference": 1 / np.bincount(consumer, minlength=species)[consumer],
        "capture": intake
        / EFFICIENCY
        / HALF_SATURATION**HILL
        * np.exp(0.2 * draws.normal(size=(members, len(consumer)))),
        "noise": 0.1 * draws.normal(size=(members, months, species)),
        "rain": 1 + 0.5 * np.sin(2 * np.pi * np.arange(months) / 12),
        "biomass": np.full(species, 0.2),
    }


def _niche_links(
    species: int, random: np.random.Generator
) -> tuple[Float[np.ndarray, " links"], Float[np.ndarray, " links"]]:
    """Return resources and consumers of a web about as connected as Tuesday Lake's, without cannibals."""
    while True:
        niche = np.sort(random.uniform(size=species))
        width = niche * random.beta(1, 1 / (2 * _CONNECTANCE) - 1, species)
        center = random.uniform(width / 2, niche)
        # Half of the species are producers, as in a lake.
        width[: species // 2] = 0.0
        eats = np.abs(niche[None, :] - center[:, None]) < width[:, None] / 2
        np.fill_diagonal(eats, False)
        consumer, resource = np.nonzero(eats)
        wanted = _CONNECTANCE * species**2
        if abs(len(consumer) - wanted) <= 0.05 * wanted:
            return resource, consumer
