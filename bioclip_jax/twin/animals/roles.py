"""Constants and first moment of the fast clock, from the animals' places and traits; all numbers assumed."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from .actors import CAPACITY, IDLE, Actors, Moment
from .staging import BOUT, HUNT, HUNTED_KG, TEMPER, Staging
from .traits import BOUT_CHANCES, BOUT_S

_HOLDS_M = {"lion": 0.0, "hyena": 24.0, "jackal": 14.0, "vulture": 11.0, "cat": 60.0}
_RANK = {"lion": 4, "hyena": 3, "cat": 2, "jackal": 1, "vulture": 1}


def actors_of(staging: Staging) -> Actors:
    """Return the constants of the staged animals."""
    period = 1 if staging.midday else 2 if staging.light < 0.3 else 0
    herd_number = staging.cast.number
    hunter = staging.has(staging.hunting) & (herd_number < 8) if staging.hunting else np.zeros(CAPACITY, bool)
    first, second = staging.draws(HUNT)
    temper = staging.draws(TEMPER)[0]
    count = max(int(hunter.sum()), 1)
    fan = np.where(hunter, (herd_number - (count - 1) / 2) / count, 0)
    small, large = HUNTED_KG.get(staging.hunting, (1e9, 0.0))
    lion = staging.has("lion")
    single = jnp.float32
    return Actors(
        key=staging.key,
        present=jnp.asarray(staging.present),
        herd=jnp.asarray(staging.herd, jnp.int32),
        radius=jnp.asarray(staging.each(lambda t: t.radius) * staging.size, single),
        walking=jnp.asarray(
            staging.each(lambda t: t.walking) * (0.85 + 0.3 * temper) + ~staging.present, single
        ),
        top_speed=jnp.asarray(
            staging.each(lambda t: t.top_speed) * (0.9 + 0.1 * second) * (0.8 + 0.2 * staging.size)
            + ~staging.present,
            single,
        ),
        acceleration=jnp.asarray(staging.each(lambda t: t.acceleration), single),
        spacing=jnp.asarray(staging.each(lambda t: t.spacing) * (0.8 + 0.4 * temper), single),
        flight_distance=jnp.asarray(staging.each(lambda t: t.flight_distance) * (0.7 + 0.6 * first), single),
        bout_s=jnp.asarray(staging.each_row(lambda t: BOUT_S[t.guild]), single),
        bout_chances=jnp.asarray(staging.each_row(lambda t: BOUT_CHANCES[t.guild][period]), single),
        goal=jnp.asarray(staging.goal, single),
        prey=jnp.asarray(staging.prey),
        quarry=jnp.asarray(staging.prey & staging.each(lambda t: small < t.mass_kg < large)),
        preference=jnp.asarray(14.0 * (staging.size < 1) + 8 * temper, single),
        hunter=jnp.asarray(hunter),
        stealth=jnp.asarray(lion | staging.has("cat")),
        wait=jnp.asarray(2 + 7 * first, single),
        fan=jnp.asarray(-1.5 * fan, single),
        launch=jnp.asarray(np.where(lion, 21 + 11 * second, 40 + 20 * second), single),
        stamina=jnp.asarray(np.where(lion, 7 + 4 * temper, 18 + 10 * temper), single),
        eats=jnp.asarray(staging.has("lion", "hyena", "jackal", "vulture")),
        rank=jnp.asarray(staging.each(lambda t: _RANK.get(t.guild, 0)), jnp.int32),
        holds=jnp.asarray(staging.each(lambda t: _HOLDS_M.get(t.guild, 0.0)) * (0.8 + 0.4 * temper), single),
        flies=jnp.asarray(staging.has("vulture")),
        carcass=jnp.int32(staging.carcass),
        light=jnp.float32(staging.light),
        extent=jnp.float32(staging.extent),
    )


def first_moment(staging: Staging) -> Moment:
    """Return the state of the staged animals at the start."""
    single = jnp.float32
    zero = jnp.zeros(CAPACITY, single)
    way = np.stack([np.cos(staging.heading), np.sin(staging.heading)], 1)
    speed = np.where(staging.aloft, 8.0, 0.0)
    return Moment(
        position=jnp.asarray(staging.position, single),
        heading=jnp.asarray(staging.heading, single),
        speed=jnp.asarray(speed, single),
        wish=jnp.asarray(way, single),
        bout=jnp.asarray(staging.bout, jnp.int32),
        bout_left=jnp.asarray(8 * staging.draws(BOUT)[1], single),
        alert=zero - 20,
        flight=zero,
        phase=jnp.full(CAPACITY, IDLE, jnp.int32),
        busy=zero,
        target=jnp.full(CAPACITY, -1, jnp.int32),
        dead=jnp.asarray(staging.dead),
        aloft=jnp.asarray(staging.aloft),
        quarry=jnp.int32(-1),
        kill=jnp.int32(-1),
    )
