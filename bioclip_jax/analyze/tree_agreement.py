"""Agreement of the embedding with the taxonomy: distances, clusters, nearest neighbors, and chance."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from bioclip_jax.text import RANKS, Taxon

from .dendrogram import average_linkage, cut

# Limits memory for pairs of species, and the permutations to a minute.
MOST_SPECIES = 3_000
FEWEST_SPECIES = 4
_SHUFFLES = 100
_TIE = 1e-6
# Ranks at which two species can have their lowest common ancestor.
_ANCESTORS = RANKS[:-1]
# Prefix of an inferred taxon.
_UNKNOWN = "?"


def tree_agreement(
    means: Float[np.ndarray, "species dim"], taxa: Sequence[Taxon], *, permutations: int = 999, seed: int = 0
) -> dict[str, Any] | None:
    """Compare species means with the taxonomy; of more than 3,000 species, a random sample of that size.

    Returns "species", the number compared; "cophenetic", Pearson over all pairs of the cosine distance of
      their means with their taxonomic distance (ranks from the species up to the lowest common ancestor: 1
      within a genus, 7 between kingdoms); "p" of it, one-sided, by permutation of the species (Mantel 1967,
      Cancer Research 27:209); "dendrogram_fit", cophenetic correlation of the UPGMA tree of these distances
      (Sokal and Rohlf 1962, Taxon 11:33); "ranks", as rank_agreement. None if all taxonomic distances are
      equal.
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
    """Measure agreement at each rank with at least two taxa of at least two species.

    Returns by rank: species, taxa: the numbers known at that rank. purity: share of species that belong to
      the most frequent taxon of their cluster, with the dendrogram cut into as many clusters as there are
      taxa.
      purity_null: its mean with names shuffled; more clusters are purer by chance. adjusted_rand: Hubert and
      Arabie 1985, 0 by chance. nearest_neighbor: share whose nearest species is of the same taxon, among
      species that share their taxon with another; nearest_neighbor_null: its expectation by chance.
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
        related = known & (np.where(known, sizes[labels], 0) >= 2)
        result[rank] = {
            "species": int(known.sum()),
            "taxa": len(sizes),
            "purity": purity(clusters, species),
            "purity_null": float(np.mean(shuffled)),
            "adjusted_rand": float(adjusted_rand_score(species, clusters)),
            "nearest_neighbor": float(np.mean(labels[nearest[related]] == labels[related])),
            "nearest_neighbor_null": float(np.mean((sizes[labels[related]] - 1) / (len(means) - 1))),
        }
    return result


def purity(clusters: Int[np.ndarray, " n"], labels: Int[np.ndarray, " n"]) -> float:
    """Return the share of points with the most frequent label of their cluster; both are codes from 0."""
    width = labels.max() + 1
    counts = np.bincount(clusters * width + labels, minlength=(clusters.max() + 1) * width)
    return float(counts.reshape(-1, width).max(axis=1).sum() / len(labels))


def cosine_distances(means: Float[np.ndarray, "species dim"]) -> Float[np.ndarray, " pairs"]:
    """Return 1 - cosine of all pairs, in SciPy's condensed order."""
    unit = _unit(means)
    rows, columns = np.triu_indices(len(means), 1)
    return np.maximum(1.0 - (unit @ unit.T)[rows, columns], 0.0)


def taxonomy(taxa: Sequence[Taxon]) -> Int[np.ndarray, "species ranks"]:
    """Encode each species' taxa from kingdom to genus; equal codes at a rank imply equal codes above it.

    An unknown taxon is inferred from other species of the same lower taxon, or else distinct: two species of
    unknown family can be of the same family only within a genus.
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
                known = above.get(names[rank + 1])
                names[rank] = known.most_common(1)[0][0] if known else _UNKNOWN + names[rank + 1]
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
    """Return the Pearson correlation of cosine and taxonomic distances and its p; None if either is constant.

    The taxonomic distance is 7 minus the number of ranks that two species share. A permutation therefore
    changes only the sum of cosines within the taxa of every rank, (|sum of unit vectors|^2 - members) / 2,
    and no matrix of pairs has to be permuted.
    """
    from scipy.sparse import csr_array

    number = len(unit)
    pairs = number * (number - 1) / 2
    total = unit.sum(axis=0)
    cosine_sum = (total @ total - number) / 2
    cosine_squares = (np.sum((unit.T @ unit) ** 2) - number) / 2
    variance = cosine_squares / pairs - (cosine_sum / pairs) ** 2

    # In this order every taxon is a run of species, and consists of runs of the next rank.
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

    # Single precision halves the memory traffic and is far more precise than the tolerance for ties.
    points = unit if number <= 1_000 else unit.astype(np.float32)
    ones = np.ones(number, points.dtype)
    bounds = [np.append(start, number) for start in starts]
    coarser = [
        csr_array((ones[: len(starts[rank + 1])], np.arange(len(starts[rank + 1])), finer))
        for rank in range(len(starts) - 1)
        for finer in [np.searchsorted(bounds[rank + 1], bounds[rank])]
    ]

    def correlation(rows: Int[np.ndarray, " species"]) -> float:
        # A product with a sparse matrix of ones sums runs of rows without copying them.
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
