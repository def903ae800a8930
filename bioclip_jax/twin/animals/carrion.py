"""Animals at a carcass: the stronger eat, the weaker wait around them, vultures circle and come down."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from .actors import FEED, ROOSTING_LIGHT, STEP_S, Actors, Moment
from .motion import ahead, unit

# Assumed: how far a carcass draws scavengers, how near an eater keeps weaker ones off, and vultures' circles.
_DRAWN_M, _HELD_M = 300.0, 10.0
_CIRCLE_M, _SOARING = 48.0, 8.5
_COME_DOWN_RATE = 0.035
_TROT = 2.3


class Carrion(NamedTuple):
    """Wishes of eaters; animals that are `drawn` follow them. eats: has its head in the carcass."""

    drawn: Bool[Array, " animals"]
    eats: Bool[Array, " animals"]
    aloft: Bool[Array, " animals"]
    phase: Int[Array, " animals"]
    target: Int[Array, " animals"]
    wish: Float[Array, "animals 2"]
    speed: Float[Array, " animals"]


def _strongest(actors: Actors, now: Moment, there: Bool[Array, " animals"], carcass: Int[Array, ""]) -> Array:
    """Return the greatest rank of those at a carcass."""
    gap = jnp.linalg.norm(now.position - now.position[jnp.maximum(carcass, 0)], axis=1)
    return jnp.where(there & (gap < _HELD_M), actors.rank, 0).max()


def _circle(actors: Actors, now: Moment, center: Float[Array, "animals 2"]) -> Float[Array, "animals 2"]:
    """Return the directions of vultures that circle about a center."""
    arm = center - now.position
    reach = jnp.linalg.norm(arm, axis=1)
    circle = _CIRCLE_M * (0.7 + 0.06 * actors.holds)
    arm = unit(arm)
    tangent = jnp.stack([arm[:, 1], -arm[:, 0]], axis=1)
    return tangent + jnp.clip((reach - circle) / circle, -1, 1)[:, None] * arm


def at_carcass(
    actors: Actors,
    now: Moment,
    phase: Int[Array, " animals"],
    kill: Int[Array, ""],
    luck: Float[Array, " animals"],
) -> Carrion:
    """Return what eaters want of the carcass that draws them. luck: uniform numbers."""
    old = jnp.where(actors.carcass >= 0, actors.carcass, kill)
    target = jnp.where(phase == FEED, jnp.where(actors.hunter, kill, old), old)
    sleeping = actors.light < ROOSTING_LIGHT
    # Lions, of the highest rank, eat what they have killed.
    scavenger = actors.eats & ~actors.hunter & (actors.rank < 4) & ~(actors.flies & sleeping)
    at = jnp.maximum(target, 0)
    to = now.position[at] - now.position
    distance = jnp.linalg.norm(to, axis=1)
    drawn = (
        actors.present
        & (target >= 0)
        & ((scavenger & (distance < _DRAWN_M)) | ((phase == FEED) & actors.hunter))
    )
    drawn = drawn & ~now.dead

    # Strength of the strongest at each animal's carcass.
    there = actors.present & ~now.dead & ~now.aloft & actors.eats & (now.phase == FEED)
    strongest = jnp.where(
        target == kill, _strongest(actors, now, there, kill), _strongest(actors, now, there, old)
    )
    feeding_at = actors.radius + 0.8 * actors.radius[at] + 0.15
    ring = jnp.where(strongest > actors.rank, jnp.maximum(actors.holds, feeding_at), feeding_at)
    excess = distance - ring
    inward = unit(to)
    reached = excess < 0.45
    pace = jnp.where(excess > 18, _TROT, 1.0) * actors.walking * jnp.clip(excess / 2, 0.3, 1)
    leaves = excess < -2.5
    speed = jnp.where(leaves, actors.walking, jnp.where(reached, 0.0, pace))
    wish = jnp.where(leaves[:, None], -inward, inward)

    comes_down = drawn & now.aloft & (luck < 1 - jnp.exp(-_COME_DOWN_RATE * STEP_S))
    descending = now.aloft & ((now.phase == FEED) | comes_down)
    center = jnp.where(drawn[:, None], now.position[at], actors.goal)
    wish = jnp.where(
        now.aloft[:, None], jnp.where(descending[:, None], inward, _circle(actors, now, center)), wish
    )
    gliding = jnp.clip(0.45 * excess, 0.8, _SOARING)
    speed = jnp.where(now.aloft, jnp.where(descending, gliding, _SOARING), speed)
    lands = descending & (excess < 2.0) & (now.speed < 3.0)
    aloft = now.aloft & ~lands

    engaged = drawn & ~aloft | descending
    grounded = drawn & ~now.aloft
    return Carrion(
        drawn=drawn | now.aloft,
        eats=grounded & reached & ~(strongest > actors.rank),
        aloft=aloft,
        phase=jnp.where(engaged & (actors.flies | (grounded & reached)), FEED, phase),
        target=jnp.where(drawn, target, -1),
        wish=jnp.where((drawn | now.aloft)[:, None], wish, ahead(now.heading)),
        speed=speed,
    )
