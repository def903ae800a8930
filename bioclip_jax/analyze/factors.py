"""A factor that varies within species (sex, life stage, health, cultivar): which images and values can be compared."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float32, Float64, Int, UInt16

from bioclip_jax.errors import UserError

if TYPE_CHECKING:
    from .embeddings import Embeddings

# Fewer images of a value than these say little of where its mean lies, over all species and in one.
FEWEST_OF_A_VALUE, FEWEST_IN_A_SPECIES = 10, 5
# Rows whose products are summed in float32, before the sum goes on in float64.
CHUNK = 8192
_MOST_NAMED = 8


@dataclass(frozen=True)
class Group:
    """Images whose levels are compared with each other: all species, or for a nested factor one.

    rows: of the embeddings. species and labels: of each row the number of its species (from 0, none missing)
    and of its level, the place in `levels`.
    """

    name: str
    rows: Int[np.ndarray, " n"]
    species: Int[np.ndarray, " n"]
    labels: Int[np.ndarray, " n"]
    levels: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.rows)

    def residuals(self, vectors: Float32[np.ndarray, "rows dim"]) -> Float32[np.ndarray, "n dim"]:
        """The rows' vectors less the mean of their species, over this group's rows."""
        found = vectors[self.rows]
        means = species_sums(found, self.species) / np.bincount(self.species)[:, None]
        means = means.astype(np.float32)
        for chunk in chunks(len(found)):
            found[chunk] -= means[self.species[chunk]]
        return found

    def shuffled(
        self, times: int, random: np.random.Generator, among: Int[np.ndarray, " n"] | None = None
    ) -> UInt16[np.ndarray, "times+1 n"]:
        """The labels, and then `times` times the labels shuffled among the images of each species.

        `among`: finer groups to shuffle within, a number each.
        """
        strata = self.species if among is None else among
        order = np.argsort(strata, kind="stable")
        strata, labels = strata[order], self.labels[order].astype(np.uint16)
        found = np.empty((times + 1, len(self)), np.uint16)
        found[0] = self.labels
        for number in range(1, times + 1):
            # A random fraction keeps each image among those of its stratum, whose number comes before the
            # point.
            found[number, order] = labels[np.argsort(strata + random.random(len(self)))]
        return found


@dataclass(frozen=True)
class Factor:
    """What can be compared of a factor. counts: images by value, of those compared. nested: values are a species' own
    (cultivars), so that each species is a group. left_out: images and species that are not compared, by
    cause.
    """

    name: str
    nested: bool
    groups: tuple[Group, ...]
    counts: dict[str, int]
    left_out: dict[str, Any]

    @property
    def species(self) -> int:
        return len(self.groups) if self.nested else int(self.groups[0].species.max()) + 1

    def __len__(self) -> int:
        return sum(map(len, self.groups))


def read_factor(embeddings: Embeddings, name: str, species_column: str | None = None) -> Factor:
    """The images of known species and value, where their species takes at least two values.

    A value such as "NA" or "unknown" is not known; "none", "+" and "-" are values. Left out are values of
    fewer than 10 images in such species. A factor of more than two values is nested where most images have
    one of a single species (cultivars): there, each species has its own values, of at least 5 images.

    Errors: UserError for an unknown column, unknown species, and where no two values can be compared.
    """
    species, values = embeddings.species(species_column), embeddings.values(name)
    if not (species != "").any():
        raise UserError(
            f"{embeddings.source} names no species; name the column that does with --species-column"
        )
    used = np.flatnonzero((species != "") & (values != ""))
    left_out = {"unknown": len(species) - len(used)}
    _, species_of = np.unique(species[used], return_inverse=True)
    levels, labels = np.unique(values[used], return_inverse=True)
    if len(levels) < 2:
        there = f"is {str(levels[0])!r} for all images that have it" if len(levels) else "is empty"
        raise UserError(
            f"the column {name!r} of {embeddings.source} {there}; give a factor that takes at least two "
            f"values"
        )
    cells, cell_of = np.unique(np.stack([species_of, labels]), axis=1, return_inverse=True)
    own = np.bincount(cells[1], minlength=len(levels)) == 1
    nested = len(levels) > 2 and own[labels].mean() > 0.5
    if nested:
        large = np.bincount(cell_of.ravel())[cell_of.ravel()] >= FEWEST_IN_A_SPECIES
        kept = large & _varies(species_of, labels, large)
    else:
        kept = _comparable(species_of, labels)
    left_by_value = np.bincount(labels[~kept], minlength=len(levels))
    gone = np.bincount(labels[kept], minlength=len(levels)) == 0
    left_out["rare_values"] = {str(levels[at]): int(left_by_value[at]) for at in np.flatnonzero(gone)}
    without = np.setdiff1d(species_of, species_of[kept])
    left_out["species_of_one_value"] = len(without)
    left_out["images_of_species_of_one_value"] = int((np.isin(species_of, without) & ~gone[labels]).sum())
    if not kept.any():
        raise _nothing_left(embeddings, name, nested, levels, labels)
    groups = (
        tuple(
            _group(species[used[rows[0]]], rows, used, species_of, labels, levels)
            for rows in _split(np.flatnonzero(kept), species_of)
        )
        if nested
        else (_group("", np.flatnonzero(kept), used, species_of, labels, levels),)
    )
    counts = {
        str(levels[at]): int(n) for at, n in enumerate(np.bincount(labels[kept], minlength=len(levels))) if n
    }
    return Factor(name, bool(nested), groups, counts, left_out)


def _varies(species: np.ndarray, labels: np.ndarray, among: np.ndarray) -> np.ndarray:
    """Of each row, whether its species takes several values among some rows."""
    pairs = np.unique(np.stack([species[among], labels[among]]), axis=1)
    return np.bincount(pairs[0], minlength=species.max() + 1)[species] > 1


def _comparable(species: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Rows of values that are common enough, in species that take several of those."""
    kept = np.ones(len(labels), bool)
    while True:
        # What one rule leaves out can make the other's counts too small.
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
    there, labels = np.unique(labels[rows], return_inverse=True)
    return Group(str(name), used[rows], species, labels, tuple(str(levels[at]) for at in there))


def _split(rows: np.ndarray, species: np.ndarray) -> list[np.ndarray]:
    rows = rows[np.argsort(species[rows], kind="stable")]
    return np.split(rows, np.flatnonzero(np.diff(species[rows])) + 1)


def _nothing_left(
    embeddings: Embeddings, name: str, nested: bool, levels: np.ndarray, labels: np.ndarray
) -> UserError:
    counts = np.bincount(labels)
    order = np.argsort(-counts, kind="stable")[:_MOST_NAMED]
    named = ", ".join(f"{levels[at]} {counts[at]:,}" for at in order) + (
        ", ..." if len(levels) > _MOST_NAMED else ""
    )
    fewest = f"{FEWEST_IN_A_SPECIES} images in the species" if nested else f"{FEWEST_OF_A_VALUE} images"
    return UserError(
        f"the column {name!r} of {embeddings.source} has no species to compare two values in (images by "
        f"value:"
        f" {named}); give a factor of which some species show two values, each of at least {fewest}"
    )


def chunks(n: int) -> Iterator[slice]:
    """The rows from 0 to n, some thousands at a time."""
    return (slice(start, min(start + CHUNK, n)) for start in range(0, n, CHUNK))


def species_sums(
    rows: Float32[np.ndarray, "m dim"],
    species: Int[np.ndarray, " n"],
    number: int | None = None,
    *,
    among: Int[np.ndarray, " n"] | None = None,
) -> Float64[np.ndarray, "species dim"]:
    """The sum of the rows of each species; `among`: the rows meant, all by default."""
    from scipy.sparse import csr_array

    number = int(species.max()) + 1 if number is None else number
    found = np.zeros((number, rows.shape[1]))
    for chunk in chunks(len(species)):
        here, places = np.unique(species[chunk], return_inverse=True)
        ones = np.ones(len(places), np.float32)
        picked = csr_array((ones, (places, np.arange(len(places)))), (len(here), len(places)))
        found[here] += picked @ rows[chunk if among is None else among[chunk]]
    return found


def level_sums(
    rows: Float32[np.ndarray, "n dim"], labels: UInt16[np.ndarray, "times n"], levels: int
) -> Float64[np.ndarray, "times levels dim"]:
    """The sum of the rows of each level, for each of several ways to label them."""
    times, dim = len(labels), rows.shape[1]
    found = np.zeros((times, levels, dim))
    total = np.zeros(dim)
    for chunk in chunks(len(rows)):
        here = rows[chunk]
        total += here.sum(axis=0, dtype=np.float64)
        for level in range(levels - 1):
            found[:, level] += (labels[:, chunk] == level).astype(np.float32) @ here
    # The levels share all rows out, so the last one's is what the others leave.
    found[:, -1] = total - found[:, :-1].sum(axis=1)
    return found
