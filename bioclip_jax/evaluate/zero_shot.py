"""Zero-shot classification: an image's class is the one whose name, in CLIP's templates, lies nearest.

Protocol of BioCLIP 2 (https://arxiv.org/abs/2505.23883), with the accuracy at every rank beside it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float32, UInt8

from bioclip_jax.convert.load import resolve
from bioclip_jax.distributed.mesh import MeshConfig, make_mesh, replicated
from bioclip_jax.errors import UserError
from bioclip_jax.evaluate.accuracy import rank_accuracy, top_k_accuracy
from bioclip_jax.models import get_config
from bioclip_jax.pipeline.images import BadImage, Preprocess
from bioclip_jax.pipeline.sources import FolderSource, Sample, Source, open_source
from bioclip_jax.predict.embedder import load_ahead
from bioclip_jax.predict.encoder import Encoder
from bioclip_jax.predict.head import class_embeddings
from bioclip_jax.predict.progress import track
from bioclip_jax.text.captions import TEXT_TYPES, class_name
from bioclip_jax.text.taxon import Taxon
from bioclip_jax.text.templates import OPENAI_TEMPLATES
from bioclip_jax.train.config import TrainConfig

AS_IS = "asis"
TEMPLATES = {"openai": OPENAI_TEMPLATES, "one": ("a photo of {}.",)}
_CACHE_BYTES = 2 << 30


@dataclass(frozen=True)
class Candidate:
    """A class that may be the answer: its `name` goes into the templates; `taxon` is None for a label that is none."""

    name: str
    taxon: Taxon | None


class ZeroShot:
    """A labelled source and the classes to tell it apart into, ready to score one set of parameters after another.

    The classes are the distinct lineages (with text_type "asis" the distinct labels) of the source, or of
    `candidates`. Images are prepared in the first call and kept in memory, up to `cache_bytes`.
    """

    def __init__(
        self,
        source: Source,
        encoder: Encoder,
        preprocess: Preprocess,
        *,
        text_type: str = "taxon_com",
        templates: Literal["openai", "one"] = "openai",
        candidates: Source | None = None,
        cache_bytes: int = _CACHE_BYTES,
    ) -> None:
        """`text_type`: how classes are named: asis, sci, taxon, com, sci_com or taxon_com.

        Errors: UserError for a name that does not exist, and a source without a label.
        """
        if text_type not in (AS_IS, *TEXT_TYPES):
            raise UserError(f"text type {text_type!r} does not exist; choose from {', '.join((AS_IS, *TEXT_TYPES))}")
        if templates not in TEMPLATES:
            raise UserError(f"templates {templates!r} do not exist; choose from {', '.join(TEMPLATES)}")
        self._source, self._encoder, self._preprocess = source, encoder, preprocess
        self._templates = TEMPLATES[templates]
        self._asis = text_type == AS_IS
        self._bad: dict[int, str] = {}
        truths = [self._label(source, place, text_type) for place in range(len(source))]
        pool = truths
        if candidates is not None:
            pool = [_read_label(candidates, place, text_type) for place in range(len(candidates))]
        self.candidates = self._distinct(pool)
        if not self.candidates:
            wanted = "class column" if text_type == AS_IS else "taxon"
            raise UserError(f"no sample has a {wanted}, which --text-type {text_type} needs; give labelled data")
        number = {self._identity(candidate): n for n, candidate in enumerate(self.candidates)}
        self._truths = {place: truth for place, truth in enumerate(truths) if truth is not None}
        self._labels = {place: number.get(self._identity(truth), -1) for place, truth in self._truths.items()}
        self._cache: list[tuple[int, UInt8[np.ndarray, "size size 3"]]] = []
        self._uncached = list(self._truths)
        self._cache_bytes = cache_bytes

    def __call__(self, params: Any) -> dict[str, Any]:
        """Score `params` (the CLIP's parameters, on the encoder's mesh).

        Returns: "top1" and "top5" over the images whose class is a candidate (None if there is no such image), "n"
          images, "classes", "bad" (images left out, by cause), and where classes are taxa, by rank, "ranks" (the
          accuracy), "n_by_rank", "chance" and "majority", as rank_accuracy.
        Errors: UserError if no image can be read.
        """
        features, places = self._encode_images(params)
        names = [candidate.name for candidate in self.candidates]
        classes = class_embeddings(lambda texts: self._encoder.texts(params, texts), names, self._templates)
        labels = np.array([self._labels[place] for place in places])
        result: dict[str, Any] = {
            "top1": top_k_accuracy(features, classes, labels, 1),
            "top5": top_k_accuracy(features, classes, labels, 5),
            "n": len(places),
            "classes": len(classes),
            "bad": dict(Counter(self._bad.values())),
        }
        taxa = [candidate.taxon for candidate in self.candidates]
        if None not in taxa:
            scale = float(jnp.exp(params["logit_scale"]))
            truths = [self._truths[place].taxon for place in places]
            ranks = rank_accuracy(features, classes, scale, truths, taxa)
            result["ranks"] = {rank: score.accuracy for rank, score in ranks.items()}
            result["n_by_rank"] = {rank: score.n for rank, score in ranks.items()}
            result["chance"] = {rank: score.chance for rank, score in ranks.items()}
            result["majority"] = {rank: score.majority for rank, score in ranks.items()}
        return result

    def _label(self, source: Source, place: int, text_type: str) -> Candidate | None:
        """What the sample shows; None, and the cause noted, where it cannot be scored."""
        try:
            sample = source[place]
        except (OSError, ValueError):
            self._bad[place] = "unreadable"
            return None
        label = _label(sample, text_type)
        if label is None or not sample.image:
            self._bad[place] = "no_label" if label is None else "no_image"
            return None
        return label

    def _identity(self, candidate: Candidate) -> Any:
        """What makes two samples one class: the label, or the lineage whatever the common name."""
        taxon = candidate.taxon
        return candidate.name if self._asis or not any(taxon.lineage()) else taxon.lineage()

    def _distinct(self, labels: Iterable[Candidate | None]) -> list[Candidate]:
        """The distinct classes, sorted by name; one with several names has the one used most."""
        used = Counter(label for label in labels if label is not None)
        first: dict[Any, Candidate] = {}
        for candidate, _ in sorted(used.items(), key=lambda item: (-item[1], item[0].name)):
            first.setdefault(self._identity(candidate), candidate)
        return sorted(first.values(), key=lambda candidate: (candidate.name, str(candidate.taxon)))

    def _encode_images(self, params: Any) -> tuple[Float32[np.ndarray, "n dim"], list[int]]:
        """The unit vectors of the readable images, and the places in the source that they come from."""
        places: list[int] = []

        def pixels() -> Iterator[UInt8[np.ndarray, "size size 3"]]:
            for place, image in self._prepared():
                places.append(place)
                yield image

        batches = list(self._encoder.images(params, pixels()))
        if not batches:
            raise UserError(f"none of the {len(self._bad)} images can be read; give JPEG, PNG or the like")
        return np.concatenate(batches), places

    def _prepared(self) -> Iterator[tuple[int, UInt8[np.ndarray, "size size 3"]]]:
        """Places and pixels: those in memory, then those that are read again, or now for the first time."""
        yield from self._cache
        rest, self._uncached = self._uncached, []
        images = (self._read(place) for place in track(rest, "encoding images", len(rest)))
        done = 0
        try:
            for place, image in zip(rest, load_ahead(images, self._preprocess, 2 * self._encoder.batch_size)):
                done += 1
                if isinstance(image, UserError):
                    self._bad[place] = _cause(image)
                    continue
                if image.nbytes <= self._cache_bytes:
                    self._cache_bytes -= image.nbytes
                    self._cache.append((place, image))
                else:
                    self._uncached.append(place)
                yield place, image
        finally:
            # Where an evaluation is broken off, the next one reads the others.
            self._uncached += rest[done:]

    def _read(self, place: int) -> bytes:
        try:
            return self._source[place].image
        except (OSError, ValueError):  # gone since the labels were read
            return b""


class _BrokenOff(Exception):
    """The run that is being evaluated has to stop."""


class ValidationHook:
    """Zero-shot accuracy on `config.data.val` while training."""

    def __init__(self, config: TrainConfig) -> None:
        """UserError if the validation data is not there."""
        model = get_config(config.model)
        preprocess = config.image.preprocess(model.vision.image_size)
        mesh = make_mesh(config.mesh)
        source = open_source(
            config.data.val, split="validation", bad_shards=config.data.bad_shards, tfds_dir=config.data.tfds_dir
        )
        self._zero_shot = ZeroShot(
            source,
            Encoder(
                model,
                preprocess,
                mesh,
                batch_size=config.evaluate.batch_size,
                dtype=config.dtype,
                before_batch=self._check,
            ),
            preprocess,
            text_type=config.evaluate.text_type,
            templates=config.evaluate.templates,
        )

    def __call__(self, params: Any, stopping: Callable[[], bool] = lambda: False) -> dict[str, Any] | None:
        """{"top1", "top5", "n", "ranks"} of `params`, as ZeroShot; None where `stopping`, asked before each batch,
        has said so."""
        self._stopping = stopping
        try:
            result = self._zero_shot(params)
        except _BrokenOff:
            return None
        return {name: result[name] for name in ("top1", "top5", "n", "ranks") if name in result}

    def _check(self) -> None:
        if self._stopping():
            raise _BrokenOff


def evaluate_model(
    model: str,
    *,
    data: str | None = None,
    images: Path | None = None,
    labels: Path | None = None,
    text_type: str = "taxon_com",
    templates: Literal["openai", "one"] = "openai",
    candidates: str | None = None,
    batch_size: int | None = None,
) -> dict[str, Any]:
    """Score a MODEL on `data` (as open_source, of a TFDS name the split "test"), or on the folder `images` and the
    CSV `labels`.

    `candidates`: data whose classes are the possible answers, instead of those of the data itself.
    Returns: what ZeroShot returns, and "protocol", "model", "text_type" and "templates".
    Errors: UserError for data or a model that is not there.
    """
    if (data is None) == (images is None) or (images is None) != (labels is None):
        raise UserError("the data to score is not clear; give --data, or --images with --labels")
    source = open_source(data, split="test") if data is not None else FolderSource(images, labels)
    other = None if candidates is None else open_source(candidates, split="train")
    bundle = resolve(str(model))
    mesh = make_mesh(MeshConfig(), jax.local_devices())
    zero_shot = ZeroShot(
        source,
        Encoder(bundle.config, bundle.preprocess, mesh, batch_size=batch_size),
        bundle.preprocess,
        text_type=text_type,
        templates=templates,
        candidates=other,
        cache_bytes=0,
    )
    result = zero_shot(jax.device_put(bundle.params, replicated(mesh)))
    about = {"protocol": "zero-shot", "model": bundle.source, "text_type": text_type, "templates": templates}
    return about | result


def _read_label(source: Source, place: int, text_type: str) -> Candidate | None:
    """The class of a candidate; one that cannot be read names none."""
    try:
        return _label(source[place], text_type)
    except (OSError, ValueError):
        return None


def _label(sample: Sample, text_type: str) -> Candidate | None:
    """The class of a sample, None where the source does not say."""
    taxon = sample.taxon
    if text_type == AS_IS:
        # A table has its label under class. Where it has ranks too, theirs is cls, and the label is metadata.
        if label := str(sample.metadata.get("class", "")).strip():
            return Candidate(label, taxon if taxon and taxon.scientific_name else None)
        alone = taxon is not None and taxon == Taxon(class_=taxon.class_)
        return Candidate(taxon.class_, None) if alone and taxon.class_ else None
    if taxon is None or not class_name(taxon, text_type):
        return None
    return Candidate(class_name(taxon, text_type), taxon)


def _cause(problem: UserError) -> str:
    return problem.__cause__.cause if isinstance(problem.__cause__, BadImage) else "unreadable"
