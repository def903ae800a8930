"""Verify all shards of a folder, and repair them on request."""

import itertools
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from bioclip_jax.curate.executors import map_in_order
from bioclip_jax.errors import UserError
from bioclip_jax.files import check_not_read, files_below

from .findings import ERRORS, Findings
from .raw_samples import quoted, read_key
from .repair import check_output, repair_shards
from .report import FindingCounts, check_report, findings_file
from .shards import PROTECTED, ShardResult, check_shard, check_sizes, find_shards


def verify_shards(
    location: str | Path,
    *,
    repair: str | Path | None = None,
    report: str | Path | None = None,
    processes: int | None = None,
) -> dict[str, Any]:
    """Read every header, image and caption of shards (a folder, a file or a glob) and report all defects.

    repair: a new folder for repaired copies. report: a .csv or .json file of all findings. processes: None
    for one per core. Shards are read sample by sample, in constant memory.

    Returns location, shards, samples, sound (samples that a repair keeps), errors and notes (totals),
    error_counts and note_counts (by kind), first (the first finding of each kind), seconds, and repaired
    (None, or output, shards, samples). Raises UserError for invalid arguments only; defects of shards are
    findings.
    """
    began = time.monotonic()
    folder, shards, others = find_shards(location)
    if repair is not None:
        repair = Path(repair).expanduser()
        check_output(repair, folder)
    if report is not None:
        report = Path(report).expanduser()
        check_report(report)
        if repair is not None and report.resolve().is_relative_to(repair.resolve()):
            raise UserError(
                f"the report {report} is in the folder {repair}, which must be new; name another folder"
            )
        companions = (path for path in files_below(folder) if path.name in PROTECTED)
        inputs = itertools.chain((shard.path for shard in shards), companions)
        check_not_read({"--report": report}, {"an input": inputs})
    with findings_file(report) as file:
        counts, results = FindingCounts(file), []
        for result in map_in_order(check_shard, shards, processes, "verifying shards"):
            counts.add(result.findings)
            # Without the findings, of which there may be many, a shard takes 17 bytes per sample.
            results.append(replace(result, findings=Findings("")))
        sound = [result.sound for result in results]
        for findings in _repeated_keys(results, sound):
            counts.add(findings)
        if Path(location).expanduser().is_dir():
            others += check_sizes(folder, {result.shard.path: len(result.keys) for result in results})
        for findings in others:
            counts.add(findings)
        repaired = repair_shards(shards, sound, repair, processes) if repair is not None else None
    return {
        "location": str(location),
        "shards": len(shards),
        "samples": sum(len(mask) for mask in sound),
        "sound": sum(int(mask.sum()) for mask in sound),
        "errors": counts.errors.total(),
        "notes": counts.notes.total(),
        "error_counts": {kind: counts.errors[kind] for kind in ERRORS if counts.errors[kind]},
        "note_counts": dict(sorted(counts.notes.items())),
        "first": {kind: finding._asdict() for kind, finding in counts.first.items()},
        "seconds": round(time.monotonic() - began, 3),
        "repaired": repaired,
    }


def _repeated_keys(results: Sequence[ShardResult], sound: Sequence[np.ndarray]) -> list[Findings]:
    """Report repeated keys, and clear `sound` for all but the first sound sample of each key."""
    if not results:
        return []
    keys = np.concatenate([result.keys for result in results])
    firsts = np.cumsum([0, *(len(result.keys) for result in results)])
    order = np.argsort(keys, kind="stable")
    same = keys[order][1:] == keys[order][:-1]
    repeated: dict[int, Findings] = {}
    kept: dict[str, bool] = {}
    seen: dict[str, str] = {}
    for index in order[np.flatnonzero(np.append(same, False) | np.append(False, same))]:
        shard = int(np.searchsorted(firsts, index, "right")) - 1
        number = int(index - firsts[shard])
        result = results[shard]
        # Hashes may collide; compare the keys themselves.
        key = read_key(result.shard.path, int(result.positions[number]))
        if key in seen:
            findings = repeated.setdefault(shard, Findings(result.shard.name))
            findings.error("duplicate_key", key, f"{quoted(key)} also occurs in {seen[key]}")
            if kept[key]:
                sound[shard][number] = False
        else:
            seen[key], kept[key] = result.shard.name, False
        kept[key] = kept[key] or bool(sound[shard][number])
    return [repeated[shard] for shard in sorted(repeated)]
