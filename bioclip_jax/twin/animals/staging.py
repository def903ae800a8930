"""Where the animals of a scene are at its start, and what they are about to do."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, UInt32

from bioclip_jax.errors import UserError

from .actors import CAPACITY, CARNIVORE_SLOTS, IDLE, Actors, Moment
from .ground import Ground, look_up
from .keys import Words, fold, founder_identity, seed_key, uniforms
from .landscape import Landscape
from .traits import BOUT_CHANCES, BOUT_S, CARNIVORES, REST, STAND, Traits

_PURPOSES = range(1000, 1006)
_PLACE, _HEADING, _SIZE, _TEMPER, _BOUT, _HUNT = _PURPOSES
# Identities: a number by species and the animal's number in it.
_PER_SPECIES = 1000
_YOUNG_SHARE, _YOUNG_SIZE = 0.16, 0.62
_HERD_SPREAD_M, _HERDS_WITHIN_M = 130.0, (15.0, 330.0)
# Between the hunters and the nearest quarry at the start, by light: near enough that a visitor sees the hunt.
_HUNT_FROM_M = (46.0, 66.0)
_CARCASS_FROM_M = (90.0, 170.0)
_HUNTED_KG = {"lion": (15.0, 450.0), "hyena": (5.0, 250.0)}
_HOLDS_M = {"lion": 0.0, "hyena": 24.0, "jackal": 14.0, "vulture": 11.0, "cat": 60.0}
_RANK = {"lion": 4, "hyena": 3, "cat": 2, "jackal": 1, "vulture": 1}


@dataclass(frozen=True)
class Cast:
    """Animals by slot of the fast clock: carnivores first. order: slots in the order of the cast."""

    traits: tuple[Traits, ...]
    species: Int[np.ndarray, " animals"]
    number: Int[np.ndarray, " animals"]
    identity: Int[np.ndarray, " animals"]
    order: Int[np.ndarray, " animals"]


def daylight_at(hour: float) -> float:
    """Return light at a solar hour: 1 by day, 0.15 at night; the sun of the equator, in effect assumed."""
    return float(np.clip(0.5 + 2.5 * np.sin(np.pi * (hour - 6) / 12), 0.15, 1.0))


def gather_cast(numbers: Mapping[str, int], traits: Mapping[str, Traits]) -> Cast:
    """Give each animal a slot and an identity. Raises UserError for more animals than there are slots."""
    total = sum(numbers.values())
    carnivores = sum(n for name, n in numbers.items() if traits[name].guild in CARNIVORES)
    for n, what, most in ((total, "animals", CAPACITY), (carnivores, "carnivores", CARNIVORE_SLOTS)):
        if n > most:
            raise UserError(f"the scene's cast has {n} {what}; the most is {most}: give smaller numbers")
    listed = [(index, k) for index, n in enumerate(numbers.values()) for k in range(n)]
    kinds = [traits[name] for name in numbers]
    first = [i for i, (index, _) in enumerate(listed) if kinds[index].guild in CARNIVORES]
    last = [i for i in range(total) if i not in set(first)]
    slots = np.concatenate([np.arange(len(first)), CARNIVORE_SLOTS + np.arange(len(last))])
    # Prey takes the carnivores' free slots if there is no other place.
    spare = np.setdiff1d(np.arange(len(first), CARNIVORE_SLOTS), slots)
    slots = np.where(slots < CAPACITY, slots, spare[np.clip(slots - CAPACITY, 0, len(spare) - 1)])
    order = np.empty(total, int)
    order[first + last] = slots
    species, number, identity = np.zeros(CAPACITY, int), np.zeros(CAPACITY, int), np.zeros(CAPACITY, int)
    for slot, (index, k) in zip(order, listed, strict=True):
        species[slot], number[slot] = index, k
        identity[slot] = species_identity(kinds[index].name) + k
    return Cast(tuple(kinds), species, number, identity, order)


def species_identity(name: str) -> int:
    """Return the identity of a species' animal number 0, the same in all scenes."""
    return zlib.crc32(name.encode()) % 2_000_000 * _PER_SPECIES


def stage(
    cast: Cast, landscape: Landscape, ground: Ground, *, seed: int, hour: float
) -> tuple[Actors, Moment, Float[np.ndarray, " animals"]]:
    """Return the actors, their first moment, and their sizes (1 for an adult)."""
    staged = _Stage(cast, landscape, ground, seed, hour)
    return staged.actors(), staged.moment(), staged.size


@jax.jit
def _draw(key: Words, number: UInt32[Array, " animals"]) -> tuple[Words, list[tuple[Array, Array]]]:
    """Return the animals' keys, and the uniform numbers of all purposes."""
    keys = fold(key, founder_identity(number))
    return keys, [uniforms(keys, jnp.uint32(0), purpose) for purpose in _PURPOSES]


class _Stage:
    def __init__(self, cast: Cast, landscape: Landscape, ground: Ground, seed: int, hour: float) -> None:
        self.cast, self.landscape, self.ground, self.seed, self.hour = cast, landscape, ground, seed, hour
        self.light = daylight_at(hour)
        self.midday = 8 <= hour < 17
        self.extent = landscape.extent_m
        self.random = np.random.default_rng([seed, 0x57A6E])
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
        self.bout = np.where(self.draws(_BOUT)[0] < 0.3, STAND, 1)
        self.dead, self.aloft = np.zeros(CAPACITY, bool), np.zeros(CAPACITY, bool)
        self.carcass = -1
        self._place_prey()
        self._place_carcass()
        self._place_carnivores()
        self._place_vultures()
        self._clear_obstacles()

    def draws(self, purpose: int) -> tuple[np.ndarray, np.ndarray]:
        """Two uniform numbers of each animal."""
        return tuple(np.asarray(u, float) for u in self._uniforms[_PURPOSES.index(purpose)])

    def each(self, value) -> np.ndarray:
        """A value of each animal's traits, by slot."""
        values = np.array([value(one) for one in self.cast.traits])
        return np.where(self.present, values[self.cast.species], np.zeros((), values.dtype))

    def has(self, *guilds: str) -> Bool[np.ndarray, " animals"]:
        return self.each(lambda t: t.guild in guilds)

    def _herds(self) -> Int[np.ndarray, " animals"]:
        """Index of each animal's herd; herds are told apart by species and the animals' numbers."""
        block = self.cast.number // np.maximum(self.each(lambda t: t.herd), 1)
        pairs = self.cast.species * CAPACITY + block
        pairs[~self.present] = -1
        return np.unique(pairs, return_inverse=True)[1]

    def herds(self, mask: Bool[np.ndarray, " animals"]):
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
        return np.asarray(look_up(self.ground.clearance, jnp.asarray(points, jnp.float32))[0])

    def _scatter(self, slots, traits: Traits, center: np.ndarray, spacing: float) -> None:
        """Place a herd's members about a center, each by its number alone."""
        members = self.cast.number[slots] % traits.herd
        angle, radius = 2.399963 * members, 0.78 * spacing * np.sqrt(members + 0.6)
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
            fits = (middle < _HERDS_WITHIN_M[1]) & (self.clearance(options) > 5)
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
        self.position[self.carcass] = self._spot_apart(_CARCASS_FROM_M, clear=8.0)

    def _spot_apart(self, away: tuple[float, float], *, clear: float) -> np.ndarray:
        """A place at some distance from the nearest herd, otherwise as near to the middle as may be."""
        options = self.random.uniform(0.15 * self.extent, 0.85 * self.extent, (300, 2))
        gaps = [np.hypot(*(options - place).T) - spread for place, spread, _ in self.herd_places]
        nearest = np.min(gaps, axis=0) if gaps else np.full(len(options), away[0])
        good = (nearest > away[0]) & (nearest < away[1]) & (self.clearance(options) > clear)
        score = good * 1000 - np.hypot(*(options - self.extent / 2).T)
        return options[score.argmax()]

    def _place_carnivores(self) -> None:
        for slots, traits, _ in self.herds(self.has(*CARNIVORES)):
            if traits.guild == self.hunting and self.cast.number[slots[0]] == 0:
                self._place_hunters(slots, traits)
                continue
            if traits.guild in ("hyena", "jackal") and self.carcass >= 0:
                center = self.position[self.carcass] + (6.0 if traits.guild == "hyena" else 16.0) * np.array(
                    [1, 0.4]
                )
            elif traits.guild in ("lion", "cat") and self.midday:
                center = self._shade()
            else:
                center = self._spot_apart((110.0, 220.0), clear=4.0)
            self._scatter(slots, traits, center, 2.0 * traits.length)
            self.goal[slots] = center + self.random.uniform(-60, 60, 2)
            if self.midday and traits.guild in ("lion", "cat"):
                self.bout[slots] = REST

    def _shade(self) -> np.ndarray:
        """Next to a tree some way from the herds."""
        trees = self.landscape.trees[self.landscape.trees[:, 3] < 2, :2]
        if not len(trees):
            return self._spot_apart((60.0, 160.0), clear=4.0)
        gaps = [np.hypot(*(trees - place).T) - spread for place, spread, _ in self.herd_places]
        nearest = np.min(gaps, axis=0) if gaps else np.full(len(trees), 100.0)
        inside = np.abs(trees - self.extent / 2).max(1) < 0.42 * self.extent
        score = 1000 * (inside & (nearest > 55)) - nearest + self.random.uniform(0, 60, len(trees))
        return trees[score.argmax()] + np.array([3.0, -2.0])

    def _place_hunters(self, slots: Int[np.ndarray, " hunters"], traits: Traits) -> None:
        """Put hunters downwind of a herd of their prey, a little apart, where no other herd is near."""
        least, most = _HUNTED_KG[traits.guild]
        herds = [h for h in self.herd_places if least < h[2].mass_kg < most and h[2].herd > 3]
        if not herds:
            self._scatter(slots, traits, self._spot_apart((60.0, 120.0), clear=4.0), 3 * traits.length)
            return
        wind = self.random.uniform(0, 2 * np.pi)
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

    def actors(self) -> Actors:
        period = 1 if self.midday else 2 if self.light < 0.3 else 0
        herd_number = self.cast.number
        hunter = self.has(self.hunting) & (herd_number < 8) if self.hunting else np.zeros(CAPACITY, bool)
        first, second = self.draws(_HUNT)
        temper = self.draws(_TEMPER)[0]
        count = max(int(hunter.sum()), 1)
        fan = np.where(hunter, (herd_number - (count - 1) / 2) / count, 0)
        small, large = _HUNTED_KG.get(self.hunting, (1e9, 0.0))
        lion = self.has("lion")
        single = jnp.float32
        return Actors(
            key=self.key,
            present=jnp.asarray(self.present),
            herd=jnp.asarray(self.herd, jnp.int32),
            radius=jnp.asarray(self.each(lambda t: t.radius) * self.size, single),
            walking=jnp.asarray(
                self.each(lambda t: t.walking) * (0.85 + 0.3 * temper) + ~self.present, single
            ),
            top_speed=jnp.asarray(
                self.each(lambda t: t.top_speed) * (0.9 + 0.1 * second) * (0.8 + 0.2 * self.size)
                + ~self.present,
                single,
            ),
            acceleration=jnp.asarray(self.each(lambda t: t.acceleration), single),
            spacing=jnp.asarray(self.each(lambda t: t.spacing) * (0.8 + 0.4 * temper), single),
            flight_distance=jnp.asarray(self.each(lambda t: t.flight_distance) * (0.7 + 0.6 * first), single),
            bout_s=jnp.asarray(self.each_row(lambda t: BOUT_S[t.guild]), single),
            bout_chances=jnp.asarray(self.each_row(lambda t: BOUT_CHANCES[t.guild][period]), single),
            goal=jnp.asarray(self.goal, single),
            prey=jnp.asarray(self.prey),
            quarry=jnp.asarray(self.prey & self.each(lambda t: small < t.mass_kg < large)),
            preference=jnp.asarray(14.0 * (self.size < 1) + 8 * temper, single),
            hunter=jnp.asarray(hunter),
            stealth=jnp.asarray(lion | self.has("cat")),
            wait=jnp.asarray(2 + 7 * first, single),
            fan=jnp.asarray(1.5 * fan, single),
            launch=jnp.asarray(np.where(lion, 21 + 11 * second, 40 + 20 * second), single),
            stamina=jnp.asarray(np.where(lion, 7 + 4 * temper, 18 + 10 * temper), single),
            eats=jnp.asarray(self.has("lion", "hyena", "jackal", "vulture")),
            rank=jnp.asarray(self.each(lambda t: _RANK.get(t.guild, 0)), jnp.int32),
            holds=jnp.asarray(self.each(lambda t: _HOLDS_M.get(t.guild, 0.0)) * (0.8 + 0.4 * temper), single),
            flies=jnp.asarray(self.has("vulture")),
            carcass=jnp.int32(self.carcass),
            light=jnp.float32(self.light),
            extent=jnp.float32(self.extent),
        )

    def each_row(self, value) -> Float[np.ndarray, "animals bouts"]:
        return np.array([value(one) for one in self.cast.traits])[self.cast.species] * self.present[:, None]

    def moment(self) -> Moment:
        single = jnp.float32
        zero = jnp.zeros(CAPACITY, single)
        way = np.stack([np.cos(self.heading), np.sin(self.heading)], 1)
        speed = np.where(self.aloft, 8.0, 0.0)
        return Moment(
            position=jnp.asarray(self.position, single),
            heading=jnp.asarray(self.heading, single),
            speed=jnp.asarray(speed, single),
            wish=jnp.asarray(way, single),
            bout=jnp.asarray(self.bout, jnp.int32),
            bout_left=jnp.asarray(8 * self.draws(_BOUT)[1], single),
            alert=zero - 20,
            flight=zero,
            phase=jnp.full(CAPACITY, IDLE, jnp.int32),
            busy=zero,
            target=jnp.full(CAPACITY, -1, jnp.int32),
            dead=jnp.asarray(self.dead),
            aloft=jnp.asarray(self.aloft),
            quarry=jnp.int32(-1),
            kill=jnp.int32(-1),
        )
