"""Undisturbed animals in their herds, and prey that watches, warns and flees.

Rates and distances are assumed.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from .actors import CARNIVORE_SLOTS, CHASE, IDLE, STALK, STEP_S, Actors, Moment
from .ground import Ground, look_up
from .motion import ahead, unit
from .traits import GRAZE, REST, STAND, STEP, WALK
from .zones import Zones, zone_direction

_VIEW = math.radians(300)
_ALIGN, _REACH_M = 2.5, 45.0
# Rates of noticing a predator next to one, per second, and the distance at which they fall to 1/e by day.
_NOTICE_CHASE, _NOTICE_STALK = (6.0, 120.0), (0.14, 38.0)
# The rate for one that merely walks, and is no stalker.
_NOTICE_WALKING = 0.1
# Less with the head down, lying, and of one that comes from cover.
_HEAD_DOWN, _LYING, _BEHIND_COVER = 0.35, 0.25, 0.55
_COVER_M = 4.0
# Alarm and flight pass from neighbor to neighbor: m, and rates per second and neighbor.
_SPREAD_M, _SPREAD_FLIGHT, _SPREAD_ALERT = 18.0, 1.3, 0.03
# Seconds after watching for which others' alarm does not count.
_UNMOVED_S = 20.0


class Danger(NamedTuple):
    """Perception of prey: direction and distance (m) of the nearest hunter in stalk or chase.

    chaser: distance to the nearest one in chase, m. away: unit vector from those in chase, the nearer the
    more.
    """

    toward: Float[Array, "animals 2"]
    distance: Float[Array, " animals"]
    chaser: Float[Array, " animals"]
    away: Float[Array, "animals 2"]
    noticed: Bool[Array, " animals"]


def perceive(actors: Actors, ground: Ground, now: Moment, luck: Float[Array, " animals"]) -> Danger:
    """Return the danger that prey notices in this step. luck: uniform numbers."""
    first = slice(0, CARNIVORE_SLOTS)
    carnivore = actors.present[first] & ~actors.prey[first]
    phase, speed = now.phase[first], now.speed[first]
    dim = 0.35 + 0.65 * actors.light
    cover = look_up(ground.cover, now.position[first])[0]
    hidden = jnp.where((cover < _COVER_M) & (phase == STALK), _BEHIND_COVER, 1.0)
    walks = speed > 0.3
    creeps = (phase == STALK) | ((phase == IDLE) & walks)
    rate = jnp.where(phase == CHASE, _NOTICE_CHASE[0], jnp.where(creeps, _NOTICE_STALK[0], 0.0))
    rate = jnp.where(walks & ~actors.stealth[first], jnp.maximum(rate, _NOTICE_WALKING), rate)
    reach = jnp.where(phase == CHASE, _NOTICE_CHASE[1], _NOTICE_STALK[1]) * dim * hidden
    # [carnivore, animal]: sums over carnivores are then sums of rows, which XLA vectorizes on CPUs.
    east, north = (along[first, None] - along[None] for along in now.position.T)
    distance = jnp.sqrt(east**2 + north**2 + 1e-6)
    rate, reach, carnivore, chases = (
        rate[:, None],
        reach[:, None],
        carnivore[:, None],
        phase[:, None] == CHASE,
    )
    head = jnp.where(
        (now.bout == GRAZE) | (now.bout == STEP), _HEAD_DOWN, jnp.where(now.bout == REST, _LYING, 1)
    )
    head = jnp.where(now.alert > 0, 1.5, head)
    total = jnp.where(carnivore, rate * jnp.exp(-((distance / reach) ** 2)), 0).sum(0) * head
    ranged = jnp.where(carnivore & (chases | (phase[:, None] == STALK)), distance, 1e4)
    chased = jnp.where(carnivore & chases, distance, 1e4)
    push = jnp.where(chased < 1e3, 1 / (4 + chased) ** 2, 0) / distance
    return Danger(
        toward=unit(now.position[ranged.argmin(0)] - now.position),
        distance=ranged.min(0),
        chaser=chased.min(0),
        away=unit(jnp.stack([-(push * east).sum(0), -(push * north).sum(0)], axis=1)),
        noticed=actors.prey & actors.present & ~now.dead & (luck < 1 - jnp.exp(-total * STEP_S)),
    )


def react(
    actors: Actors,
    now: Moment,
    danger: Danger,
    luck: Float[Array, " animals"],
    length: Float[Array, " animals"],
) -> tuple[Float[Array, " animals"], Float[Array, " animals"]]:
    """Return the seconds that each animal goes on watching and fleeing. luck, length: uniform numbers."""
    prey = actors.prey & actors.present & ~now.dead
    alert, flight = jnp.maximum(now.alert - STEP_S, -_UNMOVED_S), jnp.maximum(now.flight - STEP_S, 0)
    east, north = (along[None] - along[:, None] for along in now.position.T)
    within = east**2 + north**2 < _SPREAD_M**2
    signs = jnp.stack([(now.flight > 0) & prey, (now.alert > 4) & prey], axis=1).astype(jnp.float32)
    neighbors = within.astype(jnp.float32) @ signs
    # Far from the chase, others' flight is only watched.
    near_chase = jnp.exp(-((danger.chaser / 75) ** 2))
    catches = prey & (luck < 1 - jnp.exp(-_SPREAD_FLIGHT * STEP_S * neighbors[:, 0] * near_chase))
    watches = prey & (luck < 1 - jnp.exp(-STEP_S * (_SPREAD_ALERT * neighbors[:, 1] + 0.5 * neighbors[:, 0])))
    close = danger.distance < actors.flight_distance * (0.4 + 0.6 * actors.light)
    flees = (danger.noticed & (close | (danger.chaser < 60))) | catches
    flight = jnp.where(flees & (flight <= 0), 4 + 6 * length, flight)
    # While it is chased it runs on; afterwards it watches.
    flight = jnp.where((flight > 0) & (danger.chaser < 45), jnp.maximum(flight, 2.5), flight)
    # Else a herd would keep itself on the alert for ever.
    watches = watches & (alert <= -_UNMOVED_S)
    alert = jnp.where((danger.noticed & (alert <= 0)) | watches, 5 + 6 * length, alert)
    alert = jnp.where(flight > 0, 4 + 8 * length, alert)
    return jnp.where(prey, alert, -_UNMOVED_S), jnp.where(prey, flight, 0)


def next_bout(
    actors: Actors,
    now: Moment,
    strayed: Bool[Array, " animals"],
    choice: Float[Array, " animals"],
    length: Float[Array, " animals"],
) -> tuple[Int[Array, " animals"], Float[Array, " animals"]]:
    """Return the bouts of animals and what is left of them; strayed ones walk. choice, length: uniform."""
    left = now.bout_left - STEP_S
    over = left <= 0
    chosen = (choice[:, None] > jnp.cumsum(actors.bout_chances, axis=1)).sum(1)
    chosen = jnp.where(strayed & (chosen != STAND), WALK, jnp.minimum(chosen, REST))
    bout = jnp.where(over, chosen, now.bout)
    mean = jnp.take_along_axis(actors.bout_s, bout[:, None], axis=1)[:, 0]
    drawn = mean * jnp.clip(-jnp.log(length), 0.35, 2.5)
    # After an alarm an animal stands for a while, whatever it did before.
    bout = jnp.where(now.alert > 0, STAND, bout)
    return bout, jnp.where(over, drawn, left)


def herd_wish(
    actors: Actors,
    now: Moment,
    danger: Danger,
    alert: Float[Array, " animals"],
    flight: Float[Array, " animals"],
    bout: Int[Array, " animals"],
    same: Bool[Array, "animals animals"],
) -> tuple[Float[Array, "animals 2"], Float[Array, " animals"]]:
    """Return direction and speed that animals without a hunt or carcass want. same: herd mates."""
    way = ahead(now.heading)
    mates = same & ~now.dead[None]
    zones = Zones(actors.spacing, _ALIGN * actors.spacing, _REACH_M, _VIEW)
    social = zone_direction(now.position, way, zones, mates)
    goal = actors.goal - now.position
    goal = unit(goal) * jnp.clip(jnp.linalg.norm(goal, axis=1, keepdims=True) / 20 - 0.3, 0, 1)
    fleeing, watching = flight > 0, alert > 0
    walk = 0.7 * social + 0.7 * goal + 0.5 * way
    step = 0.35 * social + 0.3 * goal + 0.8 * way
    escape = 1.5 * danger.away + 0.55 * social + 0.4 * way
    wish = jnp.where((bout == WALK)[:, None], walk, jnp.where((bout == STEP)[:, None], step, way))
    speed = actors.walking * jnp.where(bout == WALK, 1.0, jnp.where(bout == STEP, 0.3, 0.0))
    wish = jnp.where(watching[:, None], jnp.where((danger.distance < 200)[:, None], danger.toward, way), wish)
    speed = jnp.where(watching, 0.0, speed)
    wish = jnp.where(fleeing[:, None], escape, wish)
    urgency = jnp.clip(1.2 - danger.chaser / 130, 0.42, 1.0)
    speed = jnp.where(fleeing, actors.top_speed * urgency, speed)
    return wish, speed


def strays(actors: Actors, now: Moment, same: Bool[Array, "animals animals"]) -> Bool[Array, " animals"]:
    """Return which animals are far from the middle of their herd."""
    sums = same.astype(jnp.float32) @ (
        jnp.hstack([now.position, jnp.ones((len(now.dead), 1))]) * ~now.dead[:, None]
    )
    n = jnp.maximum(sums[:, 2], 1)
    distance = jnp.linalg.norm(sums[:, :2] / n[:, None] - now.position, axis=1)
    return distance > 1.1 * actors.spacing * jnp.sqrt(n) + 6
