"""Case 9 in short, and the zones of Couzin et al. by hand."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bioclip_jax.twin.animals import Zones, perturb, polarization, rotation, turn_toward, zone_direction
from bioclip_jax.twin.validate import couzin

ZONES = Zones(1.0, 3.0, 6.0, math.radians(270))
EAST, NORTH = [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]


FAR = [90.0, 90.0, 90.0]
direction_of = jax.jit(zone_direction)


def wanted(others):
    """Direction that an individual at the origin, on its way east, wants; others are on their way north."""
    position = jnp.array([[0.0, 0.0, 0.0], *others, *[FAR] * (2 - len(others))])
    return np.asarray(direction_of(position, jnp.array([EAST, NORTH, NORTH]), ZONES)[0])


@pytest.mark.parametrize(
    ("others", "expected"),
    [
        ([], [1, 0, 0]),
        ([[0.0, 0.0, 0.5]], [0, 0, -1]),  # repelled
        ([[2.0, 0.0, 0.0]], [1, 1, 0]),  # its own direction and the neighbor's
        ([[0.0, 0.0, 4.0]], [0, 0, 1]),  # attracted
        ([[2.0, 0.0, 0.0], [0.0, 0.0, 4.0]], [1, 1, 1]),  # both
        ([[0.5, 0.0, 0.0], [0.0, 0.0, 4.0]], [-1, 0, 0]),  # repulsion comes first
        ([[-4.0, 0.0, 0.5]], [1, 0, 0]),  # in the blind cone
        ([[-0.5, 0.0, 0.0]], [1, 0, 0]),  # repelled from behind
        ([[9.0, 0.0, 9.0]], [1, 0, 0]),  # out of sight
    ],
)
def test_zones_by_hand(others, expected):
    np.testing.assert_allclose(wanted(others), np.array(expected) / np.linalg.norm(expected), atol=1e-5)


def test_zones_work_in_two_dimensions_and_heed_only_neighbors():
    position, direction = jnp.array([[0.0, 0.0], [4.0, 0.0], [0.0, 4.0]]), jnp.array([[1.0, 0.0]] * 3)
    heeds = jnp.array([[False, False, True], [False] * 3, [False] * 3])
    np.testing.assert_allclose(zone_direction(position, direction, ZONES, heeds)[0], [0, 1], atol=1e-6)


def test_turning_is_bounded_and_noise_has_its_angle():
    direction, other = jnp.array([EAST]), jnp.array([NORTH])
    turned = np.asarray(turn_toward(direction, other, 0.3)[0])
    np.testing.assert_allclose(turned, [math.cos(0.3), math.sin(0.3), 0], atol=1e-6)
    np.testing.assert_allclose(turn_toward(direction, other, 2.0)[0], NORTH, atol=1e-6)
    random = np.random.default_rng(0)
    many = perturb(jnp.tile(direction, (20000, 1)), jnp.asarray(random.standard_normal((20000, 4))), 0.05)
    angle = np.arccos(np.clip(np.asarray(many, float)[:, 0], -1, 1))
    assert abs(np.sqrt((angle**2).mean()) - 0.05) < 0.001, "root mean square of the angles"


def test_polarization_and_rotation_of_known_groups():
    angle = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    ring = jnp.asarray(np.stack([np.cos(angle), np.sin(angle), 0 * angle], 1))
    around = jnp.asarray(np.stack([-np.sin(angle), np.cos(angle), 0 * angle], 1))
    np.testing.assert_allclose(float(rotation(3 * ring, around)), 1, atol=1e-6)
    np.testing.assert_allclose(float(polarization(around)), 0, atol=1e-6)
    np.testing.assert_allclose(float(polarization(jnp.tile(jnp.array([EAST]), (5, 1)))), 1, atol=1e-6)


def test_a_group_of_fifty_is_a_torus_or_parallel_depending_on_its_past():
    """The same width of the zone of orientation, after a narrow and after a wide one."""
    widths = np.array([[0.0, 2.5], [10.0, 2.5]]).repeat(3, axis=0)
    polar, turning = couzin.simulate_groups(widths, 0, 700, individuals=50)
    swarm, parallel = slice(0, 3), slice(3, 6)
    assert len(set(polar[:, 0])) == 6, "groups have random numbers of their own"
    assert polar[swarm, 0].mean() < 0.4 and turning[swarm, 0].mean() < 0.4, (polar, turning)
    assert polar[parallel, 0].min() > 0.95, f"parallel groups have polarization {polar[parallel, 0]}"
    assert polar[parallel, 1].mean() - polar[swarm, 1].mean() > 0.3, f"no hysteresis: {polar[:, 1]}"
    assert turning[swarm, 1].mean() > 0.5 > turning[parallel, 1].mean() + 0.2, f"no torus: {turning[:, 1]}"
