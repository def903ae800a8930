"""How fast predictions are, how much memory they take and what they answer, beside pybioclip with the same weights."""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from bioclip_jax.bench.predict_material import FEW_NAMES, make_photographs, many_names, photographs_in
from bioclip_jax.bench.predict_result import Clock, clocks, difference, medians, short
from bioclip_jax.bench.predict_sides import OURS, PEER, Side
from bioclip_jax.errors import UserError
from bioclip_jax.models import model_names

PARTS = ("labels", "taxa", "folders", "memory")
# As many as are published for BioCLIP 2.
TAXA = 867_455

# Vectors of images: as many as ours answers in one pass over the taxa, as few as pybioclip takes at a time.
_OURS_AT_ONCE, _PEER_AT_ONCE = 256, 10
# pybioclip's family prediction takes seconds an image.
_PEER_FAMILY = 2
_PREDICTED = 16
_SUBSET = 1_000
_PEER_BATCHES = (10, 32)
_TURNS = 3
_SMALL_MODEL, _SMALL_TAXA = "ViT-Test-16", 5_000


@dataclass
class _Bench:
    """What all parts share: the model's directory, a folder for files, photographs, and the result so far."""

    model: str
    folder: Path
    photographs: list[str]
    peer: bool
    result: dict[str, Any] = field(default_factory=dict)

    def sides(self) -> tuple[str, ...]:
        return (OURS, PEER) if self.peer else (OURS,)

    def note(self, name: str, ours: Clock, peer: Clock | None = None) -> None:
        self.result |= clocks(name, ours, peer)


def run(
    model: str = "ViT-B-16",
    *,
    peer: bool = False,
    full: bool = False,
    parts: Sequence[str] = PARTS,
    taxa_count: int = TAXA,
    image_cosine: float = 0.3,
    many_labels: int = 400,
    images: str | None = None,
    photographs: int = 64,
    memory_images: Sequence[int] = (),
) -> dict[str, Any]:
    """Time predictions of `model` on this machine's CPU or GPU, and with `peer` pybioclip's with the same weights.

    Args: `model`, a MODEL, or an architecture, which gets random weights; `full` also measures what takes the peer half
      an hour, and 20,000 images; `parts`, of PARTS; `taxa_count`, taxa of the synthetic tree (SyntheticTaxa);
      `image_cosine`, of an image's vector to its taxon's; `images`, a folder or the like of photographs, else some are
      made up; `photographs`, how many are timed; `memory_images`, after how many memory is read (200 and 2,000).
    Each side runs in processes of its own, one after another where a figure is long, in turns (the median counts)
    where it is short.

    Returns a dict. A time NAME is there as NAME_seconds and NAME_cpu_seconds (of all threads; other load on the machine
    changes it less), with the peer also as peer_NAME_seconds, peer_NAME_cpu_seconds, and the peer's divided by ours,
    NAME_ratio and NAME_cpu_ratio. Which parts give what:

    labels: labels_8_cold, a classifier of 8 labels in a new process with empty caches, loading the model and compiling
      included; labels_8_process, the same from the start of the process, so with its imports; labels_8_second, in a
      second process; labels_N_cold, of `many_labels` (the peer's if `full`, else peer_labels_N_estimated_seconds is
      its time of 8, scaled); score_difference["labels"].
    taxa: load, model and taxa; head_open, the taxa alone; species and family, the head's part of a prediction, an
      image: all but the image tower, whose vectors are given; subset, the choice of 1,000 species from a CSV;
      peak_memory_bytes and peer_peak_memory_bytes of a process that loads all and predicts 16 photographs at species
      and at family, memory_share of the peer's; score_difference of those, ["species"], ["family"] and within the
      subset ["subset_species"], ["subset_family"]; share_above_1e-9 of all taxa, mean over synthetic images, which
      decides the peer's time of family; widths, lineages by rank.
    folders: images_per_second and peer_images_per_second, from files to answers over two labels; images_ratio;
      peer_how, the fastest of peer_tried.
    memory: memory_after, bytes by the number of images that one process has predicted at species, of a small model.
    Besides: model, taxa, image_cosine, cpus, load_average at the start, peer_versions. A score_difference is the
    largest |ours - peer's| of any answer. UserError for wrong arguments, and where pybioclip is missing or fails.
    """
    unknown = sorted(set(parts) - set(PARTS))
    if unknown:
        raise UserError(f"there is no part {', '.join(unknown)}; choose from {', '.join(PARTS)}")
    for name, number, least in (("taxa", taxa_count, 10), ("labels", many_labels, 1), ("photographs", photographs, 1)):
        if number < least:
            raise UserError(f"{number} {name} are too few to measure; give at least {least}")
    given = photographs_in(images) if images else []
    with tempfile.TemporaryDirectory(prefix="bench_predict.") as folder:
        bench = _Bench(f"{folder}/model", Path(folder), given or make_photographs(Path(folder) / "photographs"), peer)
        bench.result |= {"model": model, "taxa": taxa_count, "image_cosine": image_cosine, **_machine()}
        if peer:
            bench.result["peer_versions"] = _peer_versions()
        with _step("a model directory"), Side(OURS) as ours:
            _make_model(ours, model, bench.model)
        if "labels" in parts:
            _labels(bench, many_labels, full)
        if "taxa" in parts:
            _taxa(bench, taxa_count, image_cosine)
        if "folders" in parts:
            _folders(bench, photographs)
        if "memory" in parts:
            _memory(bench, memory_images or ((1_000, 20_000) if full else (200, 2_000)), min(taxa_count, _SMALL_TAXA))
        return bench.result


def _labels(bench: _Bench, many: int, full: bool) -> None:
    labels = many_names(many)
    loaded, answers = {}, {}
    for side in bench.sides():
        with _step(f"{len(FEW_NAMES)} labels, {_name(side)}"), _cold(bench, "few", side) as process:
            loaded[side] = process.ask("load_labels", model=bench.model, labels=FEW_NAMES)
            answers[side] = process.ask("predict", images=bench.photographs[:_PREDICTED])["rows"]
    bench.note("labels_8_cold", loaded[OURS], loaded.get(PEER))
    bench.note("labels_8_process", *(clock["process"] for clock in loaded.values()))
    if bench.peer:
        bench.result["score_difference"] = {"labels": difference(answers[OURS], answers[PEER])}
    with _step(f"{len(FEW_NAMES)} labels again, ours"), _cold(bench, "few", OURS) as process:
        # pybioclip keeps nothing, so its second time is as its first.
        bench.note("labels_8_second", process.ask("load_labels", model=bench.model, labels=FEW_NAMES), loaded.get(PEER))
    of_many = {}
    for side in bench.sides() if full else (OURS,):
        with _step(f"{many} labels, {_name(side)}"), _cold(bench, "many", side) as process:
            of_many[side] = process.ask("load_labels", model=bench.model, labels=labels)
    bench.note(f"labels_{many}_cold", of_many[OURS], of_many.get(PEER))
    if bench.peer and not full:
        scaled = loaded[PEER]["seconds"] * many / len(FEW_NAMES)
        bench.result[f"peer_labels_{many}_estimated_seconds"] = short(scaled)


def _taxa(bench: _Bench, count: int, cosine: float) -> None:
    folder, photographs = str(bench.folder / "taxa"), bench.photographs[:_PREDICTED]
    with _step(f"{count} taxa"), Side(OURS) as ours:
        images = {"images": _OURS_AT_ONCE, "cosine": cosine}
        made = ours.ask("make_taxa", model=bench.model, count=count, folder=folder, subset=_SUBSET, **images)
    bench.result |= {"share_above_1e-9": short(made["share"]), "widths": made["widths"]}
    with ExitStack() as stack:
        processes = {side: stack.enter_context(Side(side)) for side in bench.sides()}
        answers: dict[str, dict[str, Any]] = {side: {} for side in processes}
        loaded, memory = [], {}
        for side, process in processes.items():
            with _step(f"{len(photographs)} photographs among all taxa, {_name(side)}"):
                loaded.append(process.ask("load_taxa", model=bench.model, folder=folder))
                for rank in ("species", "family"):
                    answers[side][rank] = process.ask("predict", images=photographs, rank=rank)["rows"]
                memory[side] = process.ask("memory")["peak_memory_bytes"]
        bench.note("load", *loaded)
        bench.result["peak_memory_bytes"] = memory[OURS]
        if bench.peer:
            bench.result |= {"peer_peak_memory_bytes": memory[PEER], "memory_share": short(memory[OURS] / memory[PEER])}
        with _step("the taxa alone"):
            bench.note("head_open", *(process.ask("open_head") for process in processes.values()))
        for rank, of_peer in (("species", _PEER_AT_ONCE), ("family", _PEER_FAMILY)):
            with _step(f"the head at {rank}"):
                bench.note(rank, *_head_in_turns(processes, f"{folder}/images.npy", rank, of_peer))
        with _step(f"a subset of {_SUBSET} species"):
            chosen = [process.ask("subset", path=f"{folder}/subset.csv") for process in processes.values()]
            bench.note("subset", *chosen)
            for rank in ("species", "family"):
                for side, process in processes.items():
                    answers[side][f"subset_{rank}"] = process.ask("predict", images=photographs, rank=rank)["rows"]
    if bench.peer:
        differences = {name: difference(rows, answers[PEER][name]) for name, rows in answers[OURS].items()}
        bench.result.setdefault("score_difference", {}).update(differences)


def _head_in_turns(processes: dict[str, Side], features: str, rank: str, of_peer: int) -> list[Clock]:
    """Of each side, the median time of an image."""
    counts = {OURS: _OURS_AT_ONCE, PEER: of_peer}
    processes[OURS].ask("head", features=features, start=0, count=_OURS_AT_ONCE, rank=rank)
    found: dict[str, list[Clock]] = {side: [] for side in processes}
    for turn in range(_TURNS):
        for side, process in processes.items():
            start, count = 0 if side == OURS else turn * of_peer, counts[side]
            clock = process.ask("head", features=features, start=start, count=count, rank=rank)
            found[side].append({unit: clock[unit] / count for unit in ("seconds", "cpu_seconds")})
    return [medians(turns) for turns in found.values()]


def _folders(bench: _Bench, count: int) -> None:
    files = (bench.photographs * (1 + count // len(bench.photographs)))[:count]
    with ExitStack() as stack:

        def start(side: str, environment: dict[str, str]) -> Side:
            process = stack.enter_context(Side(side, environment | _caches(bench, "folders")))
            process.ask("load_labels", model=bench.model, labels=FEW_NAMES[:2])
            return process

        def speed(process: Side, batch: int | None) -> float:
            return count / process.ask("predict", images=files, batch_size=batch)["seconds"]

        with _step("starting on photographs"):
            racers = {OURS: (start(OURS, {}), None)}
            racers[OURS][0].ask("predict", images=files)
        tried = {}
        if bench.peer:
            for how, environment in (("torch.compile", {}), ("TORCHDYNAMO_DISABLE=1", {"TORCHDYNAMO_DISABLE": "1"})):
                with _step(f"{count} photographs, pybioclip, {how}"):
                    process = start(PEER, environment)
                    process.ask("predict", images=files[: _PEER_BATCHES[-1]], batch_size=_PEER_BATCHES[-1])
                    for batch in _PEER_BATCHES:
                        tried[f"batch {batch}, {how}"] = speed(process, batch), process, batch
            peer_how = max(tried, key=lambda how: tried[how][0])
            racers[PEER] = tried[peer_how][1:]
        turns: dict[str, list[float]] = {side: [] for side in racers}
        with _step(f"{count} photographs in turns"):
            for _ in range(_TURNS):
                for side, racer in racers.items():
                    turns[side].append(speed(*racer))
    speeds = {side: statistics.median(found) for side, found in turns.items()}
    bench.result["images_per_second"] = short(speeds[OURS])
    if bench.peer:
        bench.result["peer_images_per_second"] = short(speeds[PEER])
        bench.result["images_ratio"] = short(speeds[OURS] / speeds[PEER])
        bench.result |= {"peer_how": peer_how, "peer_tried": {how: short(found[0]) for how, found in tried.items()}}


def _memory(bench: _Bench, counts: Sequence[int], taxa_count: int) -> None:
    """Of a small model: whether memory grows with the number of images is not the tower's doing."""
    model, taxa = str(bench.folder / "small"), str(bench.folder / "small_taxa")
    after = {}
    with _step(f"memory after {' and '.join(map(str, counts))} images"):
        with Side(OURS) as ours:
            _make_model(ours, _SMALL_MODEL, model)
            ours.ask("make_taxa", model=model, count=taxa_count, folder=taxa, images=1, cosine=0.3, subset=1)
        with Side(OURS) as ours:
            for count in counts:
                folder = bench.folder / f"of_{count}"
                folder.mkdir()
                for place in range(count):
                    source = Path(bench.photographs[place % len(bench.photographs)]).absolute()
                    (folder / f"{place:06}{source.suffix}").symlink_to(source)
                output = str(bench.folder / f"{count}.csv")
                answer = ours.ask("run_verb", inputs=str(folder), model=model, folder=taxa, output=output)
                after[str(count)] = answer["memory_bytes"]
    bench.result["memory_after"] = after


def _make_model(ours: Side, model: str, output: str) -> None:
    if model in model_names():
        ours.ask("make_model", architecture=model, output=output)
    else:
        ours.ask("export", model=model, output=output)


@contextmanager
def _cold(bench: _Bench, name: str, side: str) -> Iterator[Side]:
    """A process whose caches are in folders that are empty the first time that `name` is used."""
    with Side(side, _caches(bench, name)) as process:
        yield process


def _caches(bench: _Bench, name: str) -> dict[str, str]:
    folder = bench.folder / "caches" / name
    variables = ("XDG_CACHE_HOME", "JAX_COMPILATION_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR")
    return {variable: str(folder / variable.lower()) for variable in variables}


def _peer_versions() -> dict[str, str]:
    try:
        return {name: version(name) for name in ("pybioclip", "torch", "open_clip_torch")}
    except PackageNotFoundError as error:
        raise UserError(f"--peer needs {error.name}; install it: pip install 'bioclip-jax[test]'") from None


def _machine() -> dict[str, Any]:
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"cpus": cpus, "load_average": os.getloadavg()[0] if hasattr(os, "getloadavg") else None}


@contextmanager
def _step(what: str) -> Iterator[None]:
    print(f"bench predict: {what}", end="", file=sys.stderr, flush=True)
    start = time.perf_counter()
    try:
        yield
    finally:
        print(f", {time.perf_counter() - start:.1f} s", file=sys.stderr, flush=True)


def _name(side: str) -> str:
    return "bioclip_jax" if side == OURS else "pybioclip"
