"""The ranks at which a taxon can be predicted."""

from __future__ import annotations

from enum import Enum

from bioclip_jax.errors import InvalidValue
from bioclip_jax.text import RANKS

# Species of no higher probability do not count towards a higher rank, as in pybioclip.
MIN_PROB = 1e-9


class Rank(Enum):
    """A rank of the tree of life, from the widest to the narrowest, as pybioclip counts them."""

    KINGDOM = 0
    PHYLUM = 1
    CLASS = 2
    ORDER = 3
    FAMILY = 4
    GENUS = 5
    SPECIES = 6

    def get_label(self) -> str:
        """The rank's name in lower case, as tables have it."""
        return RANKS[self.value]


def as_rank(rank: Rank | str) -> Rank:
    """A Rank, or the one that a text names in any case. InvalidValue where there is none."""
    if isinstance(rank, Rank):
        return rank
    if not isinstance(rank, str) or rank.strip().upper() not in Rank.__members__:
        raise InvalidValue(f"the rank {rank!r} does not exist; the ranks are {', '.join(RANKS)}")
    return Rank[rank.strip().upper()]
