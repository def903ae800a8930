"""Inputs of bench predict: a synthetic tree of life, names of labels, and photographs."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int

from bioclip_jax.errors import UserError
from bioclip_jax.pipeline.images import BadImage, decode
from bioclip_jax.predict import find_images

# Number of species published for BioCLIP 2, and of lineages at each rank of that tree, kingdom to genus.
PUBLISHED_TAXA = 867_455
_WIDTHS = (7, 100, 350, 1_500, 10_000, 100_000)
# Shares of a vector's squared length: a part common to all taxa, then one for each rank, kingdom to species.
# Two species of one genus have a cosine of about 0.85, of one order 0.6, of two kingdoms 0.2.
_SHARES = (0.2, 0.1, 0.1, 0.1, 0.1, 0.1, 0.15, 0.15)
_SYLLABLES = ["ba", "ce", "di", "fo", "gu", "la", "me", "ni", "or", "pu", "ra", "se", "ti", "vo", "xa", "ze"]
_SUFFIXES = ("ia", "phyta", "psida", "ales", "idae", "us", "is")

FEW_NAMES = ["oak", "daisy", "fox", "heron", "salmon", "beetle", "fern", "toadstool"]
_MORE = ["maple", "lily", "wolf", "owl", "trout", "moth", "moss", "newt", "frog", "crab", "spider", "snail"]
_LOOKS = ["red", "white", "black", "brown", "gray", "common", "great", "spotted", "striped", "golden"]
_HABITATS = ["northern", "southern", "alpine", "marsh", "sea", "wood", "garden", "river", "island", "desert"]


class SyntheticTaxa:
    """`count` taxa as pybioclip reads them: vectors, and names [[kingdom .. species epithet], common name].

    The tree is random: every taxon has a parent at the rank above, and the number of children follows Zipf's
    law. A taxon's vector is the normalized sum of random directions: one common to all taxa, one for each
    ancestor, and one of its own. The order is shuffled, as published files do not follow lineages.
    """

    def __init__(self, count: int, dim: int, *, seed: int = 0) -> None:
        """Generate the tree; the vectors take count * dim * 4 bytes."""
        self._rng = rng = np.random.default_rng(seed)
        # A smaller tree is narrower at every rank.
        scale = math.log(count) / math.log(PUBLISHED_TAXA)
        widths = [max(1, min(count, round(width**scale))) for width in _WIDTHS] + [count]
        self.ancestors = _ancestors(rng, widths)
        vectors = np.repeat(np.float32(math.sqrt(_SHARES[0])) * _directions(rng, 1, dim), count, axis=0)
        for lineage, width, share in zip(self.ancestors, widths, _SHARES[1:], strict=True):
            vectors += np.float32(math.sqrt(share)) * _directions(rng, width, dim)[lineage]
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        self.vectors: Float32[np.ndarray, "taxa dim"] = vectors

    def names(self) -> Iterator[list]:
        """Yield each taxon's [seven ranks, common name]; a third of the common names are not empty."""
        for row in range(self.vectors.shape[0]):
            ranks = [_word(lineage[row]) + suffix for lineage, suffix in zip(self.ancestors, _SUFFIXES)]
            ranks[:-1] = [name.capitalize() for name in ranks[:-1]]
            yield [ranks, f"{_word(row)} {_word(row % 97)}" if row % 3 == 0 else ""]

    def write(self, folder: Path) -> None:
        """Write txt_emb_species.npy [dim, taxa] and txt_emb_species.json, the published files."""
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / "txt_emb_species.npy", np.ascontiguousarray(self.vectors.T))
        with open(folder / "txt_emb_species.json", "w", encoding="utf-8") as file:
            json.dump(list(self.names()), file)

    def images(self, count: int, *, cosine: float) -> Float32[np.ndarray, "images dim"]:
        """Draw unit vectors, each with this cosine to one random taxon, in otherwise random directions."""
        taxa = self.vectors[self._rng.integers(len(self.vectors), size=count)]
        noise = _directions(self._rng, *taxa.shape)
        noise -= (noise * taxa).sum(axis=1, keepdims=True) * taxa
        noise /= np.linalg.norm(noise, axis=1, keepdims=True)
        return (cosine * taxa + math.sqrt(1 - cosine**2) * noise).astype(np.float32)


def _ancestors(rng: np.random.Generator, widths: list[int]) -> list[Int[np.ndarray, " taxa"]]:
    """For each rank, the index of each taxon's lineage among those of the rank."""
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
    """Random vectors of length 1 within a few percent."""
    return rng.standard_normal((rows, dim), np.float32) / np.float32(math.sqrt(dim))


def _word(number: int) -> str:
    """Distinct pseudo-word of a number."""
    word = _SYLLABLES[number % 16]
    while number := number // 16:
        word += _SYLLABLES[number % 16]
    return word


def many_names(count: int) -> list[str]:
    """Return `count` distinct names of two or three words. Raises UserError for too many."""
    kinds = [*_LOOKS, *_HABITATS, *(" ".join(pair) for pair in itertools.product(_LOOKS, _HABITATS))]
    names = [f"{kind} {name}" for kind in kinds for name in (*FEW_NAMES, *_MORE)]
    if count > len(names):
        raise UserError(f"{count} labels are too many for the generated names; give at most {len(names)}")
    return names[:count]


def photographs_in(images: str) -> list[str]:
    """List the image files of a folder, a glob or another input. Raises UserError if there are none."""
    paths = [image.name for image in find_images([images]) if image.size is None]
    if not paths:
        raise UserError(f"{images} holds images only within tars, which pybioclip does not read; give files")
    return paths


def check_photographs(paths: Sequence[str]) -> None:
    """Raise UserError for an unreadable file, before anything is timed."""
    for path in paths:
        try:
            decode(Path(path).read_bytes())
        except (BadImage, OSError, ValueError) as error:
            raise UserError(f"{path} cannot be read as an image ({error}); remove it") from error


def make_photographs(folder: Path, count: int = 32, size: tuple[int, int] = (640, 480)) -> list[str]:
    """Write JPEGs of blurred noise with grain, and return their paths. size: width and height in pixels."""
    from PIL import Image

    rng = np.random.default_rng(0)
    folder.mkdir()
    for number in range(count):
        blots = Image.fromarray(rng.integers(0, 256, (12, 16, 3), np.uint8)).resize(
            size, Image.Resampling.BICUBIC
        )
        grain = rng.normal(0, 8, (*size[::-1], 3))
        Image.fromarray(np.clip(blots + grain, 0, 255).astype(np.uint8)).save(
            folder / f"{number:02}.jpg", quality=90
        )
    return [str(path) for path in sorted(folder.iterdir())]
