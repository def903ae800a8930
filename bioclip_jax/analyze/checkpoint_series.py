"""Stages of a curve: several files of embeddings, several models, or all checkpoints of a run, over the same images."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bioclip_jax.checkpoint import TrainingDirectory
from bioclip_jax.convert import local_path
from bioclip_jax.errors import UserError

from .embeddings import Embeddings, of_source, read_embeddings

if TYPE_CHECKING:
    from bioclip_jax.pipeline.sources import Source

# A name that begins with a number says where on the axis its stage stands: 25 %, 1,776 images, 0.5 epochs,
# 10M.
_NUMBER = re.compile(r"\s*([-+]?\d+(?:,\d{3})*(?:\.\d+)?(?:[eE][-+]?\d+)?)\s?([kMB]?)(?![\w.])")
_FACTORS = {"": 1.0, "k": 1e3, "M": 1e6, "B": 1e9}


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
    batch_size: int | None = None,
    where: Sequence[str] = (),
) -> list[Stage]:
    """The stages, in the order given: one a file of `embeddings` (Parquet), or one a MODEL that encodes the images.

    Args: `data` as open_source (of a TFDS name the split "test"), or `images` and `labels`, a folder and the
      table of its images. `all_checkpoints`: a stage a checkpoint of the one training directory in `models`,
      at its step.
      `names`: one a stage, by default those of the files or folders; where each begins with a number (25 %,
      10M images) and all differ, these are the positions, otherwise 0, 1, 2 and so on. `where`: COLUMN=VALUE,
      which rows to keep; of several, those that agree with all.
    Errors: UserError where it is not clear what to read, and for what cannot be read.
    """
    embeddings, models, names = (
        list(embeddings or ()),
        [str(model) for model in models or ()],
        list(names or ()),
    )
    has_data = data is not None or images is not None or labels is not None
    if bool(embeddings) == bool(models):
        raise UserError("what to analyse is not clear; give --embeddings, or --model with --data")
    if embeddings and (has_data or all_checkpoints):
        raise UserError(
            "files of --embeddings need no data and have no checkpoints; leave those options out, or give "
            "--model"
        )
    steps: list[int] = []
    if all_checkpoints:
        steps, models = _checkpoints(models)
    count = len(embeddings or models)
    if names and len(names) != count:
        raise UserError(f"there are {len(names)} --names for {count} stages; give one for each")
    filters = [_filter(text) for text in where or ()]
    if embeddings:
        found = [read_embeddings(path) for path in embeddings]
        default = _told_apart([Path(path).with_suffix("") for path in embeddings])
    else:
        found = _encoded(models, _source(data, images, labels), batch_size)
        default = _told_apart(
            [Path(model.removeprefix("local-dir:").removeprefix("hf-hub:")) for model in models]
        )
    for column, value in filters:
        found = [one.where(column, value) for one in found]
    names = names or [f"step {step:,}" for step in steps] or default
    at = [float(step) for step in steps] or _positions(names)
    return [Stage(name, position, one) for name, position, one in zip(names, at, found)]


def _checkpoints(models: Sequence[str]) -> tuple[list[int], list[str]]:
    if len(models) != 1:
        raise UserError(
            f"--all-checkpoints is about one training directory, not {len(models)}; give one --model"
        )
    directory = TrainingDirectory(local_path(models[0]))
    if not TrainingDirectory.is_one(directory.path):
        raise UserError(
            f"{models[0]} is no training directory, and only such a one has checkpoints; give one"
        )
    if not (steps := directory.steps()):
        raise UserError(f"{models[0]} has no checkpoint yet; wait for the first")
    return steps, [str(directory.checkpoints / str(step)) for step in steps]


def _told_apart(paths: Sequence[Path]) -> list[str]:
    """Of each path the last part, with as many before it as tell all apart."""
    most = max(len(path.parts) for path in paths)
    for depth in range(1, most + 1):
        names = ["/".join(path.parts[-depth:]) for path in paths]
        if len(set(names)) == len(names):
            return names
    return [f"{path.name} ({number})" for number, path in enumerate(paths, 1)]


def _filter(text: str) -> tuple[str, str]:
    column, equals, value = text.partition("=")
    if not equals or not column.strip():
        raise UserError(f"--where {text} is no COLUMN=VALUE; write it as family=Thraupidae")
    return column.strip(), value


def _source(data: str | None, images: Path | None, labels: Path | None) -> Source:
    from bioclip_jax.pipeline.sources import FolderSource, open_source

    if (data is None) == (images is None) or (images is None) != (labels is None):
        raise UserError("the images to encode are not clear; give --data, or --images with --labels")
    return open_source(data, split="test") if data is not None else FolderSource(images, labels)


def _encoded(models: Sequence[str], source: Source, batch_size: int | None) -> list[Embeddings]:
    from bioclip_jax.predict import VectorCache

    # One model at a time on the device; what is cached is not encoded again.
    return [of_source(model, source, batch_size=batch_size, cache=VectorCache()) for model in models]


def _positions(names: Sequence[str]) -> list[float]:
    """Where the stages stand on an axis: at the numbers that their names begin with, where each has one and all
    differ.
    """
    numbers = [_NUMBER.match(name) for name in names]
    if all(numbers):
        found = [float(match[1].replace(",", "")) * _FACTORS[match[2]] for match in numbers]
        if len(set(found)) == len(found):
            return found
    return [float(number) for number in range(len(names))]
