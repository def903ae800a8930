"""How the images are spread over the taxa: counts at a rank, and the long tail of the species."""

import heapq
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Int64

from bioclip_jax.text import RANKS

from .tally import Lineage, TaxonTally

FEW = (5, 10, 100)


def counts_at(taxa: Mapping[Lineage, TaxonTally], rank: str) -> Counter[Lineage]:
    """Images by the lineage down to `rank`, of those where that rank is known."""
    depth = RANKS.index(rank) + 1
    counts: Counter[Lineage] = Counter()
    for lineage, tally in taxa.items():
        if lineage[depth - 1]:
            counts[lineage[:depth]] += tally.images
    return counts


def most_and_rarest(
    counts: Mapping[Lineage, int], taxa: Mapping[Lineage, TaxonTally], number: int
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The taxa of one rank with the most and the fewest images, as {"name", "lineage", "images", "common_name"}.

    Of equals among the most, the first by name; among the rarest, chance decides, or they would all begin
    with an A.
    """
    most = heapq.nsmallest(number, counts, key=lambda lineage: (-counts[lineage], lineage))

    def by_chance(lineage: Lineage) -> tuple[int, int, Lineage]:
        tally = taxa.get(lineage)
        return counts[lineage], tally.priority if tally else 0, lineage

    rarest = heapq.nsmallest(number, counts, key=by_chance)
    return [_row(lineage, counts, taxa) for lineage in most], [
        _row(lineage, counts, taxa) for lineage in rarest
    ]


def display_name(lineage: Lineage) -> str:
    """The name of the lowest rank in a lineage that may end anywhere: "Malus domestica" for a species."""
    name = next((value for value in reversed(lineage) if value), "")
    if len(lineage) == len(RANKS) and lineage[-1]:
        return f"{lineage[-2]} {lineage[-1]}".strip()
    return name


def _row(
    lineage: Lineage, counts: Mapping[Lineage, int], taxa: Mapping[Lineage, TaxonTally]
) -> dict[str, Any]:
    tally = taxa.get(lineage)
    return {
        "name": display_name(lineage),
        "lineage": list(lineage),
        "images": counts[lineage],
        "common_name": tally.common_name if tally else "",
    }


def species_abundance(taxa: Mapping[Lineage, TaxonTally]) -> Int64[np.ndarray, " species"]:
    """Images of each species, most first."""
    counts = np.fromiter((tally.images for lineage, tally in taxa.items() if lineage[-1]), np.int64)
    return np.sort(counts)[::-1]


def long_tail(abundance: Int64[np.ndarray, " species"]) -> dict[str, Any]:
    """The shape of a rank-abundance curve.

    Returns {"species", "images", "histogram": [{"from", "to", "species", "images"}] by powers of two,
    "fewer_than": the share of the species with fewer images than FEW, "gini": 0 for an even spread, towards 1
    for one species with everything (None without species), "half_of_images_in": how many of the commonest
    species hold half of the images, "median_images"}.
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
    """Gini's coefficient: half the mean absolute difference of two of the counts, over their mean."""
    ascending = np.sort(counts).astype(np.float64)
    n = len(ascending)
    return float(2 * (np.arange(1, n + 1) * ascending).sum() / (n * ascending.sum()) - (n + 1) / n)


def quantiles(counts: Mapping[int, int]) -> dict[str, float] | None:
    """{"min", "p5", "p25", "median", "p75", "p95", "max", "mean"} of values that occur so often; None without any."""
    if not counts:
        return None
    values = np.array(sorted(counts), np.int64)
    often = np.array([counts[value] for value in values.tolist()], np.int64)
    upto = np.cumsum(often)
    shares = {"min": 0, "p5": 0.05, "p25": 0.25, "median": 0.5, "p75": 0.75, "p95": 0.95, "max": 1}
    # The smallest value that at least that share of all does not exceed.
    places = {
        name: np.searchsorted(upto, max(1, np.ceil(share * upto[-1]))) for name, share in shares.items()
    }
    result = {name: int(values[place]) for name, place in places.items()}
    return result | {"mean": float((values * often).sum() / upto[-1])}
