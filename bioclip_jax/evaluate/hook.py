"""Evaluation while training: what the model's parameters are worth so far."""

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
from bioclip_jax.evaluate import class_names
from bioclip_jax.models import get_config
from bioclip_jax.pipeline.sources import open_source
from bioclip_jax.predict import Encoder
from bioclip_jax.predict.embedding import LabeledEmbeddings
from bioclip_jax.train import TrainConfig

from .prepared import CACHE_BYTES, PreparedImages
from .protocol import Score, Towers
from .zero_shot import ZeroShot

if TYPE_CHECKING:
    from .protocol import Protocol
    from .suite import Entry, OpenData

# Vectors by split, which are encoded when they are asked for.
Sets = Callable[[], dict[str, LabeledEmbeddings]]


class EvaluationHook:
    """Zero-shot accuracy on `config.data.val` while training; few-shot accuracy and a suite where
    `config.evaluate` asks for them.

    Each of several processes encodes its share of every batch and does all the sums, so all make the same
    calls.
    """

    def __init__(self, config: TrainConfig, open_data: OpenData | None = None) -> None:
        """`open_data`: opens the data of `config.evaluate.suite`, as read_suite.

        Errors: UserError if the validation data is not there or has no labels, and for a suite that is none;
          data of a suite that are not there are told, and left out.
        """
        model = get_config(config.model)
        self._preprocess = config.image.preprocess(model.vision.image_size)
        self._encoder = Encoder(
            model,
            self._preprocess,
            make_mesh(config.mesh),
            batch_size=config.evaluate.batch_size,
            dtype=config.dtype,
            before_batch=self._check,
        )
        self._stopping: Callable[[], bool] = lambda: False
        source = open_source(
            config.data.val,
            split="validation",
            bad_shards=config.data.bad_shards,
            tfds_dir=config.data.tfds_dir,
        )
        self._images = PreparedImages(source, self._preprocess, self._encoder)
        text_type = config.evaluate.text_type
        class_names.check_text_type(text_type)
        # An image that cannot be decoded is scored as none, but its class may be the answer all the same.
        candidates = tuple(class_names.candidates(self._images.samples, text_type))
        self._zero_shot = ZeroShot(text_type, config.evaluate.templates, candidates)
        self._few_shot = _few_shot(config.evaluate.few_shot, text_type) if config.evaluate.few_shot else None
        self._suite = None
        if config.evaluate.suite is not None:
            if open_data is None:
                raise UserError(
                    "config.evaluate.suite is set, but nothing here opens its data; use `bioclip-jax train`"
                )
            self._suite = _Suite(Path(config.evaluate.suite), open_data, self._prepared)

    def __call__(self, params: Any, stopping: Callable[[], bool] = lambda: False) -> dict[str, Any] | None:
        """What `params` are worth; None where `stopping`, asked before each batch and each protocol, has said so.

        Returns: "top1", "top3", "top5", "n" and "ranks", as ZeroShot; "few_shot", the mean accuracy by the
          images a class; and "suite", by entry the figure that the paper publishes. What an entry cannot
          score is told, and left out.
        """
        self._stopping = stopping
        scale = float(jnp.exp(params["logit_scale"]))
        towers = Towers(lambda texts: self._encoder.texts(params, texts), scale)
        try:
            sets = {"test": self._images(params)}
            figures = self._zero_shot(sets, towers).figures
            values = {
                name: figures[name] for name in ("top1", "top3", "top5", "n", "ranks") if name in figures
            }
            if self._few_shot is not None:
                score = self._try("few-shot", self._few_shot, lambda: sets, towers)
                of_shots = {} if score is None else score.figures["few_shot"]
                values["few_shot"] = {shots: found["mean"] for shots, found in of_shots.items()}
            if self._suite is not None:
                values["suite"] = self._suite(
                    params, lambda name, protocol, of: self._try(name, protocol, of, towers)
                )
        except _BrokenOff:
            return None
        return values

    def _prepared(self, source: Any, cache_bytes: int) -> PreparedImages:
        return PreparedImages(source, self._preprocess, self._encoder, cache_bytes=cache_bytes)

    def _try(self, name: str, protocol: Protocol, sets: Sets, towers: Towers) -> Score | None:
        """A score, or None where the data do not do: a run that has trained for days must not end for that."""
        self._check()
        try:
            return protocol(sets(), towers)
        except UserError as problem:
            _tell(f"{name} is not evaluated: {problem}")
            return None

    def _check(self) -> None:
        if self._stopping():
            raise _BrokenOff


class _BrokenOff(Exception):
    """The run that is being evaluated has to stop."""


class _Suite:
    """The entries of a suite, and their images; a set that several entries read is there once."""

    def __init__(
        self, path: Path, open_data: OpenData, prepare: Callable[[Any, int], PreparedImages]
    ) -> None:
        from .suite import read_suite

        suite = read_suite(path, open_data)
        for skipped in suite.skipped:
            _tell(f"{skipped.name} is not evaluated: {skipped.reason}")
        self._entries: list[Entry] = suite.entries
        sources = {
            key: entry.sources[split] for entry in self._entries for split, key in entry.keys().items()
        }
        share = CACHE_BYTES // len(sources)
        self._images = {key: prepare(source, share) for key, source in sources.items()}

    def __call__(self, params: Any, score: Callable[..., Score | None]) -> dict[str, float]:
        """By entry, the figure that the paper publishes."""
        values: dict[str, float] = {}
        vectors: dict[Hashable, LabeledEmbeddings] = {}
        waiting = Counter(key for entry in self._entries for key in entry.keys().values())
        for entry in self._entries:
            keys = entry.keys()

            def sets(keys: dict[str, Hashable] = keys) -> dict[str, LabeledEmbeddings]:
                for key in keys.values():
                    if key not in vectors:
                        vectors[key] = self._images[key](params)
                return {split: vectors[key] for split, key in keys.items()}

            found = score(entry.name, entry.protocol, sets)
            if found is not None and found.figures[entry.protocol.score] is not None:
                values[entry.name] = float(found.figures[entry.protocol.score])
            waiting.subtract(keys.values())
            for key in [key for key in vectors if not waiting[key]]:
                del vectors[key]
        return values


def _few_shot(shots: tuple[int, ...], text_type: str) -> Protocol:
    from .few_shot import FewShot

    return FewShot(shots=shots, text_type=text_type, skip_small=True)


def _tell(line: str) -> None:
    if jax.process_index() == 0:
        print(line, file=sys.stderr)
