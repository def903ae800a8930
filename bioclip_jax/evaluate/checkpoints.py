"""Evaluate every checkpoint of a training run."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Unpack

from bioclip_jax.checkpoint import TrainingDirectory
from bioclip_jax.convert import local_path
from bioclip_jax.errors import UserError

from .evaluator import Evaluator, EvaluatorOptions, score_entries, utc_now
from .protocols import Score
from .results import (
    RESULTS_FILE,
    is_current,
    make_folder,
    read_json,
    to_json_types,
    versions,
    write_json,
    write_table,
)
from .suite import Suite


def evaluate_checkpoints(
    run: Path, suite: Suite, output: Path, **options: Unpack[EvaluatorOptions]
) -> dict[str, Any]:
    """Score each checkpoint of the training directory `run` by a suite.

    output: folder for results.json, results.csv and results.png. Its earlier results of the same weights,
    data and options are kept, also those of checkpoints removed since.
    Returns: the content of results.json: "run", "date", "versions", "skipped", "failed" (by "step N, ENTRY"),
      and "steps": [{"step", "fingerprint", "transform", "precision", "scores" (headline figure of each
      entry), "entries" (as evaluate_suite)}].
    Errors: UserError if `run` is not a training directory, or has no checkpoint.
    """
    directory = TrainingDirectory(local_path(str(run)))
    if not TrainingDirectory.exists_at(directory.path):
        raise UserError(f"{run} is not a training directory; give one, since only those have checkpoints")
    if not (steps := directory.steps()):
        raise UserError(f"{run} has no checkpoint yet; wait for the first")
    output = make_folder(Path(output))
    earlier = read_json(output / RESULTS_FILE)
    kept = earlier.get("steps", []) if earlier.get("run") == str(directory.path) else []
    results: dict[str, Any] = {
        "run": str(directory.path),
        "date": utc_now(),
        "versions": versions(),
        "skipped": {entry.name: entry.reason for entry in suite.skipped},
        "failed": {},
        "steps": [],
    }
    for name, reason in results["skipped"].items():
        print(f"{name}: skipped ({reason})", file=sys.stderr)
    # Start from all earlier results, so that an interrupted run loses none of them.
    earlier_steps = {result["step"]: result for result in kept}
    by_step = {step: _current_results(result, suite) for step, result in earlier_steps.items()}
    for step in steps:
        print(f"step {step}:", file=sys.stderr)
        try:
            evaluator = Evaluator(str(directory.checkpoints / str(step)), **options)
        except UserError as problem:
            # A run in progress removes old checkpoints.
            print(f"step {step}: failed ({problem})", file=sys.stderr)
            results["failed"][f"step {step}"] = str(problem)
        else:
            by_step[step] = _score_step(
                evaluator, step, suite, earlier_steps.get(step, {}), results["failed"]
            )
            # Frees the device before the next model is loaded.
            del evaluator
        # Steps without a result, as after a change of the suite, are dropped.
        results["steps"] = [by_step[step] for step in sorted(by_step) if by_step[step]["entries"]]
        _write(output, results)
    return to_json_types(results)


def _score_step(
    evaluator: Evaluator, step: int, suite: Suite, earlier: Mapping[str, Any], failed: dict[str, str]
) -> dict[str, Any]:
    entries: dict[str, Any] = (
        _current_results(earlier, suite)["entries"] if evaluator.produced(earlier) else {}
    )

    def on_scored(name: str, result: dict[str, Any], score: Score) -> None:
        entries[name] = result

    def on_failed(name: str, reason: str) -> None:
        failed[f"step {step}, {name}"] = reason

    missing = [entry for entry in suite.entries if entry.name not in entries]
    score_entries(evaluator, missing, on_scored, on_failed)
    entries = {entry.name: entries[entry.name] for entry in suite.entries if entry.name in entries}
    return {"step": step, **evaluator.identity(), "scores": _scores(entries), "entries": entries}


def _current_results(earlier: Mapping[str, Any], suite: Suite) -> dict[str, Any]:
    """Keep the entries of an earlier step that the suite still has, unchanged."""
    kept = earlier.get("entries", {})
    entries = {
        entry.name: kept[entry.name] for entry in suite.entries if is_current(kept.get(entry.name, {}), entry)
    }
    return {**earlier, "scores": _scores(entries), "entries": entries}


def _scores(entries: Mapping[str, Any]) -> dict[str, float | None]:
    return {name: entry["figures"].get(entry["score"]) for name, entry in entries.items()}


def _write(output: Path, results: Mapping[str, Any]) -> None:
    from bioclip_jax.evaluate.report import draw_curves

    write_json(output / RESULTS_FILE, results)
    rows, curves = [], {}
    for result in to_json_types(results["steps"]):
        for name, value in result["scores"].items():
            if value is None:
                continue
            interval = result["entries"][name]["figures"].get("interval")
            low, high = interval or (None, None)
            rows.append({"step": result["step"], "entry": name, "score": value, "low": low, "high": high})
            band = (100 * low, 100 * high) if interval else None
            curves.setdefault(name, []).append((result["step"], 100 * value, band))
    write_table(output / "results.csv", rows)
    draw_curves(output / "results.png", curves)
