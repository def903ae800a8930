"""Scenes: some minutes of the animals of a square kilometer, as tracks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, UInt8

from .landscape import Landscape

HZ = 5.0
STATES = ("absent", "stand", "graze", "walk", "run", "rest", "stalk", "feed", "dead", "fly")
EVENT_KINDS = ("stalk", "chase", "kill", "escape", "alarm")


@dataclass(frozen=True)
class Scene:
    """Tracks of animals at HZ.

    names: species. species: index of names by animal. identity: the same in scenes of other casts and hours.
    size: 1 for an adult. hour: solar, at the start. position: meters, x east, y north. heading: radians,
    counterclockwise from east. state: index of STATES. events: (time in s, one of EVENT_KINDS, identity of
    the actor, identity of its target).
    """

    names: tuple[str, ...]
    species: Int[np.ndarray, " animals"]
    identity: Int[np.ndarray, " animals"]
    size: Float[np.ndarray, " animals"]
    hour: float
    hz: float
    extent_m: float
    position: Float[np.ndarray, "frames animals 2"]
    heading: Float[np.ndarray, "frames animals"]
    state: UInt8[np.ndarray, "frames animals"]
    events: tuple[tuple[float, str, int, int], ...]


def simulate_scene(
    cast: Mapping[str, int], landscape: Landscape, *, seed: int, hour: float, seconds: float = 120.0
) -> Scene:
    """Simulate the animals of a cast, numbers by species, on a landscape."""
    frames = round(seconds * HZ) + 1
    names = tuple(cast)
    species = np.repeat(np.arange(len(names)), list(cast.values()))
    number = np.concatenate([np.arange(n) for n in cast.values()])
    identity = species * 1000 + number
    time = np.arange(frames)[:, None] / HZ
    random = np.random.default_rng([seed, round(hour * 10)])
    home = random.uniform(-150, 150, (len(names), 2))[species] + landscape.extent_m / 2
    start = home + 4 * np.sqrt(number)[:, None] * np.stack([np.cos(2.4 * number), np.sin(2.4 * number)], -1)
    phase = random.uniform(0, 2 * np.pi, len(species))
    heading = phase + 0.6 * np.sin(time / 19 + phase)
    speed = 1.3 * np.clip(np.sin(time / 13 + 3 * phase) - 0.4, 0, 1)
    step = np.stack([speed * np.cos(heading), speed * np.sin(heading)], -1) / HZ
    state = np.where(speed > 0.05, 3, np.where(np.sin(time / 17 + 5 * phase) > 0, 1, 2))
    return Scene(
        names=names,
        species=species,
        identity=identity,
        size=np.ones(len(species), np.float32),
        hour=hour,
        hz=HZ,
        extent_m=landscape.extent_m,
        position=(start + np.cumsum(step, axis=0)).astype(np.float32),
        heading=heading.astype(np.float32),
        state=state.astype(np.uint8),
        events=(),
    )
