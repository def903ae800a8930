"""Food that flows along each link of the food web, by branch of a run."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from bioclip_jax.twin.community import Community, environment, flows, steady_conditions
from bioclip_jax.twin.scenario import Run, ensemble_of
from bioclip_jax.twin.world import Twin

# States at the end of a run whose mean is looked at: a year of months.
_LAST = 12
# Members whose flows are computed: enough for a median.
_MEMBERS = 32


def link_flows(run: Run, twin: Twin) -> Float[np.ndarray, "branches links"]:
    """Return what consumers eat per day along each link, kg/km²/day, in the order of the community's links.

    Median over the members of the mean over the area, at each member's parameters, at its mean biomass of
    the last year and in average weather. Raises UserError as ensemble_of.
    """
    members = np.arange(min(run.biomass.shape[1], _MEMBERS))
    communities, _ = ensemble_of(run, twin).parameters(members)
    return np.stack([median_flows(communities, branch[members], run.area_km2) for branch in run.biomass])


def median_flows(
    communities: Community,
    biomass: Float[np.ndarray, "members times patches species"],
    area_km2: Float[np.ndarray, " patches"],
) -> Float[np.ndarray, " links"]:
    """Return the flows of one branch, as link_flows. communities: with a leading axis of members."""
    states = biomass[:, -_LAST:].astype(float).mean(axis=1)
    with jax.enable_x64(True):
        eaten = _at_states(jax.tree.map(jnp.asarray, communities), jnp.asarray(states))
    return np.median(np.einsum("mpl,p->ml", np.asarray(eaten), area_km2 / area_km2.sum()), axis=0)


def _eaten(community: Community, biomass: Float[Array, "patches species"]) -> Float[Array, "patches links"]:
    alive = biomass > 0
    pools = jnp.broadcast_to(community.supply, (len(biomass), community.n_nutrients))
    state = jnp.concatenate([jnp.where(alive, biomass, 1.0), jnp.maximum(pools, 1e-12)], axis=1)
    present = jnp.concatenate([alive, jnp.ones(pools.shape, bool)], axis=1)
    rates = environment(community, steady_conditions(community))
    return flows(community, rates, jnp.log(state), present).eaten


_at_states = jax.jit(jax.vmap(_eaten))
