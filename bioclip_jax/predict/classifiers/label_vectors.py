"""The vectors of labels, from the cache where they are there."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32

from bioclip_jax.predict.head import class_embeddings
from bioclip_jax.predict.model import Model
from bioclip_jax.predict.vector_cache import VectorCache
from bioclip_jax.text import OPENAI_TEMPLATES


def label_vectors(
    model: Model, labels: Sequence[str], *, cache: bool = True
) -> Float32[np.ndarray, "labels dim"]:
    """A unit vector a label, as class_embeddings in the 80 templates; what is not in the user's cache is put there."""
    if not cache:
        return class_embeddings(model.encode_text, labels)
    vectors = VectorCache()
    keys = {label: _key(label, model.dtype) for label in labels}
    known = vectors.get(model.fingerprint, keys.values())
    missing = [label for label, key in keys.items() if key not in known]
    if missing:
        made = {
            keys[label]: vector
            for label, vector in zip(missing, class_embeddings(model.encode_text, missing))
        }
        vectors.put(model.fingerprint, made)
        known |= made
    return np.stack([known[keys[label]] for label in labels])


def _key(label: str, dtype: str) -> str:
    return "label:" + hashlib.sha256("\0".join((dtype, *OPENAI_TEMPLATES, label)).encode()).hexdigest()
