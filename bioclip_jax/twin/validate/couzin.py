"""Case 9: the collective states of Couzin et al. 2002 (J. Theor. Biol. 218:1) in 3-D, and their hysteresis.

A group of 100 whose zone of orientation is narrow is a swarm; wider, it turns about an empty middle, a torus;
wider still, all go the same way. If the zone of orientation widens step by step, and then narrows, the group
stays what it was: its state depends on its past.
"""

from __future__ import annotations

import functools
import math
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from bioclip_jax.twin.animals import (
    Words,
    Zones,
    fold,
    founder_identity,
    normals,
    perturb,
    polarization,
    rotation,
    seed_key,
    turn_toward,
    zone_direction,
)

from .cases import Settings

# The paper's parameters, in its unit of length, the radius of repulsion.
INDIVIDUALS = 100
_STEP_S, _SPEED, _TURNING, _NOISE, _VIEW = 0.1, 3.0, math.radians(40), 0.05, math.radians(270)
_REPULSION, _ATTRACTION = 1.0, 14.0
# Widths of the zone of orientation, that of attraction being 14.
REGIMES = {"swarm": 0.0, "torus": 2.5, "dynamic parallel": 4.0, "highly parallel": 10.0}
# Both ways through the transitions; steps at each width, of which the second half is averaged.
WIDTHS = tuple(np.arange(0, 4.51, 0.25).tolist())
_WIDTH_STEPS, _REGIME_STEPS = 300, 2000
_START_SPREAD = 2.0
# Purposes of random numbers; each draw takes two.
_PLACE, _DIRECTION, _TURN = 0, 2, 4
# Standard errors, and differences of polarization or rotation, that count as a difference of the two ways.
_ERRORS, _DIFFERENCE = 4.0, 0.3
_WAYS = {"up": "zone widens", "down": "zone narrows"}


def simulate_groups(
    widths: Float[np.ndarray, "groups stages"], seed: int, steps: int, individuals: int = INDIVIDUALS
) -> tuple[Float[np.ndarray, "groups stages"], Float[np.ndarray, "groups stages"]]:
    """Return polarization and rotation of groups, mean over the second half of each stage.

    widths: of the zone of orientation by stage. steps: of each stage. Each group starts as a cloud of random
    directions and goes through its stages one after another.
    """
    number = np.arange(widths.shape[0] * individuals, dtype=np.uint32).reshape(-1, individuals)
    keys = fold(seed_key(seed), founder_identity(jnp.asarray(number)))
    measured = _simulate(keys, jnp.asarray(widths, jnp.float32), steps)
    return tuple(np.asarray(values, float) for values in measured)


@functools.partial(jax.jit, static_argnames="steps")
def _simulate(
    keys: Words, widths: Float[Array, "groups stages"], steps: int
) -> tuple[Float[Array, "groups stages"], Float[Array, "groups stages"]]:
    def group(keys: Words, widths: Float[Array, " stages"]) -> tuple[Array, Array]:
        def stage(state: tuple[Array, Array, Array], width: Array) -> tuple[Any, tuple[Array, Array]]:
            zones = Zones(_REPULSION, _REPULSION + width, _REPULSION + width + _ATTRACTION, _VIEW)

            def step(state: tuple[Array, Array, Array], _: None) -> tuple[Any, tuple[Array, Array]]:
                position, direction, time = state
                wanted = zone_direction(position, direction, zones)
                wanted = perturb(wanted, normals(keys, time, _TURN, 4), _NOISE)
                direction = turn_toward(direction, wanted, _TURNING * _STEP_S)
                position = position + _SPEED * _STEP_S * direction
                measured = polarization(direction), rotation(position, direction)
                # The group wanders off; what it does depends on differences alone.
                return (position - position.mean(0), direction, time + 1), measured

            state, measured = jax.lax.scan(step, state, length=steps)
            return state, jax.tree.map(lambda values: values[steps // 2 :].mean(), measured)

        place, way = (normals(keys, jnp.uint32(0), purpose, 3) for purpose in (_PLACE, _DIRECTION))
        way = way / jnp.linalg.norm(way, axis=1, keepdims=True)
        return jax.lax.scan(stage, (_START_SPREAD * place, way, jnp.uint32(1)), widths)[1]

    return jax.vmap(group)(keys, widths)


def study_collective_states(*, groups: int = 8, seed: int = 0) -> dict[str, Any]:
    """Return {"groups", "regimes": {NAME: figures}, "widths", "up": figures, "down": figures}.

    figures: {"polarization", "rotation"}, each {"mean", "standard_error"} over groups, numbers by regime, and
    lists by width for the ways up and down.
    """
    regimes = np.repeat(list(REGIMES.values()), groups)[:, None]
    settled = [
        values.reshape(len(REGIMES), groups).T for values in simulate_groups(regimes, seed, _REGIME_STEPS)
    ]
    # One series: what the widest zone left behind is where the way down begins.
    both_ways = np.tile([*WIDTHS, *WIDTHS[::-1]], (groups, 1))
    ways = simulate_groups(both_ways, seed + 1, _WIDTH_STEPS)
    up = [values[:, : len(WIDTHS)] for values in ways]
    down = [values[:, : len(WIDTHS) - 1 : -1] for values in ways]
    return {
        "groups": groups,
        "regimes": {
            name: _figures([values[:, column] for values in settled]) for column, name in enumerate(REGIMES)
        },
        "widths": list(WIDTHS),
        "up": _figures(up),
        "down": _figures(down),
    }


def couzin_case(settings: Settings) -> dict[str, Any]:
    """Run case 9; see Case.run."""
    study = study_collective_states(seed=settings.seed)
    figure = {
        name: tuple(values[of]["mean"] for of in ("polarization", "rotation"))
        for name, values in study["regimes"].items()
    }
    # Bounds that tell the states apart are assumed.
    distinct = (
        max(figure["swarm"]) < 0.4
        and figure["torus"][0] < 0.5 < 0.6 < figure["torus"][1]
        and all(
            figure[name][0] > 0.9 and figure[name][1] < 0.3
            for name in ("dynamic parallel", "highly parallel")
        )
    )
    width, gap = widest_gap(study)
    states = ", ".join(f"{name} {p:.2f} and {m:.2f}" for name, (p, m) in figure.items())
    return {
        "ours": f"polarization and rotation: {states}; at width {width:g} the ways up and down differ by "
        f"{gap:.2f} in polarization",
        "holds": bool(distinct and gap > _DIFFERENCE),
        "study": study,
    }


def widest_gap(study: dict[str, Any]) -> tuple[float, float]:
    """Return the width at which polarization differs most between the ways, and the difference there.

    Differences within some standard errors of 0 count as 0.
    """
    up, down = (study[way]["polarization"] for way in ("up", "down"))
    gap = np.abs(np.subtract(up["mean"], down["mean"]))
    gap = np.where(gap > _ERRORS * np.hypot(up["standard_error"], down["standard_error"]), gap, 0)
    return study["widths"][int(gap.argmax())], float(gap.max())


def write_figure(study: dict[str, Any], path: Path) -> None:
    """Draw polarization and rotation on both ways with two standard errors, and regimes as points."""
    from bioclip_jax.plots import HUES, INK, MUTED, halo, new_figure, save_figure, style_axes

    figure = new_figure(8.2, 3.3, layout="constrained")
    for axes, name in zip(figure.subplots(1, 2, sharey=True), ("polarization", "rotation"), strict=True):
        style_axes(axes)
        for way, color in (("up", HUES[0]), ("down", HUES[5])):
            mean, error = (np.array(study[way][name][of]) for of in ("mean", "standard_error"))
            low, high = np.clip([mean - 2 * error, mean + 2 * error], 0, 1)
            axes.fill_between(study["widths"], low, high, color=color, alpha=0.18, lw=0)
            axes.plot(study["widths"], mean, color=color, lw=1.8, label=_WAYS[way])
        for regime, width in REGIMES.items():
            if width <= study["widths"][-1]:
                value = study["regimes"][regime][name]["mean"]
                axes.plot(width, value, "o", color=INK, ms=4, zorder=3)
                axes.annotate(
                    regime.split()[-1],
                    (width, value),
                    textcoords="offset points",
                    xytext=(5, 7) if value < 0.9 else (5, -12),
                    fontsize=8,
                    color=INK,
                    path_effects=halo(),
                )
        axes.set_title(name, loc="left", fontsize=10, color=INK)
        axes.set_xlabel("width of the zone of orientation", fontsize=9, color=MUTED)
        axes.set_ylim(0, 1.03)
    axes.legend(frameon=False, fontsize=8.5)
    save_figure(figure, path)


def _figures(values: list[np.ndarray]) -> dict[str, Any]:
    """Mean and standard error over groups, the first axis, of polarization and rotation."""
    return {
        name: {
            "mean": value.mean(0).tolist(),
            "standard_error": (value.std(0, ddof=1) / math.sqrt(len(value))).tolist(),
        }
        for name, value in zip(("polarization", "rotation"), values, strict=True)
    }
