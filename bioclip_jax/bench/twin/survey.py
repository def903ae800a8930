"""Time and memory of `twin observe` and `twin estimate` on a made-up survey of many photographs."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bioclip_jax.errors import UserError

_DAYS = 100
_BURST = 3
# Share of the events that a person has verified.
_VERIFIED = 0.01
_GENERA = ("Lepus", "Vulpes", "Felis", "Cervus", "Sus", "Canis", "Martes", "Mustela", "Ovis", "Bos")


def measure_twin(
    rows: int = 1_000_000, *, cameras: int = 500, species: int = 40, folder: Path | None = None, seed: int = 0
) -> dict[str, Any]:
    """Run `twin observe` and `twin estimate` on tables of `rows` photographs, each in a process of its own.

    The survey has `cameras` cameras for 100 days, bursts of three photographs a second apart, and two
    predicted species a photograph; no photograph exists. folder: keeps the tables and outputs, None for a
    temporary one.
    Returns {"rows", "cameras", "species", and for "observe" and "estimate" each {"seconds",
    "peak_memory_bytes"}}. Raises UserError if a command fails.
    """
    with tempfile.TemporaryDirectory(prefix="bioclip_jax-") as temporary:
        root = Path(temporary if folder is None else folder)
        root.mkdir(parents=True, exist_ok=True)
        _write_survey(root, rows, cameras, species, np.random.default_rng(seed))
        observe = ["observe", root / "photos.parquet", root / "deployments.csv", root / "package"]
        observe += ["--predictions", root / "predictions.parquet", "--human", root / "human.csv"]
        return {
            "rows": rows,
            "cameras": cameras,
            "species": species,
            "observe": _measure(observe),
            "estimate": _measure(["estimate", root / "package", root / "estimates"]),
        }


def _measure(arguments: Sequence[Any]) -> dict[str, float]:
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "bioclip_jax.cli", "twin", *map(str, arguments)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    messages = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise UserError(f"twin {arguments[0]} failed: {messages.strip().splitlines()[-1]}")
    # Linux counts ru_maxrss in KiB, macOS in bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    return {"seconds": time.perf_counter() - start, "peak_memory_bytes": usage.ru_maxrss * unit}


def _write_survey(root: Path, rows: int, cameras: int, species: int, random: np.random.Generator) -> None:
    import polars as pl

    names = [f"{_GENERA[n % len(_GENERA)]} species{n:03d}" for n in range(species)]
    cameras_text = [f"camera-{n:04d}" for n in range(cameras)]
    start = np.datetime64("2025-04-01T00:00:00")
    pl.DataFrame(
        {
            "deploymentID": cameras_text,
            "latitude": np.round(random.uniform(50, 51, cameras), 5),
            "longitude": np.round(random.uniform(4, 5, cameras), 5),
            "deploymentStart": ["2025-04-01T00:00:00Z"] * cameras,
            "deploymentEnd": [f"{start + np.timedelta64(_DAYS, 'D')}Z"] * cameras,
        }
    ).write_csv(root / "deployments.csv")

    events = rows // _BURST
    camera = random.integers(cameras, size=events)
    second = random.integers(_DAYS * 86_400 - _BURST, size=events)
    # A third of the cameras is outside a species' range.
    occupied = random.random((cameras, species)) < 0.67
    weights = random.gamma(0.5, size=species) * occupied[camera] + 1e-9
    true = (weights.cumsum(axis=1) > random.random((events, 1)) * weights.sum(axis=1)[:, None]).argmax(axis=1)
    named = np.where(random.random(events) < 0.8, true, random.integers(species, size=events))
    other = random.integers(species, size=events)

    frame = np.repeat(np.arange(events), _BURST)
    since = second[frame] + np.tile(np.arange(_BURST), events)
    times = (start + since.astype("timedelta64[s]")).astype("datetime64[us]")
    path = pl.select(
        pl.format("photos/{}/{}.jpg", pl.Series(camera[frame]), pl.Series(np.arange(len(frame))))
    ).to_series()
    pl.DataFrame(
        {
            "filepath": path,
            "deploymentID": pl.Series(cameras_text).gather(camera[frame]),
            "timestamp": pl.Series(times).dt.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
    ).write_parquet(root / "photos.parquet")
    score = random.uniform(0.4, 0.95, len(frame))
    first = pl.DataFrame({"file_name": path, "n": named[frame], "score": score})
    second_best = pl.DataFrame({"file_name": path, "n": other[frame], "score": 0.9 * (1 - score)})
    index = pl.DataFrame({"n": np.arange(species), "species": names}).with_columns(
        genus=pl.col("species").str.split(" ").list.first()
    )
    pl.concat([first, second_best]).join(index, on="n").drop("n").write_parquet(root / "predictions.parquet")
    checked = np.flatnonzero(random.random(events) < _VERIFIED)
    pl.DataFrame(
        {"filepath": path.gather(checked * _BURST), "scientificName": [names[n] for n in true[checked]]}
    ).write_csv(root / "human.csv")
