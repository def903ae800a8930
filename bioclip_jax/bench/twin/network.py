"""Time of an ensemble of food webs over years, against SciPy's LSODA, and of the gradient against forward."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from ..tables import markdown
from .food_web import random_web
from .processes import run_modules


def measure_network(
    members: int = 1000,
    *,
    species: int = 56,
    years: float = 10.0,
    tolerance: float = 1e-6,
    peer_members: int = 4,
    seed: int = 0,
) -> dict[str, Any]:
    """Time an ensemble, and LSODA on `peer_members` of its members for each of one process and one per core.

    Each side runs in processes of its own, one side at a time. tolerance: relative, per step, of both.
    Returns {"members", "species", "links", "years", "cores", "ours", "peer_one_core", "peer_all_cores"
    (seconds per member), "ratio_one_core", "ratio_all_cores", "steps", "peer_calls", "first_call_seconds",
    "largest_difference": of a log biomass above 1e-3 at the end between the sides, "gradient" of one member
    {"forward_seconds", "gradient_seconds", "ratio"}, "prepared_gradient": the same after prepare_processor}.
    """
    cores = len(os.sched_getaffinity(0))
    web = random_web(species, years, max(members, peer_members * cores), seed)
    with tempfile.TemporaryDirectory(prefix="bioclip_jax-") as folder:
        root = Path(folder)
        np.savez(root / "peer.npz", **web)
        np.savez(root / "ours.npz", **web | {name: web[name][:members] for name in ("capture", "noise")})
        tasks = ("ensemble", "gradient", "prepared_gradient")
        ours, *gradients = [
            run_modules([["ours", task, root / "ours.npz", root / f"{task}.json", tolerance]])[0]
            for task in tasks
        ]
        peers = {}
        for name, processes in (("one_core", 1), ("all_cores", cores)):
            outputs = [root / f"{name}{number}.json" for number in range(processes)]
            peers[name] = run_modules(
                [
                    ["lsoda_peer", root / "peer.npz", output, tolerance, number * peer_members, peer_members]
                    for number, output in enumerate(outputs)
                ]
            )
        final = [np.load(root / name) for name in ("ensemble.npy", "one_core0.npy")]
    per_member = ours["seconds"] / members
    one = peers["one_core"][0]["seconds"] / peer_members
    every = max(peer["seconds"] for peer in peers["all_cores"]) / (peer_members * cores)
    final = [biomass[: min(members, peer_members)] for biomass in final]
    present = (final[0] > 1e-3) & (final[1] > 1e-3)
    return {
        "members": members,
        "species": species,
        "links": len(web["consumer"]),
        "years": years,
        "cores": cores,
        "ours": per_member,
        "peer_one_core": one,
        "peer_all_cores": every,
        "ratio_one_core": one / per_member,
        "ratio_all_cores": every / per_member,
        "peer_calls": peers["one_core"][0]["calls"],
        "steps": ours["steps"],
        "first_call_seconds": ours["first_call_seconds"],
        **dict(zip(tasks[1:], gradients)),
        "largest_difference": float(np.abs(np.log(final[0][present] / final[1][present])).max()),
    }


def network_table(result: dict[str, Any]) -> str:
    """Return a result of measure_network as Markdown."""
    title = "{members} members of a web of {species} species, {links} links, {years:g} years, {cores} cores"
    sides = {"ours, all cores": "ours", "LSODA, one core": "peer_one_core"}
    sides["LSODA, a process per core"] = "peer_all_cores"
    rows = [
        [name, f"{result[key]:.4f}", f"{result[key] / result['ours']:.1f}"] for name, key in sides.items()
    ]
    lines = [
        title.format(**result),
        "",
        markdown(["", "s per member", "of ours"], rows),
        "",
        f"{result['steps']:.0f} steps of ours, {result['peer_calls']:.0f} derivatives of LSODA's",
        f"largest difference of a log biomass at the end: {result['largest_difference']:.1e}",
        f"first call, with compilation: {result['first_call_seconds']:.1f} s",
    ]
    for name, key in {"as JAX is": "gradient", "after prepare_processor": "prepared_gradient"}.items():
        one = result[key]
        lines.append(
            f"gradient / forward of one member, {name}: {one['gradient_seconds']:.3f} s / "
            f"{one['forward_seconds']:.3f} s = {one['ratio']:.2f}"
        )
    return "\n".join(lines)
