"""The species of embedded images: their names, means and taxa."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int

from bioclip_jax.errors import UserError
from bioclip_jax.text import Taxon

from .components import group_means

if TYPE_CHECKING:
    from .embeddings import Embeddings


@dataclass(frozen=True)
class Species:
    """The species of the images: names, the mean of each one's unit vectors (not normalised again), their taxa.

    groups: of each image the place of its species, -1 where unknown.
    """

    names: list[str]
    groups: Int[np.ndarray, " n"]
    means: Float[np.ndarray, "species dim"]
    taxa: list[Taxon]

    @classmethod
    def of(cls, embeddings: Embeddings, column: str | None) -> Species:
        """UserError where no image has a species."""
        texts = embeddings.species(column)
        names, groups = np.unique(texts, return_inverse=True)
        if len(names) and not names[0]:
            names, groups = names[1:], groups - 1
        if not len(names):
            raise UserError(
                f"{embeddings.source} names no species; give images with a genus and a species, or a column"
            )
        means = group_means(embeddings.vectors, groups, len(names))
        return cls(names.tolist(), groups, means, _commonest(embeddings.taxa(), groups, len(names)))


def _commonest(taxa: Sequence[Taxon], groups: Int[np.ndarray, " n"], number: int) -> list[Taxon]:
    """Of each group the taxon that most of its images have, those that have none not counted."""
    numbers: dict[Taxon, int] = {}
    of = np.array([numbers.setdefault(taxon, len(numbers)) for taxon in taxa], np.int64)
    every = list(numbers)
    known = (groups >= 0) & np.array([any(taxon.lineage()) for taxon in every], bool)[of]
    pairs, counts = np.unique(groups[known] * len(every) + of[known], return_counts=True)
    commonest = [Taxon()] * number
    for place in np.argsort(counts, kind="stable"):
        commonest[pairs[place] // len(every)] = every[pairs[place] % len(every)]
    return commonest
