"""Comparison of a scenario with the baseline of its run, or of two runs."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from bioclip_jax.errors import UserError, did_you_mean
from bioclip_jax.files import check_folder, json_text, write_text, written_together
from bioclip_jax.plots import write_csv
from bioclip_jax.tables import read_table, table_rows

from .effects import effect, log_ratios, no_change, quasi_extinct, variances
from .run_folder import Run, read_run

# Settings in which two runs must agree for a member of one to be a member of the other.
_PAIRING = ("twin_sha256", "parameters", "seed", "members", "noise", "tolerance")


@dataclass(frozen=True)
class CompareOptions:
    """Options of a comparison.

    scenario, against: names of branches (default: the only scenario, and the baseline). window: years at
    the end whose mean biomass is compared. quasi_extinction: share of the biomass at the start. observed:
    table of observed ratios.
    """

    scenario: str | None = None
    against: str | None = None
    window: float = 1.0
    quasi_extinction: float = 0.1
    observed: Path | None = None


@dataclass(frozen=True)
class _Branch:
    """One branch of a run, its biomass averaged over the patches."""

    run: Run
    name: str
    path: Float[np.ndarray, "members times species"]


def compare_runs(
    runs: Sequence[str | os.PathLike[str]],
    output: str | os.PathLike[str],
    options: CompareOptions = CompareOptions(),
) -> dict[str, Any]:
    """Compare the scenario of one run with its baseline, or the second of two runs with the first.

    Writes compare.json, effects.csv, effects.png and trajectories.png into the folder `output`, and returns
    the content of compare.json. Raises UserError for runs of other species or times.
    """
    output = Path(output)
    if len(runs) not in (1, 2):
        raise UserError(
            f"compare takes one run or two, and then the folder of the result, not {len(runs)} runs"
        )
    if (output / "run.json").exists() or (output / "settings.json").exists():
        raise UserError(f"{output} is a run; name another folder for the comparison, after the runs")
    check_folder(output, "the comparison")
    read = [read_run(path) for path in runs]
    with_, without = _branches(read, options)
    _check_comparable(with_.run, without.run)
    observed = _read_observed(options.observed, with_.run.species)
    result = _compare(with_, without, options, observed)
    with written_together(output) as folder:
        write_text(folder / "compare.json", json_text(result, indent=1, ensure_ascii=False) + "\n")
        _write_table(folder / "effects.csv", result)
        from .figures import draw_effects, draw_trajectories

        draw_effects(result, folder / "effects.png")
        draw_trajectories(result, with_.run.times, with_.path, without.path, folder / "trajectories.png")
    return result | {"output": str(output)}


def branch_effects(run: Run, scenario: str) -> dict[str, Any]:
    """Return the comparison of a scenario with its run's baseline, as compare_runs, and write nothing."""
    options = CompareOptions(scenario=scenario)
    return _compare(*_branches([run], options), options, {})


def _compare(
    with_: _Branch, without: _Branch, options: CompareOptions, observed: dict[int, float]
) -> dict[str, Any]:
    last = _window(with_.run, options.window)
    floor = without.run.floor()
    after, before = (branch.path[:, last].mean(axis=1) for branch in (with_, without))
    differ = _differences(with_.run, without.run)
    ratios = log_ratios(after, before, floor, paired=not differ)
    spread = variances(after, before, floor) if not differ and len(after) > 1 else None
    risk, risk_without = (
        # Paired members start alike, but for what the scenario does on the first day.
        quasi_extinct(branch.path, (branch if differ else without).path[:, 0], options.quasi_extinction)
        for branch in (with_, without)
    )
    species = {}
    for number, name in enumerate(with_.run.species):
        species[name] = effect(ratios[:, number]) | {
            "probability_of_quasi_extinction": float(risk[number]),
            "probability_of_quasi_extinction_without": float(risk_without[number]),
            "variance": None
            if spread is None
            else {"paired": float(spread[0][number]), "unpaired": float(spread[1][number])},
        }
    runs = [without.run] if with_.run is without.run else [without.run, with_.run]
    return {
        "runs": [str(run.path) for run in runs],
        "scenario": with_.name,
        "against": without.name,
        "calibrated": all(run.settings["parameters"]["calibrated"] for run in runs),
        "note": next((run.note for run in runs if run.note), ""),
        "paired": not differ,
        "unpaired_because": f"the runs have other {' and '.join(differ)}" if differ else "",
        "members": [len(after), len(before)],
        "window_years": options.window,
        "quasi_extinction_share": options.quasi_extinction,
        "species": species,
        "variance_ratio": None if spread is None else _ratio(*spread),
        "no_change": no_change(ratios, [one["verdict"] for one in species.values()], observed),
    }


def _window(run: Run, years: float) -> slice:
    """Return the last states of a run, over a number of years."""
    days = (run.times[-1] - run.times[0]).days
    if not 0 < years * 365.25 <= days + 1:
        raise UserError(f"--window is {years:g} years, of a run of {days / 365.25:.3g}; take fewer, above 0")
    # By 365 days, so that a window of one year has twelve monthly states, and none of its date a year before.
    first = next(n for n, day in enumerate(run.times) if (run.times[-1] - day).days < years * 365)
    return slice(first, None)


def _branches(runs: Sequence[Run], options: CompareOptions) -> tuple[_Branch, _Branch]:
    """Return what is compared, and what with."""

    def branch(run: Run, name: str | None, *, scenario: bool) -> _Branch:
        if name is None:
            name = _only_scenario(run) if scenario else run.branches[0]
        elif name not in run.branches:
            raise UserError(f"{run.path} has no scenario {name!r}{did_you_mean(name, run.branches)}")
        return _Branch(run, name, run.total(run.branches.index(name)))

    if len(runs) == 1:
        if len(runs[0].branches) == 1:
            raise UserError(f"{runs[0].path} has no scenario; give twin run one, or compare two runs")
        result = (
            branch(runs[0], options.scenario, scenario=True),
            branch(runs[0], options.against, scenario=False),
        )
        if result[0].name == result[1].name:
            raise UserError(f"--scenario and --against are both {result[0].name}; name two")
        return result
    return (
        branch(runs[1], options.scenario, scenario=len(runs[1].branches) > 1),
        branch(runs[0], options.against, scenario=len(runs[0].branches) > 1),
    )


def _only_scenario(run: Run) -> str:
    if len(run.branches) > 2:
        names = " or ".join(f'"{name}"' for name in run.branches[1:])
        raise UserError(f"{run.path} has several scenarios; name one with --scenario: {names}")
    return run.branches[1]


def _check_comparable(first: Run, second: Run) -> None:
    for what in ("species", "times"):
        one, other = getattr(first, what), getattr(second, what)
        if one != other:
            different = next(
                (str(value) for value in (*one, *other) if (value in one) != (value in other)), ""
            )
            detail = f", such as {different}" if different else ""
            raise UserError(
                f"{first.path} and {second.path} have other {what}{detail}; compare runs with the same {what}"
            )


def _differences(first: Run, second: Run) -> list[str]:
    """Settings that keep the members of two runs from being pairs."""
    return [key for key in _PAIRING if first.settings[key] != second.settings[key]]


def _ratio(paired: Float[np.ndarray, " species"], unpaired: Float[np.ndarray, " species"]) -> float | None:
    """Return the ratio of the variances of a species in the middle."""
    varied = unpaired > 0
    return float(np.median(paired[varied] / unpaired[varied])) if varied.any() else None


def _read_observed(path: Path | None, species: Sequence[str]) -> dict[int, float]:
    """Read observed log ratios by species: a table with species and ratio (with / without)."""
    if path is None:
        return {}
    observed: dict[int, float] = {}
    for number, row in enumerate(table_rows(read_table(path, ("species",), known=("species", "ratio"))), 2):
        name = str(row.get("species") or "").strip()
        if name not in species:
            raise UserError(
                f"{path}, row {number}: the run has no species {name!r}{did_you_mean(name, species)}"
            )
        try:
            ratio = float(row["ratio"])
        except (KeyError, TypeError, ValueError):
            ratio = math.nan
        if not 0 < ratio < math.inf:
            raise UserError(f"{path}, row {number}: write a ratio above 0")
        if species.index(name) in observed:
            raise UserError(f"{path}, row {number}: {name} is there twice; keep one")
        observed[species.index(name)] = math.log(ratio)
    return observed


def comparison_table(result: dict[str, Any]) -> str:
    """Return a comparison as a table for people."""
    width = max(len(name) for name in result["species"])
    row = f"{{:{width}s}}  {{:28s}} {{:>8s}} {{:>14s}}  {{}}"
    lines = [row.format("", "ratio (90 % interval)", "declines", "quasi-extinct", result["scenario"])]
    ordered = sorted(result["species"].items(), key=lambda item: item[1]["log_ratio"]["median"])
    for name, one in ordered:
        ratio, low, high = (math.exp(one["log_ratio"][key]) for key in ("median", "lower", "upper"))
        risks = (one[f"probability_of_{what}"] for what in ("decline", "quasi_extinction"))
        interval = f"{ratio:.3g} ({low:.3g} to {high:.3g})"
        lines.append(row.format(name, interval, *(f"{risk:.0%}" for risk in risks), one["verdict"]))
    skill = result["no_change"]["expected"]
    share = result["no_change"]["undecided"]
    lines.append(
        f"expected error of log ratios: {skill['error_of_no_change']:.3g} if no change is predicted, "
        f"{skill['error_of_medians']:.3g} by the medians; {share:.0%} of the species undecided"
    )
    return "\n".join(lines)


def _write_table(path: Path, result: dict[str, Any]) -> None:
    quantiles = ("median", "lower", "upper", "lower_50", "upper_50")
    others = (
        "probability_of_decline",
        "probability_of_quasi_extinction",
        "probability_of_quasi_extinction_without",
        "verdict",
    )
    rows = [
        [name, *(one["log_ratio"][key] for key in quantiles), *(one[key] for key in others)]
        for name, one in result["species"].items()
    ]
    write_csv(path, ["species", *(f"log_ratio_{key}" for key in quantiles), *others], rows)
