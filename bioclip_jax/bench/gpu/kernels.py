"""The costliest kernels of a trace of jax.profiler."""

from __future__ import annotations

import gzip
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

from bioclip_jax.errors import UserError


def costliest_kernels(folder: Path, count: int = 10) -> dict[str, Any]:
    """Return the `count` kernels with the longest total time in a folder that jax.profiler.trace wrote.

    {"kernels": [{"name", "operation": of XLA, an example, "milliseconds", "calls", "share"}],
    "kernel_seconds": of all of them}. On a CPU the operations of its threads count as kernels. Raises
    UserError if the trace holds none.
    """
    files = sorted(folder.glob("plugins/profile/*/*.trace.json.gz"))
    events = [
        event for file in files for event in json.loads(gzip.decompress(file.read_bytes()))["traceEvents"]
    ]
    totals: dict[str, float] = defaultdict(float)
    calls: dict[str, int] = defaultdict(int)
    operations: dict[str, str] = {}
    for event in _kernels(events):
        name = event["name"]
        totals[name] += event.get("dur", 0.0)
        calls[name] += 1
        operations.setdefault(name, event.get("args", {}).get("hlo_op", ""))
    if not totals:
        raise UserError(
            f"the trace in {folder} holds no kernels; the profiler may lack permission to trace the GPU"
        )
    every = sum(totals.values())
    longest = sorted(totals, key=totals.__getitem__, reverse=True)[:count]
    return {
        "kernels": [
            {
                "name": name,
                "operation": operations[name],
                "milliseconds": totals[name] / 1e3,
                "calls": calls[name],
                "share": totals[name] / every,
            }
            for name in longest
        ],
        "kernel_seconds": every / 1e6,
    }


def _kernels(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the complete events of a GPU's streams, or else those of XLA's operations on a CPU."""
    processes, threads = {}, {}
    for event in events:
        if event.get("ph") == "M" and event["name"] == "process_name":
            processes[event["pid"]] = event["args"]["name"]
        elif event.get("ph") == "M" and event["name"] == "thread_name":
            threads[event["pid"], event["tid"]] = event["args"]["name"]
    complete = [event for event in events if event.get("ph") == "X"]
    # Other lines of a GPU repeat the kernels by XLA's modules and operations.
    streams = [
        event
        for event in complete
        if "/device:GPU" in processes.get(event["pid"], "")
        and threads.get((event["pid"], event.get("tid")), "").startswith("Stream")
    ]
    return streams or [event for event in complete if "hlo_op" in event.get("args", {})]
