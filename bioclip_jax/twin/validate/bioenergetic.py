"""Case 3: the bioenergetic pair, and bioenergetic food webs as the community's parameters.

The bioenergetic model (Yodzis and Innes 1992, Am. Nat. 139:1151; Brose, Williams and Martinez 2006, Ecol.
Lett. 9:1228), in units in which the producers' growth rate and capacity are 1:

    dB_i/dt = r_i (1 - B_i / K) B_i - x_i B_i + Σ_j x_i y_i F_ij B_i - Σ_k x_k y_k F_ki B_k / e_ki
    F_ij    = w_ij B_j^q / (B0^q + c_i B_i B0^q + Σ_k w_ik B_k^q)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from bioclip_jax.twin.community import Community, simulate_ensemble, steady_conditions

from .cases import Settings

_METABOLISM, _MAXIMUM, _EFFICIENCY, _HALF_SATURATION, _HILL = 0.314, 8.0, 0.45, 0.5, 2.0
_PUBLISHED = (0.1890, 0.2197)
_STARTS = ((0.8, 0.1), (0.1, 0.8), (0.3, 0.02))


def bioenergetic_community(
    links: Sequence[tuple[int, int]],
    *,
    growth: Float[Array, " species"],
    metabolism: Float[Array, " species"],
    maximum: Float[Array, " species"],
    efficiency: Float[Array, " links"] | float,
    preference: Float[Array, " links"] | float = 1.0,
    interference: Float[Array, ""] | float = 0.0,
    half_saturation: float = 0.5,
    hill: Float[Array, ""] | float = 1.0,
    extinction: float = 0.0,
) -> Community:
    """Return the community that follows the bioenergetic model with K = 1; call it with x64 enabled.

    links: (resource, consumer). growth: r, 0 for consumers. metabolism, maximum: x, 0 for producers, and y.
    efficiency: e. preference: w, maybe 0. interference: c. half_saturation: B0. hill: q. extinction: biomass
    below which a species is lost.

    A species' role is in its rates, not in the structure, so that webs with different links and producers can
    be members of one ensemble.
    """
    n = len(growth)
    consumer = np.array([consumer for _, consumer in links], int)
    # Eaten per consumer biomass is x y F / e; so b = x y / (e B0^q) and h b = 1 / B0^q.
    intake = jnp.asarray(metabolism * maximum)[consumer] / efficiency
    capture = intake / half_saturation**hill
    return Community.create(
        [f"species {i}" for i in range(n)],
        links,
        producer=[True] * n,
        mass_kg=1.0,
        growth=growth,
        inverse_capacity=jnp.where(growth > 0, 1.0, 0.0),
        metabolism=metabolism,
        capture=capture,
        handling=jnp.where(intake > 0, 1 / jnp.where(intake > 0, intake, 1.0), 0.0),
        efficiency=efficiency,
        preference=preference,
        interference=interference,
        hill=hill,
        extinction_kg=extinction,
    )


def pair_steady_state(
    metabolism: float, maximum: float, efficiency: float, half_saturation: float, hill: float
) -> tuple[float, float]:
    """Return the steady biomass of a producer (r = K = 1) and its only consumer.

    The consumer neither grows nor shrinks where y F = 1, so that B^q = B0^q / (y - 1); the producer's growth
    B (1 - B) then equals what is eaten, x C / e.
    """
    producer = half_saturation / (maximum - 1) ** (1 / hill)
    return producer, efficiency * producer * (1 - producer) / metabolism


def simulate_pair(
    starts: Sequence[tuple[float, float]], time: float = 1000.0
) -> Float[np.ndarray, "starts 2"]:
    """Return the biomass of the pair of case 3 after a time, through the community's equations."""
    with jax.enable_x64(True):
        community = bioenergetic_community(
            [(0, 1)],
            growth=jnp.array([1.0, 0.0]),
            metabolism=jnp.array([0.0, _METABOLISM]),
            maximum=jnp.array([0.0, _MAXIMUM]),
            efficiency=_EFFICIENCY,
            half_saturation=_HALF_SATURATION,
            hill=_HILL,
        )
        conditions = steady_conditions(community, 1)
    biomass = np.array(starts)[:, None]
    return simulate_ensemble(community, biomass, conditions, np.array([time]), chunk=len(starts)).biomass[
        :, -1, 0
    ]


def bioenergetic_case(_: Settings) -> dict[str, Any]:
    """Return case 3."""
    exact = pair_steady_state(_METABOLISM, _MAXIMUM, _EFFICIENCY, _HALF_SATURATION, _HILL)
    ends = simulate_pair(_STARTS)
    error = np.abs(ends - exact).max()
    return {
        "ours": f"{ends[0, 0]:.4f}, {ends[0, 1]:.4f} from {len(ends)} starts, within {error:.0e} of the "
        "closed form",
        "holds": bool(np.abs(np.array([exact, *ends]) - _PUBLISHED).max() <= 0.001),
        "study": {"closed_form": exact, "starts": _STARTS, "ends": ends.tolist()},
    }
