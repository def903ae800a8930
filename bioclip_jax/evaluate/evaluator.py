"""Score a model by protocols; each set of images is encoded once for all protocols that read it."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypedDict, Unpack

from bioclip_jax.convert import Transform, resolve
from bioclip_jax.errors import UserError
from bioclip_jax.pipeline.images import ReadOptions
from bioclip_jax.pipeline.sources import Source
from bioclip_jax.predict import Model, Precision, VectorCache, local_devices
from bioclip_jax.predict.embedding import LabeledEmbeddings, embed_labeled

from .protocols import ModelOutputs, Protocol, Score, protocol_options
from .results import (
    RESULTS_FILE,
    entry_result,
    is_current,
    make_folder,
    read_json,
    to_json_types,
    versions,
    write_json,
    write_tables,
)
from .suite import Entry, Location, OpenData, Suite, single_entry_suite

# Called with each scored entry's name, its result and its tables.
OnScored = Callable[[str, dict[str, Any], Score], None]


class EvaluatorOptions(TypedDict, total=False):
    """Options of an Evaluator.

    batch_size: None for the model's default. device: as predict.local_devices. cache: reuse and keep
    embeddings; True takes the user's cache (default). precision, reading: as predict.load_model. transform:
    default is the model's own.
    """

    batch_size: int | None
    device: str | None
    cache: bool | VectorCache
    precision: Precision
    transform: Transform | None
    reading: ReadOptions | None


class Evaluator:
    """A loaded MODEL, with the embeddings of the data that it is scored on.

    source: origin of the model. transform: image preprocessing, as Model.transform_note. precision: of
    the towers. fingerprint: hash of the model. outputs: text encoder and logit scale, for protocols.
    """

    def __init__(self, model: str, **options: Unpack[EvaluatorOptions]) -> None:
        """Load MODEL. Raises UserError for an invalid MODEL or device."""
        devices = local_devices(options.get("device"))
        bundle = resolve(str(model))
        self._model = Model(
            bundle,
            batch_size=options.get("batch_size"),
            devices=devices,
            precision=options.get("precision", "fp32"),
            # Not the predictions' default: published figures used the model's own transform.
            transform=options.get("transform") or "model",
            reading=options.get("reading"),
        )
        self.transform = self._model.transform_note
        print(f"transform: {self.transform}", file=sys.stderr)
        cache = options.get("cache", True)
        self._cache = (VectorCache() if cache is True else cache) or None
        self._sets: dict[Hashable, LabeledEmbeddings] = {}
        self.source, self.device = bundle.source, self._model.device
        self.precision: Precision = self._model.precision
        self.outputs = ModelOutputs(self._model.encode_text, self._model.logit_scale)

    @property
    def fingerprint(self) -> str:
        """Hash of the model's weights and configuration."""
        return self._model.fingerprint

    def produced(self, results: Mapping[str, Any]) -> bool:
        """Return True for results of this model, transform and precision."""
        # Results from before precision was recorded are in fp32.
        recorded = {"precision": "fp32", **results}
        return all(recorded.get(key) == value for key, value in self.identity().items())

    def identity(self) -> dict[str, str]:
        """Return what a result depends on besides its data: "fingerprint", "transform" and "precision"."""
        return {name: getattr(self, name) for name in ("fingerprint", "transform", "precision")}

    def vectors(self, source: Source, key: Hashable = None) -> LabeledEmbeddings:
        """Encode a source; with a `key`, keep the result until `forget`.

        Raises UserError if no image can be read.
        """
        if key is None:
            return embed_labeled(self._model, source, cache=self._cache)
        if key not in self._sets:
            self._sets[key] = embed_labeled(self._model, source, cache=self._cache)
        return self._sets[key]

    def forget(self, key: Hashable) -> None:
        """Free the embeddings kept under `key`."""
        self._sets.pop(key, None)

    def sets(
        self, sources: Mapping[str, Source], keys: Mapping[str, Hashable] | None = None
    ) -> dict[str, LabeledEmbeddings]:
        """Encode sources by split, each with the key of its split."""
        return {split: self.vectors(source, (keys or {}).get(split)) for split, source in sources.items()}


def _score(evaluator: Evaluator, entry: Entry, *, keep: bool) -> tuple[Score, dict[str, float]]:
    """Return an entry's score, and the seconds of its two steps. keep: keep the embeddings, by key."""
    start = time.perf_counter()
    sets = evaluator.sets(entry.sources, entry.keys() if keep else None)
    encoded = time.perf_counter()
    score = entry.protocol(sets, evaluator.outputs)
    return score, {
        "vectors": round(encoded - start, 3),
        "scoring": round(time.perf_counter() - encoded, 3),
    }


def score_entries(
    evaluator: Evaluator, entries: Sequence[Entry], on_scored: OnScored, on_failed: Callable[[str, str], None]
) -> None:
    """Score each entry; a failure (UserError) is reported and does not stop the others.

    Entries that read the same images run one after another, so that embeddings are freed early.
    """
    first: dict[Hashable, int] = {}
    for number, entry in enumerate(entries):
        for key in entry.keys().values():
            first.setdefault(key, number)
    order = sorted(entries, key=lambda entry: min((first[key] for key in entry.keys().values()), default=0))
    pending = Counter(key for entry in order for key in entry.keys().values())
    for entry in order:
        try:
            score, seconds = _score(evaluator, entry, keep=True)
        except UserError as problem:
            print(f"{entry.name}: failed ({problem})", file=sys.stderr)
            on_failed(entry.name, str(problem))
        else:
            result = entry_result(entry, score, seconds)
            print(f"{entry.name}: {_summary(result)}", file=sys.stderr)
            on_scored(entry.name, result, score)
        pending.subtract(entry.keys().values())
        for key in entry.keys().values():
            if not pending[key]:
                evaluator.forget(key)


def evaluate_protocol(
    model: str,
    protocol: Protocol,
    location: Location,
    open_data: OpenData,
    *,
    output: Path | None = None,
    **options: Unpack[EvaluatorOptions],
) -> dict[str, Any]:
    """Score a MODEL by one protocol.

    output: folder for results.json and one CSV per table.
    Returns: "protocol", "model", "fingerprint", "transform", "precision", "data", the protocol's options, its
      figures, "seconds".
    Errors: UserError for absent data or model, and for unsuitable labels.
    """
    entry = single_entry_suite(protocol, location, open_data).entries[0]
    evaluator = Evaluator(model, **options)
    score, seconds = _score(evaluator, entry, keep=False)
    about = {"protocol": protocol.name, "model": evaluator.source, **evaluator.identity()}
    about["data"] = str(location)
    result = to_json_types(about | protocol_options(protocol) | score.figures | {"seconds": seconds})
    if output is not None:
        folder = make_folder(Path(output))
        write_tables(folder, protocol.name, score)
        write_json(folder / RESULTS_FILE, result | {"date": utc_now(), "versions": versions()})
    return result


def evaluate_suite(
    evaluator: Evaluator, suite: Suite, output: Path, *, resume: bool = False
) -> dict[str, Any]:
    """Score a suite into the folder `output`: results.json, results.md, results.png, ENTRY_TABLE.csv.

    results.json is rewritten after each entry, so that an interrupted run keeps its results. `resume` reuses
    those of the same model, data and options.
    Returns: the content of results.json: "model", "fingerprint", "transform", "precision", "date",
      "versions", "device", "groups", "entries" by name, and "skipped" (no data) and "failed", with the reason
      by name.
    Errors: UserError if the folder cannot be written, or its earlier results cannot be read.
    """
    from bioclip_jax.evaluate.report import draw, report_rows, write_markdown

    output = make_folder(Path(output))
    earlier = read_json(output / RESULTS_FILE) if resume else {}
    kept = earlier.get("entries", {}) if evaluator.produced(earlier) else {}
    entries = {
        entry.name: kept[entry.name] for entry in suite.entries if is_current(kept.get(entry.name, {}), entry)
    }
    results: dict[str, Any] = {
        "model": evaluator.source,
        **evaluator.identity(),
        "date": utc_now(),
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
        print(f"{name}: {_summary(entries[name])}, from an earlier run", file=sys.stderr)

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
    # In the order of the suite, not of scoring.
    results["entries"] = {entry.name: entries[entry.name] for entry in suite.entries if entry.name in entries}
    results = to_json_types(results)
    write_json(output / RESULTS_FILE, results)
    rows = report_rows(results)
    write_markdown(output / "results.md", results, rows)
    draw(output / "results.png", rows, results["model"])
    return results


def utc_now() -> str:
    """Return the current time in ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _summary(result: Mapping[str, Any]) -> str:
    figures, seconds = result["figures"], result["seconds"]
    value, n = figures.get(result["score"]), figures.get("n")
    images = f" on {n:,} images" if isinstance(n, int) else ""
    scored = f"{result['score']} {100 * value:.1f} %{images}" if isinstance(value, (int, float)) else "scored"
    return f"{scored} ({seconds['vectors']:.0f} s for embeddings, {seconds['scoring']:.0f} s for the score)"
