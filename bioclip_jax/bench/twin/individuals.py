"""Time of individual-based models: Wolf-Sheep and flocking beside Mesa and ABMax, and the hour clock."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bioclip_jax.errors import UserError

from ..tables import markdown
from .cases import CASES, Flocking, HourClock, WolfSheep
from .processes import run_modules

INDIVIDUAL_PARTS = tuple(CASES)
_PEERS = {"wolf_sheep": ("abmax", "mesa"), "flocking": ("mesa",), "hour_clock": ()}


def measure_individuals(
    parts: Sequence[str] = INDIVIDUAL_PARTS,
    *,
    animals: int = 10_000,
    steps: int = 100,
    population: int = 1_000_000,
    hours: int = 10,
    peer: bool = False,
    peer_flocking_steps: int = 3,
    repeats: int = 3,
    seed: int = 0,
) -> dict[str, Any]:
    """Time models of individuals from the same initial state, each side in a process of its own, in turn.

    animals, steps: of Wolf-Sheep and flocking. population, hours: of the hour clock, which has no peer.
    peer: also Mesa and, for Wolf-Sheep, ABMax. Mesa's flocking runs only `peer_flocking_steps`, since it
    looks at all pairs of birds; seconds a step are compared. Times are medians of `repeats`; creating the
    model and the first call of a compiled side are not counted.
    Returns {"cores", PART: {"animals", "steps", SIDE: seconds a step, "ratio_PEER", "detail": {SIDE: ...}}}.
    Raises ModuleNotFoundError for a missing peer, UserError for an unknown part or a side that fails.
    """
    for part in parts:
        if part not in INDIVIDUAL_PARTS:
            raise UserError(f"{part} is not a part of the benchmark; choose of {', '.join(INDIVIDUAL_PARTS)}")
    if peer:
        for name in sorted({name for part in parts for name in _PEERS[part]}):
            if importlib.util.find_spec(name) is None:
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    result: dict[str, Any] = {"cores": len(os.sched_getaffinity(0))}
    for part in parts:
        size = (population, hours) if part == "hour_clock" else (animals, steps)
        case = CASES[part].scaled(*size)
        sides = ("ours", *(_PEERS[part] if peer else ()))
        with tempfile.TemporaryDirectory(prefix="bioclip_jax-") as folder:
            np.savez(Path(folder) / "ours.npz", **case.initial_state(seed))
            detail = {}
            for side in sides:
                few = part == "flocking" and side == "mesa"
                own = dataclasses.replace(case, steps=min(peer_flocking_steps, steps)) if few else case
                detail[side] = _run_side(Path(folder), part, side, own, repeats)
        result[part] = {
            "animals": size[0],
            "steps": size[1],
            **{side: detail[side]["seconds"] / detail[side]["steps"] for side in sides},
        }
        for side in sides[1:]:
            result[part][f"ratio_{side}"] = result[part][side] / result[part]["ours"]
        result[part]["detail"] = detail
    return result


def _run_side(
    folder: Path, part: str, side: str, case: WolfSheep | Flocking | HourClock, repeats: int
) -> dict[str, Any]:
    job = folder / "ours.job"
    job.write_text(json.dumps({"case": dataclasses.asdict(case), "repeats": repeats}))
    output = folder / f"{side}.json"
    (result,) = run_modules([["individual_side", part, side, job, output]])
    return {"steps": case.steps} | result


def individuals_table(result: dict[str, Any]) -> str:
    """Return a result of measure_individuals as Markdown."""
    rows = []
    for part in INDIVIDUAL_PARTS:
        one = result.get(part, {})
        for side, detail in one.get("detail", {}).items():
            ratio = f"{one[f'ratio_{side}']:.1f}" if side != "ours" else ""
            before = detail.get("first_call_seconds", detail.get("setup_seconds", 0.0))
            sizes = [f"{one['animals']:,}", str(detail["steps"])]
            rows.append([part, side, *sizes, f"{1000 * one[side]:.3f}", ratio, f"{before:.1f}"])
    head = ["", "side", "animals", "steps", "ms a step", "of ours", "first call or set-up, s"]
    return "\n".join([f"{result['cores']} cores", "", markdown(head, rows)])
