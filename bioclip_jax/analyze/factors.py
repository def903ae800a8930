"""Selection of comparable images and values of a factor (sex, health, cultivar) within species."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float32, Float64, Int, UInt16

from bioclip_jax.errors import UserError

if TYPE_CHECKING:
    from .embeddings import Embeddings

# Fewer images do not determine the mean of a value, over all species and within one.
FEWEST_OF_A_VALUE, FEWEST_IN_A_SPECIES = 10, 5
# Rows summed in float32; the chunks are summed in float64.
CHUNK = 8192
_MOST_NAMED = 8


@dataclass(frozen=True)
class Group:
    """Images whose levels are compared with each other: of all species, or of one if the factor is nested.

    rows: of the embeddings. species: contiguous codes from 0. labels: indices in `levels`.
    """

    name: str
    rows: Int[np.ndarray, " n"]
    species: Int[np.ndarray, " n"]
    labels: Int[np.ndarray, " n"]
    levels: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.rows)

    def residuals(self, vectors: Float32[np.ndarray, "rows dim"]) -> Float32[np.ndarray, "n dim"]:
        """Return the rows' vectors minus the mean of their species within the group."""
        residuals = vectors[self.rows]
        means = species_sums(residuals, self.species) / np.bincount(self.species)[:, None]
        means = means.astype(np.float32)
        for chunk in chunks(len(residuals)):
            residuals[chunk] -= means[self.species[chunk]]
        return residuals

    def shuffled(
        self, times: int, random: np.random.Generator, among: Int[np.ndarray, " n"] | None = None
    ) -> UInt16[np.ndarray, "times+1 n"]:
        """Return the labels, followed by `times` shuffles of them within each species.

        among: codes of finer groups to shuffle within.
        """
        strata = self.species if among is None else among
        order = np.argsort(strata, kind="stable")
        strata, labels = strata[order], self.labels[order].astype(np.uint16)
        shuffles = np.empty((times + 1, len(self)), np.uint16)
        shuffles[0] = self.labels
        for number in range(1, times + 1):
            # Adding a fraction to the integer code shuffles within each stratum.
            shuffles[number, order] = labels[np.argsort(strata + random.random(len(self)))]
        return shuffles


@dataclass(frozen=True)
class Factor:
    """The comparable images of a factor.

    nested: values belong to single species (cultivars), so that each species is a group. counts: compared
    images by value. left_out: images and species that are not compared, by reason.
    """

    name: str
    nested: bool
    groups: tuple[Group, ...]
    counts: dict[str, int]
    left_out: dict[str, Any]

    @property
    def species(self) -> int:
        """Number of species compared."""
        return len(self.groups) if self.nested else int(self.groups[0].species.max()) + 1

    def __len__(self) -> int:
        return sum(map(len, self.groups))


def read_factor(embeddings: Embeddings, name: str, species_column: str | None = None) -> Factor:
    """Select the images of known species and value, of species with at least two values.

    "NA", "unknown" and the like are missing values; "none", "+" and "-" are values. Values with fewer than 10
    images in such species are dropped. A factor of more than two values is nested if most images have a value
    that occurs in a single species (cultivars): then each species has its own values, of at least 5 images.

    Raises UserError for an unknown column, unknown species, and if no two values can be compared.
    """
    species, values = embeddings.species(species_column), embeddings.values(name)
    if not (species != "").any():
        raise UserError(
            f"{embeddings.source} names no species; name the column that does with --species-column"
        )
    used = np.flatnonzero((species != "") & (values != ""))
    left_out = {"unknown": len(species) - len(used)}
    _, codes = np.unique(species[used], return_inverse=True)
    levels, labels = np.unique(values[used], return_inverse=True)
    if len(levels) < 2:
        content = f"is {str(levels[0])!r} for all images that have it" if len(levels) else "is empty"
        raise UserError(
            f"the column {name!r} of {embeddings.source} {content}; give a factor of at least two values"
        )
    cells, cell = np.unique(np.stack([codes, labels]), axis=1, return_inverse=True)
    cell = cell.ravel()
    own = np.bincount(cells[1], minlength=len(levels)) == 1
    nested = len(levels) > 2 and own[labels].mean() > 0.5
    if nested:
        large = np.bincount(cell)[cell] >= FEWEST_IN_A_SPECIES
        kept = large & _varies(codes, labels, large)
    else:
        kept = _comparable(codes, labels)
    dropped = np.bincount(labels[~kept], minlength=len(levels))
    gone = np.bincount(labels[kept], minlength=len(levels)) == 0
    left_out["rare_values"] = {str(levels[level]): int(dropped[level]) for level in np.flatnonzero(gone)}
    without = np.setdiff1d(codes, codes[kept])
    left_out["species_of_one_value"] = len(without)
    left_out["images_of_species_of_one_value"] = int((np.isin(codes, without) & ~gone[labels]).sum())
    if not kept.any():
        raise _nothing_left(embeddings, name, nested, levels, labels)
    groups = (
        tuple(
            _group(species[used[rows[0]]], rows, used, codes, labels, levels)
            for rows in _split(np.flatnonzero(kept), codes)
        )
        if nested
        else (_group("", np.flatnonzero(kept), used, codes, labels, levels),)
    )
    counts = {
        str(level): int(count)
        for level, count in zip(levels, np.bincount(labels[kept], minlength=len(levels)))
        if count
    }
    return Factor(name, bool(nested), groups, counts, left_out)


def _varies(species: np.ndarray, labels: np.ndarray, among: np.ndarray) -> np.ndarray:
    """Return a mask of the rows whose species has several values in the rows `among`."""
    pairs = np.unique(np.stack([species[among], labels[among]]), axis=1)
    return np.bincount(pairs[0], minlength=species.max() + 1)[species] > 1


def _comparable(species: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return a mask of the rows of frequent values, in species with several of these."""
    kept = np.ones(len(labels), bool)
    while True:
        # Each rule lowers the counts of the other, so they are repeated until nothing changes.
        common = np.bincount(labels[kept], minlength=labels.max() + 1)[labels] >= FEWEST_OF_A_VALUE
        fewer = kept & common
        fewer &= _varies(species, labels, fewer)
        if (fewer == kept).all():
            return kept
        kept = fewer


def _group(
    name: str, rows: np.ndarray, used: np.ndarray, species: np.ndarray, labels: np.ndarray, levels
) -> Group:
    _, species = np.unique(species[rows], return_inverse=True)
    present, labels = np.unique(labels[rows], return_inverse=True)
    return Group(str(name), used[rows], species, labels, tuple(str(levels[level]) for level in present))


def _split(rows: np.ndarray, species: np.ndarray) -> list[np.ndarray]:
    rows = rows[np.argsort(species[rows], kind="stable")]
    return np.split(rows, np.flatnonzero(np.diff(species[rows])) + 1)


def _nothing_left(
    embeddings: Embeddings, name: str, nested: bool, levels: np.ndarray, labels: np.ndarray
) -> UserError:
    counts = np.bincount(labels)
    order = np.argsort(-counts, kind="stable")[:_MOST_NAMED]
    named = ", ".join(f"{levels[level]} {counts[level]:,}" for level in order)
    named += ", ..." if len(levels) > _MOST_NAMED else ""
    fewest = f"{FEWEST_IN_A_SPECIES} images in the species" if nested else f"{FEWEST_OF_A_VALUE} images"
    return UserError(
        f"the column {name!r} of {embeddings.source} has no species to compare two values in (images by "
        f"value: {named}); give a factor with two values in some species, each of at least {fewest}"
    )


def chunks(n: int) -> Iterator[slice]:
    """Return slices of CHUNK rows from 0 to n."""
    return (slice(start, min(start + CHUNK, n)) for start in range(0, n, CHUNK))


def species_sums(
    rows: Float32[np.ndarray, "m dim"],
    species: Int[np.ndarray, " n"],
    number: int | None = None,
    *,
    among: Int[np.ndarray, " n"] | None = None,
) -> Float64[np.ndarray, "species dim"]:
    """Sum the rows of each species. among: indices of the rows that `species` describes, by default all."""
    from scipy.sparse import csr_array

    number = int(species.max()) + 1 if number is None else number
    sums = np.zeros((number, rows.shape[1]))
    for chunk in chunks(len(species)):
        present, index = np.unique(species[chunk], return_inverse=True)
        ones = np.ones(len(index), np.float32)
        one_hot = csr_array((ones, (index, np.arange(len(index)))), (len(present), len(index)))
        sums[present] += one_hot @ rows[chunk if among is None else among[chunk]]
    return sums


def level_sums(
    rows: Float32[np.ndarray, "n dim"], labels: UInt16[np.ndarray, "times n"], levels: int
) -> Float64[np.ndarray, "times levels dim"]:
    """Sum the rows of each level, for each of several labelings."""
    times, dim = len(labels), rows.shape[1]
    sums = np.zeros((times, levels, dim))
    total = np.zeros(dim)
    for chunk in chunks(len(rows)):
        total += rows[chunk].sum(axis=0, dtype=np.float64)
        for level in range(levels - 1):
            sums[:, level] += (labels[:, chunk] == level).astype(np.float32) @ rows[chunk]
    # Every row has a level, so the last sum follows from the others.
    sums[:, -1] = total - sums[:, :-1].sum(axis=1)
    return sums
