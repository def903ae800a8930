"""Case 8 in short: webs of the niche model, and the bioenergetic model against SciPy."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from bioclip_jax.twin.community import simulate, steady_conditions
from bioclip_jax.twin.validate import bioenergetic, niche, persistence


def test_niche_webs_have_their_connectance_and_feed_on_producers():
    random = np.random.default_rng(0)
    webs = [niche.niche_web(30, 0.15, random) for _ in range(40)]
    connectance = np.array([web.mean() for web in webs])
    assert np.abs(connectance - 0.15).max() <= 0.02
    for web in webs:
        producer = ~web.any(axis=0)
        level = niche.trophic_levels(web)
        assert (level[producer] == 1).all() and (level[~producer] > 1.99).all(), level
        # A range of niche values: what a species eats is contiguous.
        for prey in web.T[~producer]:
            assert np.ptp(np.flatnonzero(prey)) == prey.sum() - 1, np.flatnonzero(prey)


def test_trophic_levels_of_a_web_by_hand():
    """0 is a producer, 1 eats 0, 2 eats 0 and 1 equally, 3 eats 2 and itself."""
    web = np.zeros((4, 4), bool)
    web[[0, 0, 1, 2, 3], [1, 2, 2, 3, 3]] = True
    # For 3: T = 1 + (2.5 + T) / 2, so T = 4.5.
    np.testing.assert_allclose(niche.trophic_levels(web), [1, 2, 2.5, 4.5])


@pytest.mark.parametrize(("hill", "interference"), [(1.0, 0.0), (1.0, 1.0), (2.0, 0.0)])
def test_the_community_follows_the_bioenergetic_model(hill, interference):
    """Three species and omnivory, against the equations as published, by SciPy."""
    x, y, b0 = np.array([0.0, 0.3, 0.1]), 8.0, 0.5
    weight = np.array([[0, 1, 0.5], [0, 0, 0.5], [0, 0, 0]])  # [resource, consumer]
    efficiency = np.array([[1, 0.45, 0.45], [1, 1, 0.85], [1, 1, 1]])
    growth = np.array([1.0, 0.0, 0.0])

    def change(_, biomass):
        food = weight * biomass[:, None] ** hill
        share = food / (b0**hill * (1 + interference * biomass) + food.sum(0))
        gain = x * y * share * biomass
        return growth * (1 - biomass) * biomass - x * biomass + gain.sum(0) - (gain / efficiency).sum(1)

    start = np.array([0.6, 0.2, 0.1])
    expected = solve_ivp(change, (0, 60), start, rtol=1e-10, atol=1e-12).y[:, -1]
    links = [(0, 1), (0, 2), (1, 2)]
    with jax.enable_x64(True):
        community = bioenergetic.bioenergetic_community(
            links,
            growth=jnp.asarray(growth),
            metabolism=jnp.asarray(x),
            maximum=jnp.full(3, y),
            efficiency=jnp.array([efficiency[link] for link in links]),
            preference=jnp.array([weight[link] for link in links]),
            interference=interference,
            half_saturation=b0,
            hill=hill,
        )
        conditions = steady_conditions(community, 1)
        end = jax.jit(simulate, static_argnames="tolerance")(
            community, jnp.asarray(start)[None], conditions, jnp.array([60.0]), tolerance=1e-8
        )
    np.testing.assert_allclose(end.biomass[-1, 0], expected, rtol=1e-5)


def test_an_ensemble_has_the_links_and_the_producers_of_each_web():
    ensemble = persistence.draw_webs(3, 0, species=12)
    links = np.array(ensemble.links)
    eats = np.zeros((3, 12))
    for web in range(3):
        np.add.at(eats[web], links[:, 1], ensemble.preference[web])
    np.testing.assert_allclose(eats, ~ensemble.producer, atol=1e-12, err_msg="preferences of a consumer")
    herbivory = ensemble.efficiency == 0.45
    np.testing.assert_array_equal(herbivory, ensemble.producer[:, links[:, 0]])


def test_persistence_rises_with_the_ratio_of_masses():
    study = persistence.study_persistence(webs=4, species=12, ratios=(1.0, 100.0))
    for name in ("invertebrates", "ectotherm vertebrates"):
        low, high = study[name]["persistence"]
        assert 0 < low < high <= 1, f"{name}: {study[name]}"
