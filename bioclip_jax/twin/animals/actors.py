"""Animals of the fast clock: what a scene keeps about each of them, and what changes from step to step."""

from __future__ import annotations

from typing import NamedTuple

import equinox as eqx
from jaxtyping import Array, Bool, Float, Int

from .keys import Words

CAPACITY = 256
# The first slots hold carnivores, so that prey need not look at all animals for one.
CARNIVORE_SLOTS = 32
# Animals of one second, five times: the clock's step is that of the tracks.
STEP_S = 0.2
# Light below which vultures roost; assumed.
ROOSTING_LIGHT = 0.28
# States of a track.
STATES = ("absent", "stand", "graze", "walk", "run", "rest", "stalk", "feed", "dead", "fly")
# Phases of a hunter.
IDLE, STALK, CHASE, SPENT, FEED = range(5)


class Actors(eqx.Module):
    """Constants of a scene's animals, by slot; slots that are not `present` mean nothing.

    herd: index, shared by animals that stay together. radius: half the distance of touching bodies, m.
    walking, top_speed: m/s. acceleration: m/s². spacing: m. flight_distance: at which prey runs from a
    predator that it sees, m. bout_s, bout_chances: mean seconds and chances of the next bout. goal: to which
    the herd drifts, m. hunter: takes part in the hunt, from second `wait` on; fan: radians by which it
    approaches from the side. stealth: a hunter that stalks, rather than walks up. launch: m to the quarry at
    which it runs; stamina: seconds of running. eats: goes to carcasses; holds: m that it keeps from one which
    stronger ones have. rank: of strength at a carcass. quarry: of a size that is hunted, with a preference in
    m. flies: vultures. carcass: slot of an animal that is dead from the start, or -1.
    light: 1 by day, less in twilight and at night. middle: of the land, m. extent: m.
    """

    key: Words
    present: Bool[Array, " animals"]
    herd: Int[Array, " animals"]
    radius: Float[Array, " animals"]
    walking: Float[Array, " animals"]
    top_speed: Float[Array, " animals"]
    acceleration: Float[Array, " animals"]
    spacing: Float[Array, " animals"]
    flight_distance: Float[Array, " animals"]
    bout_s: Float[Array, "animals bouts"]
    bout_chances: Float[Array, "animals bouts"]
    goal: Float[Array, "animals 2"]
    prey: Bool[Array, " animals"]
    quarry: Bool[Array, " animals"]
    preference: Float[Array, " animals"]
    hunter: Bool[Array, " animals"]
    stealth: Bool[Array, " animals"]
    wait: Float[Array, " animals"]
    fan: Float[Array, " animals"]
    launch: Float[Array, " animals"]
    stamina: Float[Array, " animals"]
    eats: Bool[Array, " animals"]
    rank: Int[Array, " animals"]
    holds: Float[Array, " animals"]
    flies: Bool[Array, " animals"]
    carcass: Int[Array, ""]
    light: Float[Array, ""]
    extent: Float[Array, ""]


class Moment(NamedTuple):
    """State of a scene's animals at a time, by slot.

    position: m. heading: radians. speed: m/s. wish: direction of the last steps' wishes, smoothed. bout and
    bout_left: what an undisturbed animal does, and for how many seconds more. alert, flight: seconds that it
    goes on watching and fleeing; alert is negative after its end. phase: of hunters. busy: seconds in it.
    target: slot that a hunter runs after, or the carcass that it is at. aloft: in the air. quarry: slot that
    the hunters agree on, -1 for none. kill: slot of the animal killed in this scene, -1 for none.
    """

    position: Float[Array, "animals 2"]
    heading: Float[Array, " animals"]
    speed: Float[Array, " animals"]
    wish: Float[Array, "animals 2"]
    bout: Int[Array, " animals"]
    bout_left: Float[Array, " animals"]
    alert: Float[Array, " animals"]
    flight: Float[Array, " animals"]
    phase: Int[Array, " animals"]
    busy: Float[Array, " animals"]
    target: Int[Array, " animals"]
    dead: Bool[Array, " animals"]
    aloft: Bool[Array, " animals"]
    quarry: Int[Array, ""]
    kill: Int[Array, ""]
