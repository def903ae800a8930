"""The definition of an event, for predictions and for surveys alike."""

from __future__ import annotations

import hashlib
import math

import numpy as np
from jaxtyping import Int, Int64

from bioclip_jax.errors import UserError

_MICROSECONDS = 1_000_000
# Microseconds; more than between any two years of four digits.
_LONGEST = 2**62


def check_gap(gap_seconds: float) -> None:
    """Raise UserError for a gap that is negative or no number."""
    if not 0 <= gap_seconds < math.inf:
        raise UserError(f"the gap between events is {gap_seconds} s; it must be at least 0")


def event_numbers(
    places: Int[np.ndarray, " frames"], times: Int64[np.ndarray, " frames"], gap_seconds: float
) -> Int64[np.ndarray, " frames"]:
    """Return the event number of each frame.

    An event ends when the next frame of its place is more than `gap_seconds` later. Numbers count from 0
    through all places, ordered by place and time; they do not depend on the order of the frames.

    places: a number for each place. times: microseconds. Raises UserError as check_gap.
    """
    check_gap(gap_seconds)
    order = np.lexsort((times, places))
    starts = np.ones(len(order), bool)
    pause = np.diff(times[order]) > min(round(gap_seconds * _MICROSECONDS), _LONGEST)
    starts[1:] = (np.diff(places[order]) != 0) | pause
    numbers = np.empty(len(order), np.int64)
    numbers[order] = np.cumsum(starts) - 1
    return numbers


def event_id(place: str, start: int) -> str:
    """Return 16 hexadecimal digits for an event: the same in every run, and silent about its place.

    start: time of its first frame, in microseconds.
    """
    return hashlib.blake2b(f"{place} {start}".encode(errors="surrogateescape"), digest_size=8).hexdigest()
