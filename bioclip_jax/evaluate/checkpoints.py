"""Every checkpoint of a training run, scored by the same code."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bioclip_jax.checkpoint import TrainingDirectory
from bioclip_jax.convert import Transform
from bioclip_jax.errors import UserError
from bioclip_jax.pipeline.images import ReadOptions
from bioclip_jax.predict import VectorCache

from .protocol import Score
from .results import (
    RESULTS_FILE,
    is_same,
    plain,
    prepare_folder,
    read_json,
    versions,
    write_json,
    write_table,
)
from .run import Evaluator, score_entries, today
from .suite import Suite


def evaluate_checkpoints(
    run: Path,
    suite: Suite,
    output: Path,
    *,
    batch_size: int | None = None,
    device: str | None = None,
    cache: bool | VectorCache = True,
    transform: Transform | None = None,
    reading: ReadOptions | None = None,
) -> dict[str, Any]:
    """Score each checkpoint of the training directory `run` by a suite (of one entry, as `single` makes it, or more).

    Args: `output`, a folder for results.json, results.csv and results.png. Steps that it holds of the same
      weights, data and options are not scored again, and those whose checkpoints have been removed since are
      kept. The others as Evaluator.
    Returns: the content of results.json: "run", "date", "versions", "skipped", "failed" (by "step N, ENTRY"),
      and "steps": [{"step", "fingerprint", "transform", "scores" (the headline figure of each entry),
      "entries" (as evaluate_suite)}].
    Errors: UserError if `run` is no training directory, or has no checkpoint.
    """
    directory = TrainingDirectory(Path(str(run).removeprefix("local-dir:")).expanduser())
    if not TrainingDirectory.is_one(directory.path):
        raise UserError(f"{run} is no training directory, and only such a one has checkpoints; give one")
    if not (steps := directory.steps()):
        raise UserError(f"{run} has no checkpoint yet; wait for the first")
    output = prepare_folder(Path(output))
    earlier = read_json(output / RESULTS_FILE)
    done = {
        found["step"]: found
        for found in earlier.get("steps", [])
        if earlier.get("run") == str(directory.path)
    }
    results: dict[str, Any] = {
        "run": str(directory.path),
        "date": today(),
        "versions": versions(),
        "skipped": {entry.name: entry.reason for entry in suite.skipped},
        "failed": {},
        "steps": [],
    }
    for name, reason in results["skipped"].items():
        print(f"{name}: skipped ({reason})", file=sys.stderr)
    # All of it at first, so that a run that is stopped loses nothing that an earlier one has found.
    found = {step: _current(done[step], suite) for step in done}
    for step in steps:
        print(f"step {step}:", file=sys.stderr)
        try:
            checkpoint = directory.checkpoints / str(step)
            how = {"batch_size": batch_size, "device": device, "cache": cache, "transform": transform}
            evaluator = Evaluator(str(checkpoint), **how, reading=reading)
        except UserError as problem:
            # A run that goes on removes its old checkpoints meanwhile.
            print(f"step {step}: failed ({problem})", file=sys.stderr)
            results["failed"][f"step {step}"] = str(problem)
        else:
            found[step] = _score(evaluator, step, suite, done.get(step, {}), results["failed"])
            # One model at a time on the device.
            del evaluator
        # By step; those of which nothing is left, say because the suite is another now, are left out.
        results["steps"] = [found[step] for step in sorted(found) if found[step]["entries"]]
        _write(output, results)
    return plain(results)


def _score(
    evaluator: Evaluator, step: int, suite: Suite, earlier: Mapping[str, Any], failed: dict[str, str]
) -> dict[str, Any]:
    made_by = {"fingerprint": evaluator.fingerprint, "transform": evaluator.transform}
    same = {key: earlier.get(key) for key in made_by} == made_by
    entries: dict[str, Any] = _current(earlier, suite)["entries"] if same else {}

    def on_scored(name: str, result: dict[str, Any], score: Score) -> None:
        entries[name] = result

    def on_failed(name: str, reason: str) -> None:
        failed[f"step {step}, {name}"] = reason

    waiting = [entry for entry in suite.entries if entry.name not in entries]
    score_entries(evaluator, waiting, on_scored, on_failed)
    entries = {entry.name: entries[entry.name] for entry in suite.entries if entry.name in entries}
    return {"step": step, **made_by, "scores": _scores(entries), "entries": entries}


def _current(earlier: Mapping[str, Any], suite: Suite) -> dict[str, Any]:
    """What was found of a step, as far as it is of the suite as it is now."""
    kept = earlier.get("entries", {})
    entries = {
        entry.name: kept[entry.name] for entry in suite.entries if is_same(kept.get(entry.name, {}), entry)
    }
    return {**earlier, "scores": _scores(entries), "entries": entries}


def _scores(entries: Mapping[str, Any]) -> dict[str, float | None]:
    return {name: entry["figures"].get(entry["score"]) for name, entry in entries.items()}


def _write(output: Path, results: Mapping[str, Any]) -> None:
    from bioclip_jax.evaluate.report import draw_curves

    write_json(output / RESULTS_FILE, results)
    rows, curves = [], {}
    for found in plain(results["steps"]):
        for name, value in found["scores"].items():
            if value is None:
                continue
            interval = found["entries"][name]["figures"].get("interval")
            low, high = interval or (None, None)
            rows.append({"step": found["step"], "entry": name, "score": value, "low": low, "high": high})
            between = (100 * low, 100 * high) if interval else None
            curves.setdefault(name, []).append((found["step"], 100 * value, between))
    write_table(output / "results.csv", rows)
    draw_curves(output / "results.png", curves)
