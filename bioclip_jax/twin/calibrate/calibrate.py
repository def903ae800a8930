"""Calibrate a twin's community to observations (`twin calibrate`)."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from bioclip_jax.errors import UserError
from bioclip_jax.files import check_folder, json_text, write_text, written_together
from bioclip_jax.predict import track
from bioclip_jax.tables import is_table
from bioclip_jax.twin.community import blueprint_of
from bioclip_jax.twin.estimate import read_movement
from bioclip_jax.twin.world import Twin, read_twin

from .batch import Batch
from .check import judge_ranks, rank_simulations
from .counts_table import read_counts
from .figures import draw_pit, draw_predictive, draw_prior_posterior, draw_ranks
from .fit import Fit, fit_map
from .likelihood import Calibration
from .nuts import fit_nuts
from .observations import Observations
from .periods import monthly_conditions
from .posterior import ParameterDraws
from .summary import log_values, predictive_check, predictive_counts, summarize
from .survey_events import movement_detectability, read_package_observations

METHODS = ("map", "nuts")
# Sets of counts that predictions are judged by.
_REPLICATES = 400
_VERSION = 1


@dataclass(frozen=True)
class CalibrateOptions:
    """Options of calibrate_twin.

    method: "map" (maximum, Laplace's approximation and importance resampling) or "nuts". draws: of the
    posterior. movement, reliability: as of `twin estimate`; reliability is for a Camtrap DP. check: number of
    simulations of the simulation-based check, which is done instead of a fit; 0 for a fit.
    """

    method: str = "map"
    draws: int = 500
    movement: Path | None = None
    reliability: Path | None = None
    seed: int = 0
    check: int = 0


def calibrate_twin(
    twin: str | os.PathLike[str],
    observations: str | os.PathLike[str],
    output: str | os.PathLike[str],
    options: CalibrateOptions | None = None,
) -> dict[str, Any]:
    """Calibrate a twin's community to a Camtrap DP or a table of counts.

    Writes posterior.json, draws.npz (ParameterDraws) and pictures into the folder `output`, or check.json and
    ranks.png with `options.check`. Returns the content of the JSON and "output". An interrupted sampler
    leaves its state beside the output, and the same call continues.
    Raises UserError for a twin and observations that do not fit.
    """
    options = options or CalibrateOptions()
    output = Path(output)
    check_folder(output)
    if options.method not in METHODS:
        raise UserError(f"the method {options.method!r} is not known; name one of {', '.join(METHODS)}")
    loaded = read_twin(twin)
    observed = read_observations(observations, loaded, options)
    with jax.enable_x64(True):
        blueprint = blueprint_of(loaded)
        conditions, days = monthly_conditions(loaded, blueprint.community, observed.last_day)
        calibration = Calibration.create(blueprint, conditions, days, observed)
    batch = Batch(calibration)
    reads = {"the twin": twin, "the observations": observations}
    with written_together(output, reads) as folder:
        if options.check:
            result = _check(batch, options, folder)
        else:
            fit = _fit(batch, options, output)
            result = _results(loaded, observed, batch, fit, options, folder)
    return result | {"output": str(output)}


def read_observations(path: str | os.PathLike[str], twin: Twin, options: CalibrateOptions) -> Observations:
    """Read a table of counts, or anything else as a Camtrap DP."""
    if not os.path.exists(path):
        raise UserError(f"{path} does not exist; give a Camtrap DP or a table of counts")
    if is_table(path):
        if options.reliability is not None:
            raise UserError(f"--reliability applies to a Camtrap DP, and {path} is a table; leave it out")
        counts = read_counts(path, twin)
        if options.movement is None:
            return counts
        movement = read_movement(options.movement, counts.species)
        known = {name: movement_detectability(one) for name, one in movement.items()}
        return replace(counts, detectability=known)
    return read_package_observations(
        Path(path), twin, movement=options.movement, reliability=options.reliability
    )


def _fit(batch: Batch, options: CalibrateOptions, output: Path) -> Fit:
    print(f"finding the maximum over {len(batch.calibration.names)} parameters", file=sys.stderr)
    if options.method == "map":
        return fit_map(batch, options.draws, seed=options.seed)
    checkpoint = output.with_name(f".{output.name}.partial.npz")
    with _Progress("sampling") as report:
        return fit_nuts(batch, options.draws, seed=options.seed, checkpoint=checkpoint, report=report)


class _Progress:
    """Progress bar of a task that reports the steps done and their number."""

    def __init__(self, description: str) -> None:
        self._description = description
        self._bar: Iterator[int] | None = None
        self._done = 0

    def __enter__(self) -> Callable[[int, int], None]:
        return self._report

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def _report(self, done: int, total: int) -> None:
        if self._bar is None:
            self._bar = track(iter(range(total)), self._description, total)
        for _ in range(done - self._done):
            next(self._bar, None)
        self._done = done


def _check(batch: Batch, options: CalibrateOptions, folder: Path) -> dict[str, Any]:
    def progress(items: Iterator[int], total: int) -> Iterator[int]:
        return track(items, "ranking", total)

    ranks = rank_simulations(batch, options.check, options.seed, track=progress)
    result = judge_ranks(ranks)
    write_text(folder / "check.json", json_text(result, indent=1, ensure_ascii=False) + "\n")
    draw_ranks(result, folder / "ranks.png")
    return result


def _results(
    twin: Twin, observed: Observations, batch: Batch, fit: Fit, options: CalibrateOptions, folder: Path
) -> dict[str, Any]:
    """Write the posterior and its pictures, and return the summary."""
    calibration = batch.calibration
    rng = np.random.default_rng([options.seed, 8])
    u = fit.u[: min(len(fit.u), _REPLICATES)]
    replicates = predictive_counts(calibration, u, batch.expected(u), rng)
    check = predictive_check(calibration, replicates, options.seed)
    pit = check.pop("pit")
    summary = {
        "version": _VERSION,
        "twin": twin.name,
        "species": [one.name for one in twin.species],
        "method": options.method,
        "seed": options.seed,
        "draws": len(fit.u),
        "converged": fit.converged,
        "note": _note(fit, options),
        **summarize(calibration, fit.u),
        "predictive": check,
        "observations": _described(observed),
        "fit": fit.diagnostics,
    }
    ParameterDraws(calibration.names, log_values(calibration, fit.u), summary).save(folder)
    draw_predictive(calibration, replicates, observed.start_day, observed.end_day, folder / "predictive.png")
    draw_pit(pit, folder / "pit.png")
    draw_prior_posterior(calibration, fit.u, summary, folder / "prior_posterior.png")
    return summary


def _note(fit: Fit, options: CalibrateOptions) -> str:
    if fit.converged:
        return ""
    if options.method == "nuts":
        return "the chains have not converged: do not use these draws (see fit: r_hat, effective, divergent)"
    return (
        "the posterior is too far from its approximation, or the maximum was not reached: use --method nuts "
        "before relying on these draws"
    )


def _described(observed: Observations) -> dict[str, Any]:
    events = np.nansum(observed.counts, axis=(0, 1))
    return {
        "periods": len(observed.start_day),
        "patches": observed.effort_days.shape[1],
        "sampled": int(observed.observed.sum()),
        "effort_days": float(observed.effort_days.sum()),
        "events": dict(zip(observed.classes, events.tolist(), strict=True)),
        "confusion": observed.dirichlet is not None,
        "detectability_known": sorted(observed.detectability),
    }
