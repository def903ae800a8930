"""The parts of bench predict: what each has its sides do, and which figures it notes."""

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

from .predict_material import FEW_NAMES
from .predict_result import Clock, clocks, difference, medians, short
from .predict_sides import OURS, PEER, Side

# How many photographs are predicted for their answers.
PREDICTED = 16

# Vectors of images: as many as ours answers in one pass over the taxa, as few as pybioclip takes at a time.
_OURS_AT_ONCE, _PEER_AT_ONCE = 256, 10
# pybioclip's family prediction takes seconds an image, and many where no taxon is unlikely.
_PEER_FAMILY = 2
_SUBSET = 1_000
_PEER_BATCHES = (10, 32)
_TURNS = 3
_SMALL_MODEL, _SMALL_TAXA = "ViT-Test-16", 5_000


@dataclass
class Bench:
    """What all parts share: the model's directory, a folder for files, photographs, and the result so far.

    peer: whether pybioclip runs too; peer_device: what torch calls the device that it runs on.
    """

    model: str
    folder: Path
    photographs: Sequence[str]
    peer: bool
    peer_device: str = "cpu"
    result: dict[str, Any] = field(default_factory=dict)

    def sides(self) -> tuple[str, ...]:
        return (OURS, PEER) if self.peer else (OURS,)

    def side(
        self, side: str, caches: str | None = None, environment: Mapping[str, str] | None = None
    ) -> Side:
        """A process; its caches are in folders that are empty the first time that the name `caches` is used."""
        given = dict(environment or {})
        if caches is not None:
            folder = self.folder / "caches" / caches
            variables = ("XDG_CACHE_HOME", "JAX_COMPILATION_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR")
            given |= {variable: str(folder / variable.lower()) for variable in variables}
        if side == PEER:
            return Side(PEER, given, [self.peer_device])
        if self.peer:
            # The peer needs room on a GPU while this process holds what it has.
            given["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"
        return Side(OURS, given)

    def note(self, name: str, ours: Clock, peer: Clock | None = None) -> None:
        self.result |= clocks(name, ours, peer)


def labels(bench: Bench, names: Sequence[str], full: bool) -> None:
    loaded, answers, again, of_many = {}, {}, {}, {}
    for side in bench.sides():
        with step(f"{len(FEW_NAMES)} labels, {_name(side)}"), bench.side(side, "few") as process:
            loaded[side] = process.ask("load_labels", model=bench.model, labels=FEW_NAMES)
            answers[side] = process.ask("predict", images=bench.photographs[:PREDICTED])["rows"]
    bench.note("labels_8_cold", loaded[OURS], loaded.get(PEER))
    bench.note("labels_8_process", *(clock["process"] for clock in loaded.values()))
    if bench.peer:
        bench.result["score_difference"] = {"labels": difference(answers[OURS], answers[PEER])}
    for side in bench.sides():
        with step(f"{len(FEW_NAMES)} labels again, {_name(side)}"), bench.side(side, "few") as process:
            again[side] = process.ask("load_labels", model=bench.model, labels=FEW_NAMES)
    bench.note("labels_8_second", again[OURS], again.get(PEER))
    for side in bench.sides() if full else (OURS,):
        with step(f"{len(names)} labels, {_name(side)}"), bench.side(side, "many") as process:
            of_many[side] = process.ask("load_labels", model=bench.model, labels=names)
    bench.note(f"labels_{len(names)}_cold", of_many[OURS], of_many.get(PEER))
    if bench.peer and not full:
        model = loaded[PEER]["model"]["seconds"]
        scaled = model + (loaded[PEER]["seconds"] - model) * len(names) / len(FEW_NAMES)
        bench.result[f"peer_labels_{len(names)}_estimated_seconds"] = short(scaled)


def taxa(bench: Bench, count: int, cosine: float) -> None:
    folder, photographs = str(bench.folder / "taxa"), bench.photographs[:PREDICTED]
    with step(f"{count} taxa"), bench.side(OURS) as ours:
        images = {"images": _OURS_AT_ONCE, "cosine": cosine}
        made = ours.ask("make_taxa", model=bench.model, count=count, folder=folder, subset=_SUBSET, **images)
    bench.result |= {"share_above_1e-9": short(made["share"]), "widths": made["widths"]}
    with ExitStack() as stack:
        processes = {side: stack.enter_context(bench.side(side)) for side in bench.sides()}
        answers: dict[str, dict[str, Any]] = {side: {} for side in processes}
        loaded, memory = [], {}
        for side, process in processes.items():
            with step(f"{len(photographs)} photographs among all taxa, {_name(side)}"):
                loaded.append(process.ask("load_taxa", model=bench.model, folder=folder))
                for rank in ("species", "family"):
                    shown = photographs[:_PEER_FAMILY] if (side, rank) == (PEER, "family") else photographs
                    answers[side][rank] = process.ask("predict", images=shown, rank=rank)["rows"]
                memory[side] = process.ask("memory")["peak_memory_bytes"]
        bench.note("load", *loaded)
        bench.result["peak_memory_bytes"] = memory[OURS]
        if bench.peer:
            bench.result |= {
                "peer_peak_memory_bytes": memory[PEER],
                "memory_share": short(memory[OURS] / memory[PEER]),
            }
        with step("the taxa alone"):
            bench.note("head_open", *(process.ask("open_head") for process in processes.values()))
        for rank, of_peer in (("species", _PEER_AT_ONCE), ("family", _PEER_FAMILY)):
            with step(f"the head at {rank}"):
                _head_in_turns(bench, processes, f"{folder}/images.npy", rank, of_peer)
        with step(f"a subset of {_SUBSET} species"):
            chosen = [process.ask("subset", path=f"{folder}/subset.csv") for process in processes.values()]
            bench.note("subset", *chosen)
            for rank in ("species", "family"):
                for side, process in processes.items():
                    answers[side][f"subset_{rank}"] = process.ask("predict", images=photographs, rank=rank)[
                        "rows"
                    ]
    if bench.peer:
        both = set(photographs[:_PEER_FAMILY])
        answers[OURS]["family"] = [row for row in answers[OURS]["family"] if row["file_name"] in both]
        differences = {name: difference(rows, answers[PEER][name]) for name, rows in answers[OURS].items()}
        bench.result.setdefault("score_difference", {}).update(differences)


def _head_in_turns(bench: Bench, processes: dict[str, Side], features: str, rank: str, of_peer: int) -> None:
    """Notes of each side the median time of an image, and of ours also where it gets as few at once as the peer."""
    few = f"{rank}_at_{_PEER_AT_ONCE}"
    racers = {rank: (OURS, _OURS_AT_ONCE), few: (OURS, _PEER_AT_ONCE)}
    if bench.peer:
        racers[PEER] = PEER, of_peer
    found: dict[str, list[Clock]] = {name: [] for name in racers}
    # The first turn warms up what compiles or allocates for so many images.
    for turn in range(1 + _TURNS):
        for name, (side, count) in racers.items():
            start = 0 if count == _OURS_AT_ONCE else turn * count
            clock = processes[side].ask("head", features=features, start=start, count=count, rank=rank)
            if turn:
                found[name].append({unit: clock[unit] / count for unit in ("seconds", "cpu_seconds")})
    times = {name: medians(turns) for name, turns in found.items()}
    bench.note(rank, times[rank], times.get(PEER))
    bench.note(few, times[few])
    at_once = {"ours": _OURS_AT_ONCE}
    if bench.peer:
        at_once["peer"] = of_peer
        for unit, ratio in (("seconds", "ratio"), ("cpu_seconds", "cpu_ratio")):
            bench.result[f"{few}_{ratio}"] = short(times[PEER][unit] / times[few][unit])
    bench.result.setdefault("images_at_once", {})[rank] = at_once


def folders(bench: Bench, count: int) -> None:
    files = (bench.photographs * (1 + count // len(bench.photographs)))[:count]
    with ExitStack() as stack:

        def start(side: str, environment: dict[str, str]) -> Side:
            process = stack.enter_context(bench.side(side, "folders", environment))
            process.ask("load_labels", model=bench.model, labels=FEW_NAMES[:2])
            return process

        def speed(process: Side, batch: int | None) -> float:
            return count / process.ask("predict", images=files, batch_size=batch)["seconds"]

        with step("starting on photographs"):
            racers = {OURS: (start(OURS, {}), None)}
            racers[OURS][0].ask("predict", images=files)
        tried = {}
        if bench.peer:
            for how, environment in (
                ("torch.compile", {}),
                ("TORCHDYNAMO_DISABLE=1", {"TORCHDYNAMO_DISABLE": "1"}),
            ):
                with step(f"{count} photographs, pybioclip, {how}"):
                    process = start(PEER, environment)
                    process.ask("predict", images=files[: _PEER_BATCHES[-1]], batch_size=_PEER_BATCHES[-1])
                    for batch in _PEER_BATCHES:
                        tried[f"batch {batch}, {how}"] = speed(process, batch), process, batch
            peer_how = max(tried, key=lambda how: tried[how][0])
            racers[PEER] = tried[peer_how][1:]
        turns: dict[str, list[float]] = {side: [] for side in racers}
        with step(f"{count} photographs in turns"):
            for _ in range(_TURNS):
                for side, racer in racers.items():
                    turns[side].append(speed(*racer))
    speeds = {side: statistics.median(found) for side, found in turns.items()}
    bench.result["images_per_second"] = short(speeds[OURS])
    if bench.peer:
        bench.result["peer_images_per_second"] = short(speeds[PEER])
        bench.result["images_ratio"] = short(speeds[OURS] / speeds[PEER])
        bench.result |= {
            "peer_how": peer_how,
            "peer_tried": {how: short(found[0]) for how, found in tried.items()},
        }


def memory(bench: Bench, counts: Sequence[int], taxa_count: int) -> None:
    """Of a small model: whether memory grows with the number of images is not the tower's doing."""
    model, of_taxa = str(bench.folder / "small"), str(bench.folder / "small_taxa")
    size = {"count": min(taxa_count, _SMALL_TAXA), "images": 1, "cosine": 0.3, "subset": 1}
    after = {}
    with step(f"memory after {' and '.join(map(str, counts))} images"):
        with bench.side(OURS) as ours:
            make_model(ours, _SMALL_MODEL, model)
            ours.ask("make_taxa", model=model, folder=of_taxa, **size)
        with bench.side(OURS) as ours:
            for count in counts:
                folder = bench.folder / f"of_{count}"
                folder.mkdir()
                for place in range(count):
                    source = Path(bench.photographs[place % len(bench.photographs)]).absolute()
                    (folder / f"{place:06}{source.suffix}").symlink_to(source)
                output = str(bench.folder / f"{count}.csv")
                answer = ours.ask("run_verb", inputs=str(folder), model=model, folder=of_taxa, output=output)
                after[str(count)] = answer["memory_bytes"]
    bench.result["memory_after"] = after


def make_model(ours: Side, model: str, output: str) -> None:
    if model in model_names():
        ours.ask("make_model", architecture=model, output=output)
    else:
        ours.ask("export", model=model, output=output)


@contextmanager
def step(what: str) -> Iterator[None]:
    print(f"bench predict: {what}", end="", file=sys.stderr, flush=True)
    start = time.perf_counter()
    try:
        yield
    finally:
        print(f", {time.perf_counter() - start:.1f} s", file=sys.stderr, flush=True)


def _name(side: str) -> str:
    return "bioclip_jax" if side == OURS else "pybioclip"
