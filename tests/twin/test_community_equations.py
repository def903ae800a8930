"""The community's equations against plain loops over species, and its sums over links against matrices."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from random_food_web import derivative, random_community, random_conditions, start

from bioclip_jax.twin.community import Community, arrhenius, environment, flows, steady_conditions
from bioclip_jax.twin.community.incidence import End
from bioclip_jax.twin.community.rates import environment as members_environment
from bioclip_jax.twin.community.rates import fluxes, net_change


def ours(community: Community, conditions: object, state: np.ndarray) -> np.ndarray:
    with jax.enable_x64(True):
        one, now, state = jax.tree.map(
            lambda leaf: jnp.asarray(leaf)[..., None], (community, conditions, state)
        )
        rates = members_environment(one, now)
        alive = state > 0
        log_biomass = jnp.log(jnp.where(alive, state, 1.0))
        flux, _ = fluxes(one, rates, log_biomass, alive)
        return np.asarray(net_change(one, rates, flux, alive))[..., 0]


@pytest.mark.parametrize(("patches", "nutrients"), [(1, 0), (3, 0), (1, 1), (2, 2)])
def test_derivatives_equal_loops_over_species(patches: int, nutrients: int) -> None:
    community = random_community(0, species=9, patches=patches, nutrients=nutrients)
    conditions = jax.tree.map(lambda leaf: leaf[0], random_conditions(0, community, 1))
    biomass = start(0, community)
    biomass[-1, 4] = 0.0
    pools = np.full((patches, nutrients), 1.5)
    expected = np.concatenate(derivative(community, conditions, biomass, pools), axis=1)
    change = ours(community, conditions, np.concatenate([biomass, pools], axis=1))
    np.testing.assert_allclose(change, expected, rtol=1e-11, atol=1e-13)


def test_flows_by_link_sum_to_gains_and_losses() -> None:
    community = random_community(1, patches=2, nutrients=0)
    conditions = jax.tree.map(lambda leaf: leaf[0], random_conditions(1, community, 1))
    biomass = start(1, community)
    with jax.enable_x64(True):
        flow = flows(community, environment(community, conditions), jnp.log(biomass), biomass > 0)
    eaten, efficiency = np.asarray(flow.eaten), np.asarray(community.efficiency)
    for species in range(community.n_species):
        by_it, of_it = np.array(community.consumer) == species, np.array(community.resource) == species
        np.testing.assert_allclose(flow.lost_to_consumers[:, species], eaten[:, of_it].sum(1), rtol=1e-12)
        gained = (efficiency * eaten)[:, by_it].sum(1)
        np.testing.assert_allclose(flow.assimilated[:, species], gained, rtol=1e-12)


def test_arrhenius_follows_a_hand_calculation() -> None:
    # exp(0.65 · 10 / (8.617333262e-5 · 300 · 290)): by 10 K and 0.65 eV a rate grows 2.38-fold.
    factor = arrhenius(0.65, 300.0, 290.0)
    assert factor == pytest.approx(2.3797, abs=1e-4)
    assert arrhenius(0.65, 290.0, 290.0) == 1.0


def test_steady_conditions_change_no_rate() -> None:
    community = random_community(2, patches=1, nutrients=0)
    with jax.enable_x64(True):
        rates = environment(community, steady_conditions(community))
    np.testing.assert_allclose(rates.growth[0, :, 0], community.growth, rtol=1e-15)
    np.testing.assert_allclose(rates.metabolism[0, :, 0], community.metabolism, rtol=1e-15)


@pytest.mark.parametrize("n_links", [0, 1, 40])
def test_sums_over_links_equal_matrix_products_in_all_transforms(n_links: int) -> None:
    random = np.random.default_rng(3)
    # Species 0 has more links than one gather adds up, species 1 none.
    owner = np.where(random.random(n_links) < 0.5, 0, random.integers(2, 6, n_links)).astype(int)
    matrix, end = np.eye(6)[owner].reshape(n_links, 6), End(tuple(owner.tolist()), 6)
    with jax.enable_x64(True):
        links, species = (
            jnp.asarray(random.normal(size=(3, n_links, 2))),
            jnp.asarray(random.normal(size=(3, 6, 2))),
        )
        collected = jnp.einsum("ls,plm->psm", matrix, links)
        spread = jnp.einsum("ls,psm->plm", matrix, species)
        np.testing.assert_allclose(end.collect(links), collected, atol=1e-12)
        np.testing.assert_allclose(end.spread(species), spread, atol=1e-12)
        np.testing.assert_allclose(jax.jit(end.collect)(links), collected, atol=1e-12)
        np.testing.assert_allclose(
            jax.vmap(end.collect, in_axes=1, out_axes=1)(links[:, None])[:, 0], collected, atol=1e-12
        )
        np.testing.assert_allclose(jax.jvp(end.collect, (links,), (links,))[1], collected, atol=1e-12)
        np.testing.assert_allclose(jax.vjp(end.collect, links)[1](species)[0], spread, atol=1e-12)
        np.testing.assert_allclose(jax.vjp(end.spread, species)[1](links)[0], collected, atol=1e-12)
