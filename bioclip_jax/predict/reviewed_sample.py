"""A caution about figures of photographs that a person has reviewed, since these are seldom a random sample.

The report and the page show unsure photographs first. A reviewer who stops before the end has seen the hard
ones: their accuracy is below that of all, and a temperature that fits them is too high for the others.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from bioclip_jax.predict.review import STATUSES

# Columns of corrections.
_STATUS, _SCORE, _TIME = "status", "score", "reviewed_at"
# Fewer photographs have no order that is worth a sentence.
_MIN_ORDERED = 10
# Spearman's correlation of score and time above which photographs were taken by their scores.
_BY_SCORE = 0.5


def sample_caution(column: Callable[[str], Sequence[Any] | None]) -> str | None:
    """Return a caution in one line for a table of reviewed photographs, None for another.

    column: returns a column of the table by its name, None without it.
    """
    statuses = {str(cell or "").strip().lower() for cell in column(_STATUS) or ()}
    if not statuses & set(STATUSES) or column(_TIME) is None:
        return None
    start = "reviewed photographs are no random sample"
    if _unsure_first(column(_SCORE) or (), column(_TIME) or ()):
        start += " (these were reviewed unsure first)"
    else:
        start += " unless they were drawn at random"
    return f"{start}, so figures measured on them do not hold for all photographs"


def _unsure_first(scores: Sequence[Any], times: Sequence[Any]) -> bool:
    """Return True if scores rise with the time of the review."""
    rows = [(_number(score), str(time)) for score, time in zip(scores, times) if time]
    rows = [(score, time) for score, time in rows if not math.isnan(score)]
    if len(rows) < _MIN_ORDERED or len({score for score, _ in rows}) < 2:
        return False
    import numpy as np
    from scipy.stats import spearmanr

    # Times of ISO 8601 sort as texts.
    _, order = np.unique([time for _, time in rows], return_inverse=True)
    return bool(order.any()) and spearmanr([score for score, _ in rows], order).statistic > _BY_SCORE


def _number(cell: Any) -> float:
    try:
        return float(str(cell).replace(",", "."))
    except ValueError:
        return math.nan
