"""The network benchmark's peer: SciPy's LSODA on the same equations with dense NumPy matrices.

python -m bioclip_jax.bench.twin.lsoda_peer ARRAYS OUT TOLERANCE FIRST COUNT
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
from scipy.integrate import solve_ivp

from .food_web import DAYS_PER_MONTH, EFFICIENCY, EXTINCTION, HILL, INTERFERENCE


def main(arrays: str, output: str, tolerance: str, first: str, count: str) -> None:
    """Simulate some members one after another; write the seconds and the final biomasses."""
    web = dict(np.load(arrays))
    start = time.perf_counter()
    members = range(int(first), int(first) + int(count))
    results = [_simulate(web, member, float(tolerance)) for member in members]
    seconds = time.perf_counter() - start
    np.save(Path(output).with_suffix(".npy"), np.array([biomass for biomass, _ in results]))
    calls = sum(calls for _, calls in results) / len(results)
    Path(output).write_text(json.dumps({"seconds": seconds, "calls": calls}))


def _simulate(web: dict[str, np.ndarray], member: int, tolerance: float) -> tuple[np.ndarray, int]:
    """Return the biomass at the end, and the calls of the derivative."""
    species = len(web["biomass"])
    producer, metabolism = web["producer"], web["metabolism"]
    attack = np.zeros((species, species))
    attack[web["consumer"], web["resource"]] = web["capture"][member] * web["preference"]
    handling = np.zeros((species, species))
    handling[web["consumer"], web["resource"]] = web["handling"]
    busy = attack * handling
    # One product gives both sums over resources, of what is eaten and of the time that it takes.
    both, eaten = np.concatenate([busy, attack]), np.ascontiguousarray(attack.T)

    def change(_: float, biomass: np.ndarray, growth: np.ndarray, factor: np.ndarray) -> np.ndarray:
        biomass = np.maximum(biomass, 0.0)
        available = biomass**HILL
        sums = both @ available
        intake = factor * biomass / (1 + INTERFERENCE * biomass + factor * sums[:species])
        gain = EFFICIENCY * intake * sums[species:] - metabolism * biomass
        return growth * biomass * (1 - biomass) + gain - available * (eaten @ intake)

    biomass, calls = web["biomass"].copy(), 0
    for rain, noise in zip(web["rain"], web["noise"][member]):
        factor = np.exp(noise)
        solution = solve_ivp(
            change,
            (0.0, DAYS_PER_MONTH),
            biomass,
            method="LSODA",
            rtol=tolerance,
            atol=1e-3 * EXTINCTION,
            args=(web["growth"] * factor * rain, factor),
        )
        biomass, calls = solution.y[:, -1], calls + solution.nfev
        biomass = np.where((biomass < EXTINCTION) & ~producer, 0.0, biomass)
    return biomass, calls


if __name__ == "__main__":
    main(*sys.argv[1:])
