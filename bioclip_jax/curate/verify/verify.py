"""All shards of a folder verified, and repaired if asked for."""

import itertools
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bioclip_jax.errors import UserError
from bioclip_jax.files import check_not_read, files_below

from .findings import ERRORS, Findings
from .names import shown
from .raw import read_key
from .repair import check_output, repair_shards
from .report import Tally, check_report, findings_file
from .shards import PROTECTED, ShardResult, check_shard, check_sizes, find_shards
from .workers import in_order


def verify_shards(
    location: str | Path,
    *,
    repair: str | Path | None = None,
    report: str | Path | None = None,
    processes: int | None = None,
) -> dict[str, Any]:
    """Reads every header, image and caption of a folder of shards, one shard, or a glob, and says what is wrong where.

    repair: a new folder for clean copies. report: a .csv or .json file for everything found. processes: that
    share the shards, None for one a core. A shard is read sample by sample, so memory does not grow with its
    size. Returns {"location", "shards", "samples", "sound" (samples that a repair keeps), "errors", "notes"
    (how many), "error_counts", "note_counts" (by kind), "first" (by kind the first finding's shard, where,
    message, ...), "seconds", "repaired" (None, or output, shards, samples)}. UserError for mistakes in the
    arguments; whatever is wrong with the shards is a finding, not an error here.
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
                f"the report {report} is in the folder {repair}, which must be new; name another place"
            )
        companions = (path for path in files_below(folder) if path.name in PROTECTED)
        inputs = itertools.chain((shard.path for shard in shards), companions)
        check_not_read({"--report": report}, {"an input": inputs})
    with findings_file(report) as file:
        tally, results = Tally(file), []
        for result in in_order(check_shard, shards, processes, "verifying shards"):
            tally.add(result.findings)
            # Findings may be many; what is kept of a shard is 17 bytes a sample.
            results.append(ShardResult(result.shard, Findings(""), result.keys, result.places, result.sound))
        sound = [result.sound for result in results]
        for findings in _repeated_keys(results, sound):
            tally.add(findings)
        if Path(location).expanduser().is_dir():
            others += check_sizes(folder, {result.shard.path: len(result.keys) for result in results})
        for findings in others:
            tally.add(findings)
        repaired = repair_shards(shards, sound, repair, processes) if repair is not None else None
    return {
        "location": str(location),
        "shards": len(shards),
        "samples": sum(len(mask) for mask in sound),
        "sound": sum(int(mask.sum()) for mask in sound),
        "errors": tally.errors.total(),
        "notes": tally.notes.total(),
        "error_counts": {kind: tally.errors[kind] for kind in ERRORS if tally.errors[kind]},
        "note_counts": dict(sorted(tally.notes.items())),
        "first": {kind: finding._asdict() for kind, finding in tally.first.items()},
        "seconds": round(time.monotonic() - began, 3),
        "repaired": repaired,
    }


def _repeated_keys(results: Sequence[ShardResult], sound: Sequence[np.ndarray]) -> list[Findings]:
    """Samples whose key an earlier one has. In `sound`, all but the first sound sample of a key become False."""
    if not results:
        return []
    keys = np.concatenate([result.keys for result in results])
    firsts = np.cumsum([0, *(len(result.keys) for result in results)])
    order = np.argsort(keys, kind="stable")
    same = keys[order][1:] == keys[order][:-1]
    found: dict[int, Findings] = {}
    kept: dict[str, bool] = {}
    seen: dict[str, str] = {}
    for place in np.flatnonzero(np.append(same, False) | np.append(False, same)):
        shard = int(np.searchsorted(firsts, order[place], "right")) - 1
        number = int(order[place] - firsts[shard])
        result = results[shard]
        # Hashes may agree by chance; the keys themselves are read again.
        key = read_key(result.shard.path, int(result.places[number]))
        if key in seen:
            findings = found.setdefault(shard, Findings(result.shard.name))
            findings.error("duplicate_key", key, f"{shown(key)} is there before, in {seen[key]}")
            if kept[key]:
                sound[shard][number] = False
        else:
            seen[key], kept[key] = result.shard.name, False
        kept[key] = kept[key] or bool(sound[shard][number])
    return [found[shard] for shard in sorted(found)]
