"""The zero-shot head: class vectors from names, probabilities from cosines."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float32

from bioclip_jax.text import OPENAI_TEMPLATES

# Classes whose texts are encoded together.
_CHUNK = 512


def class_embeddings(
    encode_texts: Callable[[Sequence[str]], Float32[np.ndarray, "n dim"]],
    names: Sequence[str],
    templates: Sequence[str] = OPENAI_TEMPLATES,
) -> Float32[np.ndarray, "classes dim"]:
    """A unit vector a class: the mean of its name's unit vectors in all templates, normalised (Radford et al. 2021)."""
    means = []
    for start in range(0, len(names), _CHUNK):
        chunk = names[start : start + _CHUNK]
        features = encode_texts([template.format(name) for name in chunk for template in templates])
        means.append(features.reshape(len(chunk), len(templates), -1).mean(axis=1))
    embeddings = np.concatenate(means)
    return embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)


def softmax(logits: Float32[np.ndarray, "n classes"]) -> Float32[np.ndarray, "n classes"]:
    """exp(x_c) / sum over c of exp(x_c), for each row."""
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)
