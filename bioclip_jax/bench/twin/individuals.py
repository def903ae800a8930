"""Time of individual-based models, ours against Mesa and ABMax: Wolf-Sheep and flocking."""

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
from .cases import Flocking, WolfSheep
from .processes import run_modules

INDIVIDUAL_PARTS = ("wolf_sheep", "flocking")
_PEERS = {"wolf_sheep": ("abmax", "mesa"), "flocking": ("mesa",)}


def measure_individuals(
    parts: Sequence[str] = INDIVIDUAL_PARTS,
    *,
    animals: int = 10_000,
    steps: int = 100,
    peer: bool = False,
    peer_flocking_steps: int = 3,
    repeats: int = 3,
    seed: int = 0,
) -> dict[str, Any]:
    """Time models of individuals from the same initial state, each side in a process of its own, in turn.

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
        case = (WolfSheep if part == "wolf_sheep" else Flocking).scaled(animals, steps)
        sides = ("ours", *(_PEERS[part] if peer else ()))
        with tempfile.TemporaryDirectory(prefix="bioclip_jax-") as folder:
            np.savez(Path(folder) / "ours.npz", **case.initial_state(seed))
            detail = {}
            for side in sides:
                few = part == "flocking" and side == "mesa"
                own = dataclasses.replace(case, steps=min(peer_flocking_steps, steps)) if few else case
                detail[side] = _run_side(Path(folder), part, side, own, repeats)
        result[part] = {
            "animals": animals,
            "steps": steps,
            **{side: detail[side]["seconds"] / detail[side]["steps"] for side in sides},
        }
        for side in sides[1:]:
            result[part][f"ratio_{side}"] = result[part][side] / result[part]["ours"]
        result[part]["detail"] = detail
    return result


def _run_side(folder: Path, part: str, side: str, case: WolfSheep | Flocking, repeats: int) -> dict[str, Any]:
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
            rows.append([part, side, f"{1000 * one[side]:.3f}", ratio, f"{before:.1f}", str(detail["steps"])])
    head = ["", "side", "ms a step", "of ours", "first call or set-up, s", "steps"]
    sizes = {result[part]["animals"] for part in INDIVIDUAL_PARTS if part in result}
    title = f"{', '.join(f'{size:,}' for size in sorted(sizes))} animals, {result['cores']} cores"
    return "\n".join([title, "", markdown(head, rows)])
