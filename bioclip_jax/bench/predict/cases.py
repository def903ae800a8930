"""Cases of bench predict: labels, taxa, folders of photographs, and memory."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bioclip_jax.models import model_names

from ..peer import PeerProcess
from .results import Clock, clocks, difference, medians, short
from .synthetic import FEW_NAMES

OURS, PEER = "bioclip_jax.bench.predict.ours", "bioclip_jax.bench.predict.pybioclip"
# Photographs that both sides predict, to compare scores.
PREDICTED = 16

# Image vectors per call: the batch of one pass over the taxa in ours, and pybioclip's batch.
_OURS_AT_ONCE, _PEER_AT_ONCE = 256, 10
# pybioclip's family prediction takes seconds per image, and more if many taxa are likely.
_PEER_FAMILY = 2
_SUBSET = 1_000
_PEER_BATCHES = (10, 32)
_TURNS = 3
_SMALL_MODEL, _SMALL_TAXA = "ViT-Test-16", 5_000


@dataclass
class Bench:
    """State shared by the cases: model directory, working folder, photographs, and the result.

    peer: True to run pybioclip too. peer_device: torch's name of its device.
    """

    model: str
    folder: Path
    photographs: Sequence[str]
    peer: bool
    peer_device: str = "cpu"
    result: dict[str, Any] = field(default_factory=dict)

    def sides(self) -> tuple[str, ...]:
        """Modules of the sides to run."""
        return (OURS, PEER) if self.peer else (OURS,)

    def start(
        self, side: str, caches: str | None = None, environment: Mapping[str, str] | None = None
    ) -> PeerProcess:
        """Start a side's process. caches: name of its cache folders, which are empty at first."""
        added = dict(environment or {})
        if caches is not None:
            folder = self.folder / "caches" / caches
            variables = ("XDG_CACHE_HOME", "JAX_COMPILATION_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR")
            added |= {variable: str(folder / variable.lower()) for variable in variables}
        if side == PEER:
            return PeerProcess(PEER, [self.peer_device], environment=added, extra="test")
        if self.peer:
            # On a GPU both sides hold memory at the same time.
            added["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"
        return PeerProcess(OURS, environment=added, ours=True)

    def record(self, name: str, ours: Clock, peer: Clock | None = None) -> None:
        """Add a time to the result."""
        self.result |= clocks(name, ours, peer)


def measure_labels(bench: Bench, names: Sequence[str], full: bool) -> None:
    """Time classifiers of 8 labels, cold and again, and of all `names`; full: the latter by the peer too."""
    loaded, predictions, again, many = {}, {}, {}, {}
    for side in bench.sides():
        with log_step(f"{len(FEW_NAMES)} labels, {_name(side)}"), bench.start(side, "few") as process:
            loaded[side] = process.call("load_labels", model=bench.model, labels=FEW_NAMES)
            predictions[side] = process.call("predict", images=bench.photographs[:PREDICTED])["rows"]
    bench.record("labels_8_cold", loaded[OURS], loaded.get(PEER))
    bench.record("labels_8_process", *(clock["process"] for clock in loaded.values()))
    if bench.peer:
        bench.result["score_difference"] = {"labels": difference(predictions[OURS], predictions[PEER])}
    for side in bench.sides():
        with log_step(f"{len(FEW_NAMES)} labels again, {_name(side)}"), bench.start(side, "few") as process:
            again[side] = process.call("load_labels", model=bench.model, labels=FEW_NAMES)
    bench.record("labels_8_second", again[OURS], again.get(PEER))
    for side in bench.sides() if full else (OURS,):
        with log_step(f"{len(names)} labels, {_name(side)}"), bench.start(side, "many") as process:
            many[side] = process.call("load_labels", model=bench.model, labels=names)
    bench.record(f"labels_{len(names)}_cold", many[OURS], many.get(PEER))
    if bench.peer and not full:
        model = loaded[PEER]["model"]["seconds"]
        scaled = model + (loaded[PEER]["seconds"] - model) * len(names) / len(FEW_NAMES)
        bench.result[f"peer_labels_{len(names)}_estimated_seconds"] = short(scaled)


def measure_taxa(bench: Bench, count: int, cosine: float) -> None:
    """Time loading and predicting among `count` taxa, compare the scores, and measure the memory."""
    folder, photographs = str(bench.folder / "taxa"), bench.photographs[:PREDICTED]
    with log_step(f"{count} taxa"), bench.start(OURS) as ours:
        images = {"images": _OURS_AT_ONCE, "cosine": cosine}
        made = ours.call("make_taxa", model=bench.model, count=count, folder=folder, subset=_SUBSET, **images)
    bench.result |= {"share_above_1e-9": short(made["share"]), "widths": made["widths"]}
    with ExitStack() as stack:
        processes = {side: stack.enter_context(bench.start(side)) for side in bench.sides()}
        predictions: dict[str, dict[str, Any]] = {side: {} for side in processes}
        loaded, memory = [], {}
        for side, process in processes.items():
            with log_step(f"{len(photographs)} photographs among all taxa, {_name(side)}"):
                loaded.append(process.call("load_taxa", model=bench.model, folder=folder))
                for rank in ("species", "family"):
                    shown = photographs[:_PEER_FAMILY] if (side, rank) == (PEER, "family") else photographs
                    predictions[side][rank] = process.call("predict", images=shown, rank=rank)["rows"]
                memory[side] = process.call("memory")["peak_memory_bytes"]
        bench.record("load", *loaded)
        bench.result["peak_memory_bytes"] = memory[OURS]
        if bench.peer:
            bench.result |= {
                "peer_peak_memory_bytes": memory[PEER],
                "memory_share": short(memory[OURS] / memory[PEER]),
            }
        with log_step("the taxa alone"):
            bench.record("head_open", *(process.call("open_head") for process in processes.values()))
        for rank, peer_count in (("species", _PEER_AT_ONCE), ("family", _PEER_FAMILY)):
            with log_step(f"the head at {rank}"):
                _time_head(bench, processes, f"{folder}/images.npy", rank, peer_count)
        with log_step(f"a subset of {_SUBSET} species"):
            chosen = [process.call("subset", path=f"{folder}/subset.csv") for process in processes.values()]
            bench.record("subset", *chosen)
            for rank in ("species", "family"):
                for side, process in processes.items():
                    rows = process.call("predict", images=photographs, rank=rank)["rows"]
                    predictions[side][f"subset_{rank}"] = rows
    if bench.peer:
        both = set(photographs[:_PEER_FAMILY])
        ours, peer = predictions[OURS], predictions[PEER]
        ours["family"] = [row for row in ours["family"] if row["file_name"] in both]
        differences = {name: difference(rows, peer[name]) for name, rows in ours.items()}
        bench.result.setdefault("score_difference", {}).update(differences)


def _time_head(
    bench: Bench, processes: dict[str, PeerProcess], features: str, rank: str, peer_count: int
) -> None:
    """Record the median time per image of each side, and ours with the peer's batch too, in alternation."""
    few = f"{rank}_at_{_PEER_AT_ONCE}"
    racers = {rank: (OURS, _OURS_AT_ONCE), few: (OURS, _PEER_AT_ONCE)}
    if bench.peer:
        racers[PEER] = PEER, peer_count
    turns: dict[str, list[Clock]] = {name: [] for name in racers}
    # The first turn is a warm-up: it compiles and allocates for its batch.
    for turn in range(1 + _TURNS):
        for name, (side, count) in racers.items():
            start = 0 if count == _OURS_AT_ONCE else turn * count
            clock = processes[side].call("head", features=features, start=start, count=count, rank=rank)
            if turn:
                turns[name].append({unit: clock[unit] / count for unit in ("seconds", "cpu_seconds")})
    times = {name: medians(values) for name, values in turns.items()}
    bench.record(rank, times[rank], times.get(PEER))
    bench.record(few, times[few])
    at_once = {"ours": _OURS_AT_ONCE}
    if bench.peer:
        at_once["peer"] = peer_count
        for unit, ratio in (("seconds", "ratio"), ("cpu_seconds", "cpu_ratio")):
            bench.result[f"{few}_{ratio}"] = short(times[PEER][unit] / times[few][unit])
    bench.result.setdefault("images_at_once", {})[rank] = at_once


def measure_folders(bench: Bench, count: int) -> None:
    """Measure images per second, from files to predictions over two labels."""
    files = (bench.photographs * (1 + count // len(bench.photographs)))[:count]
    with ExitStack() as stack:

        def start(side: str, environment: dict[str, str]) -> PeerProcess:
            process = stack.enter_context(bench.start(side, "folders", environment))
            process.call("load_labels", model=bench.model, labels=FEW_NAMES[:2])
            return process

        def speed(process: PeerProcess, batch: int | None) -> float:
            return count / process.call("predict", images=files, batch_size=batch)["seconds"]

        with log_step("starting on photographs"):
            racers = {OURS: (start(OURS, {}), None)}
            racers[OURS][0].call("predict", images=files)
        tried = {}
        if bench.peer:
            for how, environment in (
                ("torch.compile", {"TORCHDYNAMO_DISABLE": "0"}),
                ("TORCHDYNAMO_DISABLE=1", {"TORCHDYNAMO_DISABLE": "1"}),
            ):
                with log_step(f"{count} photographs, pybioclip, {how}"):
                    process = start(PEER, environment)
                    process.call("predict", images=files[: _PEER_BATCHES[-1]], batch_size=_PEER_BATCHES[-1])
                    for batch in _PEER_BATCHES:
                        tried[f"batch {batch}, {how}"] = speed(process, batch), process, batch
            peer_how = max(tried, key=lambda how: tried[how][0])
            racers[PEER] = tried[peer_how][1:]
        turns: dict[str, list[float]] = {side: [] for side in racers}
        with log_step(f"{count} photographs in turns"):
            for _ in range(_TURNS):
                for side, racer in racers.items():
                    turns[side].append(speed(*racer))
    speeds = {side: statistics.median(values) for side, values in turns.items()}
    bench.result["images_per_second"] = short(speeds[OURS])
    if bench.peer:
        bench.result["peer_images_per_second"] = short(speeds[PEER])
        bench.result["images_ratio"] = short(speeds[OURS] / speeds[PEER])
        bench.result["peer_how"] = peer_how
        bench.result["peer_tried"] = {how: short(rate) for how, (rate, *_) in tried.items()}


def measure_memory_growth(bench: Bench, counts: Sequence[int], taxa_count: int) -> None:
    """Measure memory after each of `counts` predicted images, of a small model, whose tower needs little."""
    model, taxa = str(bench.folder / "small"), str(bench.folder / "small_taxa")
    size = {"count": min(taxa_count, _SMALL_TAXA), "images": 1, "cosine": 0.3, "subset": 1}
    after = {}
    with log_step(f"memory after {' and '.join(map(str, counts))} images"):
        with bench.start(OURS) as ours:
            make_model(ours, _SMALL_MODEL, model)
            ours.call("make_taxa", model=model, folder=taxa, **size)
        with bench.start(OURS) as ours:
            for count in counts:
                folder = bench.folder / f"images_{count}"
                folder.mkdir()
                for number in range(count):
                    source = Path(bench.photographs[number % len(bench.photographs)]).absolute()
                    (folder / f"{number:06}{source.suffix}").symlink_to(source)
                output = str(bench.folder / f"{count}.csv")
                usage = ours.call("run_verb", inputs=str(folder), model=model, folder=taxa, output=output)
                after[str(count)] = usage["memory_bytes"]
    bench.result["memory_after"] = after


def make_model(ours: PeerProcess, model: str, output: str) -> None:
    """Write a MODEL, or an architecture with random weights, as a directory that both sides read."""
    if model in model_names():
        ours.call("make_model", architecture=model, output=output)
    else:
        ours.call("export", model=model, output=output)


@contextmanager
def log_step(name: str) -> Iterator[None]:
    """Report the step and its duration on standard error."""
    print(f"bench predict: {name}", end="", file=sys.stderr, flush=True)
    start = time.perf_counter()
    try:
        yield
    finally:
        print(f", {time.perf_counter() - start:.1f} s", file=sys.stderr, flush=True)


def _name(side: str) -> str:
    return "bioclip_jax" if side == OURS else "pybioclip"
