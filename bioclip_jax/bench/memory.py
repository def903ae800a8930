"""Memory of a training step per device: counted array by array, and as XLA analyzes the compiled step.

The count assumes that all arrays are live at once, which is an upper bound of any moment. The towers'
residuals for the backward pass are those of JAX's vector-Jacobian product of the encoder.
"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from bioclip_jax.errors import UserError
from bioclip_jax.models import CLIPConfig, graphdef, init_params, kept_patches
from bioclip_jax.train import Experiment, TrainConfig, compile_step, encode

from .tables import markdown

# Of an H100 SXM, in bytes (NVIDIA H100 Tensor Core GPU data sheet).
DEVICE_BYTES = 80e9
# A block of the loss's logits, their exponentials, and the gradients of both: some 16 MiB each.
_LOSS_BLOCK = 4 * 2**24


def measure_memory(config: TrainConfig, *, devices: int) -> dict[str, Any]:
    """Estimate the memory of one of `devices` devices in an update of `config`, without allocating it.

    Returns, in bytes per device: "analytic", the fields of device_memory with their "total", and "fits", True
    if that is at most DEVICE_BYTES; "compiled", XLA's analysis of the update compiled for CPU devices. The
    latter is an upper bound: a CPU program has no cuDNN attention, widens bfloat16 products to float32, and
    fuses less than a GPU's. Raises UserError if the mesh or the batch does not fit the number of devices, or
    JAX already runs with another number.
    """
    _use_cpu_devices(devices)
    experiment = Experiment(replace(config, total_steps=config.total_steps or 1, init_from=None))
    flash = jnp.dtype(config.dtype).itemsize == 2 and config.attention != "xla"
    counted = device_memory(experiment, flash=flash)
    start = time.perf_counter()
    compiled = compile_step(experiment.lower(), experiment.config)
    seconds = time.perf_counter() - start
    analysis = compiled.memory_analysis()
    xla = {
        "arguments": analysis.argument_size_in_bytes,
        "outputs_beside_them": analysis.output_size_in_bytes - analysis.alias_size_in_bytes,
        "temporary": analysis.temp_size_in_bytes,
    }
    rows = (config.global_batch_size + config.replay.batch_size) // experiment.shards
    return {
        "model": config.model,
        "devices": devices,
        "mesh": dict(experiment.mesh.shape),
        "pairs_per_device": rows,
        "pairs_in_a_micro_batch": rows // config.micro_batches,
        "remat": config.remat,
        "precision": config.precision,
        "analytic": asdict(counted) | {"total": counted.total},
        "fits": counted.total <= DEVICE_BYTES,
        "compiled": xla | {"total": sum(xla.values())},
        "compile_seconds": round(seconds, 1),
    }


def memory_table(result: dict[str, Any]) -> str:
    """Result of measure_memory as Markdown, in GB of 1e9 bytes."""

    def rows(sizes: dict[str, int]) -> list[tuple[str, str]]:
        return [(name.replace("_", " "), f"{size / 1e9:.2f}") for name, size in sizes.items()]

    mesh = " x ".join(f"{name} {size}" for name, size in result["mesh"].items())
    verdict = "fits" if result["fits"] else "does not fit"
    return "\n\n".join(
        [
            f"{result['model']} on {result['devices']} devices ({mesh}): {result['pairs_per_device']} pairs "
            f"per device, {result['pairs_in_a_micro_batch']} per micro-batch, {result['precision']}, "
            f"remat {result['remat']}.",
            markdown(("counted, per device", "GB"), rows(result["analytic"])),
            f"This {verdict} into {DEVICE_BYTES / 1e9:.0f} GB.",
            markdown(("compiled for CPU, an upper bound", "GB"), rows(result["compiled"])),
            f"A GPU's buffers may differ. Compiled in {result['compile_seconds']} s.",
        ]
    )


def _use_cpu_devices(count: int) -> None:
    if count < 1:
        raise UserError(f"--devices is {count}; give the number of devices that the config will use")
    jax.config.update("jax_platforms", "cpu")
    try:
        jax.config.update("jax_num_cpu_devices", count)
    except RuntimeError:
        pass  # JAX has already initialized its devices; their number is checked below.
    if jax.device_count() != count:
        raise UserError(
            f"JAX already runs with {jax.device_count()} devices, not {count}; start a new process"
        )


@dataclass(frozen=True)
class DeviceMemory:
    """Bytes on one device.

    parameters, optimizer: float32, exact. gradients: of all parameters, and with micro-batches also those of
    one. copies: the parameters in the towers' dtype, unsharded over fsdp. saved: the towers' residuals of a
    micro-batch. working: one block's recomputed activations and their gradients. features: of this device's
    rows, and their gradients. loss: all text features, their gradients, and a block of logits. batch: images
    and tokens, prefetched ones included.
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
        """Sum of all fields."""
        return sum(getattr(self, field.name) for field in fields(self))


def device_memory(experiment: Experiment, *, flash: bool) -> DeviceMemory:
    """Count the memory of one device of the experiment's mesh, for texts at full length.

    flash: attention is cuDNN's, which stores no [tokens, tokens] array. With a tensor axis the activations
    inside a block are counted unsharded, an overestimate.
    """
    config, model, mesh = experiment.config, experiment.model_config, experiment.mesh
    params = experiment.abstract_state.params
    compute_size = jnp.dtype(config.dtype).itemsize
    parts = config.micro_batches
    global_rows = config.global_batch_size + config.replay.batch_size
    rows, replayed = global_rows // experiment.shards, config.replay.batch_size // experiment.shards
    lengths = (experiment.context_length, rows - replayed), (experiment.replay_context_length, replayed)

    gradients = shard_bytes(params)
    if parts > 1 or config.precision == "bf16_params":
        gradients += shard_bytes(params, itemsize=2 if config.precision == "bf16_params" else 4)
    copies = 0
    if (compute_size < 4 and config.precision != "pure_bf16") or mesh.shape["fsdp"] > 1:
        copies = sum(x.size for x in jax.tree.leaves(params)) * compute_size // mesh.shape["tensor"]

    residuals = Residuals.of(config, model, flash)
    micro = math.ceil(rows / parts)
    saved = micro * residuals.image + sum(
        math.ceil(n / parts) * residuals.text(length) for length, n in lengths
    )
    block = max(
        micro * residuals.image_block,
        *(math.ceil(n / parts) * residuals.text_block(length) for length, n in lengths),
    )
    image_bytes = 3 * model.vision.image_size**2
    # The batch in use, that of the queued next step, and the prefetched ones, of which a mesh has one more.
    batches = 2 + config.data.prefetch + (mesh.size > 1)
    return DeviceMemory(
        parameters=shard_bytes(params),
        optimizer=shard_bytes(experiment.abstract_state.opt_state),
        gradients=gradients,
        copies=copies,
        saved=saved,
        # A block has as many gradients as residuals; with remat it also recomputes the latter.
        working=block if config.remat == "none" else 2 * block,
        features=2 * 2 * 4 * rows * model.embed_dim,
        loss=2 * 4 * global_rows * model.embed_dim + _LOSS_BLOCK,
        batch=batches * (rows * image_bytes + sum(4 * length * n for length, n in lengths)),
    )


def shard_bytes(tree: Any, itemsize: int | None = None) -> int:
    """Bytes of one device's shards of the arrays of `tree`, with `itemsize` instead of their dtypes'."""
    return sum(
        math.prod(x.sharding.shard_shape(x.shape)) * (itemsize or x.dtype.itemsize)
        for x in jax.tree.leaves(tree)
    )


@dataclass(frozen=True)
class Residuals:
    """Bytes of the towers' residuals of one image and of one text, under a config's remat policy.

    image_block, text_block: of one block without remat. Texts are counted at the full length, and shorter
    ones in proportion.
    """

    image: int
    image_block: int
    full_text: int
    full_text_block: int
    full_length: int

    @classmethod
    def of(cls, config: TrainConfig, model: CLIPConfig, flash: bool) -> Residuals:
        """Count the residuals of `config`."""
        length = model.text.context_length
        image, text = _residuals(config, model, flash)
        plain_image, plain_text = _residuals(replace(config, remat="none"), model, flash)
        return cls(image, plain_image // model.vision.layers, text, plain_text // model.text.layers, length)

    def text(self, length: int) -> int:
        """Bytes of a text of `length` tokens."""
        return math.ceil(self.full_text * length / self.full_length)

    def text_block(self, length: int) -> int:
        """Bytes of a block of a text of `length` tokens."""
        return math.ceil(self.full_text_block * length / self.full_length)


@functools.cache
def _residuals(config: TrainConfig, model: CLIPConfig, flash: bool) -> tuple[int, int]:
    """Bytes in the encoder's vector-Jacobian product, of an image and of a text."""
    options = config.model_options | {"attention": "xla", "replay_projector": False}
    definition = graphdef(model, **options)
    params = jax.eval_shape(lambda: init_params(model))
    patches = kept_patches(model.vision, config.patch_dropout or 0.0)
    # Attention scores are recognized by their shape, as square as the number of tokens.
    squares = {(n, n) for n in (patches + 1, model.text.context_length)} if flash else set()

    def forward(batch: dict[str, jax.Array]) -> Callable[[Any], Any]:
        return lambda params: encode(nnx.merge(definition, params), batch, config.image)

    def held(images: int, texts: int) -> int:
        size = model.vision.image_size
        batch = {
            "image": jax.ShapeDtypeStruct((images, size, size, 3), jnp.uint8),
            "tokens": jax.ShapeDtypeStruct((texts, model.text.context_length), jnp.int32),
        }
        if config.patch_dropout:
            batch["kept"] = jax.ShapeDtypeStruct((images, patches), jnp.int32)
        backward = jax.eval_shape(lambda params, batch: jax.vjp(forward(batch), params)[1], params, batch)
        return sum(
            x.size * x.dtype.itemsize for x in jax.tree.leaves(backward) if x.shape[-2:] not in squares
        )

    # The difference to a second image is one image's share; the rest belongs to the parameters.
    once = held(1, 1)
    return held(2, 1) - once, held(1, 2) - once
