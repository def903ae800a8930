"""Bodies in motion: bounded turning and acceleration, obstacles, and no overlap of bodies."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from .actors import STEP_S, Actors
from .ground import Ground, look_up

# Turning in place, radians a second: calm and in flight or chase. Sideways acceleration bounds it at speed.
_TURN_CALM, _TURN_FAST = 0.9, 3.2
_SIDEWAYS = 7.0
_BRAKING = 5.0
_CALM_ACCELERATION = 1.0
# Smoothing time of wishes, seconds, calm and fast.
_SMOOTH_CALM, _SMOOTH_FAST = 1.2, 0.3
_EDGE_M = 70.0


def unit(vectors: Float[Array, "*batch 2"]) -> Float[Array, "*batch 2"]:
    """Return vectors of length 1, and 0 for 0."""
    return vectors / jnp.maximum(jnp.linalg.norm(vectors, axis=-1, keepdims=True), 1e-6)


def ahead(heading: Float[Array, " animals"]) -> Float[Array, "animals 2"]:
    """Return the unit vectors of headings."""
    return jnp.stack([jnp.cos(heading), jnp.sin(heading)], axis=-1)


def smooth_wish(
    before: Float[Array, "animals 2"], wish: Float[Array, "animals 2"], fast: Bool[Array, " animals"]
) -> Float[Array, "animals 2"]:
    """Return wishes averaged over the last moments, so that nobody jitters."""
    share = 1 - jnp.exp(-STEP_S / jnp.where(fast, _SMOOTH_FAST, _SMOOTH_CALM))[:, None]
    return before + share * (wish - before)


def avoid(
    actors: Actors,
    ground: Ground,
    position: Float[Array, "animals 2"],
    wish: Float[Array, "animals 2"],
    heading: Float[Array, " animals"],
    speed: Float[Array, " animals"],
) -> Float[Array, "animals 2"]:
    """Bend wishes around obstacles that are near or ahead, and back from the edge of the land."""
    wish = unit(wish)
    way = ahead(heading)
    margin = (1.2 + 3 * actors.radius)[:, None]
    for seconds in (0.0, 0.9):
        spot = position + way * ((actors.radius + speed * seconds)[:, None])
        clearance, away = look_up(ground.clearance, spot)
        # Along the obstacle, on the side that is nearer to the wish, and away from it.
        away = unit(away)
        along = jnp.stack([-away[:, 1], away[:, 0]], axis=1)
        along = along * jnp.where((along * way).sum(1) >= 0, 1, -1)[:, None]
        near = jnp.clip((margin - clearance[:, None]) / margin, 0, 1)
        wish = jnp.where(
            actors.flies[:, None], wish, unit((1 - near) * wish + near * (0.9 * along + 1.1 * away))
        )
    middle = actors.extent / 2
    outward = jnp.clip((jnp.abs(position - middle) - (middle - _EDGE_M)) / _EDGE_M, 0, 1)
    return wish - 2 * outward * jnp.sign(position - middle)


def move(
    actors: Actors,
    ground: Ground,
    position: Float[Array, "animals 2"],
    heading: Float[Array, " animals"],
    speed: Float[Array, " animals"],
    wish: Float[Array, "animals 2"],
    wanted_speed: Float[Array, " animals"],
    fast: Bool[Array, " animals"],
    still: Bool[Array, " animals"],
) -> tuple[Float[Array, "animals 2"], Float[Array, " animals"], Float[Array, " animals"]]:
    """Return position, heading and speed after a step.

    wish: direction; wanted_speed: m/s along it. fast: in flight or chase. still: neither moves nor
    turns. Turning is bounded in place, and at speed by a sideways acceleration; who must turn far slows down.
    """
    error = jnp.arctan2(wish[:, 1], wish[:, 0]) - heading
    error = (error + jnp.pi) % (2 * jnp.pi) - jnp.pi
    error = jnp.where((wish**2).sum(1) < 1e-8, 0, error)
    rate = jnp.minimum(jnp.where(fast, _TURN_FAST, _TURN_CALM), _SIDEWAYS / jnp.maximum(speed, 0.5))
    # A proportional approach, so that headings settle rather than overshoot.
    turn = jnp.clip(error * jnp.where(fast, 0.9, 0.35), -rate * STEP_S, rate * STEP_S)
    slow = jnp.clip(jnp.cos(error), 0.15, 1)
    wanted = jnp.where(still, 0, jnp.minimum(wanted_speed * slow, actors.top_speed))
    gain = jnp.where(fast, actors.acceleration, _CALM_ACCELERATION) * STEP_S
    # The nearer to the top speed, the less is left to gain.
    gain = gain * jnp.clip(1.15 - speed / actors.top_speed, 0.15, 1)
    speed = jnp.clip(wanted, speed - jnp.where(still, 2, 1) * _BRAKING * STEP_S, speed + gain)
    speed = jnp.clip(speed, 0, actors.top_speed)
    heading = jnp.where(still, heading, heading + turn)
    moved = position + speed[:, None] * STEP_S * ahead(heading)
    clearance, away = look_up(ground.clearance, moved)
    deep = jnp.clip(0.6 * actors.radius - clearance, 0, 0.3)
    moved = jnp.where(
        (actors.flies | still)[:, None], moved, moved + deep[:, None] * unit(away) * (speed > 0.02)[:, None]
    )
    return jnp.clip(moved, 3.0, actors.extent - 3.0), heading, speed


def part(
    position: Float[Array, "animals 2"],
    radius: Float[Array, " animals"],
    speed: Float[Array, " animals"],
    fixed: Bool[Array, " animals"],
    solid: Bool[Array, " animals"],
) -> Float[Array, "animals 2"]:
    """Push overlapping bodies apart: the one that moves faster gives way; resting and dead ones stay.

    A push is at most as long as the animal walks in a step, or a short step, so that nobody leaps.
    """
    n = position.shape[0]
    weight = jnp.where(fixed, 0.02, 0.4 + speed)
    offset = [along[None, :] - along[:, None] for along in position.T]
    distance = jnp.sqrt(sum(o * o for o in offset) + 1e-6)
    overlap = radius[:, None] + radius[None, :] - distance
    pair = solid[:, None] & solid[None, :] & ~jnp.eye(n, dtype=bool) & (overlap > 0)
    share = weight[:, None] / (weight[:, None] + weight[None, :])
    force = jnp.where(pair, share * overlap / distance, 0)
    # Σ force × offset, as a product of matrices.
    middle = position - position.mean(0)
    push = middle * force.sum(1, keepdims=True) - force @ middle
    length = jnp.linalg.norm(push, axis=1, keepdims=True)
    most = jnp.where(fixed, 0.0, 0.06 + 0.2 * speed * STEP_S)[:, None]
    return position + push * jnp.minimum(1, most / jnp.maximum(length, 1e-6))
