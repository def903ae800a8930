"""Which of several copies of a picture is kept, and which training images show an evaluation image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int16, Int64, UInt8

from .hashes import MIN_QUALITY
from .neighbours import (
    DISTANCE,
    TooManyPairs,
    nearest_within,
    pairs_within,
)

KEPT = "kept"
EXACT = "exact_duplicate"
NEAR = "near_duplicate"
OBSERVATION = "observation_duplicate"

# Photographs of one scene, taken seconds apart, are this near; of 1,943,406 pairs of shop photographs that
# differ, the eight within it were such pairs, and none else.
OBSERVATION_DISTANCE = 64

# Pairs that are Python's at once.
_SLICE = 1 << 20

Hashes = UInt8[np.ndarray, "n 32"]


@dataclass(frozen=True)
class Decisions:
    """Of each of n samples: `decision` KEPT or why not, `instead` the sample kept in its place, their `distance`.

    instead and distance, in bits, are -1 where the sample is kept itself. An exact copy names its original,
    at 0 bits, or where that is removed too, what that names.
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
    """Which of n samples to keep, so that each of the others is near one that is kept; no two kept ones are near.

    contents: content hashes, or numbers, equal where the bytes are. hashes: PDQ, with its quality, -1 where
    there is none. priority: of copies the one with the highest is kept (say, its number of pixels), of equal
    ones the first.
    observations: numbers what was photographed together, negative for nothing known. A negative distance
    turns that comparison off.

    Samples are taken in the order of priority. One with the bytes of an earlier one shares its fate. Any
    other is removed if a kept one is within `observation_distance` in the same observation, or within
    `distance` anywhere; hashes below MIN_QUALITY are near none. So in a chain of neighbours the third stays
    if it is not near the first. A removed one names the nearest of all that are kept, one of its observation
    before others. The result does not depend on the machine.
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
    within_group, neighbour, bits = near.nearest(removed, np.flatnonzero(kept))

    decision = np.full(count, KEPT, object)
    instead, distances = np.full(count, -1), np.full(count, -1, np.int16)
    gone = comparable[removed]
    decision[gone] = np.where(within_group, OBSERVATION, NEAR)
    instead[gone], distances[gone] = comparable[neighbour], bits
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
    """Of each of n samples, the nearest of m evaluation images within `distance` bits, and its distance; -1 if none.

    evaluation: the PDQ hashes [m, 32], or [m, variants, 32] from pdq_variants, which finds copies that were
    mirrored or lightly cropped as well. Hashes below MIN_QUALITY match none.
    """
    queries = np.flatnonzero(np.asarray(quality) >= MIN_QUALITY)
    known = np.flatnonzero(np.asarray(evaluation_quality) >= MIN_QUALITY)
    variants = evaluation.shape[1] if evaluation.ndim == 3 else 1
    base = evaluation[known].reshape(-1, hashes.shape[1])
    place, bits = nearest_within(hashes[queries], base, distance)
    index, distances = np.full(len(hashes), -1), np.full(len(hashes), -1, np.int16)
    found = place >= 0
    index[queries[found]] = known[place[found] // variants]
    distances[queries] = bits
    return index, distances


class _Near:
    """Hashes in the order of priority, and which of them are too near each other to be kept both."""

    def __init__(self, hashes: Hashes, groups: np.ndarray, distance: int, group_distance: int):
        self._hashes, self._groups = hashes, groups
        self._distance, self._group_distance = distance, group_distance

    def first_come(self, items: Int64[np.ndarray, " items"]) -> Bool[np.ndarray, " items"]:
        """Which of the items are kept, when each is taken in turn that is near no kept one before it."""
        try:
            pairs = self._pairs(items, _most_pairs(len(items)))
        except TooManyPairs:
            # Many are near each other. Those that the first half rules out make no pairs any more.
            half = len(items) // 2
            kept = np.zeros(len(items), bool)
            kept[:half] = self.first_come(items[:half])
            _, neighbour, _ = self.nearest(items[half:], items[:half][kept[:half]])
            free = half + np.flatnonzero(neighbour < 0)
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
        """Of each item whether another of its group is near, and the nearest (in the group, or else anywhere)."""
        hashes, base = self._hashes[items], self._hashes[others]
        groups = (self._groups[items], self._groups[others])
        place, bits = nearest_within(hashes, base, self._group_distance, groups=groups)
        within_group = place >= 0
        rest = np.flatnonzero(~within_group)
        place[rest], bits[rest] = nearest_within(hashes[rest], base, self._distance)
        return within_group, np.where(place >= 0, others[place] if len(others) else -1, -1), bits


def _most_pairs(count: int) -> int:
    """How many pairs of so many items are listed; with more of them, it is less work to halve the items first."""
    return 4 * count + (1 << 16)
