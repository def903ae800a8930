"""The predictions that a classifier returns for each image: number, rank and thresholds."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral

from bioclip_jax.errors import InvalidValue, UserError

from .rank import MIN_PROB, Rank

# Taxa per image.
DEFAULT_K = 5
# The prediction of an image whose scores are too low.
UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The predictions to return for each image; rank, min_prob and min_confidence apply to taxa only.

    rank: the rank of the predictions. k: their number, best first; None returns all.
    min_prob: species at or below it do not count toward a higher rank, as in pybioclip.
    min_confidence: one prediction instead of k, at the lowest rank, down to `rank`, that reaches it.
    unknown: an image whose best score is lower is predicted as "unknown". min_familiarity: the same for the
    familiarity that learned heads give.

    Raises UserError for values out of range.
    """

    rank: Rank = Rank.SPECIES
    k: int | None = None
    min_prob: float = MIN_PROB
    min_confidence: float | None = None
    unknown: float | None = None
    min_familiarity: float | None = None

    def __post_init__(self) -> None:
        if self.k is not None and not isinstance(self.k, Integral):
            raise InvalidValue(f"k is {self.k!r}; it must be a whole number, or None")
        if self.k is not None and self.k < 1:
            raise UserError(f"k is {self.k}; it must be at least 1")
        for threshold in (self.min_confidence, self.unknown, self.min_familiarity):
            if threshold is not None and not 0 <= threshold <= 1:
                raise UserError(f"the threshold is {threshold}; it is a probability between 0 and 1")
