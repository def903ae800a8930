"""A model scored by protocols: each set of images is encoded once, whatever number of protocols read it."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bioclip_jax.convert import Transform, resolve
from bioclip_jax.errors import UserError
from bioclip_jax.pipeline.images import ReadOptions
from bioclip_jax.pipeline.sources import Source
from bioclip_jax.predict import Model, VectorCache, local_devices
from bioclip_jax.predict.embedding import LabeledEmbeddings, embed_labeled

from .protocol import Protocol, Score, Towers
from .protocols import options_of
from .results import (
    RESULTS_FILE,
    entry_result,
    is_same,
    plain,
    prepare_folder,
    read_json,
    versions,
    write_json,
    write_tables,
)
from .suite import Entry, Location, OpenData, Suite, single

# Told of each entry that was scored, with its tables.
OnScored = Callable[[str, dict[str, Any], Score], None]


class Evaluator:
    """A MODEL ready to be scored.

    source: where the model came from. transform: how images are prepared, as Model.transform_note.
    fingerprint: what it is, wherever it lies. towers: what protocols may ask of it.
    """

    def __init__(
        self,
        model: str,
        *,
        batch_size: int | None = None,
        device: str | None = None,
        cache: bool | VectorCache = True,
        transform: Transform | None = None,
        reading: ReadOptions | None = None,
    ) -> None:
        """`cache`: keep vectors for the next time; True takes the user's cache. `device`: as predict/devices.py.
        `transform`, `reading`: as Model, but without a transform it is always "model".

        UserError if MODEL is none, or there is no such device.
        """
        chosen = local_devices(device)
        bundle = resolve(str(model))
        # Predictions may prepare images otherwise; the published figures were reached with the model's own
        # transform.
        how = {"transform": transform or "model", "reading": reading}
        self._model = Model(bundle, batch_size=batch_size, devices=chosen, **how)
        self.transform = self._model.transform_note
        print(f"transform: {self.transform}", file=sys.stderr)
        self._cache = (VectorCache() if cache is True else cache) or None
        self._sets: dict[Hashable, LabeledEmbeddings] = {}
        self.source, self.device = bundle.source, self._model.device
        self.towers = Towers(self._model.encode_text, self._model.logit_scale)

    @property
    def fingerprint(self) -> str:
        return self._model.fingerprint

    def vectors(self, source: Source, key: Hashable = None) -> LabeledEmbeddings:
        """The vectors of a source, kept under `key` until `forget`, where one is given.

        UserError if no image can be read.
        """
        if key is None:
            return embed_labeled(self._model, source, cache=self._cache)
        if key not in self._sets:
            self._sets[key] = embed_labeled(self._model, source, cache=self._cache)
        return self._sets[key]

    def forget(self, key: Hashable) -> None:
        """Free the vectors that were kept under `key`."""
        self._sets.pop(key, None)

    def score(
        self, protocol: Protocol, sources: Mapping[str, Source], keys: Mapping[str, Hashable] | None = None
    ) -> Score:
        """What `protocol` finds of `sources`, by its splits. `keys`: as vectors, by split."""
        return protocol(self.sets(sources, keys), self.towers)

    def sets(
        self, sources: Mapping[str, Source], keys: Mapping[str, Hashable] | None = None
    ) -> dict[str, LabeledEmbeddings]:
        """The vectors of `sources`, by split."""
        return {split: self.vectors(source, (keys or {}).get(split)) for split, source in sources.items()}


def score_entries(
    evaluator: Evaluator, entries: Sequence[Entry], on_scored: OnScored, on_failed: Callable[[str, str], None]
) -> None:
    """Score each entry; one that fails (UserError) is told, and does not stop the others.

    Entries that read the same images follow each other, so that vectors are free again as soon as can be.
    """
    first: dict[Hashable, int] = {}
    for number, entry in enumerate(entries):
        for key in entry.keys().values():
            first.setdefault(key, number)
    order = sorted(entries, key=lambda entry: min((first[key] for key in entry.keys().values()), default=0))
    waiting = Counter(key for entry in order for key in entry.keys().values())
    for entry in order:
        try:
            began = time.perf_counter()
            sets = evaluator.sets(entry.sources, entry.keys())
            encoded = time.perf_counter()
            score = entry.protocol(sets, evaluator.towers)
            del sets
            seconds = {"vectors": encoded - began, "scoring": time.perf_counter() - encoded}
        except UserError as problem:
            print(f"{entry.name}: failed ({problem})", file=sys.stderr)
            on_failed(entry.name, str(problem))
        else:
            result = entry_result(entry, score, {name: round(value, 3) for name, value in seconds.items()})
            print(f"{entry.name}: {_described(result)}", file=sys.stderr)
            on_scored(entry.name, result, score)
        waiting.subtract(entry.keys().values())
        for key in entry.keys().values():
            if not waiting[key]:
                evaluator.forget(key)


def evaluate_protocol(
    model: str,
    protocol: Protocol,
    location: Location,
    open_data: OpenData,
    *,
    output: Path | None = None,
    batch_size: int | None = None,
    device: str | None = None,
    cache: bool | VectorCache = True,
    transform: Transform | None = None,
    reading: ReadOptions | None = None,
) -> dict[str, Any]:
    """Score a MODEL by one protocol.

    Args: `output`, a folder for results.json and a CSV a table; the others as Evaluator.
    Returns: "protocol", "model", "fingerprint", "transform", "data", the protocol's options, its figures,
    "seconds".
    Errors: UserError for data or a model that is not there, and for labels that do not do.
    """
    entry = single(protocol, location, open_data).entries[0]
    how = {
        "batch_size": batch_size,
        "device": device,
        "cache": cache,
        "transform": transform,
        "reading": reading,
    }
    evaluator = Evaluator(model, **how)
    began = time.perf_counter()
    sets = evaluator.sets(entry.sources)
    encoded = time.perf_counter()
    score = protocol(sets, evaluator.towers)
    seconds = {"vectors": round(encoded - began, 3), "scoring": round(time.perf_counter() - encoded, 3)}
    about = {"protocol": protocol.name, "model": evaluator.source, "fingerprint": evaluator.fingerprint}
    about |= {"transform": evaluator.transform, "data": str(location)} | options_of(protocol)
    result = plain(about | score.figures | {"seconds": seconds})
    if output is not None:
        folder = prepare_folder(Path(output))
        write_tables(folder, protocol.name, score)
        write_json(folder / RESULTS_FILE, result | {"date": today(), "versions": versions()})
    return result


def evaluate_suite(
    evaluator: Evaluator, suite: Suite, output: Path, *, resume: bool = False
) -> dict[str, Any]:
    """Score all entries of a suite into the folder `output`: results.json, results.md, results.png, ENTRY_TABLE.csv.

    results.json is written anew after each entry, so that an unfinished run leaves what it has found.
    `resume`: what it holds of the same model, data and options is not done again.
    Returns: the content of results.json: "model", "fingerprint", "transform", "date", "versions", "device",
      "groups", "entries" by name, and, each with the reason, "skipped" (no data) and "failed".
    Errors: UserError if the folder cannot be written, or what it holds cannot be read.
    """
    from bioclip_jax.evaluate.report import draw, report_rows, write_markdown

    output = prepare_folder(Path(output))
    earlier = read_json(output / RESULTS_FILE) if resume else {}
    same = ("fingerprint", "transform")
    kept = (
        earlier.get("entries", {}) if all(earlier.get(key) == getattr(evaluator, key) for key in same) else {}
    )
    entries = {
        entry.name: kept[entry.name] for entry in suite.entries if is_same(kept.get(entry.name, {}), entry)
    }
    results: dict[str, Any] = {
        "model": evaluator.source,
        "fingerprint": evaluator.fingerprint,
        "transform": evaluator.transform,
        "date": today(),
        "versions": versions(),
        "device": evaluator.device,
        "groups": {name: list(members) for name, members in suite.groups.items()},
        "entries": entries,
        "skipped": {entry.name: entry.reason for entry in suite.skipped},
        "failed": {},
    }
    for name, reason in results["skipped"].items():
        print(f"{name}: skipped ({reason})", file=sys.stderr)
    for name in entries:
        print(f"{name}: {_described(entries[name])}, of an earlier run", file=sys.stderr)

    def on_scored(name: str, result: dict[str, Any], score: Score) -> None:
        write_tables(output, name, score)
        entries[name] = result
        write_json(output / RESULTS_FILE, results)

    def on_failed(name: str, reason: str) -> None:
        results["failed"][name] = reason
        write_json(output / RESULTS_FILE, results)

    write_json(output / RESULTS_FILE, results)
    score_entries(
        evaluator, [entry for entry in suite.entries if entry.name not in entries], on_scored, on_failed
    )
    # In the file's order, whatever order they were scored in.
    results["entries"] = {entry.name: entries[entry.name] for entry in suite.entries if entry.name in entries}
    results = plain(results)
    write_json(output / RESULTS_FILE, results)
    rows = report_rows(results)
    write_markdown(output / "results.md", results, rows)
    draw(output / "results.png", rows, results["model"])
    return results


def today() -> str:
    """The moment, as ISO 8601 has it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _described(result: Mapping[str, Any]) -> str:
    figures, seconds = result["figures"], result["seconds"]
    value, n = figures.get(result["score"]), figures.get("n")
    of = f" of {n:,} images" if isinstance(n, int) else ""
    what = f"{result['score']} {100 * value:.1f} %{of}" if isinstance(value, (int, float)) else "scored"
    return f"{what} ({seconds['vectors']:.0f} s for vectors, {seconds['scoring']:.0f} s for the score)"
