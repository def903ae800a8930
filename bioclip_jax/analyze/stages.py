"""Stages of a curve: several files of embeddings, several models, or all checkpoints of a run, over the same images."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bioclip_jax.analyze.embeddings import Embeddings, of_labelled, read_embeddings
from bioclip_jax.checkpoint.layout import TrainingDirectory
from bioclip_jax.errors import UserError
from bioclip_jax.pipeline.sources import FolderSource, Source, open_source

if TYPE_CHECKING:
    from bioclip_jax.predict.embedding.labelled import LabelledVectors

# A name that begins with a number says where on the axis its stage stands.
_NUMBER = re.compile(r"[-+]?\d[\d,]*(\.\d+)?")


@dataclass(frozen=True)
class Stage:
    """One state of a model: its name, where it stands on a curve's axis, and its embeddings."""

    name: str
    position: float
    embeddings: Embeddings


def open_stages(
    *,
    embeddings: Sequence[Path] = (),
    models: Sequence[str] = (),
    data: str | None = None,
    images: Path | None = None,
    labels: Path | None = None,
    all_checkpoints: bool = False,
    names: Sequence[str] = (),
    where: Sequence[str] = (),
    batch_size: int | None = None,
) -> list[Stage]:
    """The stages, in the order given: one a file of `embeddings` (Parquet), or one a MODEL that encodes `data`.

    Args: `data` as open_source (of a TFDS name the split "test"), or `images` and `labels`, a folder and the table of
      its images. `all_checkpoints`: a stage a checkpoint of the one training directory in `models`. `names`: one a stage;
      if all begin with a number these are the positions, otherwise 0, 1, 2 and so on. `where`: COLUMN=VALUE, which rows
      to keep, all of them.
    Errors: UserError where it is not clear what to read, and for what cannot be read.
    """
    if bool(embeddings) == bool(models):
        raise UserError("what to analyse is not clear; give --embeddings, or --model with --data")
    checkpoints = _checkpoints(models) if all_checkpoints else []
    stages_named = checkpoints or [
        (Path(str(path)).stem if embeddings else _name(path), path) for path in embeddings or models
    ]
    if names and len(names) != len(stages_named):
        raise UserError(f"there are {len(names)} --names for {len(stages_named)} stages; give one for each")
    chosen = list(names) or [name for name, _ in stages_named]
    filters = [_filter(text) for text in where]
    if embeddings:
        found = [read_embeddings(path) for path in embeddings]
    else:
        source = _source(data, images, labels)
        found = _encoded([str(model) for _, model in stages_named], source, batch_size)
    for column, value in filters:
        found = [one.where(column, value) for one in found]
    return [Stage(name, at, one) for name, at, one in zip(chosen, _positions(chosen), found)]


def _checkpoints(models: Sequence[str]) -> list[tuple[str, Path]]:
    if len(models) != 1:
        raise UserError("--all-checkpoints is about one training directory; give one --model")
    directory = TrainingDirectory(Path(str(models[0]).removeprefix("local-dir:")).expanduser())
    if not TrainingDirectory.is_one(directory.path) or not directory.steps():
        raise UserError(f"{models[0]} is no training directory with checkpoints; give one")
    return [(f"step {step:,}", directory.checkpoints / str(step)) for step in directory.steps()]


def _name(model: str | Path) -> str:
    """What a MODEL is called where nobody has named it."""
    return Path(str(model).removeprefix("local-dir:")).name or str(model)


def _filter(text: str) -> tuple[str, str]:
    column, equals, value = text.partition("=")
    if not equals or not column:
        raise UserError(f"--where {text} is no COLUMN=VALUE; write it as family=Thraupidae")
    return column, value


def _source(data: str | None, images: Path | None, labels: Path | None) -> Source:
    if (data is None) == (images is None) or (images is None) != (labels is None):
        raise UserError("the images to encode are not clear; give --data, or --images with --labels")
    return open_source(data, split="test") if data is not None else FolderSource(images, labels)


def _encoded(models: Sequence[str], source: Source, batch_size: int | None) -> list[Embeddings]:
    from bioclip_jax.convert.load import resolve
    from bioclip_jax.predict.embedding.labelled import embed_labelled
    from bioclip_jax.predict.model import Model
    from bioclip_jax.predict.vector_cache import VectorCache

    def encode(model: str) -> LabelledVectors:
        bundle = resolve(model)
        loaded = Model(bundle, batch_size=batch_size, preprocess=bundle.preprocess)
        return embed_labelled(loaded, source, cache=VectorCache())

    return [of_labelled(encode(model), source, model) for model in models]


def _positions(names: Sequence[str]) -> list[float]:
    """Where the stages stand on an axis: at the numbers in their names, where each has one and all differ."""
    numbers = [_NUMBER.search(name) for name in names]
    if all(match is not None for match in numbers):
        found = [float(match[0].replace(",", "")) for match in numbers]
        if len(set(found)) == len(found):
            return found
    return [float(number) for number in range(len(names))]
