"""Evaluation during training, by the current parameters."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from bioclip_jax.distributed import make_mesh
from bioclip_jax.errors import UserError
from bioclip_jax.models import get_config
from bioclip_jax.pipeline.sources import open_source
from bioclip_jax.predict import Encoder
from bioclip_jax.predict.embedding import LabeledEmbeddings
from bioclip_jax.train import TrainConfig

from . import class_names
from .cached_images import CACHE_BYTES, CachedImages
from .protocols import FewShot, ModelOutputs, Protocol, Score, ZeroShot

if TYPE_CHECKING:
    from .suite import Entry, OpenData

# Encodes the embeddings of a protocol, by split, on demand.
EncodeSets = Callable[[], dict[str, LabeledEmbeddings]]
# Scores a protocol under a name; None if its data are unsuitable.
ScoreProtocol = Callable[[str, Protocol, EncodeSets], Score | None]


class EvaluationHook:
    """Evaluation while training: zero-shot on `config.data.val`, and few-shot and a suite if configured.

    Each process encodes its share of every batch and computes all figures, so that all processes make the
    same calls.
    """

    def __init__(self, config: TrainConfig, open_data: OpenData | None = None) -> None:
        """Read the labels of all data.

        open_data: opens the data of `config.evaluate.suite`, as in read_suite. Raises UserError for
        absent or unlabeled validation data, and for an invalid suite; entries of a suite whose data are
        absent are reported and skipped.
        """
        model = get_config(config.model)
        self._preprocess = config.image.preprocess(model.vision.image_size)
        self._encoder = Encoder(
            model,
            self._preprocess,
            make_mesh(config.mesh),
            batch_size=config.evaluate.batch_size,
            dtype=config.dtype,
            before_batch=self._check_stop,
        )
        self._stopping: Callable[[], bool] = lambda: False
        source = open_source(
            config.data.val,
            split="validation",
            bad_shards=config.data.bad_shards,
            tfds_dir=config.data.tfds_dir,
        )
        self._images = CachedImages(source, self._preprocess, self._encoder)
        text_type = config.evaluate.text_type
        class_names.check_text_type(text_type)
        # The class of an undecodable image remains a candidate, although the image is not scored.
        candidates = tuple(class_names.candidates(self._images.samples, text_type))
        self._zero_shot = ZeroShot(text_type, config.evaluate.templates, candidates)
        self._few_shot = None
        if config.evaluate.few_shot:
            self._few_shot = FewShot(config.evaluate.few_shot, text_type=text_type, skip_small=True)
        self._suite = None
        if config.evaluate.suite is not None:
            if open_data is None:
                raise UserError("config.evaluate.suite needs a way to open its data; use `bioclip-jax train`")
            self._suite = _Suite(Path(config.evaluate.suite), open_data, self._cached)

    def __call__(self, params: Any, stopping: Callable[[], bool] = lambda: False) -> dict[str, Any] | None:
        """Evaluate `params`; None if `stopping`, checked before each batch and protocol, returns True.

        Returns: "top1", "top3", "top5", "n" and "ranks", as ZeroShot; "few_shot", mean accuracy by shots; and
          "suite", the headline figure of each entry. Entries with unsuitable data are reported and skipped.
        """
        self._stopping = stopping
        scale = float(jnp.exp(params["logit_scale"]))
        outputs = ModelOutputs(lambda texts: self._encoder.texts(params, texts), scale)

        def score(name: str, protocol: Protocol, sets: EncodeSets) -> Score | None:
            self._check_stop()
            try:
                return protocol(sets(), outputs)
            except UserError as problem:
                # Unsuitable data must not end a run that has trained for days.
                _report(f"{name} is not evaluated: {problem}")
                return None

        try:
            sets = {"test": self._images(params)}
            figures = self._zero_shot(sets, outputs).figures
            values = {
                name: figures[name] for name in ("top1", "top3", "top5", "n", "ranks") if name in figures
            }
            if self._few_shot is not None:
                result = score("few-shot", self._few_shot, lambda: sets)
                by_shots = {} if result is None else result.figures["few_shot"]
                values["few_shot"] = {shots: figure["mean"] for shots, figure in by_shots.items()}
            if self._suite is not None:
                values["suite"] = self._suite(params, score)
        except _Stopped:
            return None
        return values

    def _cached(self, source: Any, cache_bytes: int) -> CachedImages:
        return CachedImages(source, self._preprocess, self._encoder, cache_bytes=cache_bytes)

    def _check_stop(self) -> None:
        if self._stopping():
            raise _Stopped


class _Stopped(Exception):
    """The training run has to stop, and so does its evaluation."""


class _Suite:
    """Entries of a suite and their images; a set that several entries read is cached once."""

    def __init__(self, path: Path, open_data: OpenData, cached: Callable[[Any, int], CachedImages]) -> None:
        from .suite import read_suite

        suite = read_suite(path, open_data)
        for skipped in suite.skipped:
            _report(f"{skipped.name} is not evaluated: {skipped.reason}")
        self._entries: list[Entry] = suite.entries
        sources = {
            key: entry.sources[split] for entry in self._entries for split, key in entry.keys().items()
        }
        share = CACHE_BYTES // len(sources)
        self._images = {key: cached(source, share) for key, source in sources.items()}

    def __call__(self, params: Any, score: ScoreProtocol) -> dict[str, float]:
        """Return the headline figure of each entry."""
        values: dict[str, float] = {}
        vectors: dict[Hashable, LabeledEmbeddings] = {}
        pending = Counter(key for entry in self._entries for key in entry.keys().values())
        for entry in self._entries:
            keys = entry.keys()

            def sets(keys: dict[str, Hashable] = keys) -> dict[str, LabeledEmbeddings]:
                for key in keys.values():
                    if key not in vectors:
                        vectors[key] = self._images[key](params)
                return {split: vectors[key] for split, key in keys.items()}

            result = score(entry.name, entry.protocol, sets)
            if result is not None and result.figures[entry.protocol.score] is not None:
                values[entry.name] = float(result.figures[entry.protocol.score])
            pending.subtract(keys.values())
            for key in [key for key in vectors if not pending[key]]:
                del vectors[key]
        return values


def _report(line: str) -> None:
    if jax.process_index() == 0:
        print(line, file=sys.stderr)
