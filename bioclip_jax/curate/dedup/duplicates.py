"""Decide which of several copies of an image to keep, and which training images show an evaluation image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int16, Int64, UInt8

from .hamming_search import DISTANCE, TooManyPairs, nearest_within, pairs_within
from .hashes import MIN_QUALITY

KEPT = "kept"
EXACT = "exact_duplicate"
NEAR = "near_duplicate"
OBSERVATION = "observation_duplicate"

# Photographs of one scene taken seconds apart are within this distance; among 1,943,406 pairs of different
# shop photographs, only eight such pairs were.
OBSERVATION_DISTANCE = 64

# Pairs converted to Python integers at a time.
_SLICE = 1 << 20

Hashes = UInt8[np.ndarray, "n 32"]


@dataclass(frozen=True)
class Decisions:
    """Decisions about n samples: KEPT or a cause, the sample kept instead, and the distance to it in bits.

    instead and distance are -1 for kept samples. An exact copy refers to its original, at 0 bits, or, if that
    is removed too, to the sample kept instead of it.
    """

    decision: np.ndarray
    instead: Int64[np.ndarray, " n"]
    distance: Int16[np.ndarray, " n"]


def decide_duplicates(
    contents: Sequence[str] | Int64[np.ndarray, " n"],
    hashes: Hashes,
    quality: Int16[np.ndarray, " n"],
    priority: Int64[np.ndarray, " n"],
    observations: Int64[np.ndarray, " n"] | None = None,
    *,
    distance: int = DISTANCE,
    observation_distance: int = OBSERVATION_DISTANCE,
) -> Decisions:
    """Choose samples to keep such that no two are near and every removed one is near a kept one.

    contents: content hashes or numbers, equal for equal bytes. hashes: PDQ. quality: of PDQ, -1 if missing.
    priority: the copy with the highest is kept (e.g. the number of pixels), ties go to the first.
    observations: group numbers, negative if unknown. A negative distance turns its comparison off.

    Greedy, in order of priority: exact copies share the decision of their first; any other sample is removed
    if a kept one is within `observation_distance` in its observation or within `distance` anywhere. Hashes
    below MIN_QUALITY have no neighbors. In a chain of neighbors, the third stays unless it is near the first.
    A removed sample refers to the nearest kept one, preferably of its observation. The result is
    deterministic.
    """
    count = len(contents)
    order = np.argsort(-np.asarray(priority, np.int64), kind="stable")
    _, first, content = np.unique(np.asarray(contents)[order], return_index=True, return_inverse=True)
    original = order[first[content]]

    comparable = order[(original == order) & (np.asarray(quality)[order] >= MIN_QUALITY)]
    groups = np.full(len(comparable), -1) if observations is None else np.asarray(observations)[comparable]
    near = _Near(hashes[comparable], groups, distance, observation_distance)

    kept = near.first_come(np.arange(len(comparable)))
    removed = np.flatnonzero(~kept)
    within_group, neighbor, bits = near.nearest(removed, np.flatnonzero(kept))

    decision = np.full(count, KEPT, object)
    instead, distances = np.full(count, -1), np.full(count, -1, np.int16)
    rows = comparable[removed]
    decision[rows] = np.where(within_group, OBSERVATION, NEAR)
    instead[rows], distances[rows] = comparable[neighbor], bits
    copies = original != order
    copy, source = order[copies], original[copies]
    decision[copy] = EXACT
    instead[copy] = np.where(instead[source] < 0, source, instead[source])
    distances[copy] = np.maximum(distances[source], 0)
    return Decisions(decision, instead, distances)


def decide_leakage(
    hashes: Hashes,
    quality: Int16[np.ndarray, " n"],
    evaluation: UInt8[np.ndarray, "m *variants 32"],
    evaluation_quality: Int16[np.ndarray, " m"],
    *,
    distance: int = DISTANCE,
) -> tuple[Int64[np.ndarray, " n"], Int16[np.ndarray, " n"]]:
    """For each of n samples, find the nearest of m evaluation images within `distance` bits.

    evaluation: PDQ hashes [m, 32], or [m, variants, 32] of pdq_variants to match mirrored and lightly cropped
    copies too. Hashes below MIN_QUALITY match none. Returns indices and distances, -1 without a match.
    """
    queries = np.flatnonzero(np.asarray(quality) >= MIN_QUALITY)
    known = np.flatnonzero(np.asarray(evaluation_quality) >= MIN_QUALITY)
    variants = evaluation.shape[1] if evaluation.ndim == 3 else 1
    base = evaluation[known].reshape(-1, hashes.shape[1])
    nearest, bits = nearest_within(hashes[queries], base, distance)
    index, distances = np.full(len(hashes), -1), np.full(len(hashes), -1, np.int16)
    matched = nearest >= 0
    index[queries[matched]] = known[nearest[matched] // variants]
    distances[queries] = bits
    return index, distances


class _Near:
    """Near relation over hashes in order of priority."""

    def __init__(self, hashes: Hashes, groups: np.ndarray, distance: int, group_distance: int):
        self._hashes, self._groups = hashes, groups
        self._distance, self._group_distance = distance, group_distance

    def first_come(self, items: Int64[np.ndarray, " items"]) -> Bool[np.ndarray, " items"]:
        """Mask of the kept items: greedily, each that is near no earlier kept one."""
        try:
            pairs = self._pairs(items, _max_pairs(len(items)))
        except TooManyPairs:
            # Dense clusters: deciding the first half removes items of the second, and with them their pairs.
            half = len(items) // 2
            kept = np.zeros(len(items), bool)
            kept[:half] = self.first_come(items[:half])
            _, neighbor, _ = self.nearest(items[half:], items[:half][kept[:half]])
            free = half + np.flatnonzero(neighbor < 0)
            kept[free] = self.first_come(items[free])
            return kept
        kept = np.ones(len(items), bool)
        for first in range(0, len(pairs), _SLICE):
            for i, j in pairs[first : first + _SLICE].tolist():
                if kept[i]:
                    kept[j] = False
        return kept

    def _pairs(self, items: np.ndarray, limit: int) -> Int64[np.ndarray, "pairs 2"]:
        hashes, groups = self._hashes[items], self._groups[items]
        anywhere = pairs_within(hashes, self._distance, limit=limit)
        in_group = pairs_within(hashes, self._group_distance, groups=groups, limit=limit)
        pairs = np.concatenate([anywhere, in_group])
        return pairs[np.argsort(pairs[:, 0], kind="stable")]

    def nearest(self, items: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """For each item, find the nearest of `others`, in its group if one is near there, or else anywhere.

        Returns the mask of those found in the group, the index of the nearest (-1 if none) and its distance.
        """
        hashes, base = self._hashes[items], self._hashes[others]
        groups = (self._groups[items], self._groups[others])
        nearest, bits = nearest_within(hashes, base, self._group_distance, groups=groups)
        within_group = nearest >= 0
        rest = np.flatnonzero(~within_group)
        nearest[rest], bits[rest] = nearest_within(hashes[rest], base, self._distance)
        return within_group, np.where(nearest >= 0, others[nearest] if len(others) else -1, -1), bits


def _max_pairs(count: int) -> int:
    """Maximum number of pairs to list for `count` items; beyond it, halving the items first is less work."""
    return 4 * count + (1 << 16)
