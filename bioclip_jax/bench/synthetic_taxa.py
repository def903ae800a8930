"""A tree of life of made-up names and vectors, as wide and as correlated as a real one."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int

# Lineages of each rank, kingdom to genus, in a tree of the 867,455 species that are published for BioCLIP 2.
_TAXA = 867_455
_WIDTHS = (7, 100, 350, 1_500, 10_000, 100_000)
# Of a vector's square length, the part that all taxa share, then what each rank adds, kingdom to species. So
# two species of one genus have a cosine of about 0.85, of one order 0.6, of two kingdoms 0.2.
_SHARES = (0.2, 0.1, 0.1, 0.1, 0.1, 0.1, 0.15, 0.15)
_SYLLABLES = ["ba", "ce", "di", "fo", "gu", "la", "me", "ni", "or", "pu", "ra", "se", "ti", "vo", "xa", "ze"]
_SUFFIXES = ("ia", "phyta", "psida", "ales", "idae", "us", "is")


class SyntheticTaxa:
    """`count` taxa in pybioclip's two shapes: vectors, and names [[kingdom .. species epithet], common name].

    The tree is drawn: every taxon has a parent of the rank above, and a few parents have most of the children
    (their numbers fall as 1/n). A taxon's vector is the normalised sum of one random direction for each of
    its ancestors, for itself, and for all taxa. The order is shuffled, as published files follow no lineage.
    """

    def __init__(self, count: int, dim: int, *, seed: int = 0) -> None:
        """The vectors take count * dim * 4 bytes."""
        self._rng = rng = np.random.default_rng(seed)
        # A smaller tree is narrower at every rank.
        depth = math.log(count) / math.log(_TAXA)
        widths = [max(1, min(count, round(width**depth))) for width in _WIDTHS] + [count]
        self.ancestors = _ancestors(rng, widths)
        vectors = np.repeat(np.float32(math.sqrt(_SHARES[0])) * _directions(rng, 1, dim), count, axis=0)
        for lineage, width, share in zip(self.ancestors, widths, _SHARES[1:], strict=True):
            vectors += np.float32(math.sqrt(share)) * _directions(rng, width, dim)[lineage]
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        self.vectors: Float32[np.ndarray, "taxa dim"] = vectors

    def names(self) -> Iterator[list]:
        """Each taxon's [seven ranks, common name]; a third of them have a common name."""
        for place in range(self.vectors.shape[0]):
            ranks = [_word(lineage[place]) + suffix for lineage, suffix in zip(self.ancestors, _SUFFIXES)]
            ranks[:-1] = [name.capitalize() for name in ranks[:-1]]
            yield [ranks, f"{_word(place)} {_word(place % 97)}" if place % 3 == 0 else ""]

    def write(self, folder: Path) -> None:
        """txt_emb_species.npy [dim, taxa] and txt_emb_species.json, as they are published."""
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / "txt_emb_species.npy", np.ascontiguousarray(self.vectors.T))
        with open(folder / "txt_emb_species.json", "w", encoding="utf-8") as file:
            json.dump(list(self.names()), file)

    def images(self, count: int, *, cosine: float) -> Float32[np.ndarray, "images dim"]:
        """Unit vectors, each with this cosine to one taxon, drawn at random; the rest of it is a random direction."""
        taxa = self.vectors[self._rng.integers(len(self.vectors), size=count)]
        noise = _directions(self._rng, *taxa.shape)
        noise -= (noise * taxa).sum(axis=1, keepdims=True) * taxa
        noise /= np.linalg.norm(noise, axis=1, keepdims=True)
        return (cosine * taxa + math.sqrt(1 - cosine**2) * noise).astype(np.float32)


def _ancestors(rng: np.random.Generator, widths: list[int]) -> list[Int[np.ndarray, " taxa"]]:
    """For each rank, which of its lineages each taxon belongs to."""
    parents = []
    for above, width in zip([1, *widths], widths):
        weights = 1 / np.arange(1, above + 1)
        drawn = rng.choice(above, size=width - above, p=rng.permutation(weights / weights.sum()))
        parents.append(np.concatenate([np.arange(above), drawn]))
    lineages = [rng.permutation(widths[-1])]
    for parent in reversed(parents[1:]):
        lineages.append(parent[lineages[-1]])
    return lineages[::-1]


def _directions(rng: np.random.Generator, rows: int, dim: int) -> Float32[np.ndarray, "rows dim"]:
    """Random directions of length 1, but for a few percent."""
    return rng.standard_normal((rows, dim), np.float32) / np.float32(math.sqrt(dim))


def _word(number: int) -> str:
    """A made-up word for each number, no two alike."""
    word = _SYLLABLES[number % 16]
    while number := number // 16:
        word += _SYLLABLES[number % 16]
    return word
