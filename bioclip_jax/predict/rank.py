"""The ranks of predictions, as pybioclip's Rank."""

from __future__ import annotations

from enum import Enum

from bioclip_jax.errors import InvalidValue
from bioclip_jax.text import RANKS

# Species at or below this probability do not count toward higher ranks, as in pybioclip.
MIN_PROB = 1e-9


class Rank(Enum):
    """A rank of the tree of life, from the highest to the lowest, numbered as in pybioclip."""

    KINGDOM = 0
    PHYLUM = 1
    CLASS = 2
    ORDER = 3
    FAMILY = 4
    GENUS = 5
    SPECIES = 6

    def get_label(self) -> str:
        """Return the rank's name in lower case, as in tables."""
        return RANKS[self.value]


def as_rank(rank: Rank | str) -> Rank:
    """Return a Rank by name, in any case. Raises InvalidValue for an unknown one."""
    if isinstance(rank, Rank):
        return rank
    if not isinstance(rank, str) or rank.strip().upper() not in Rank.__members__:
        raise InvalidValue(f"the rank {rank!r} does not exist; the ranks are {', '.join(RANKS)}")
    return Rank[rank.strip().upper()]
