"""Our side of the network benchmark: python -m bioclip_jax.bench.twin.ours TASK ARRAYS OUT TOLERANCE."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bioclip_jax.twin.community import prepare_processor

from .food_web import DAYS_PER_MONTH, EFFICIENCY, EXTINCTION, HILL, INTERFERENCE


def main(task: str, arrays: str, output: str, tolerance: str) -> None:
    """Time the ensemble, or the gradient of one member; write the figures.

    task: ensemble (also writes the final biomasses), gradient, or prepared_gradient with prepare_processor.
    """
    if task != "gradient":
        prepare_processor()
    web = dict(np.load(arrays))
    run = _ensemble if task == "ensemble" else _gradient
    Path(output).write_text(json.dumps(run(web, float(tolerance), Path(output).with_suffix(".npy"))))


def _inputs(web: dict[str, np.ndarray]) -> tuple[Any, Any, np.ndarray]:
    """Return the community, the conditions by month, and the days of the months."""
    import equinox as eqx
    import jax

    from bioclip_jax.twin.community import Community, steady_conditions

    _, months, species = web["noise"].shape
    with jax.enable_x64(True):
        community = Community.create(
            [f"species{n}" for n in range(species)],
            list(zip(web["resource"], web["consumer"])),
            producer=web["producer"],
            mass_kg=np.ones(species),
            growth=web["growth"],
            inverse_capacity=np.where(web["producer"], 1.0, 0.0),
            metabolism=web["metabolism"],
            handling=web["handling"],
            preference=web["preference"],
            efficiency=EFFICIENCY,
            hill=HILL,
            interference=INTERFERENCE,
            rain_exponent=np.where(web["producer"], 1.0, 0.0),
            extinction_kg=np.where(web["producer"], 0.0, EXTINCTION),
        )
        steady = steady_conditions(community)
    conditions = jax.tree.map(lambda leaf: np.broadcast_to(leaf, (months, *leaf.shape)), steady)
    conditions = eqx.tree_at(lambda one: one.rain, conditions, web["rain"][:, None])

    return community, conditions, np.full(months, DAYS_PER_MONTH)


def _ensemble(web: dict[str, np.ndarray], tolerance: float, output: Path) -> dict[str, float]:
    import equinox as eqx

    from bioclip_jax.twin.community import simulate_ensemble

    community, conditions, days = _inputs(web)

    def simulate(members: slice) -> Any:
        return simulate_ensemble(
            eqx.tree_at(lambda one: one.capture, community, web["capture"][members]),
            web["biomass"][None],
            eqx.tree_at(lambda one: one.noise, conditions, web["noise"][members][:, :, None]),
            days,
            tolerance=tolerance,
        )

    start = time.perf_counter()
    simulate(slice(1))
    first = time.perf_counter() - start
    start = time.perf_counter()
    trajectory = simulate(slice(None))
    seconds = time.perf_counter() - start
    np.save(output, trajectory.biomass[:, -1, 0])
    return {"seconds": seconds, "first_call_seconds": first, "steps": float(trajectory.steps.mean())}


def _gradient(web: dict[str, np.ndarray], tolerance: float, _: Path) -> dict[str, float]:
    import equinox as eqx
    import jax
    import jax.numpy as jnp

    from bioclip_jax.twin.community import simulate

    community, conditions, days = _inputs(web)
    with jax.enable_x64(True):
        weather = eqx.tree_at(lambda one: one.noise, conditions, web["noise"][0][:, None])
        biomass = jnp.asarray(web["biomass"][None])

        def final(capture: Any) -> Any:
            changed = eqx.tree_at(lambda one: one.capture, community, capture)
            return jnp.log(simulate(changed, biomass, weather, days, tolerance=tolerance).biomass[-1].sum())

        capture = jnp.asarray(web["capture"][0])
        forward = _fastest(jax.jit(final), capture)
        gradient = _fastest(jax.jit(jax.grad(final)), capture)
    return {"forward_seconds": forward, "gradient_seconds": gradient, "ratio": gradient / forward}


def _fastest(run: Callable[[Any], Any], argument: Any, repeats: int = 5) -> float:
    run(argument).block_until_ready()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run(argument).block_until_ready()
        times.append(time.perf_counter() - start)
    return min(times)


if __name__ == "__main__":
    main(*sys.argv[1:])
