"""What tells one model from another, wherever its files lie."""

import dataclasses
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from bioclip_jax.models import CLIPConfig

__all__ = ["weights_fingerprint", "named_tensors"]

# What only training uses, and an export leaves out.
_TRAINING_ONLY = ("visual.continual_proj",)


def weights_fingerprint(params: Mapping[str, Any], config: CLIPConfig) -> str:
    """A hex digest of 64 digits, the same for a training checkpoint, its export, and that imported again.

    SHA-256 over the configuration and, for each tensor by name, its shape and the SHA-256 of its float32
    bytes; the replay projector is left out. So it changes with any bit of a weight, and not with the
    preprocessing.
    `params`: nested dict of arrays, on the host or a device.
    """
    tensors = sorted(item for item in named_tensors(params) if item[0] not in _TRAINING_ONLY)
    # hashlib lets go of the interpreter's lock.
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        lines = list(pool.map(lambda item: _line(*item), tensors))
    # Patch dropout is for training only, too.
    config = dataclasses.replace(config, vision=dataclasses.replace(config.vision, patch_dropout=0.0))
    about = json.dumps(config.to_open_clip(), sort_keys=True)
    return hashlib.sha256("\n".join([about, *lines]).encode()).hexdigest()


def named_tensors(params: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves of a nested dict of arrays by their dotted names."""
    for name, value in params.items():
        if isinstance(value, Mapping):
            yield from named_tensors(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _line(name: str, tensor: Any) -> str:
    array = np.ascontiguousarray(tensor, np.float32)
    return f"{name} {list(np.shape(tensor))} {hashlib.sha256(array.data).hexdigest()}"
