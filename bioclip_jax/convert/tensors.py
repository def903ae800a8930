"""Fingerprint and finiteness of all tensors of a model."""

import dataclasses
import hashlib
import json
import math
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from bioclip_jax.errors import UserError
from bioclip_jax.models import CLIPConfig

__all__ = ["check_finite", "is_finite", "weights_fingerprint"]

# Used only in training, and not exported.
_TRAINING_ONLY = ("visual.continual_proj",)


def weights_fingerprint(params: Mapping[str, Any], config: CLIPConfig) -> str:
    """Return a hex digest of 64 digits, equal for a training checkpoint, its export and their import.

    SHA-256 over the configuration and, for each tensor by name, its shape and the SHA-256 of its float32
    bytes, without the replay projector: it depends on every bit of the weights, not on the preprocessing.
    params: nested dict of arrays, on the host or a device.
    """
    tensors = sorted(item for item in _named_tensors(params) if item[0] not in _TRAINING_ONLY)
    # hashlib releases the GIL.
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        lines = list(pool.map(lambda item: _digest_line(*item), tensors))
    # Patch dropout is for training only, too.
    config = dataclasses.replace(config, vision=dataclasses.replace(config.vision, patch_dropout=0.0))
    header = json.dumps(config.to_open_clip(), sort_keys=True)
    return hashlib.sha256("\n".join([header, *lines]).encode()).hexdigest()


def check_finite(params: Mapping[str, Any], source: str, advice: str) -> None:
    """Raise UserError if a nested dict of arrays contains NaN or infinity, which would spread to all scores.

    The message has `source`, the first such tensor and its number of bad values, and ends in `advice`.
    """
    tensors = list(_named_tensors(params))
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        finite = list(pool.map(lambda item: is_finite(item[1]), tensors))
    bad = [item for item, ok in zip(tensors, finite) if not ok]
    if bad:
        name, value = bad[0]
        count = int((~np.isfinite(np.asarray(value, np.float32))).sum())
        more = f", nor are some of {len(bad) - 1} other tensors" if len(bad) > 1 else ""
        raise UserError(
            f"{source} has broken weights: {count:,} of {np.size(value):,} numbers in {name} are not finite "
            f"(NaN or infinity){more}; {advice}"
        )


def is_finite(value: Any) -> bool:
    """Return True if the array contains neither NaN nor infinity."""
    array = np.asarray(value)
    with np.errstate(over="ignore", invalid="ignore"):
        # A sum reads the array once and needs no memory; NaN and infinity propagate to it.
        if math.isfinite(float(array.sum(dtype=np.float32))):
            return True
    return bool(np.isfinite(array.astype(np.float32)).all())


def _named_tensors(params: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the leaves of a nested dict of arrays with their dotted names."""
    for name, value in params.items():
        if isinstance(value, Mapping):
            yield from _named_tensors(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _digest_line(name: str, tensor: Any) -> str:
    array = np.ascontiguousarray(tensor, np.float32)
    return f"{name} {list(np.shape(tensor))} {hashlib.sha256(array.data).hexdigest()}"
