"""How far the embedding's tree of species is the taxonomy's: distances, clusters, nearest neighbors, against chance."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from bioclip_jax.text import RANKS, Taxon

from .dendrogram import average_linkage, cut

# The pairs of so many species fit in memory, and their permutations in a minute.
MOST_SPECIES = 3_000
FEWEST_SPECIES = 4
_SHUFFLES = 100
_TIE = 1e-6
# Below the species itself, a pair's lowest common ancestor is at one of these.
_ANCESTORS = RANKS[:-1]
# Stands before a taxon that is inferred, not known.
_UNKNOWN = "?"


def tree_agreement(
    means: Float[np.ndarray, "species dim"], taxa: Sequence[Taxon], *, permutations: int = 999, seed: int = 0
) -> dict[str, Any] | None:
    """Compare species means with the ranks of `taxa`, one a species; of more than 3,000, that many by `seed`.

    Returns: "species" that were compared; "cophenetic", Pearson over all pairs of the cosine distance of
      their means with their distance in the taxonomy (the ranks from a species up to the lowest common
      ancestor: 1 within a genus, 7 between kingdoms), "p" of it by permutation of the species (Mantel 1967,
      Cancer Research 27:209), one-sided; "dendrogram_fit", cophenetic correlation of the UPGMA tree of these
      distances (Sokal and Rohlf 1962, Taxon 11:33); "ranks", as rank_agreement. None where the taxonomy tells
      no two pairs of species apart.
    """
    from scipy.cluster.hierarchy import cophenet

    if len(means) > MOST_SPECIES:
        rows = np.sort(np.random.default_rng(seed).choice(len(means), MOST_SPECIES, replace=False))
        means, taxa = means[rows], [taxa[row] for row in rows]
    if len(means) < FEWEST_SPECIES:
        return None
    lineages = taxonomy(taxa)
    measured = _mantel(_unit(means), lineages, permutations, seed)
    if measured is None:
        return None
    cophenetic, p = measured
    distances = cosine_distances(means)
    linkage = average_linkage(distances)
    return {
        "species": len(means),
        "cophenetic": cophenetic,
        "p": p,
        "dendrogram_fit": float(np.corrcoef(cophenet(linkage), distances)[0, 1]),
        "ranks": rank_agreement(means, taxa, linkage, seed=seed),
    }


def rank_agreement(
    means: Float[np.ndarray, "species dim"],
    taxa: Sequence[Taxon],
    linkage: Float[np.ndarray, "merges 4"],
    *,
    seed: int = 0,
) -> dict[str, dict[str, Any]]:
    """For each rank with two taxa or more of two species or more, over the `species` known at that rank.

    purity: the dendrogram is cut into as many clusters as there are `taxa`; the share of species that are of
    their cluster's commonest taxon. purity_null: its mean where the names are shuffled; more clusters are
    purer by chance.
    adjusted_rand: Hubert and Arabie 1985, 0 by chance. nearest_neighbor: among species that are not alone in
    their taxon, the share whose nearest species is of it, with what chance would reach as
    nearest_neighbor_null.
    """
    from sklearn.metrics import adjusted_rand_score

    nearest = _nearest(_unit(means))
    result = {}
    for rank in RANKS[:-1]:
        # A genus may have the name of one in another kingdom.
        names = [(taxon.kingdom, taxon.rank(rank)) for taxon in taxa]
        known = np.array([bool(name) for _, name in names])
        numbers = {name: number for number, name in enumerate(dict.fromkeys(n for n in names if n[1]))}
        labels = np.array([numbers.get(name, -1) for name in names])
        sizes = np.bincount(labels[known], minlength=1)
        if (sizes >= 2).sum() < 2:
            continue
        clusters = np.unique(cut(linkage, len(sizes))[known], return_inverse=True)[1]
        species = labels[known]
        random = np.random.default_rng(seed)
        shuffled = [purity(clusters, random.permutation(species)) for _ in range(_SHUFFLES)]
        company = known & (np.where(known, sizes[labels], 0) >= 2)
        result[rank] = {
            "species": int(known.sum()),
            "taxa": len(sizes),
            "purity": purity(clusters, species),
            "purity_null": float(np.mean(shuffled)),
            "adjusted_rand": float(adjusted_rand_score(species, clusters)),
            "nearest_neighbor": float(np.mean(labels[nearest[company]] == labels[company])),
            "nearest_neighbor_null": float(np.mean((sizes[labels[company]] - 1) / (len(means) - 1))),
        }
    return result


def purity(clusters: Int[np.ndarray, " n"], labels: Int[np.ndarray, " n"]) -> float:
    """The share whose label is the commonest of their cluster; both count from 0."""
    width = labels.max() + 1
    counts = np.bincount(clusters * width + labels, minlength=(clusters.max() + 1) * width)
    return float(counts.reshape(-1, width).max(axis=1).sum() / len(labels))


def cosine_distances(means: Float[np.ndarray, "species dim"]) -> Float[np.ndarray, " pairs"]:
    """1 - cosine of all pairs, in SciPy's condensed order."""
    unit = _unit(means)
    rows, columns = np.triu_indices(len(means), 1)
    return np.maximum(1.0 - (unit @ unit.T)[rows, columns], 0.0)


def taxonomy(taxa: Sequence[Taxon]) -> Int[np.ndarray, "species ranks"]:
    """The number of each species' taxon from kingdom to genus: equal numbers at a rank mean equal ones above it.

    An unknown taxon is that of other species of the same lower taxon, where they have one, or else it is
    their own: two species of unknown families may be of the same family only within a genus.
    """
    ranks = [list(taxon.lineage()) for taxon in taxa]
    for number, names in enumerate(ranks):
        names[-1] = f"{names[-1]} {number}"
    for rank in reversed(range(len(_ANCESTORS))):
        above: dict[str, Counter[str]] = defaultdict(Counter)
        for names in ranks:
            if names[rank]:
                above[names[rank + 1]][names[rank]] += 1
        for names in ranks:
            if not names[rank]:
                found = above.get(names[rank + 1])
                names[rank] = found.most_common(1)[0][0] if found else _UNKNOWN + names[rank + 1]
    result = np.empty((len(taxa), len(_ANCESTORS)), np.int64)
    for rank in range(len(_ANCESTORS)):
        prefixes = [tuple(names[: rank + 1]) for names in ranks]
        numbers = {prefix: number for number, prefix in enumerate(dict.fromkeys(prefixes))}
        result[:, rank] = [numbers[prefix] for prefix in prefixes]
    return result


def _mantel(
    unit: Float[np.ndarray, "species dim"],
    lineages: Int[np.ndarray, "species ranks"],
    permutations: int,
    seed: int,
) -> tuple[float, float] | None:
    """Pearson over pairs of the cosine distance with the taxonomy's, and its p; None if either is constant.

    The taxonomy's distance is 7 minus the number of ranks that two species share. So what a permutation
    changes is, over the taxa of every rank, the sum of the cosines within them: half of |sum of the unit
    vectors|^2 - members. No matrix of pairs is permuted.
    """
    from scipy.sparse import csr_array

    number = len(unit)
    pairs = number * (number - 1) / 2
    total = unit.sum(axis=0)
    cosine_sum = (total @ total - number) / 2
    cosine_squares = (np.sum((unit.T @ unit) ** 2) - number) / 2
    variance = cosine_squares / pairs - (cosine_sum / pairs) ** 2

    # In this order every taxon is a run of species, and every run of a rank one of runs of the next.
    order = np.lexsort(lineages.T[::-1])
    starts = [np.flatnonzero(np.diff(lineages[order, rank], prepend=-1)) for rank in range(lineages.shape[1])]
    sizes = [np.diff(start, append=number) for start in starts]
    within = [np.sum(size * (size - 1.0)) / 2 for size in sizes]
    shared_sum = np.sum(within)
    # A pair that shares k ranks is in the runs of the first k: k^2 = sum of (2 rank - 1) up to k.
    shared_squares = np.sum([(2 * rank + 1) * count for rank, count in enumerate(within)])
    shared_variance = shared_squares / pairs - (shared_sum / pairs) ** 2
    if variance <= 1e-12 or shared_variance <= 1e-12:
        return None

    # Single precision halves what must be moved, and is far finer than the ties that are looked for.
    points = unit if number <= 1_000 else unit.astype(np.float32)
    ones = np.ones(number, points.dtype)
    bounds = [np.append(start, number) for start in starts]
    coarser = [
        csr_array((ones[: len(starts[rank + 1])], np.arange(len(starts[rank + 1])), finer))
        for rank in range(len(starts) - 1)
        for finer in [np.searchsorted(bounds[rank + 1], bounds[rank])]
    ]

    def correlation(rows: Int[np.ndarray, " species"]) -> float:
        # A product with a sparse matrix of ones sums runs of rows without a copy of them.
        sums = csr_array((ones, rows, bounds[-1]), (len(starts[-1]), number)) @ points
        products = float(np.vdot(sums, sums))
        for merge in reversed(coarser):
            sums = merge @ sums
            products += float(np.vdot(sums, sums))
        products = (products - number * len(starts)) / 2
        # Distances fall as cosines and shared ranks grow: the two signs cancel.
        return float(
            (products / pairs - cosine_sum * shared_sum / pairs**2) / np.sqrt(variance * shared_variance)
        )

    observed = correlation(order)
    random = np.random.default_rng(seed)
    reached = sum(correlation(random.permutation(number)) >= observed - _TIE for _ in range(permutations))
    return observed, (1 + reached) / (1 + permutations)


def _unit(means: Float[np.ndarray, "species dim"]) -> Float[np.ndarray, "species dim"]:
    means = np.asarray(means, np.float64)
    length = np.linalg.norm(means, axis=1, keepdims=True)
    return means / np.where(length > 0, length, 1)


def _nearest(unit: Float[np.ndarray, "species dim"]) -> Int[np.ndarray, " species"]:
    cosines = unit @ unit.T
    np.fill_diagonal(cosines, -np.inf)
    return cosines.argmax(axis=1)
