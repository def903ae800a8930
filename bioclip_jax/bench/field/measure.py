"""Memory of predict over a memory card, and the same rows after kills at random moments."""

from __future__ import annotations

import contextlib
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from bioclip_jax.errors import UserError, count_of
from bioclip_jax.files import file_sha256
from bioclip_jax.models import model_names

from ..peer import PeerProcess
from .memory_card import make_card

LABELS = "roe deer,wild boar,red fox,badger,pine marten,brown hare,tawny owl,raven"
_SAMPLES_PER_SECOND = 2
# Moments of a run, as shares of its time, whose memory is reported.
MOMENTS = (0.1, 0.25, 0.5, 0.75, 1.0)


def measure_field(
    images: int = 100_000,
    *,
    model: str = "ViT-Test-16",
    events: float | None = 60,
    kills: int = 3,
    folder: str | os.PathLike[str] | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Predict a generated memory card undisturbed, then again with a process that is killed and resumed.

    images: number of photographs. model: a MODEL, or an architecture, which gets random weights. events:
    seconds of --events; None predicts photographs alone. kills: number of kills, each at a random moment of
    what is left. folder: where the card is made; None is a temporary folder.

    Returns {"images", "boxes" (of any confidence), "predicted" (crops and whole images), "rows", "seconds" of
    the undisturbed run, "images_per_second", "memory" (bytes at MOMENTS of its time), "peak_memory",
    "killed_after" (finished images at each kill), "resumed_seconds", "identical" (every output of both runs,
    byte for byte)}. Raises UserError if a command fails.
    """
    if images < 10:
        raise UserError(f"{images} photographs are too few to measure; give at least 10")
    with tempfile.TemporaryDirectory(prefix="bench_field.") as temporary:
        place = Path(folder or temporary)
        _log(f"making {images:,} photographs")
        card = make_card(place, images, seed=seed)
        directory = _model_directory(model, place)
        command = [sys.executable, "-m", "bioclip_jax.cli", "predict", str(card.folder)]
        command += ["--model", directory, "--cls", LABELS, "--k", "3", "--detections", str(card.detections)]
        command += [] if events is None else ["--events", str(events)]
        command += ["--resume", "--output"]
        _log("an undisturbed run")
        whole = _Run([*command, str(place / "whole.csv")])
        whole.finish()
        memory = whole.memory()
        _log(f"{whole.seconds:.0f} s, {max(memory) / 1e6:.0f} MB; now with {count_of(kills, 'kill')}")
        killed = _with_kills([*command, str(place / "killed.csv")], place / "killed.csv", kills, seed)
        outputs = sorted(path.name.removeprefix("whole") for path in place.glob("whole*.csv"))
        same = [file_sha256(place / f"whole{end}") == file_sha256(place / f"killed{end}") for end in outputs]
        with open(place / "whole.csv", "rb") as file:
            rows = sum(1 for _ in file) - 1
    return {
        "images": images,
        "boxes": card.boxes,
        "predicted": whole.predicted,
        "rows": rows,
        "seconds": whole.seconds,
        "images_per_second": images / whole.seconds,
        "memory": [memory[min(len(memory) - 1, int(moment * len(memory)))] for moment in MOMENTS],
        "peak_memory": max(memory),
        "killed_after": [run.predicted for run in killed[:-1]],
        "resumed_seconds": sum(run.seconds for run in killed),
        "outputs": [f"whole{end}" for end in outputs],
        "identical": all(same),
    }


def field_table(result: Mapping[str, Any]) -> str:
    """Format a result for people."""
    memory = ", ".join(
        f"{size / 1e6:.0f} MB at {moment:.0%}" for moment, size in zip(MOMENTS, result["memory"])
    )
    kills = ", ".join(f"{count:,}" for count in result["killed_after"]) or "none"
    same = "byte for byte the same" if result["identical"] else "DIFFERENT"
    return "\n".join(
        (
            f"{result['images']:,} photographs, {result['boxes']:,} boxes, {result['rows']:,} rows",
            f"{result['seconds']:.0f} s, {result['images_per_second']:.0f} photographs per second",
            f"memory: {memory}; at most {result['peak_memory'] / 1e6:.0f} MB",
            f"killed after {kills} of {result['predicted']:,} predictions; outputs {same}",
        )
    )


def _with_kills(command: Sequence[str], output: Path, kills: int, seed: int) -> list[_Run]:
    """Run the command to its end, killed at random moments; return all runs."""
    draw = random.Random(seed)
    runs, finished = [], 0
    expected = None
    for _ in range(kills):
        run = _Run(command)
        runs.append(run)
        expected = expected or _expected(output, run)
        # Somewhere in the rest, so that every run gets further than the one before.
        target = finished + draw.uniform(0.1, 0.6) * (expected - finished)
        run.kill_after(output, int(target))
        finished = run.predicted
    runs.append(_Run(command))
    runs[-1].finish()
    return runs


def _expected(output: Path, run: _Run) -> int:
    """Return the number of images that a run will predict, from the first line of its journal."""
    journal = _journal(output)
    while run.is_alive():
        if journal.exists() and (head := journal.read_bytes().partition(b"\n"))[1]:
            return int(json.loads(head[0])["count"])
        run.wait()
    raise run.failure()


def _journal(output: Path) -> Path:
    return output.with_name(f".{output.name}.partial")


class _Run:
    """A process, with its memory over time. seconds: that it took. predicted: finished images."""

    def __init__(self, command: Sequence[str]) -> None:
        self._start = time.perf_counter()
        self._errors = tempfile.TemporaryFile("w+")
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=self._errors)
        self._samples: list[int] = []
        self._output = Path(command[-1])
        self.predicted, self.seconds = 0, 0.0
        self._read, self._lines = 0, 0
        self._watch = threading.Thread(target=self._sample, daemon=True)
        self._watch.start()

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def wait(self) -> None:
        """Wait for the next sample, or for the end."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(1 / _SAMPLES_PER_SECOND / 4)

    def finish(self) -> None:
        """Wait for the end. Raises UserError if the command failed."""
        while self.is_alive():
            self.wait()
            self._count()
        self._ended()
        if self._process.returncode:
            raise self.failure()

    def kill_after(self, output: Path, count: int) -> None:
        """Kill the process once its journal has this number of images. Raises UserError if it ends before."""
        while self._count() < count:
            if not self.is_alive():
                raise self.failure()
            self.wait()
        self._process.kill()
        self._process.wait()
        self._count()
        self._ended()

    def memory(self) -> list[int]:
        """Return the resident bytes at each sample."""
        return self._samples or [0]

    def failure(self) -> UserError:
        self._errors.seek(0)
        last = self._errors.read().strip().rpartition("\n")[2]
        return UserError(f"predict ended with status {self._process.returncode}: {last}")

    def _count(self) -> int:
        """Count the journal's lines after the first, an image each; those since the last count are read."""
        with contextlib.suppress(FileNotFoundError), open(_journal(self._output), "rb") as file:
            file.seek(self._read)
            while block := file.read(1 << 20):
                self._lines += block.count(b"\n")
            self._read = file.tell()
            self.predicted = max(self.predicted, self._lines - 1)
        return self.predicted

    def _ended(self) -> None:
        self.seconds = time.perf_counter() - self._start
        self._watch.join()

    def _sample(self) -> None:
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(self._process.pid)
            while self.is_alive():
                self._samples.append(process.memory_info().rss)
                time.sleep(1 / _SAMPLES_PER_SECOND)


def _model_directory(model: str, folder: Path) -> str:
    """Return a MODEL, or a directory of an architecture with random weights."""
    if model not in model_names():
        return model
    with PeerProcess("bioclip_jax.bench.predict.ours", ours=True) as ours:
        ours.call("make_model", architecture=model, output=str(folder / "model"))
    return str(folder / "model")


def _log(text: str) -> None:
    print(f"bench field: {text}", file=sys.stderr, flush=True)
