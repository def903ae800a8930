"""Staging: places and headings of the animals at the start of a scene, and what they are about to do.

Distances and shares are assumed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, UInt32

from .actors import CAPACITY
from .ground import Ground, look_up
from .keys import Words, fold, founder_identity, seed_key, uniforms
from .landscape import Landscape
from .slots import Cast, species_identity
from .traits import CARNIVORES, REST, STAND, Traits

_PURPOSES = range(1000, 1006)
_PLACE, _HEADING, _SIZE, TEMPER, BOUT, HUNT = _PURPOSES
_YOUNG_SHARE, _YOUNG_SIZE = 0.16, 0.62
# From the middle of the land.
_HERD_SPREAD_M, _HERDS_WITHIN_M = 130.0, 330.0
# Between the hunters and the nearest quarry at the start, by light: near enough that a visitor sees the hunt.
_HUNT_FROM_M = (46.0, 66.0)
_CARCASS_FROM_M = (90.0, 170.0)
# Of the random numbers of a carcass.
_CARCASS = 0xCA
# Radians between members of a herd, numbered outward: they fill a disk evenly.
_GOLDEN_ANGLE = 2.399963
HUNTED_KG = {"lion": (15.0, 450.0), "hyena": (5.0, 250.0)}


def _daylight_at(hour: float) -> float:
    """Return light at a solar hour: 1 by day, 0.15 at night, as on the equator."""
    return float(np.clip(0.5 + 2.5 * np.sin(np.pi * (hour - 6) / 12), 0.15, 1.0))


@jax.jit
def _draw(key: Words, number: UInt32[Array, " animals"]) -> tuple[Words, list[tuple[Array, Array]]]:
    """Return the animals' keys, and the uniform numbers of all purposes."""
    keys = fold(key, founder_identity(number))
    return keys, [uniforms(keys, jnp.uint32(0), purpose) for purpose in _PURPOSES]


class Staging:
    """Places, headings, bouts and sizes of animals at the start of a scene, by slot."""

    def __init__(self, cast: Cast, landscape: Landscape, ground: Ground, seed: int, hour: float) -> None:
        self.cast, self.landscape, self.ground, self.seed, self.hour = cast, landscape, ground, seed, hour
        self.light = _daylight_at(hour)
        self.midday = 8 <= hour < 17
        self.extent = landscape.extent_m
        self.present = np.zeros(CAPACITY, bool)
        self.present[cast.order] = True
        self.key, self._uniforms = _draw(seed_key(seed), jnp.asarray(cast.identity, jnp.uint32))
        young = self.draws(_SIZE)[0] < _YOUNG_SHARE
        self.prey = self.has("grazer", "browser", "bird")
        herding = self.each(lambda t: t.herd > 3 and t.guild in ("grazer", "browser"))
        self.size = np.where(young & herding, _YOUNG_SIZE, 1.0).astype(np.float32)
        self.herd = self._herds()
        self.hunting = self._hunting_guild()
        self.heading = 2 * np.pi * self.draws(_HEADING)[0]
        self.position, self.goal = np.full((CAPACITY, 2), self.extent / 2), np.zeros((CAPACITY, 2))
        self.bout = np.where(self.draws(BOUT)[0] < 0.3, STAND, 1)
        self.dead, self.aloft = np.zeros(CAPACITY, bool), np.zeros(CAPACITY, bool)
        self.carcass = -1
        self._place_prey()
        self._place_carcass()
        self._place_carnivores()
        self._place_vultures()
        self._clear_obstacles()

    def draws(self, purpose: int) -> tuple[np.ndarray, np.ndarray]:
        """Return two uniform numbers of each animal."""
        return tuple(np.asarray(u, float) for u in self._uniforms[_PURPOSES.index(purpose)])

    def each(self, value: Callable[[Traits], Any]) -> np.ndarray:
        """Return a value of each animal's traits, by slot."""
        values = np.array([value(one) for one in self.cast.traits])
        return np.where(self.present, values[self.cast.species], np.zeros((), values.dtype))

    def each_row(self, value: Callable[[Traits], Sequence[float]]) -> Float[np.ndarray, "animals values"]:
        """Return values of each animal's traits, by slot."""
        return np.array([value(one) for one in self.cast.traits])[self.cast.species] * self.present[:, None]

    def has(self, *guilds: str) -> Bool[np.ndarray, " animals"]:
        """Return a mask of the animals of some guilds."""
        return self.each(lambda t: t.guild in guilds)

    def _herds(self) -> Int[np.ndarray, " animals"]:
        """Return the index of each animal's herd, which follows from its species and its number."""
        block = self.cast.number // np.maximum(self.each(lambda t: t.herd), 1)
        pairs = self.cast.species * CAPACITY + block
        pairs[~self.present] = -1
        return np.unique(pairs, return_inverse=True)[1]

    def herds(
        self, mask: Bool[np.ndarray, " animals"]
    ) -> Iterator[tuple[np.ndarray, Traits, np.random.Generator]]:
        """Yield slots, traits and own random numbers of each herd in a mask."""
        for herd in np.unique(self.herd[mask]):
            slots = np.flatnonzero((self.herd == herd) & mask)
            first = slots[0]
            traits = self.cast.traits[self.cast.species[first]]
            block = self.cast.number[first] // traits.herd
            # By the herd's identity, so that one herd does not move another.
            yield slots, traits, np.random.default_rng([self.seed, species_identity(traits.name), block])

    def _hunting_guild(self) -> str:
        if self.midday:
            return ""
        return next((guild for guild in ("lion", "hyena") if self.has(guild).any()), "")

    def clearance(self, points: np.ndarray) -> np.ndarray:
        """Return meters from points to the nearest obstacle."""
        return np.asarray(look_up(self.ground.clearance, jnp.asarray(points, jnp.float32))[0])

    def _scatter(
        self, slots: Int[np.ndarray, " members"], traits: Traits, center: np.ndarray, spacing: float
    ) -> None:
        """Place a herd's members about a center, each by its number alone."""
        members = self.cast.number[slots] % traits.herd
        angle, radius = _GOLDEN_ANGLE * members, 0.78 * spacing * np.sqrt(members + 0.6)
        first, second = (u[slots] for u in self.draws(_PLACE))
        jitter = 0.33 * spacing * np.stack([2 * first - 1, 2 * second - 1], 1)
        flat = np.stack([1.25 * radius * np.cos(angle), 0.8 * radius * np.sin(angle)], 1)
        tilt = species_identity(traits.name) % 628 / 100 + self.seed
        turn = np.array([[np.cos(tilt), np.sin(tilt)], [-np.sin(tilt), np.cos(tilt)]])
        self.position[slots] = center + flat @ turn + jitter

    def _place_prey(self) -> None:
        """Put herds about the middle of the land, larger ones first, and let each drift to better grass."""
        taken: list[tuple[np.ndarray, float]] = []
        self.herd_places: list[tuple[np.ndarray, float, Traits]] = []
        herds = list(self.herds(self.prey))
        for slots, traits, random in sorted(herds, key=lambda h: (-h[1].herd * h[1].spacing, h[0][0])):
            spread = 0.9 * traits.spacing * np.sqrt(traits.herd)
            options = self.extent / 2 + _HERD_SPREAD_M * random.standard_normal((80, 2))
            middle = np.hypot(*(options - self.extent / 2).T)
            gaps = [np.hypot(*(options - place).T) - other - spread for place, other in taken]
            gap = np.min(gaps, axis=0) if gaps else np.full(len(options), 50.0)
            fits = (middle < _HERDS_WITHIN_M) & (self.clearance(options) > 5)
            score = np.minimum(gap, 12) + 4.0 * fits - middle / 60
            center = options[score.argmax()]
            taken.append((center, spread))
            self.herd_places.append((center, spread, traits))
            self._scatter(slots, traits, center, traits.spacing)
            self.goal[slots] = self._better_grass(center, random)
            # Herds face roughly where they drift, each member its own way.
            drift = np.arctan2(*(self.goal[slots[0]] - center)[::-1])
            self.heading[slots] = drift + 2.2 * (self.draws(_HEADING)[1][slots] - 0.5) * 1.6

    def _better_grass(self, center: np.ndarray, random: np.random.Generator) -> np.ndarray:
        angle = random.uniform(0, 2 * np.pi, 24)
        options = center + random.uniform(60, 130, 24)[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1)
        inside = np.abs(options - self.extent / 2).max(1) < 0.38 * self.extent
        step = self.extent / (len(self.landscape.grass) - 1)
        row, column = np.clip(options / step, 0, len(self.landscape.grass) - 1).astype(int)[:, ::-1].T
        return options[(self.landscape.grass[row, column] + inside).argmax()]

    def _place_carcass(self) -> None:
        """Lay out a carcass for scavengers by dawn and day: number 0 of the most numerous fit species."""
        if not (self.has("hyena", "jackal", "vulture").any() and 5 <= self.hour < 17):
            return
        fit = self.prey & (self.cast.number == 0) & self.each(lambda t: 40 < t.mass_kg < 400)
        if not fit.any():
            return
        counts = np.bincount(self.cast.species[self.present], minlength=len(self.cast.traits))
        self.carcass = int(np.flatnonzero(fit)[counts[self.cast.species[fit]].argmax()])
        self.size[self.carcass] = 1
        self.dead[self.carcass] = True
        random = np.random.default_rng([self.seed, _CARCASS])
        self.position[self.carcass] = self._spot_apart(random, _CARCASS_FROM_M, clear=8.0)

    def _spot_apart(
        self, random: np.random.Generator, away: tuple[float, float], *, clear: float
    ) -> np.ndarray:
        """Return a place at some distance from the nearest herd, and as near to the middle as may be."""
        options = random.uniform(0.15 * self.extent, 0.85 * self.extent, (300, 2))
        gaps = [np.hypot(*(options - place).T) - spread for place, spread, _ in self.herd_places]
        nearest = np.min(gaps, axis=0) if gaps else np.full(len(options), away[0])
        good = (nearest > away[0]) & (nearest < away[1]) & (self.clearance(options) > clear)
        score = good * 1000 - np.hypot(*(options - self.extent / 2).T)
        return options[score.argmax()]

    def _place_carnivores(self) -> None:
        for slots, traits, random in self.herds(self.has(*CARNIVORES)):
            if traits.guild == self.hunting and self.cast.number[slots[0]] == 0:
                self._place_hunters(slots, traits, random)
                continue
            if traits.guild in ("hyena", "jackal") and self.carcass >= 0:
                center = self.position[self.carcass] + (6.0 if traits.guild == "hyena" else 16.0) * np.array(
                    [1, 0.4]
                )
            elif traits.guild in ("lion", "cat") and self.midday:
                center = self._shade(random)
            else:
                center = self._spot_apart(random, (110.0, 220.0), clear=4.0)
            self._scatter(slots, traits, center, 2.0 * traits.length)
            self.goal[slots] = center + random.uniform(-60, 60, 2)
            if self.midday and traits.guild in ("lion", "cat"):
                self.bout[slots] = REST

    def _shade(self, random: np.random.Generator) -> np.ndarray:
        """Return a place next to a tree, some way from the herds."""
        trees = self.landscape.trees[self.landscape.trees[:, 3] < 2, :2]
        if not len(trees):
            return self._spot_apart(random, (60.0, 160.0), clear=4.0)
        gaps = [np.hypot(*(trees - place).T) - spread for place, spread, _ in self.herd_places]
        nearest = np.min(gaps, axis=0) if gaps else np.full(len(trees), 100.0)
        inside = np.abs(trees - self.extent / 2).max(1) < 0.42 * self.extent
        score = 1000 * (inside & (nearest > 55)) - nearest + random.uniform(0, 60, len(trees))
        return trees[score.argmax()] + np.array([3.0, -2.0])

    def _place_hunters(
        self, slots: Int[np.ndarray, " hunters"], traits: Traits, random: np.random.Generator
    ) -> None:
        """Put hunters downwind of a herd of their prey, a little apart, where no other herd is near."""
        least, most = HUNTED_KG[traits.guild]
        herds = [h for h in self.herd_places if least < h[2].mass_kg < most and h[2].herd > 3]
        if not herds:
            self._scatter(
                slots, traits, self._spot_apart(random, (60.0, 120.0), clear=4.0), 3 * traits.length
            )
            return
        wind = random.uniform(0, 2 * np.pi)
        away = np.interp(self.light, (0.15, 1.0), _HUNT_FROM_M)
        best, line = -np.inf, None
        for center, spread, kind in herds:
            for angle in wind + np.linspace(-1.2, 1.2, 9):
                way = np.array([np.cos(angle), np.sin(angle)])
                spot = center + (0.75 * spread + away) * way
                others = [np.hypot(*(spot - c)) - s for c, s, k in self.herd_places if c is not center]
                room = min(min(others, default=99.0), 60.0) / 60 + 0.3 * (kind.herd >= 14)
                inside = np.abs(spot - self.extent / 2).max() < 0.42 * self.extent
                clear = min(float(self.clearance(spot[None])[0]), 6.0) / 6
                score = room + 2 * inside + 0.4 * clear - 0.15 * abs(angle - wind)
                if score > best:
                    best, line = score, (spot, way)
        spot, way = line
        count = self.cast.number[slots] - (len(slots) - 1) / 2
        side = np.array([-way[1], way[0]])
        depth = 5 * self.draws(_PLACE)[0][slots]
        self.position[slots] = spot + 7.5 * count[:, None] * side + depth[:, None] * way
        self.heading[slots] = np.arctan2(-way[1], -way[0])
        self.goal[slots] = spot

    def _place_vultures(self) -> None:
        slots = np.flatnonzero(self.has("vulture"))
        if not len(slots):
            return
        center = self.position[self.carcass] if self.carcass >= 0 else np.full(2, self.extent / 2)
        first, second = (u[slots] for u in self.draws(_PLACE))
        landed = (self.carcass >= 0) & (first < (0.55 if self.midday else 0.3))
        angle = 2 * np.pi * (self.cast.number[slots] + 0.5 * first) / max(len(slots), 1)
        radius = np.where(landed, 4.5 + 3 * second, 45 + 35 * second)
        self.position[slots] = center + radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1)
        # Circling to the left.
        self.heading[slots] = np.where(landed, angle + np.pi, angle + np.pi / 2)
        self.aloft[slots] = ~landed
        self.goal[slots] = center

    def _clear_obstacles(self) -> None:
        """Move animals out of trees, rocks and water."""
        walkers = self.present & ~self.aloft
        radius = self.each(lambda t: t.radius)
        for _ in range(60):
            value, away = look_up(self.ground.clearance, jnp.asarray(self.position, jnp.float32))
            value, away = np.asarray(value), np.asarray(away)
            deep = walkers & (value < radius)
            if not deep.any():
                break
            length = np.maximum(np.hypot(*away.T), 0.05)[:, None]
            self.position[deep] += (0.6 * away / length)[deep]
