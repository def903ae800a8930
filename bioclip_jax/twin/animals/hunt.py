"""Hunters: they agree on a quarry, stalk or walk up, chase while their breath lasts, and catch it or not.

Distances, breath and the chance of a catch are assumed; together about one hunt in six succeeds.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from .actors import CARNIVORE_SLOTS, CHASE, FEED, IDLE, SPENT, STALK, STEP_S, Actors, Moment
from .motion import ahead, unit
from .traits import STAND

# Seconds after which hunters run from where they are, or give up; m to the quarry for either.
_PATIENCE_S, _LAST_CHANCE_M = 55.0, 48.0
_GIVE_UP_S, _GIVE_UP_M = 72.0, 58.0
# A hunter that is watched from within so many m stops creeping, most of the time.
_WATCHED_M = 42.0
_JOIN_M, _JOIN_RATE = 75.0, 1.2
_GRIP_M, _GRIP_CHANCE = 0.7, 0.15
_SLIP_S, _SLIP_SPEED = 2.0, 0.5


class Hunt(NamedTuple):
    """Hunters after a step: phase, seconds in it, target, and wishes; quarry and kill as in Moment."""

    phase: Int[Array, " animals"]
    busy: Float[Array, " animals"]
    target: Int[Array, " animals"]
    speed: Float[Array, " animals"]
    quarry: Int[Array, ""]
    kill: Int[Array, ""]
    wish: Float[Array, "animals 2"]
    wanted_speed: Float[Array, " animals"]


def hunt(
    actors: Actors,
    now: Moment,
    time_s: Float[Array, ""],
    luck: Float[Array, " animals"],
    other: Float[Array, " animals"],
) -> Hunt:
    """Return the hunters' next phases and wishes. luck, other: uniform numbers."""
    eligible = actors.quarry & actors.present & ~now.dead
    quarry = _choose_quarry(actors, now, eligible)
    way = ahead(now.heading)
    aim = jnp.where(now.phase == CHASE, now.target, quarry)
    at = jnp.maximum(aim, 0)
    to_aim = now.position[at] - now.position
    distance = jnp.where(aim >= 0, jnp.linalg.norm(to_aim, axis=1), 1e4)
    phase, busy = now.phase, now.busy + STEP_S
    stalking, chasing = phase == STALK, phase == CHASE

    # What a chase begins with, or ends a stalk without one.
    in_flight = now.flight[at] > 0
    joined = chasing.any() & (distance < _JOIN_M) & (luck < 1 - jnp.exp(-_JOIN_RATE * STEP_S))
    bolted = in_flight & (distance < _LAST_CHANCE_M)
    impatient = (busy > _PATIENCE_S) & (distance < _LAST_CHANCE_M)
    near = distance < actors.launch
    launches = stalking & (near | joined | bolted | impatient)
    lost = (in_flight & (distance > _GIVE_UP_M)) | ((busy > _GIVE_UP_S) & (distance > _LAST_CHANCE_M))
    gives_up = stalking & ~launches & lost & ~chasing.any()
    begins = actors.hunter & (phase == IDLE) & (time_s > actors.wait) & (quarry >= 0) & (now.kill < 0)

    # A nearer animal distracts at the start of a chase.
    apart = jnp.where(eligible[:, None], _offsets(now)[2], 1e4)
    nearest, gap = (_to_all(of(apart, axis=0), len(phase)) for of in (jnp.argmin, jnp.min))
    changes = chasing & (busy < 3) & (gap < 0.6 * distance)
    target = jnp.where(launches, quarry, jnp.where(changes, nearest, now.target))

    touching = (
        chasing & (distance < actors.radius + actors.radius[at] + _GRIP_M) & eligible[at] & (now.kill < 0)
    )
    grips = touching & (luck < _GRIP_CHANCE)
    slips = touching & ~grips
    kill = jnp.where(grips.any(), target[grips.argmax()], now.kill)
    spent = chasing & (busy > actors.stamina)
    feeding = actors.hunter & (kill >= 0) & (phase != FEED)

    following = jnp.where(launches, CHASE, jnp.where(gives_up | spent, SPENT, phase))
    following = jnp.where(begins, STALK, following)
    following = jnp.where(feeding, FEED, following)
    busy = jnp.where(following != phase, 0.0, busy + jnp.where(slips, _SLIP_S, 0.0))
    target = jnp.where(feeding, kill, jnp.where(following == STALK, quarry, target))
    wish, wanted = _wishes(actors, now, following, busy, quarry, target, other, way)
    return Hunt(
        phase=following,
        busy=busy,
        target=target,
        speed=now.speed * jnp.where(slips, _SLIP_SPEED, 1.0),
        quarry=quarry,
        kill=kill,
        wish=wish,
        wanted_speed=wanted,
    )


def _offsets(now: Moment) -> tuple[Float[Array, "animals carnivores"], ...]:
    """Return the way east and north from each carnivore to each animal, and its length."""
    east, north = (along[:, None] - along[None, :CARNIVORE_SLOTS] for along in now.position.T)
    return east, north, jnp.sqrt(east**2 + north**2 + 1e-6)


def _to_all(values: Array, n: int) -> Array:
    """Return values of carnivores with zeros for the other slots, of which none hunts."""
    return jnp.concatenate([values, jnp.zeros(n - CARNIVORE_SLOTS, values.dtype)])


def _choose_quarry(actors: Actors, now: Moment, eligible: Bool[Array, " animals"]) -> Int[Array, ""]:
    """Return the animal nearest to the hunters, the young and those of a fortunate temper preferred.

    They keep their quarry unless another is much better.
    """
    waiting = actors.hunter & ((now.phase == IDLE) | (now.phase == STALK))
    n = jnp.maximum(waiting.sum(), 1)
    middle = (waiting[:, None] * now.position).sum(0) / n
    cost = jnp.linalg.norm(now.position - middle, axis=1) - actors.preference
    cost = jnp.where(eligible, cost, 1e6)
    best = cost.argmin()
    kept = (now.quarry >= 0) & (cost[jnp.maximum(now.quarry, 0)] < cost[best] + 9)
    chosen = jnp.where(kept, now.quarry, best)
    return jnp.where(waiting.any() & eligible.any(), chosen, -1).astype(jnp.int32)


def _wishes(
    actors: Actors,
    now: Moment,
    phase: Int[Array, " animals"],
    busy: Float[Array, " animals"],
    quarry: Int[Array, ""],
    target: Int[Array, " animals"],
    luck: Float[Array, " animals"],
    way: Float[Array, "animals 2"],
) -> tuple[Float[Array, "animals 2"], Float[Array, " animals"]]:
    """Return direction and speed by phase; those of a carcass come from carrion."""
    to_quarry = now.position[jnp.maximum(quarry, 0)] - now.position
    distance = jnp.linalg.norm(to_quarry, axis=1)
    # Flanking: from the side while far, straight when near.
    angle = actors.fan * jnp.clip(distance / 45 - 0.25, 0, 1)
    cosine, sine = jnp.cos(angle), jnp.sin(angle)
    x, y = unit(to_quarry).T
    creep = jnp.stack([x * cosine - y * sine, x * sine + y * cosine], axis=1)
    # Prey that looks this way.
    east, north, gap = _offsets(now)
    faced = -(east * way[:, :1] + north * way[:, 1:]) > 0.5 * gap
    looks = actors.prey & actors.present & ~now.dead & ((now.bout == STAND) | (now.alert > 0))
    watched = (looks[:, None] & faced & (gap < _WATCHED_M * (0.4 + 0.6 * actors.light))).any(0)
    watched = _to_all(watched, len(phase))
    freezes = watched & actors.stealth & ((busy + 5 * actors.fan) % 6.0 < 3.2)
    pace = jnp.where(distance > 45, 1.2, 0.85) * actors.walking
    pace = jnp.where(freezes, 0.0, jnp.where(actors.stealth, pace, 1.3 * actors.walking))

    at = jnp.maximum(target, 0)
    lead = jnp.clip(jnp.linalg.norm(now.position[at] - now.position, axis=1) / (now.speed + 4), 0, 1.2)
    aim = now.position[at] + lead[:, None] * now.speed[at][:, None] * way[at] - now.position
    # Side by side rather than one behind the other.
    aside = jnp.stack([-aim[:, 1], aim[:, 0]], axis=1)
    aim = aim + 0.3 * actors.fan[:, None] * aside
    stroll = jnp.where(busy < 5, 0.6 * actors.walking, 0.0)
    wish = jnp.where((phase == STALK)[:, None], creep, jnp.where((phase == CHASE)[:, None], unit(aim), way))
    speed = jnp.where(phase == STALK, pace, jnp.where(phase == CHASE, actors.top_speed, stroll))
    return wish, jnp.where((phase == SPENT) | (phase == STALK) | (phase == CHASE), speed, 0.0)
