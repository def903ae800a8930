"""The order of several sources woven into one, each with its share of the positions."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int64

from .order import Order

# Positions after which the pattern of sources repeats; shares are rounded to one in so many.
PATTERN = 4096


class Mixture:
    """Orders of several sources, woven so that any stretch of positions holds each by its share.

    The position within a source counts how often it stood before, so each goes through its own epochs, and an
    interrupted run goes on exactly: nothing but (seed, position) decides.
    """

    def __init__(self, orders: Sequence[Order], firsts: Sequence[int], shares: Sequence[float]):
        """firsts: of each source, its first sample in a JoinedSource. shares: of each, in any unit."""
        self._orders, self._firsts = list(orders), list(firsts)
        self._counts = pattern_counts(shares)
        # Each source's places lie evenly, half a step from the pattern's ends; ties go to the first source.
        times = np.concatenate([(np.arange(count) + 0.5) / count for count in self._counts])
        owners = np.repeat(np.arange(len(self._counts)), self._counts)
        self._pattern = owners[np.argsort(times, kind="stable")]
        self._ranks = np.zeros(PATTERN, np.int64)
        for number, count in enumerate(self._counts):
            self._ranks[self._pattern == number] = np.arange(count)

    def index(self, position: int) -> int:
        """The number in the JoinedSource of the sample at a position."""
        number, place = self._place(position)
        return self._firsts[number] + self._orders[number].index(place)

    def substitute(self, position: int, attempt: int) -> int:
        """A sample of the same source."""
        number, place = self._place(position)
        return self._firsts[number] + self._orders[number].substitute(place, attempt)

    def _place(self, position: int) -> tuple[int, int]:
        """The source of a position, and how many positions before it were that source's."""
        block, slot = divmod(position, PATTERN)
        number = int(self._pattern[slot])
        return number, block * int(self._counts[number]) + int(self._ranks[slot])


def pattern_counts(shares: Sequence[float]) -> Int64[np.ndarray, " sources"]:
    """How many of PATTERN places each share gets: rounded so that they add up, and one at least."""
    wanted = np.asarray(shares, np.float64)
    wanted = wanted / wanted.sum() * PATTERN
    counts = np.maximum(np.floor(wanted), 1).astype(np.int64)
    # The largest remainders get what is left; where the floors of one took too much, the largest counts give
    # it back.
    left = PATTERN - int(counts.sum())
    for number in np.argsort(counts - wanted, kind="stable")[: max(left, 0)]:
        counts[number] += 1
    for _ in range(max(-left, 0)):
        counts[np.argmax(counts)] -= 1
    return counts
