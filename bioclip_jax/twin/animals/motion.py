"""Bodies in motion: bounded turning and acceleration, obstacles, and no overlap of bodies."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from .actors import STEP_S, Actors
from .ground import Ground, look_up

# Turning in place, radians a second: calm and in flight or chase. Sideways acceleration bounds it at speed.
_TURN_CALM, _TURN_FAST = 0.9, 2.6
_SIDEWAYS = 7.0
_BRAKING = 5.0
_CALM_ACCELERATION = 1.0
# Smoothing time of wishes, seconds, calm and fast.
_SMOOTH_CALM, _SMOOTH_FAST = 1.2, 0.3
_EDGE_M = 70.0
# Overlap, in radii, that an animal bears.
_TOUCH = 0.12


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


def crowding(
    position: Float[Array, "animals 2"],
    radius: Float[Array, " animals"],
    weight: Float[Array, " animals"],
    solid: Bool[Array, " animals"],
) -> Float[Array, "animals 2"]:
    """Return how far each body must go to be clear of those it overlaps, m; of two the heavier goes less.

    weight: how much an animal gives way. solid: has a body that others cannot enter.
    """
    n = position.shape[0]
    offset = [along[None, :] - along[:, None] for along in position.T]
    distance = jnp.sqrt(sum(o * o for o in offset) + 1e-6)
    overlap = radius[:, None] + radius[None, :] - distance
    pair = solid[:, None] & solid[None, :] & ~jnp.eye(n, dtype=bool) & (overlap > 0)
    share = weight[:, None] / (weight[:, None] + weight[None, :])
    force = jnp.where(pair, share * overlap / distance, 0)
    # Σ force × offset, as a product of matrices.
    middle = position - position.mean(0)
    sums = force @ jnp.hstack([middle, jnp.ones((n, 1))])
    return middle * sums[:, 2:] - sums[:, :2]


def make_room(
    actors: Actors,
    push: Float[Array, "animals 2"],
    wish: Float[Array, "animals 2"],
    speed: Float[Array, " animals"],
) -> tuple[Float[Array, "animals 2"], Float[Array, " animals"]]:
    """Return wish and speed of animals that step out of each other's way, or stop where there is no room."""
    strength = push / actors.radius[:, None]
    crowded = jnp.linalg.norm(strength, axis=1) > _TOUCH
    both = unit(wish) * jnp.clip(speed / actors.walking, 0, 1)[:, None] + 1.6 * strength
    size = jnp.linalg.norm(both, axis=1)
    pace = jnp.where(size > 0.35, 0.75 * actors.walking * jnp.clip(size, 0, 1), 0.0)
    return jnp.where(crowded[:, None], both, wish), jnp.where(crowded, pace, speed)


def yield_to(
    push: Float[Array, "animals 2"], speed: Float[Array, " animals"], still: Bool[Array, " animals"]
) -> Float[Array, "animals 2"]:
    """Return the part of a push that moves a body in this step: less than it runs, nothing if it stands."""
    length = jnp.linalg.norm(push, axis=1)
    most = jnp.where(still | (speed < 0.15), 0.0, 0.03 + 0.3 * speed * STEP_S)
    return push * jnp.minimum(1, most / jnp.maximum(length, 1e-6))[:, None]
