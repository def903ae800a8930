"""The parameters of a community: species in patches, who eats whom, and at what rates."""

from __future__ import annotations

from collections.abc import Sequence

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from .incidence import End

# Axes of the parameters.
PARAMETER_AXES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("mass_kg", "metabolism", "mortality", "growth", "inverse_capacity"), ("species",)),
    **dict.fromkeys(("interference", "dispersal", "extinction_kg", "rain_exponent"), ("species",)),
    **dict.fromkeys(("energy_metabolism", "energy_growth"), ("species",)),
    **dict.fromkeys(("energy_capture", "energy_handling"), ("species",)),
    **dict.fromkeys(("capture", "handling", "efficiency", "preference"), ("links",)),
    **dict.fromkeys(("half_saturation", "content"), ("nutrients", "species")),
    **dict.fromkeys(("supply", "turnover"), ("nutrients",)),
    **dict.fromkeys(("competition", "hill", "reference_temperature_k"), ()),
    "movement": ("patches", "patches"),
    "area_km2": ("patches",),
}


class Community(eqx.Module):
    """Parameters of a food web in patches; a pytree whose arrays may have gradients and ensemble axes.

    The species are producers and consumers; link l is consumer[l] eats resource[l]. Units: biomass B kg/km²
    (fresh), body mass kg, time days, temperature K. Rates are those at reference_temperature_k.

    names, resource, consumer, producer: the structure, shared by all members of an ensemble.
    mass_kg: body mass m. metabolism: X, respired per unit of biomass, 1/day. mortality: other deaths, 1/day.
    growth: r of producers, 1/day. inverse_capacity: 1/K of producers, km²/kg (0: no limit).
    competition: share of another producer's biomass that counts against a producer's capacity, 0 to 1.
    capture: b, what an individual consumer clears per day, km²/day · (kg/km²)^(1 - q) for the exponent q.
    handling: h, days an individual needs for 1 kg of the resource. efficiency: e, share assimilated, 0 to 1.
    preference: w. interference: c, time lost to conspecifics, km²/kg. hill: q, 1 for type II, 2 for III.
    half_saturation, content: of each nutrient pool by producer, kg/km² and kg nutrient per kg biomass.
    supply: concentration of inflowing nutrients, kg/km². turnover: of the pools, 1/day.
    dispersal: share of a patch's biomass that leaves per day, 1/day, if all neighbors are open.
    movement: share of those that leave patch p for patch q; the rest of a row stays.
    area_km2: of each patch. extinction_kg: a patch with less of a species has lost it; 0 for none.
    rain_exponent: growth ∝ (rain / mean rain)^exponent. energy_*: activation energies of metabolism and
    growth, and of a consumer's capture and handling; eV, positive if warmth speeds up.
    """

    names: tuple[str, ...] = eqx.field(static=True)
    resource: tuple[int, ...] = eqx.field(static=True)
    consumer: tuple[int, ...] = eqx.field(static=True)
    producer: tuple[bool, ...] = eqx.field(static=True)
    mass_kg: Float[Array, " species"]
    metabolism: Float[Array, " species"]
    mortality: Float[Array, " species"]
    growth: Float[Array, " species"]
    inverse_capacity: Float[Array, " species"]
    competition: Float[Array, ""]
    capture: Float[Array, " links"]
    handling: Float[Array, " links"]
    efficiency: Float[Array, " links"]
    preference: Float[Array, " links"]
    interference: Float[Array, " species"]
    hill: Float[Array, ""]
    half_saturation: Float[Array, "nutrients species"]
    content: Float[Array, "nutrients species"]
    supply: Float[Array, " nutrients"]
    turnover: Float[Array, " nutrients"]
    dispersal: Float[Array, " species"]
    movement: Float[Array, "patches patches"]
    area_km2: Float[Array, " patches"]
    extinction_kg: Float[Array, " species"]
    rain_exponent: Float[Array, " species"]
    energy_metabolism: Float[Array, " species"]
    energy_growth: Float[Array, " species"]
    energy_capture: Float[Array, " species"]
    energy_handling: Float[Array, " species"]
    reference_temperature_k: Float[Array, ""]

    @property
    def n_species(self) -> int:
        """Producers and consumers."""
        return len(self.names)

    @property
    def n_nutrients(self) -> int:
        """Nutrient pools, which follow the species in the state's last axis."""
        return self.supply.shape[0]

    @property
    def n_patches(self) -> int:
        """Patches, between which species disperse."""
        return self.area_km2.shape[0]

    @classmethod
    def create(
        cls,
        names: Sequence[str],
        links: Sequence[tuple[int, int]],
        *,
        producer: Sequence[bool],
        mass_kg: Sequence[float],
        n_patches: int = 1,
        n_nutrients: int = 0,
        **parameters: object,
    ) -> Community:
        """Return a community of the given (resource, consumer) links; call it with x64 enabled.

        parameters: fields of the class, broadcast to their shapes; those not given have no effect (no
        growth limit, no handling time, no death, no dispersal, efficiency and preference 1, hill 1).
        """
        sizes = {
            "species": len(names),
            "links": len(links),
            "patches": n_patches,
            "nutrients": n_nutrients,
        }
        defaults = {
            "efficiency": 1.0,
            "preference": 1.0,
            "hill": 1.0,
            "area_km2": 1.0,
            "reference_temperature_k": 293.15,
        }
        structure = {
            "names": tuple(names),
            "resource": tuple(int(resource) for resource, _ in links),
            "consumer": tuple(int(consumer) for _, consumer in links),
            "producer": tuple(bool(one) for one in producer),
        }
        parameters = {"mass_kg": mass_kg, **parameters}
        unknown = parameters.keys() - PARAMETER_AXES.keys()
        if unknown:
            raise TypeError(f"a community has no parameter {sorted(unknown)[0]!r}")
        arrays = {}
        for name, axes in PARAMETER_AXES.items():
            shape = tuple(sizes[axis] for axis in axes)
            value = parameters.get(name, defaults.get(name, 0.0))
            arrays[name] = jnp.broadcast_to(jnp.asarray(value, jnp.float64), shape)
        return cls(**structure, **arrays)

    @property
    def eaters(self) -> End:
        """Consumers of the links."""
        return End(self.consumer, self.n_species)

    @property
    def resources(self) -> End:
        """Resources of the links."""
        return End(self.resource, self.n_species)
