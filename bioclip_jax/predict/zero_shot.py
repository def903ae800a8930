"""Zero-shot classification: class embeddings from names in text templates, and the softmax over classes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float32

from bioclip_jax.text import OPENAI_TEMPLATES

from .vector_cache import CACHE_NAMES, VectorCache

if TYPE_CHECKING:
    from .model import Model

# Classes whose texts are encoded together.
_CHUNK = 512


def class_embeddings(
    encode_texts: Callable[[Sequence[str]], Float32[np.ndarray, "n dim"]],
    names: Sequence[str],
    templates: Sequence[str] = OPENAI_TEMPLATES,
) -> Float32[np.ndarray, "classes dim"]:
    """Return each class's normalized mean of its text embeddings in all templates (Radford et al. 2021)."""
    means = []
    for start in range(0, len(names), _CHUNK):
        chunk = names[start : start + _CHUNK]
        features = encode_texts([template.format(name) for name in chunk for template in templates])
        means.append(features.reshape(len(chunk), len(templates), -1).mean(axis=1))
    embeddings = np.concatenate(means)
    return embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)


def label_embeddings(
    model: Model, labels: Sequence[str], *, cache: bool = True
) -> Float32[np.ndarray, "labels dim"]:
    """Return class_embeddings of labels in the 80 templates, kept in the user's vector cache."""
    if not cache:
        return class_embeddings(model.encode_text, labels)
    vectors = VectorCache()
    keys = {label: _cache_key(label, CACHE_NAMES[model.precision]) for label in labels}
    known = vectors.get(model.fingerprint, keys.values())
    missing = [label for label, key in keys.items() if key not in known]
    if missing:
        embeddings = class_embeddings(model.encode_text, missing)
        fresh = {keys[label]: vector for label, vector in zip(missing, embeddings)}
        vectors.put(model.fingerprint, fresh)
        known |= fresh
    return np.stack([known[keys[label]] for label in labels])


def _cache_key(label: str, precision: str) -> str:
    return "label:" + hashlib.sha256("\0".join((precision, *OPENAI_TEMPLATES, label)).encode()).hexdigest()


def softmax(logits: Float32[np.ndarray, "n classes"]) -> Float32[np.ndarray, "n classes"]:
    """Return exp(x_c) / sum over c of exp(x_c), row by row."""
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)
