"""Populations by the hour: the community in the limit, ledger, devices, checkpoints, and births."""

from __future__ import annotations

from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bioclip_jax.errors import UserError
from bioclip_jax.twin.animals import (
    LEDGER,
    Ecology,
    Grid,
    Habitat,
    History,
    Population,
    populate,
    residual,
    simulate_population,
    stocks,
)
from bioclip_jax.twin.community import Blueprint, Community, simulate, steady_conditions

# kg/km², away from the balance of 2e4, 300 and 60.
START = np.array([1.4e4, 390.0, 45.0])
# All tests in space share a shape, and so one compiled program.
CAPACITY, HOURS = 4096, 72


@pytest.fixture(scope="module")
def community() -> Community:
    """Grass, voles and weasels that live six times as fast as real ones, so that tests are short."""
    with jax.enable_x64(True):
        base = Community.create(
            ["Grass", "Microtus", "Mustela"],
            [(0, 1), (1, 2)],
            producer=[True, False, False],
            mass_kg=[1e-3, 0.03, 0.06],
            metabolism=[0.0, 0.36, 0.3],
            mortality=[0.0, 0.024, 0.048],
            growth=[0.48, 0.0, 0.0],
            efficiency=[0.45, 0.85],
            hill=1.2,
        )
        balance, growth = jnp.array([2e4, 300.0, 60.0]), jnp.array([0.0, 0.3, 0.18])
        return Blueprint(base, balance, growth, jnp.array([0.0, 0.3, 0.5])).build()


def in_space(community: Community) -> Ecology:
    """0.24 km² in 36 cells, some dry, some steep."""
    random = np.random.default_rng(0)
    water, slope = random.uniform(0, 2000, (6, 6)), random.uniform(0, 30, (6, 6))
    grid = Grid(600.0, 400.0, 6, 6, periodic=False)
    return Ecology.create(community, Habitat.create(grid, water_m=water, slope=slope))


def run(ecology: Ecology, seed: int = 3, hours: int = HOURS, **options: object) -> tuple[Population, History]:
    start = populate(ecology, START, seed, capacity=CAPACITY)
    return simulate_population(ecology, start, hours, record_hours=1, **options)


def assert_same_bytes(ours: tuple, expected: tuple) -> None:
    for (path, one), other in zip(jax.tree_util.tree_leaves_with_path(ours), jax.tree.leaves(expected)):
        same = np.asarray(one).tobytes() == np.asarray(other).tobytes()
        assert same, f"{jax.tree_util.keystr(path)} differs"


@pytest.fixture(scope="module")
def three_days(community: Community) -> tuple[Population, History]:
    return run(in_space(community))


def test_well_mixed_limit_is_the_community(community: Community) -> None:
    ecology = Ecology.create(community, Habitat.well_mixed(0.6))
    population = populate(ecology, START, 0, capacity=10_000)
    _, history = simulate_population(ecology, population, 24 * 10)
    with jax.enable_x64(True):
        conditions = steady_conditions(community, 10)
        expected = simulate(community, history.biomass[:1], conditions, jnp.full(10, 1.0)).biomass[:, 0]
    changed = np.ptp(np.log(expected), axis=0)
    assert (changed > 0.1).all(), f"too little happens to compare: {changed}"
    # In this time one of three of the 420 weasels dies, a Poisson number: 3 % of their biomass either way, of
    # which the voles feel half. With 100,000 animals all three are within 1 % (README of the room).
    difference = np.abs(history.biomass / np.asarray(expected) - 1).max(axis=0)
    assert (difference < [0.03, 0.05, 0.08]).all(), f"largest differences are {difference}"


def test_ledger_explains_all_that_changes(community: Community, three_days: tuple) -> None:
    start = populate(in_space(community), START, 3, capacity=CAPACITY)
    after, history = three_days
    assert residual(start, after) < 1e-12
    booked = dict(zip(LEDGER, np.moveaxis(history.ledger[-1], -1, 0)))
    assert min(booked["grown"][0], *booked["eaten"][1:], booked["killed"][1], booked["died"][1]) > 0
    np.testing.assert_allclose(booked["egested"], booked["eaten"] - booked["assimilated"], rtol=1e-9)
    with jax.enable_x64(True):
        assert abs(float(stocks(after)) - float(stocks(start))) > 100, "too little changed to be explained"


def test_same_bytes_on_one_device_as_on_eight(community: Community, three_days: tuple) -> None:
    assert len(jax.devices()) == 8
    assert_same_bytes(run(in_space(community), devices=jax.devices()), three_days)


def test_resumed_run_equals_an_undisturbed_one(
    community: Community, three_days: tuple, tmp_path: Path
) -> None:
    ecology = in_space(community)
    options = {"checkpoint": tmp_path / "population.npz", "checkpoint_hours": 24}

    def stop(history: History) -> None:
        if history.hours[-1] == 50:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(ecology, progress=stop, **options)
    hours = []
    resumed = run(ecology, progress=lambda history: hours.append(history.hours[-1]), **options)
    assert hours[0] == 49, f"the run resumed from hour {hours[0] - 1}, not from the checkpoint of hour 48"
    assert_same_bytes(resumed, three_days)

    with pytest.raises(UserError, match="is the checkpoint of another run"):
        run(ecology, seed=4, **options)
    options["checkpoint"].write_bytes(options["checkpoint"].read_bytes()[:1000])
    with pytest.raises(UserError, match="is not a checkpoint of a population, or damaged"):
        run(ecology, **options)


def test_animals_have_identities_of_their_own(three_days: tuple) -> None:
    animals = three_days[0].animals
    alive = np.asarray(animals.alive)
    names = np.stack(animals.identity, axis=1)[alive]
    assert (np.asarray(animals.born)[alive] > 0).sum() > 100
    assert len(np.unique(names, axis=0)) == alive.sum()
    assert np.asarray(animals.energy)[alive].min() > 0
    inside = np.asarray(animals.position)[alive]
    assert ((inside >= 0) & (inside <= [600, 400])).all()


def test_removing_an_animal_leaves_all_others_their_steps(community: Community) -> None:
    """In the first hour, when it does not yet matter what the removed one would have eaten."""
    ecology = in_space(community)
    start = populate(ecology, START, 3, capacity=CAPACITY)
    without = eqx.tree_at(lambda one: one.animals.alive, start, start.animals.alive.at[7].set(False))
    flat = eqx.tree_at(lambda one: (one.selection.food, one.selection.risk), ecology, (np.zeros(3),) * 2)
    both = [simulate_population(flat, one, 1, record_hours=1)[0].animals for one in (start, without)]
    # Those that have died meanwhile may have left their slots to newborns.
    others = np.asarray(both[0].alive & both[1].alive & (both[0].born == 0) & (both[1].born == 0))
    assert others.sum() > 2000 and not others[7]
    for name in ("position", "heading"):
        np.testing.assert_array_equal(*(np.asarray(getattr(one, name))[others] for one in both))


def test_births_without_a_free_slot_are_an_error(community: Community) -> None:
    ecology = in_space(community)
    founders = int(populate(ecology, START, 3).animals.alive.sum())
    crowd = populate(ecology, START * (CAPACITY - 20) / founders, 3, capacity=CAPACITY)
    with pytest.raises(UserError, match=r"newborns found no free slot between hours .* raise the capacity"):
        # Food in plenty, so that births outnumber deaths.
        rich = eqx.tree_at(lambda one: one.fields.plants, crowd, np.asarray(crowd.fields.plants) * 10)
        simulate_population(ecology, rich, HOURS, record_hours=1)
    with pytest.raises(UserError, match="do not fit into a capacity of 10; raise it"):
        populate(ecology, START, 3, capacity=10)


def test_animals_avoid_slopes(community: Community) -> None:
    steep = np.zeros((6, 6))
    steep[:, 3:] = 40.0
    habitat = Habitat.create(Grid(600.0, 400.0, 6, 6, periodic=False), slope=steep)
    ecology = Ecology.create(community, habitat, selection={"slope": -0.1}, life={"step_m": 150.0})
    after, _ = run(ecology, hours=24)
    alive = np.asarray(after.animals.alive)
    on_slope = (np.asarray(after.animals.position)[alive, 0] > 300).mean()
    # The odds of a steep candidate are exp(-4): an animal there leaves it, and one on the flat stays.
    assert on_slope < 0.1, f"{on_slope:.2f} of the animals are on the slope"


def test_energies_must_ascend(community: Community) -> None:
    with pytest.raises(UserError, match=r"Grass: starvation \(0.35\), newborn \(0.2\)"):
        Ecology.create(community, Habitat.well_mixed(1.0), life={"newborn": 0.2})
    with pytest.raises(UserError, match="animals have no parameter 'size'"):
        Ecology.create(community, Habitat.well_mixed(1.0), life={"size": 0.2})
