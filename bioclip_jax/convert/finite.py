"""Refusal of weights that hold NaN or infinity, whose scores would be NaN."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from bioclip_jax.errors import UserError

from .fingerprint import named_tensors

__all__ = ["check_finite", "is_finite"]


def check_finite(params: Mapping[str, Any], source: str, advice: str) -> None:
    """UserError where a number in the nested dict of arrays `params` is NaN or infinite.

    The message names `source`, the first such tensor and how many numbers of it are affected, and ends in
    `advice`.
    """
    tensors = list(named_tensors(params))
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        finite = list(pool.map(lambda item: is_finite(item[1]), tensors))
    bad = [item for item, ok in zip(tensors, finite) if not ok]
    if bad:
        name, value = bad[0]
        count = int((~np.isfinite(np.asarray(value, np.float32))).sum())
        more = f", nor are some of {len(bad) - 1} other tensors" if len(bad) > 1 else ""
        raise UserError(
            f"{source} has broken weights: {count:,} of {np.size(value):,} numbers in {name} are not finite "
            f"(NaN or "
            f"infinity){more}; {advice}"
        )


def is_finite(value: Any) -> bool:
    """True where no number of the array is NaN or infinite."""
    array = np.asarray(value)
    with np.errstate(over="ignore", invalid="ignore"):
        # A sum is read once and keeps nothing; NaN and infinity stay in it.
        if math.isfinite(float(array.sum(dtype=np.float32))):
            return True
    return bool(np.isfinite(array.astype(np.float32)).all())
