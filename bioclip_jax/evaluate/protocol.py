"""What a protocol is: from vectors and labels to figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar
from typing import Protocol as Interface

import numpy as np
from jaxtyping import Float32

from bioclip_jax.predict.embedding import LabeledEmbeddings


@dataclass(frozen=True)
class Towers:
    """What a protocol may ask of the model beside the vectors of images.

    encode_texts: texts to unit vectors float32 [n, dim]. logit_scale: what a cosine is multiplied by.
    """

    encode_texts: Callable[[Sequence[str]], Float32[np.ndarray, "n dim"]]
    logit_scale: float


@dataclass(frozen=True)
class Score:
    """What a protocol found: figures for JSON, and tables of details, a CSV each."""

    figures: dict[str, Any]
    tables: dict[str, list[dict[str, Any]]] = field(default_factory=dict)


class Protocol(Interface):
    """A protocol with its options, which are its fields.

    name: as on the command line. score: the key of the figure that the paper publishes. also (where there are
    any): by key, how other figures of the same data differ from it, to stand beside it, marked. splits: the
    parts of the data that it reads, one set of vectors each. A protocol whose figures are no longer those of
    earlier versions has a class variable `revision`, so that earlier results are not kept.
    """

    name: ClassVar[str]
    score: ClassVar[str]
    splits: ClassVar[tuple[str, ...]]

    def __call__(self, sets: Mapping[str, LabeledEmbeddings], towers: Towers) -> Score:
        """Figures of `sets`, which are there for each of `splits`. UserError for labels that do not do."""
        ...
