"""What a device must hold during an update, counted array by array instead of compiled.

Everything is counted as if it stood in memory at once, which is more than any moment needs. What the towers
keep for
the backward pass is not guessed: JAX is asked what the vector-Jacobian product of the encoder holds on to.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, fields, replace
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from bioclip_jax.models import CLIPConfig, graphdef, init_params, kept_patches
from bioclip_jax.train import Experiment, TrainConfig, encode

# A block of the loss's logits, their exponentials, and the gradients of both: some 16 MiB each.
_LOSS_BLOCK = 4 * 2**24


@dataclass(frozen=True)
class DeviceMemory:
    """Bytes on one device.

    parameters, optimizer: float32, exactly. gradients: of all parameters, and with micro-batches those of one
    beside them. copies: the parameters in the towers' dtype, whole where fsdp splits them. saved: what the
    towers keep of a micro-batch for the backward pass. working: what one block computes again, and its
    gradients. features: of this device's rows, and their gradients. loss: everyone's text features, their
    gradients, and a block of logits.
    batch: images and tokens, with those that wait.
    """

    parameters: int
    optimizer: int
    gradients: int
    copies: int
    saved: int
    working: int
    features: int
    loss: int
    batch: int

    @property
    def total(self) -> int:
        return sum(getattr(self, field.name) for field in fields(self))


def device_memory(experiment: Experiment, *, flash: bool) -> DeviceMemory:
    """The table for one device of the experiment's mesh, at the full length of the texts.

    flash: whether attention is cuDNN's, which keeps no array of tokens² entries. With a tensor axis the
    activations inside a block are counted whole, more than there are.
    """
    config, model, mesh = experiment.config, experiment.model_config, experiment.mesh
    params = experiment.abstract_state.params
    compute_size = jnp.dtype(config.dtype).itemsize
    parts = config.micro_batches
    rows = _per_device(experiment, config.global_batch_size + config.replay.batch_size)
    replayed = _per_device(experiment, config.replay.batch_size)
    lengths = (experiment.context_length, rows - replayed), (experiment.replay_context_length, replayed)

    gradients = shard_bytes(params)
    if parts > 1 or config.precision == "bf16_params":
        gradients += shard_bytes(params, itemsize=2 if config.precision == "bf16_params" else 4)
    copies = 0
    if (compute_size < 4 and config.precision != "pure_bf16") or mesh.shape["fsdp"] > 1:
        copies = sum(x.size for x in jax.tree.leaves(params)) * compute_size // mesh.shape["tensor"]

    kept = Kept.of(config, model, flash)
    micro = math.ceil(rows / parts)
    saved = micro * kept.image + sum(math.ceil(n / parts) * kept.text(length) for length, n in lengths)
    block = max(
        micro * kept.image_block, *(math.ceil(n / parts) * kept.text_block(length) for length, n in lengths)
    )
    image_bytes = 3 * model.vision.image_size**2
    # The one that is trained on, the one of the step that stands behind it in the device's queue, and those
    # that wait; several processes agree on one more before its turn.
    batches = 2 + config.data.prefetch + (mesh.size > 1)
    everyone = config.global_batch_size + config.replay.batch_size
    return DeviceMemory(
        parameters=shard_bytes(params),
        optimizer=shard_bytes(experiment.abstract_state.opt_state),
        gradients=gradients,
        copies=copies,
        saved=saved,
        # The gradients of a block are as many as what it keeps; with remat it first computes that again.
        working=block if config.remat == "none" else 2 * block,
        features=2 * 2 * 4 * rows * model.embed_dim,
        loss=2 * 4 * everyone * model.embed_dim + _LOSS_BLOCK,
        batch=batches * (rows * image_bytes + sum(4 * length * n for length, n in lengths)),
    )


def shard_bytes(tree: Any, itemsize: int | None = None) -> int:
    """Bytes of one device's part of the arrays of `tree`, which have shardings; itemsize: of an entry, not its own."""
    return sum(
        math.prod(x.sharding.shard_shape(x.shape)) * (itemsize or x.dtype.itemsize)
        for x in jax.tree.leaves(tree)
    )


def _per_device(experiment: Experiment, rows: int) -> int:
    return rows // experiment.shards


@dataclass(frozen=True)
class Kept:
    """Bytes that the towers keep of one image and of one text for the backward pass, under a config's remat.

    A block's are those without remat. Texts are counted at one length and taken to any other in proportion.
    """

    image: int
    image_block: int
    of_text: int
    of_text_block: int
    length: int

    @classmethod
    def of(cls, config: TrainConfig, model: CLIPConfig, flash: bool) -> Kept:
        length = model.text.context_length
        image, text = _kept(config, model, flash)
        plain_image, plain_text = _kept(replace(config, remat="none"), model, flash)
        return cls(image, plain_image // model.vision.layers, text, plain_text // model.text.layers, length)

    def text(self, length: int) -> int:
        return math.ceil(self.of_text * length / self.length)

    def text_block(self, length: int) -> int:
        return math.ceil(self.of_text_block * length / self.length)


@functools.cache
def _kept(config: TrainConfig, model: CLIPConfig, flash: bool) -> tuple[int, int]:
    """Bytes that the vector-Jacobian product of the encoder holds of an image and of a text."""
    options = config.model_options | {"attention": "xla", "replay_projector": False}
    definition = graphdef(model, **options)
    params = jax.eval_shape(lambda: init_params(model))
    patches = kept_patches(model.vision, config.patch_dropout or 0.0)
    # Texts and images of one size would be told apart by nothing but their tokens.
    squares = {(n, n) for n in (patches + 1, model.text.context_length)} if flash else set()

    def held(images: int, texts: int) -> int:
        size = model.vision.image_size
        batch = {
            "image": jax.ShapeDtypeStruct((images, size, size, 3), jnp.uint8),
            "tokens": jax.ShapeDtypeStruct((texts, model.text.context_length), jnp.int32),
        }
        if config.patch_dropout:
            batch["kept"] = jax.ShapeDtypeStruct((images, patches), jnp.int32)
        backward = jax.eval_shape(
            lambda params, batch: jax.vjp(
                lambda p: encode(nnx.merge(definition, p), batch, config.image, shards=1), params
            )[1],
            params,
            batch,
        )
        return sum(
            x.size * x.dtype.itemsize for x in jax.tree.leaves(backward) if x.shape[-2:] not in squares
        )

    # What a second image adds is an image's; the rest belongs to the parameters.
    once = held(1, 1)
    return held(2, 1) - once, held(1, 2) - once
