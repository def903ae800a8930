"""A series of model states on the same images: files of embeddings, models, or the checkpoints of a run."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bioclip_jax.checkpoint import TrainingDirectory
from bioclip_jax.convert import local_path
from bioclip_jax.errors import UserError

from .embeddings import Embeddings, embed_source, read_embeddings

if TYPE_CHECKING:
    from bioclip_jax.pipeline.sources import Source

# The number at the beginning of a name is its stage's position: 25 %, 1,776 images, 0.5 epochs, 10M.
_NUMBER = re.compile(r"\s*([-+]?\d+(?:,\d{3})*(?:\.\d+)?(?:[eE][-+]?\d+)?)\s?([kMB]?)(?![\w.])")
_FACTORS = {"": 1.0, "k": 1e3, "M": 1e6, "B": 1e9}


@dataclass(frozen=True)
class Stage:
    """One state of a model: its name, its position on the axis of a curve, and its embeddings."""

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
    """Read a stage from each file of embeddings (Parquet), or encode images with each MODEL, in order.

    data: as open_source (of a TFDS name, the split "test"); or images and labels: a folder and its table.
    all_checkpoints: one stage per checkpoint of the single training directory in `models`, at its step.
    names: one per stage, by default those of the files or folders. If each begins with a number (25 %, 10M
    images) and all differ, these are the positions, otherwise 0, 1, 2 and so on.
    where: filters COLUMN=VALUE, all of which a row must match.

    Raises UserError for contradictory or missing inputs, and for those that cannot be read.
    """
    embeddings, models, names = (
        list(embeddings or ()),
        [str(model) for model in models or ()],
        list(names or ()),
    )
    has_data = data is not None or images is not None or labels is not None
    if bool(embeddings) == bool(models):
        raise UserError("it is not clear what to analyze; give --embeddings, or --model with --data")
    if embeddings and (has_data or all_checkpoints):
        raise UserError(
            "files of --embeddings need no data and have no checkpoints; drop those options, or give --model"
        )
    steps: list[int] = []
    if all_checkpoints:
        steps, models = _checkpoints(models)
    count = len(embeddings or models)
    if names and len(names) != count:
        raise UserError(f"there are {len(names)} --names for {count} stages; give one for each")
    filters = [_filter(text) for text in where or ()]
    if embeddings:
        series = [read_embeddings(path) for path in embeddings]
        default = _distinct_names([Path(path).with_suffix("") for path in embeddings])
    else:
        series = _encoded(models, _source(data, images, labels), batch_size)
        default = _distinct_names(
            [Path(model.removeprefix("local-dir:").removeprefix("hf-hub:")) for model in models]
        )
    for column, value in filters:
        series = [stage.where(column, value) for stage in series]
    names = names or [f"step {step:,}" for step in steps] or default
    positions = [float(step) for step in steps] or _positions(names)
    return [Stage(*fields) for fields in zip(names, positions, series)]


def _checkpoints(models: Sequence[str]) -> tuple[list[int], list[str]]:
    if len(models) != 1:
        raise UserError(
            f"--all-checkpoints takes one training directory, not {len(models)}; give one --model"
        )
    directory = TrainingDirectory(local_path(models[0]))
    if not TrainingDirectory.exists_at(directory.path):
        raise UserError(f"{models[0]} is not a training directory, which alone has checkpoints; give one")
    if not (steps := directory.steps()):
        raise UserError(f"{models[0]} has no checkpoint yet; wait for the first")
    return steps, [str(directory.checkpoints / str(step)) for step in steps]


def _distinct_names(paths: Sequence[Path]) -> list[str]:
    """Return the paths' last parts, as many of each as make all different."""
    most = max(len(path.parts) for path in paths)
    for depth in range(1, most + 1):
        names = ["/".join(path.parts[-depth:]) for path in paths]
        if len(set(names)) == len(names):
            return names
    return [f"{path.name} ({number})" for number, path in enumerate(paths, 1)]


def _filter(text: str) -> tuple[str, str]:
    column, equals, value = text.partition("=")
    if not equals or not column.strip():
        raise UserError(f"--where {text} is not COLUMN=VALUE; write it as family=Thraupidae")
    return column.strip(), value


def _source(data: str | None, images: Path | None, labels: Path | None) -> Source:
    from bioclip_jax.pipeline.sources import FolderSource, open_source

    if (data is None) == (images is None) or (images is None) != (labels is None):
        raise UserError("the images to encode are not clear; give --data, or --images with --labels")
    return open_source(data, split="test") if data is not None else FolderSource(images, labels)


def _encoded(models: Sequence[str], source: Source, batch_size: int | None) -> list[Embeddings]:
    from bioclip_jax.predict import VectorCache

    # One model at a time on the device.
    return [embed_source(model, source, batch_size=batch_size, cache=VectorCache()) for model in models]


def _positions(names: Sequence[str]) -> list[float]:
    """Return the numbers at the beginning of the names if all have one and all differ, else 0, 1, 2, ..."""
    numbers = [_NUMBER.match(name) for name in names]
    if all(numbers):
        positions = [float(match[1].replace(",", "")) * _FACTORS[match[2]] for match in numbers]
        if len(set(positions)) == len(positions):
            return positions
    return [float(number) for number in range(len(names))]
