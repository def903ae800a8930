"""Vectors of one image under many choices of its patches, and gradients with respect to them."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, Float32

from bioclip_jax.distributed import ActivationSharding, batch_sharding, replicated
from bioclip_jax.models import CLIP, graphdef, normalize_images, on_nvidia
from bioclip_jax.predict.model import Model
from bioclip_jax.predict.preprocess import Pixels

# Rows of a program: on a CPU few, so that little is computed for padding.
_CPU_ROWS, _ROWS = 16, 64

# Weights [classes, dim] and biases of logits, and True for the classes whose probability is asked for.
LogShare = tuple[np.ndarray, np.ndarray, np.ndarray]


class MaskedEncoder:
    """The image tower without some patches: exactly as if their tokens were not in its input sequence.

    grid: patches per side, numbered row by row.
    """

    def __init__(self, model: Model) -> None:
        """Define the programs; they are compiled at first use."""
        embedder = model.embedder
        mesh, preprocess = embedder.mesh, embedder.preprocess
        self.grid = model.config.vision.grid
        self._params, self._mesh = embedder.params, mesh
        dtype = jnp.bfloat16 if model.precision == "bf16" else jnp.float32
        nvidia = on_nvidia(mesh.devices.flat[0])
        self._rows = _CPU_ROWS if mesh.devices.flat[0].platform == "cpu" else _ROWS * mesh.size

        def tower(params: Any, **options: Any) -> CLIP:
            extras = dict(
                replay_projector="continual_proj" in params["visual"], logit_bias="logit_bias" in params
            )
            shared = dict(dtype=dtype, nvidia=nvidia, shard=ActivationSharding(mesh))
            return nnx.merge(graphdef(model.config, **shared, **options, **extras), params)

        def features(params: Any, pixels: Array, gates: Array, **options: Any) -> Array:
            clip = tower(params, **options)
            images = normalize_images(pixels[None], preprocess.mean, preprocess.std)
            return clip.project_image(clip.visual.pool(images, gates=gates))

        def path_gradient(params: Any, pixels: Array, gates: Array, head: Any) -> Array:
            # Recomputed block by block: one image may have hundreds of rows.
            def total(gates: Array) -> Array:
                return _log_share(features(params, pixels, gates, remat="full"), head).sum()

            return jax.grad(total)(gates)

        rows = batch_sharding(mesh)
        self._features = jax.jit(features, out_shardings=rows)
        self._gradient = jax.jit(path_gradient, out_shardings=rows)

    def features(
        self, pixels: Pixels, kept: Bool[np.ndarray, "rows patches"]
    ) -> Float32[np.ndarray, "rows dim"]:
        """Return the unit vector of a preprocessed image with the patches of each row only."""
        pixels = self._on_all(pixels)
        batches = ((self._features(self._params, pixels, gates), n) for gates, n in self._batches(kept))
        return np.concatenate([np.asarray(features)[:n] for features, n in batches])

    def gradients(
        self, pixels: Pixels, gates: Float32[np.ndarray, "rows patches"], head: LogShare
    ) -> Float32[np.ndarray, "rows patches"]:
        """Return the gradient of a head's log-probability with respect to the gates of each row."""
        pixels, head = self._on_all(pixels), self._on_all(head)
        batches = ((self._gradient(self._params, pixels, part, head), n) for part, n in self._batches(gates))
        return np.concatenate([np.asarray(gradients)[:n] for gradients, n in batches])

    def _batches(self, gates: np.ndarray) -> Iterator[tuple[jax.Array, int]]:
        """Yield parts of equal size, the last one padded by ones, and their numbers of rows."""
        parts = -(-len(gates) // self._rows)
        size = -(-len(gates) // (parts * self._mesh.size)) * self._mesh.size
        for start in range(0, len(gates), size):
            part = gates[start : start + size]
            padded = np.ones((size, gates.shape[1]), gates.dtype)
            padded[: len(part)] = part
            yield jax.device_put(padded, batch_sharding(self._mesh)), len(part)

    def _on_all(self, values: Any) -> Any:
        return jax.device_put(values, replicated(self._mesh))


def _log_share(features: Float[Array, "n dim"], head: LogShare) -> Float[Array, " n"]:
    """Return the log-probability of the head's own classes among all of them."""
    weights, bias, own = head
    logits = jnp.matmul(features, weights.T, precision=jax.lax.Precision.HIGHEST) + bias
    inside = jax.nn.logsumexp(jnp.where(own, logits, -jnp.inf), axis=1)
    return inside - jax.nn.logsumexp(logits, axis=1)


_encoders: weakref.WeakKeyDictionary[Model, MaskedEncoder] = weakref.WeakKeyDictionary()


def masked_encoder(model: Model) -> MaskedEncoder:
    """Return the model's MaskedEncoder, made once, so that its programs are compiled once."""
    if model not in _encoders:
        _encoders[model] = MaskedEncoder(model)
    return _encoders[model]
