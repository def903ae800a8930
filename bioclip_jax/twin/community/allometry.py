"""Rates from body masses and kinds of species: the defaults of a community that nothing is known about.

They are starting points for a calibration, never a forecast.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
from jaxtyping import Float

from bioclip_jax.twin.world import Link, Species

_DAYS_A_YEAR = 365.25


def _fixed(**values: float) -> Mapping[str, float]:
    return field(default_factory=lambda: MappingProxyType(values))


@dataclass(frozen=True)
class Allometry:
    """Coefficients of rates by kind of species; body mass m in kg unless stated.

    metabolism: a in a m^-0.25, 1/year (Yodzis and Innes 1992, Am. Nat. 139:1151, table 1). max_growth:
    log10 a in a m^-0.275, 1/day, m in g (Fenchel 1974, Oecologia 14:317). growth: r of producers without one
    of their own, a m^-0.25, 1/year (Yodzis and Innes, phytoplankton). efficiency: share assimilated of plants
    and of animals (Yodzis and Innes). energy_*: eV (Binzer et al. 2012, Phil. Trans. R. Soc. B 367:2935);
    endotherms are as warm in any weather. hill: q. interference: share of a consumer's spare intake that its
    own density takes away at the reference biomass. competition: between producers. extinct_individuals:
    fewer in a patch are none.
    """

    metabolism: Mapping[str, float] = _fixed(endotherm=54.9, ectotherm=2.3, invertebrate=0.5)
    max_growth: Mapping[str, float] = _fixed(endotherm=-1.4, ectotherm=-1.64, invertebrate=-1.64)
    growth: float = 0.4
    efficiency: Mapping[str, float] = _fixed(plants=0.45, animals=0.85)
    energy_metabolism: float = 0.69
    energy_growth: float = 0.84
    energy_capture: float = 0.38
    energy_handling: float = 0.26
    hill: float = 1.2
    interference: float = 0.5
    competition: float = 0.5
    rain_exponent: float = 1.0
    extinct_individuals: float = 1.0

    def metabolism_per_day(self, species: Sequence[Species]) -> Float[np.ndarray, " species"]:
        """Share of its biomass that a species respires a day; 0 for producers, whose growth is net."""
        return np.array(
            [self.metabolism.get(s.kind, 0.0) * (s.mass_g / 1000) ** -0.25 / _DAYS_A_YEAR for s in species]
        )

    def max_growth_per_day(self, species: Sequence[Species]) -> Float[np.ndarray, " species"]:
        """Intrinsic rate of increase of consumers; 0 for producers."""
        return np.array(
            [
                0.0 if s.kind == "producer" else 10 ** self.max_growth[s.kind] * s.mass_g**-0.275
                for s in species
            ]
        )

    def growth_per_day(self, species: Sequence[Species]) -> Float[np.ndarray, " species"]:
        """Growth rate of producers, their own where given; 0 for consumers."""

        def growth(one: Species) -> float:
            if one.kind != "producer":
                return 0.0
            if one.growth_per_day is not None:
                return one.growth_per_day
            return self.growth * (one.mass_g / 1000) ** -0.25 / _DAYS_A_YEAR

        return np.array([growth(one) for one in species])

    def energy(self, name: str, species: Sequence[Species]) -> Float[np.ndarray, " species"]:
        """Activation energy of a rate by species."""
        value = getattr(self, f"energy_{name}")
        return np.array([0.0 if one.kind == "endotherm" else value for one in species])


def preferences(
    species: Sequence[Species],
    links: Sequence[Link],
    biomass: Float[np.ndarray, " species"],
    hill: float,
) -> Float[np.ndarray, " links"]:
    """Return w of each link, which sum to 1 by consumer.

    Weights of the links; for a consumer with a diet, scaled so that at the biomasses each kind of food that
    it has links to makes up its share of what is eaten.
    """
    index = {one.name: number for number, one in enumerate(species)}
    weight = np.array([link.weight for link in links], float)
    consumer = np.array([index[link.consumer] for link in links], int)
    resource = np.array([index[link.resource] for link in links], int)
    eaten = weight * biomass[resource] ** hill
    kind = np.array([species[number].food for number in resource])
    for number, one in enumerate(species):
        own = consumer == number
        if one.diet is None or not own.any():
            continue
        foods = {food: share for food, share in one.diet.items() if (own & (kind == food)).any() and share}
        for food, share in foods.items():
            which = own & (kind == food)
            if (total := eaten[which].sum()) > 0:
                weight[which] *= share / sum(foods.values()) / total
        # Food that the diet does not mention although there is a link: a trace.
        rest = own & ~np.isin(kind, list(foods))
        if foods and (total := eaten[rest].sum()) > 0:
            weight[rest] *= 0.01 / total
    total = np.bincount(consumer, weight, len(species))
    return weight / total[consumer]
