"""Distribution of images over taxa: counts at a rank, and the long tail of species."""

import heapq
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Int64

from bioclip_jax.text import RANKS

from .counts import Lineage, TaxonCounts

FEW = (5, 10, 100)


def counts_at(taxa: Mapping[Lineage, TaxonCounts], rank: str) -> Counter[Lineage]:
    """Count images by lineage down to `rank`, skipping taxa without that rank."""
    depth = RANKS.index(rank) + 1
    counts: Counter[Lineage] = Counter()
    for lineage, taxon in taxa.items():
        if lineage[depth - 1]:
            counts[lineage[:depth]] += taxon.images
    return counts


def most_and_rarest(
    counts: Mapping[Lineage, int], taxa: Mapping[Lineage, TaxonCounts], number: int
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the `number` taxa of one rank with the most and the fewest images, with their names.

    Ties are broken by name among the most frequent, and at random among the rarest, which would otherwise all
    begin with an A.
    """
    most = heapq.nsmallest(number, counts, key=lambda lineage: (-counts[lineage], lineage))

    def random_ties(lineage: Lineage) -> tuple[int, int, Lineage]:
        taxon = taxa.get(lineage)
        return counts[lineage], taxon.priority if taxon else 0, lineage

    rarest = heapq.nsmallest(number, counts, key=random_ties)
    return [_row(lineage, counts, taxa) for lineage in most], [
        _row(lineage, counts, taxa) for lineage in rarest
    ]


def display_name(lineage: Lineage) -> str:
    """Return the name at the lowest rank of a lineage that may end at any rank, a binomial for a species."""
    name = next((value for value in reversed(lineage) if value), "")
    if len(lineage) == len(RANKS) and lineage[-1]:
        return f"{lineage[-2]} {lineage[-1]}".strip()
    return name


def _row(
    lineage: Lineage, counts: Mapping[Lineage, int], taxa: Mapping[Lineage, TaxonCounts]
) -> dict[str, Any]:
    taxon = taxa.get(lineage)
    return {
        "name": display_name(lineage),
        "lineage": list(lineage),
        "images": counts[lineage],
        "common_name": taxon.common_name if taxon else "",
    }


def species_abundance(taxa: Mapping[Lineage, TaxonCounts]) -> Int64[np.ndarray, " species"]:
    """Return the number of images of each species, in descending order."""
    counts = np.fromiter((taxon.images for lineage, taxon in taxa.items() if lineage[-1]), np.int64)
    return np.sort(counts)[::-1]


def long_tail(abundance: Int64[np.ndarray, " species"]) -> dict[str, Any]:
    """Summarize a rank-abundance curve.

    Returns species, images, histogram ([{from, to, species, images}] by powers of two), fewer_than (fraction
    of species with fewer images than each of FEW), gini (None without species), half_of_images_in (number of
    the most frequent species that hold half of the images) and median_images.
    """
    total, number = int(abundance.sum()), len(abundance)
    histogram = []
    power = 1
    while number and power <= abundance[0]:
        inside = abundance[(abundance >= power) & (abundance < 2 * power)]
        histogram.append(
            {"from": power, "to": 2 * power - 1, "species": len(inside), "images": int(inside.sum())}
        )
        power *= 2
    return {
        "species": number,
        "images": total,
        "histogram": histogram,
        "fewer_than": {str(few): float((abundance < few).mean()) if number else None for few in FEW},
        "gini": gini(abundance) if number else None,
        "half_of_images_in": int(np.searchsorted(np.cumsum(abundance), total / 2) + 1) if number else 0,
        "median_images": float(np.median(abundance)) if number else None,
    }


def gini(counts: Int64[np.ndarray, " n"]) -> float:
    """Gini coefficient: half the mean absolute difference over the mean; 0 for equal counts."""
    ascending = np.sort(counts).astype(np.float64)
    n = len(ascending)
    return float(2 * (np.arange(1, n + 1) * ascending).sum() / (n * ascending.sum()) - (n + 1) / n)


def quantiles(counts: Mapping[int, int]) -> dict[str, float] | None:
    """Return min, p5, p25, median, p75, p95, max and mean of values with counts; None if empty."""
    if not counts:
        return None
    values = np.array(sorted(counts), np.int64)
    weights = np.array([counts[value] for value in values.tolist()], np.int64)
    cumulative = np.cumsum(weights)
    shares = {"min": 0, "p5": 0.05, "p25": 0.25, "median": 0.5, "p75": 0.75, "p95": 0.95, "max": 1}
    total = cumulative[-1]
    # Inverted CDF: the smallest value with at least that share of all at or below it.
    indices = {
        name: np.searchsorted(cumulative, max(1, np.ceil(share * total))) for name, share in shares.items()
    }
    result = {name: int(values[index]) for name, index in indices.items()}
    return result | {"mean": float((values * weights).sum() / total)}
