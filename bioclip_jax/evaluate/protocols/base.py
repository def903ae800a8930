"""Interface of an evaluation protocol: embeddings and labels in, figures out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar
from typing import Protocol as Interface

import numpy as np
from jaxtyping import Float32

from bioclip_jax.errors import UserError
from bioclip_jax.predict.embedding import LabeledEmbeddings


@dataclass(frozen=True)
class ModelOutputs:
    """Outputs of a model that a protocol needs beside its image embeddings.

    encode_texts: texts to unit vectors float32 [n, dim]. logit_scale: factor of a cosine in the softmax.
    """

    encode_texts: Callable[[Sequence[str]], Float32[np.ndarray, "n dim"]]
    logit_scale: float


@dataclass(frozen=True)
class Score:
    """Result of a protocol: figures for JSON, and tables of details, each written as a CSV."""

    figures: dict[str, Any]
    tables: dict[str, list[dict[str, Any]]] = field(default_factory=dict)


class Protocol(Interface):
    """A protocol; its fields are its options.

    name: as on the command line. score: key of the figure that the paper publishes. also (optional): further
    figures of the same data by key, with their difference from the published one; reports mark them. splits:
    parts of the data that it reads, each passed as one set of embeddings. revision (optional): raised when
    the figures change, so that results of earlier versions are not reused.
    """

    name: ClassVar[str]
    score: ClassVar[str]
    splits: ClassVar[tuple[str, ...]]

    def __call__(self, sets: Mapping[str, LabeledEmbeddings], model: ModelOutputs) -> Score:
        """Score `sets`, which has every one of `splits`. Raises UserError for unsuitable labels."""
        ...


def check_seeds(seeds: Sequence[int]) -> None:
    """Raise UserError unless `seeds` are one or more distinct numbers from 0 to 2**32 - 1."""
    if not seeds or min(seeds) < 0 or max(seeds) >= 2**32 or len(set(seeds)) < len(seeds):
        raise UserError(f"seeds {list(seeds)} are not valid; give distinct numbers from 0 to 2**32 - 1")
