"""The bank of scenes: branches x hours of the day, as int16 trajectories on one generated landscape."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import numpy as np
from jaxtyping import Float

from bioclip_jax.twin.animals import (
    Landscape,
    Scene,
    cast_of,
    generate_landscape,
    savanna_species,
    simulate_scene,
)
from bioclip_jax.twin.scenario import Run
from bioclip_jax.twin.world import Species, Twin

from .blocks import deltas

# Dawn, noon, dusk and night, in solar hours.
HOURS = (6.3, 12.0, 18.3, 22.0)
_SEED = 1
_POSITIONS = 65535
_HEADINGS = 256
# Differences of heights in m that are kept.
_HEIGHT_STEP_M = 0.01


def scene_bank(run: Run, twin: Twin, seconds: float = 120.0) -> Iterator[tuple[dict[str, Any], str, bytes]]:
    """Yield the header, name and content of the block of the landscape, then of each scene."""
    landscape = _landscape()
    yield _landscape_header(landscape), "landscape", _landscape_block(landscape)
    number = 0
    for branch in range(len(run.branches)):
        cast = cast_of(run, branch, twin.species)
        if not cast:
            continue
        for hour in HOURS:
            header, content = make_scene(cast, twin, branch, hour, seconds)
            yield header, f"scene-{number}", content
            number += 1


def make_scene(
    cast: Mapping[str, int], twin: Twin, branch: int, hour: float, seconds: float
) -> tuple[dict[str, Any], bytes]:
    """Return the header and the content of the block of a scene of a branch."""
    scene = simulate_scene(cast, _landscape(), seed=_SEED, hour=hour, seconds=seconds, species=twin.species)
    return _scene_header(scene, twin, branch), encode_scene(scene)


@cache
def _landscape() -> Landscape:
    return generate_landscape(_SEED)


def encode_scene(scene: Scene) -> bytes:
    """Return x of all animals, then y, as differences of int16, then headings and states as bytes."""
    share = np.clip(np.asarray(scene.position.T, float) / scene.extent_m, 0, 1)
    steps = np.round(share * _POSITIONS) - (_POSITIONS + 1) // 2
    turn = np.round(np.asarray(scene.heading, float).T / (2 * np.pi) * _HEADINGS).astype(np.int64)
    heading = np.diff(turn, axis=1, prepend=0).astype(np.uint8)
    return deltas(steps.astype(np.int16)) + heading.tobytes() + scene.state.T.astype(np.uint8).tobytes()


def _scene_header(scene: Scene, twin: Twin, branch: int) -> dict[str, Any]:
    # Species that are only in scenes, such as vultures, have the numbers after those of the community.
    index = {one.name: number for number, one in enumerate(twin.species)}
    guests = [name for name in scene.names if name not in index]
    index |= {name: len(index) + number for number, name in enumerate(guests)}
    numbers = [index[name] for name in scene.names]
    return {
        "branch": branch,
        "hour": scene.hour,
        "hz": scene.hz,
        "frames": len(scene.position),
        "extent_m": scene.extent_m,
        "animals": {
            "species": [numbers[one] for one in scene.species.tolist()],
            "id": scene.identity.tolist(),
            "size": np.round(100 * scene.size).astype(int).tolist(),
            "guests": [_guest(savanna_species()[name]) for name in guests],
        },
        # Time in tenths of a second.
        "events": [
            [round(10 * time), kind, int(actor), int(target)] for time, kind, actor, target in scene.events
        ],
    }


def _guest(one: Species) -> dict[str, Any]:
    """Return what a scene needs to know of a species, as in the page's content."""
    ranks = {rank: one.taxonomy.get(rank, "") for rank in ("class", "order", "family")}
    mass = float(f"{one.mass_g / 1000:.4g}")
    return {
        "name": one.name,
        "common": one.common_name,
        "kind": one.kind,
        **ranks,
        "mass_kg": mass,
        "facts": {},
    }


def _landscape_header(landscape: Landscape) -> dict[str, Any]:
    def decimeters(rows: Float[np.ndarray, "things values"], keep: int) -> list[list[int]]:
        return [
            [round(10 * value) for value in row[:keep]] + [int(one) for one in row[keep:]]
            for row in rows.tolist()
        ]

    return {
        "extent_m": landscape.extent_m,
        "size": len(landscape.height_m),
        "height_step_m": _HEIGHT_STEP_M,
        "trees": decimeters(landscape.trees, 3),
        "water": decimeters(landscape.water, 3),
    }


def _landscape_block(landscape: Landscape) -> bytes:
    heights = np.round(np.asarray(landscape.height_m, float) / _HEIGHT_STEP_M).astype(np.int16)
    return deltas(heights) + np.round(255 * np.asarray(landscape.grass, float)).astype(np.uint8).tobytes()
