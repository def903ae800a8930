"""One side of the benchmark of individuals.

python -m bioclip_jax.bench.twin.individual_side MODEL SIDE JOB OUT, where JOB is a file with the case and
the repeats as JSON; its initial state lies beside it as .npz.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from .cases import CASES, Flocking, HourClock, WolfSheep


def main(model: str, side: str, job: str, output: str) -> None:
    """Time one side of a model and write its figures; without set-up and compilation, after a warm-up."""
    given = json.loads(Path(job).read_text())
    state = dict(np.load(Path(job).with_suffix(".npz")))
    case = CASES[model](**given["case"])
    result = _SIDES[model, side](case, state, given["repeats"])
    Path(output).write_text(json.dumps(result))


def _wolf_sheep(case: WolfSheep, state: dict[str, np.ndarray], repeats: int) -> dict[str, Any]:
    from bioclip_jax.errors import UserError

    from .wolf_sheep import create_ecosystem, run

    def checked(result: Any) -> dict[str, Any]:
        end, counts = result
        if end.lost:
            raise UserError(f"{end.lost} births found no slot; raise the case's room")
        return _populations(np.asarray(counts))

    return _compiled(run, case, lambda: create_ecosystem(case, state, seed=0), repeats, checked)


def _abmax_wolf_sheep(case: WolfSheep, state: dict[str, np.ndarray], repeats: int) -> dict[str, Any]:
    from .abmax_peer import create_ecosystem, run

    def start() -> Any:
        return create_ecosystem(case, state, seed=0)

    return _compiled(run, case, start, repeats, lambda result: _populations(np.asarray(result[1])))


def _mesa_wolf_sheep(case: WolfSheep, state: dict[str, np.ndarray], repeats: int) -> dict[str, Any]:
    from .mesa_peer import MesaWolfSheep

    counts = []

    def step(model: Any) -> None:
        model.step()
        counts.append(model.counts())

    times = _interpreted(lambda seed: MesaWolfSheep(case, state, seed), step, case.steps, repeats)
    return times | _populations(np.array(counts))


def _flocking(case: Flocking, state: dict[str, np.ndarray], repeats: int) -> dict[str, Any]:
    from .flocking import create_flock, run

    def checked(result: Any) -> dict[str, Any]:
        end, order = result
        return {"overflow": int(end.overflow), "order": float(order[-1])}

    return _compiled(run, case, lambda: create_flock(state), repeats, checked)


def _mesa_flocking(case: Flocking, state: dict[str, np.ndarray], repeats: int) -> dict[str, Any]:
    from .mesa_peer import MesaFlocking

    return _interpreted(lambda seed: MesaFlocking(case, state, seed), MesaFlocking.step, case.steps, repeats)


def _hour_clock(case: HourClock, _: dict[str, np.ndarray], repeats: int) -> dict[str, Any]:
    from bioclip_jax.twin.animals import simulate_population

    from .hour_clock import create_population

    ecology, population = create_population(case, seed=0)
    figures = {"alive": int(np.asarray(population.animals.alive).sum())}

    def run(case: HourClock, population: Any) -> Any:
        return simulate_population(ecology, population, case.steps, record_hours=case.steps)

    return _compiled(run, case, lambda: population, repeats, lambda _: figures)


def _populations(counts: np.ndarray) -> dict[str, Any]:
    return {"sheep": int(counts[-1, 0]), "wolves": int(counts[-1, 1])}


def _compiled(
    run: Any, case: Any, start: Callable[[], Any], repeats: int, figures: Callable[[Any], dict[str, Any]]
) -> dict[str, Any]:
    """Time a jitted run; the first call, which compiles, is the warm-up."""
    import jax

    times = []
    for _ in range(repeats + 1):
        state = jax.block_until_ready(start())
        began = time.perf_counter()
        result = jax.block_until_ready(run(case, state))
        times.append(time.perf_counter() - began)
    return {"seconds": statistics.median(times[1:]), "first_call_seconds": times[0]} | figures(result)


def _interpreted(
    create: Callable[[int], Any], step: Callable[[Any], Any], steps: int, repeats: int
) -> dict[str, Any]:
    """Time steps of a plain Python model, a new one for each repeat."""
    setups, times = [], []
    for seed in range(repeats):
        began = time.perf_counter()
        model = create(seed)
        setups.append(time.perf_counter() - began)
        began = time.perf_counter()
        for _ in range(steps):
            step(model)
        times.append(time.perf_counter() - began)
        del model
    return {"seconds": statistics.median(times), "setup_seconds": statistics.median(setups)}


_SIDES: dict[tuple[str, str], Callable[..., dict[str, Any]]] = {
    ("wolf_sheep", "ours"): _wolf_sheep,
    ("wolf_sheep", "abmax"): _abmax_wolf_sheep,
    ("wolf_sheep", "mesa"): _mesa_wolf_sheep,
    ("flocking", "ours"): _flocking,
    ("flocking", "mesa"): _mesa_flocking,
    ("hour_clock", "ours"): _hour_clock,
}

if __name__ == "__main__":
    main(*sys.argv[1:])
