"""Scenes: some minutes of the animals of a square kilometer, as tracks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import jax
import numpy as np
from jaxtyping import Float, Int, UInt8

from bioclip_jax.twin.world import Species

from .actors import CHASE, SPENT, STALK, STEP_S
from .fast_clock import Frame, run
from .ground import read_ground
from .landscape import Landscape
from .roles import actors_of, first_moment
from .slots import gather_cast
from .staging import Staging
from .traits import read_traits

HZ = 1 / STEP_S
EVENT_KINDS = ("stalk", "chase", "kill", "escape", "alarm")
_ALARM_PAUSE_S = 10.0


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
    cast: Mapping[str, int],
    landscape: Landscape,
    *,
    seed: int,
    hour: float,
    seconds: float = 120.0,
    species: Iterable[Species] = (),
) -> Scene:
    """Simulate the animals of a cast, numbers by species, on a landscape.

    seed: of all draws, each of which also depends on the animal's identity, so that the same animals in
    another cast have the same. hour: solar. species: of the twin, whose masses and top speeds are taken.
    Compiled once for all casts and landscapes of an extent. Raises UserError for a cast that is too large, or
    with an unknown species.
    """
    cast = {name: int(n) for name, n in cast.items() if n > 0}
    traits = read_traits(cast, species)
    gathered = gather_cast(cast, traits)
    ground = read_ground(landscape)
    staging = Staging(gathered, landscape, ground, seed, hour)
    tracks = run(actors_of(staging), ground, first_moment(staging), round(seconds * HZ) + 1)
    frames = jax.tree.map(np.asarray, tracks)
    order = gathered.order
    return Scene(
        names=tuple(cast),
        species=gathered.species[order],
        identity=gathered.identity[order],
        size=staging.size[order],
        hour=hour,
        hz=HZ,
        extent_m=landscape.extent_m,
        position=frames.position[:, order],
        heading=frames.heading[:, order],
        state=frames.state[:, order],
        events=_events(frames, gathered.identity),
    )


def _events(frames: Frame, identity: Int[np.ndarray, " animals"]) -> tuple[tuple[float, str, int, int], ...]:
    """Read the events of the hunt off the frames."""
    phase, target = frames.phase, frames.target
    events: list[tuple[float, str, int, int]] = []

    def add(frame: int, kind: str, actor: int, of: int) -> None:
        events.append((frame / HZ, kind, int(identity[actor]), int(identity[of]) if of >= 0 else -1))

    for kind, after in (("stalk", STALK), ("chase", CHASE)):
        for frame, actor in np.argwhere((phase[1:] == after) & (phase[:-1] != after)) + (1, 0):
            add(frame, kind, actor, target[frame, actor])
    for frame, actor in np.argwhere((phase[1:] == SPENT) & (phase[:-1] == CHASE)) + (1, 0):
        add(frame, "escape", actor, target[frame - 1, actor])
    killed = np.flatnonzero(frames.kill >= 0)
    if killed.size and (frame := killed[0]) > 0:
        victim = frames.kill[frame]
        hunters = np.flatnonzero((phase[frame - 1] == CHASE) & (target[frame - 1] == victim))
        near = np.hypot(*(frames.position[frame, hunters] - frames.position[frame, victim]).T)
        if len(hunters):
            add(frame, "kill", hunters[near.argmin()], victim)
    # The first to notice, and again after a while without alarm.
    rises = np.argwhere((frames.alert[1:] > 0) & (frames.alert[:-1] <= 0)) + (1, 0)
    last = -_ALARM_PAUSE_S * HZ
    for frame, actor in rises:
        if frame - last >= _ALARM_PAUSE_S * HZ:
            add(frame, "alarm", actor, -1)
        last = frame
    return tuple(sorted(events))
