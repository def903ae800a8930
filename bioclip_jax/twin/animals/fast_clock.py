"""The fast clock: one step of 0.2 s of all animals of a scene, and a scan of them."""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, UInt8, UInt32

from .actors import CHASE, FEED, ROOSTING_LIGHT, SPENT, STALK, STATES, STEP_S, Actors, Moment
from .carrion import at_carcass
from .ground import Ground
from .herd import herd_wish, next_bout, perceive, react, strays
from .hunt import hunt
from .keys import uniforms
from .motion import avoid, crowding, make_room, move, smooth_wish, yield_to
from .traits import GRAZE, REST, STEP

# Purposes of random numbers.
_NOTICE, _REACT, _BOUT, _HUNT, _CARRION = range(1, 6)
_ABSENT, _STANDS, _GRAZES, _WALKS, _RUNS, _RESTS, _STALKS, _FEEDS, _DEAD, _FLIES = range(len(STATES))
_LYING_DOWN_S = 14.0


class Frame(NamedTuple):
    """A step's part of the tracks, by slot. state: index of STATES. alert: of prey, seconds."""

    position: Float[Array, "animals 2"]
    heading: Float[Array, " animals"]
    state: UInt8[Array, " animals"]
    phase: Int[Array, " animals"]
    target: Int[Array, " animals"]
    alert: Float[Array, " animals"]
    kill: Int[Array, ""]


@functools.partial(jax.jit, static_argnames="frames")
def run(actors: Actors, ground: Ground, start: Moment, frames: int) -> Frame:
    """Return frames of a scene, STEP_S apart, the first of them of the start."""
    same = (actors.herd[:, None] == actors.herd[None]) & actors.present[None] & actors.present[:, None]

    def advance(now: Moment, number: UInt32[Array, ""]) -> tuple[Moment, Frame]:
        return _step(actors, ground, now, same, number), _frame(actors, now)

    return jax.lax.scan(advance, start, jnp.arange(frames, dtype=jnp.uint32))[1]


def _step(actors: Actors, ground: Ground, now: Moment, same: Array, number: UInt32[Array, ""]) -> Moment:
    def draw(purpose: int) -> tuple[Array, Array]:
        return uniforms(actors.key, number + 1, purpose)

    danger = perceive(actors, ground, now, draw(_NOTICE)[0])
    alert, flight = react(actors, now, danger, *draw(_REACT))
    bout, bout_left = next_bout(actors, now, strays(actors, now, same), *draw(_BOUT))
    wish, speed = herd_wish(actors, now, danger, alert, flight, bout, same)
    hunted = hunt(actors, now, number * STEP_S, *draw(_HUNT))
    meal = at_carcass(actors, now, hunted.phase, hunted.kill, draw(_CARRION)[0])

    hunting = actors.hunter & ((hunted.phase == STALK) | (hunted.phase == CHASE) | (hunted.phase == SPENT))
    wish = jnp.where(hunting[:, None], hunted.wish, jnp.where(meal.drawn[:, None], meal.wish, wish))
    speed = jnp.where(hunting, hunted.wanted_speed, jnp.where(meal.drawn, meal.speed, speed))
    dead = now.dead | (jnp.arange(now.dead.shape[0]) == hunted.kill)
    fast = (flight > 0) | (actors.hunter & (hunted.phase == CHASE)) | (now.aloft & meal.drawn)
    still = dead | ~actors.present
    weight = jnp.where(dead, 0.01, jnp.where(speed == 0, 0.3, 1.0))
    push = crowding(now.position, actors.radius, weight, actors.present & ~now.aloft)
    roomy, pace = make_room(actors, push, wish, speed)
    wish = jnp.where((fast | still)[:, None], wish, roomy)
    speed = jnp.where(fast | still, speed, pace)
    wish = smooth_wish(now.wish, wish, fast)
    bent = avoid(actors, ground, now.position, wish, now.heading, now.speed)
    # Those that stand look where they want, and do not step around what is in the way.
    bent = jnp.where(((speed == 0) & (now.speed < 0.1))[:, None], wish, bent)
    position, heading, velocity = move(
        actors, ground, now.position, now.heading, hunted.speed, bent, speed, fast, still
    )
    # A grazing or resting animal keeps its heading.
    calm = (speed == 0) & (now.speed < 0.02) & (alert <= 0) & ~hunting & ~meal.drawn
    heading = jnp.where(calm, now.heading, heading)
    parted = position + yield_to(push, velocity, still)
    reach = actors.top_speed * STEP_S
    way = parted - now.position
    length = jnp.linalg.norm(way, axis=1)
    parted = now.position + way * jnp.minimum(1, reach / jnp.maximum(length, 1e-6))[:, None]
    return Moment(
        position=jnp.where(actors.present[:, None], parted, now.position),
        heading=heading,
        speed=velocity,
        wish=wish,
        bout=bout,
        bout_left=bout_left,
        alert=alert,
        flight=flight,
        phase=meal.phase,
        busy=hunted.busy,
        target=jnp.where(hunting, hunted.target, meal.target),
        dead=dead,
        aloft=meal.aloft,
        quarry=hunted.quarry,
        kill=hunted.kill,
    )


def _frame(actors: Actors, now: Moment) -> Frame:
    moving = now.speed > 0.12
    calm = (now.alert <= 0) & (now.flight <= 0)
    grazes = calm & actors.prey & ((now.bout == STEP) | (~moving & (now.bout == GRAZE)))
    state = jnp.where(grazes, _GRAZES, jnp.where(moving, _WALKS, _STANDS))
    state = jnp.where(~moving & calm & (now.bout == REST), _RESTS, state)
    lies = now.busy > _LYING_DOWN_S
    state = jnp.where((now.phase == SPENT) & ~moving, jnp.where(lies, _RESTS, _STANDS), state)
    state = jnp.where(now.speed > jnp.maximum(1.8 * actors.walking, 2.0), _RUNS, state)
    state = jnp.where((now.phase == STALK) & actors.stealth, _STALKS, state)
    at = jnp.maximum(now.target, 0)
    gap = jnp.linalg.norm(now.position[at] - now.position, axis=1)
    touching = gap < actors.radius + 0.8 * actors.radius[at] + 0.9
    eating = (now.phase == FEED) & (now.target >= 0) & ~moving
    state = jnp.where(eating, jnp.where(touching, _FEEDS, _STANDS), state)
    state = jnp.where(now.dead, _DEAD, jnp.where(now.aloft, _FLIES, state))
    # Vultures roost at night, out of sight.
    roosts = actors.flies & (actors.light < ROOSTING_LIGHT)
    state = jnp.where(actors.present & ~roosts, state, _ABSENT)
    return Frame(
        now.position, now.heading, state.astype(jnp.uint8), now.phase, now.target, now.alert, now.kill
    )
