"""Memory of a training step per device: counted array by array, and as XLA analyzes the compiled step.

The count is of the moment when most is live: the backward pass of an image tower's block. The residuals of
the towers are those of JAX's vector-Jacobian product of the encoder. What else is live then follows programs
that XLA compiled for an H100, which the tests record; the count is within 5 % of them.
"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
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
# Of the activations that a block's backward pass recomputes, the share that is live along with its gradients;
# fitted to programs compiled for an H100.
_RECOMPUTED_AT_ONCE = 0.65


def measure_memory(config: TrainConfig, *, devices: int) -> dict[str, Any]:
    """Estimate the memory of one of `devices` devices in an update of `config`, without allocating it.

    Returns, in bytes per device: "analytic", the fields of device_memory, "compiled_update" and "total", and
    "fits", True if the total is at most DEVICE_BYTES; "compiled", XLA's analysis of the update compiled for
    CPU devices. The latter is an upper bound: a CPU program has no cuDNN attention, widens bfloat16 products
    to float32, and fuses less than a GPU's. Raises UserError if the mesh or the batch does not fit the number
    of devices, or JAX already runs with another number.
    """
    _use_cpu_devices(devices)
    experiment = Experiment(replace(config, total_steps=config.total_steps or 1, init_from=None))
    flash = jnp.dtype(config.dtype).itemsize == 2 and config.attention != "xla"
    counted = device_memory(experiment, flash=flash)
    start = time.perf_counter()
    compiled = compile_step(experiment.lower(), experiment.config)
    seconds = time.perf_counter() - start
    xla = program_memory(compiled)
    rows = (config.global_batch_size + config.replay.batch_size) // experiment.shards
    return {
        "model": config.model,
        "devices": devices,
        "mesh": dict(experiment.mesh.shape),
        "pairs_per_device": rows,
        "pairs_in_a_micro_batch": rows // config.micro_batches,
        "remat": config.remat,
        "precision": config.precision,
        "analytic": asdict(counted) | {"compiled_update": counted.compiled, "total": counted.total},
        "fits": counted.total <= DEVICE_BYTES,
        "compiled": xla | {"total": sum(xla.values())},
        "compile_seconds": round(seconds, 1),
    }


def program_memory(compiled: jax.stages.Compiled) -> dict[str, int]:
    """Return the bytes of one device that XLA allocates for a program, by what they hold.

    Outputs that reuse the buffers of arguments are not counted twice.
    """
    analysis = compiled.memory_analysis()
    return {
        "arguments": analysis.argument_size_in_bytes,
        "outputs_beside_them": analysis.output_size_in_bytes - analysis.alias_size_in_bytes,
        "temporary": analysis.temp_size_in_bytes,
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
            "The compiled update is less than the sum, because loss and backward pass are not live at once. "
            f"The total {verdict} into {DEVICE_BYTES / 1e9:.0f} GB.",
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
    one. copies: parameters that fsdp gathers, or in bfloat16 with bf16_params; other casts are a layer's.
    saved: the towers' residuals of a micro-batch, or of all of them and a copy of one. working: one block's
    activations and their gradients. features: of this device's rows, and their gradients. loss: all text
    features, their gradients, and a block of logits. batch: images and tokens. prefetched: the batches that
    wait for their step, outside the compiled program.
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
    prefetched: int

    @property
    def compiled(self) -> int:
        """Bytes of the compiled update: the loss is over when the backward pass of the towers begins."""
        always = self.parameters + self.optimizer + self.saved + self.features + self.batch
        return always + max(self.loss, self.gradients + self.copies + self.working)

    @property
    def total(self) -> int:
        """Bytes of the device: the compiled update and prefetched batches."""
        return self.compiled + self.prefetched


def device_memory(experiment: Experiment, *, flash: bool, text_length: int | None = None) -> DeviceMemory:
    """Count the memory of one device of the experiment's mesh.

    flash: attention is cuDNN's, which stores no [tokens, tokens] array. text_length: tokens of the texts of
    both streams, None for the full length. With a tensor axis the activations inside a block are counted
    unsharded, an overestimate.
    """
    config, model, mesh = experiment.config, experiment.model_config, experiment.mesh
    params = experiment.abstract_state.params
    compute_size = jnp.dtype(config.dtype).itemsize
    parts = config.micro_batches
    global_rows = config.global_batch_size + config.replay.batch_size
    rows, replayed = global_rows // experiment.shards, config.replay.batch_size // experiment.shards
    lengths = (
        (text_length or experiment.context_length, rows - replayed),
        (text_length or experiment.replay_context_length, replayed),
    )

    # Towers add up gradients of whole parameters, with micro-batches in float32.
    whole = sum(x.size for x in jax.tree.leaves(params)) // mesh.shape["tensor"]
    sharded = mesh.shape["fsdp"] > 1
    gradients = 2 * 4 * whole if parts > 1 else (whole * compute_size if sharded else shard_bytes(params))
    gradients += shard_bytes(params) if sharded else 0
    copies = 0
    if sharded or config.precision == "bf16_params":
        copies = whole * (4 if parts > 1 else compute_size)

    residuals = Residuals.of(config, model, flash)
    micro = math.ceil(rows / parts)
    saved, texts = micro * residuals.image, sum(n * residuals.text(length) for length, n in lengths)
    if parts > 1 and config.gradient_cache == "residuals":
        # The backward pass copies a micro-batch's residuals out of those of all.
        saved += rows * residuals.image + texts
    # Otherwise the residuals of the text tower, whose backward pass is first, are gone.
    working = max(
        micro * residuals.image_working,
        *(math.ceil(n / parts) * residuals.text_working(length) for length, n in lengths),
    )
    image_bytes = 3 * model.vision.image_size**2
    # That of the queued next step, and the prefetched ones, of which a mesh has one more.
    batches = 1 + config.data.prefetch + (mesh.size > 1)
    batch = rows * image_bytes + sum(4 * length * n for length, n in lengths)
    return DeviceMemory(
        parameters=shard_bytes(params),
        optimizer=shard_bytes(experiment.abstract_state.opt_state),
        gradients=gradients,
        copies=copies,
        saved=saved,
        working=working,
        features=2 * 2 * 4 * rows * model.embed_dim,
        loss=2 * 4 * global_rows * model.embed_dim + _LOSS_BLOCK,
        batch=batch,
        prefetched=batches * batch,
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

    image_working, text_working: of the backward pass of one block. It holds about as many gradients and
    copies of residuals as a block has residuals without remat, and most of what it recomputes. Texts are
    counted at the full length, and shorter ones in proportion.
    """

    image: int
    image_working: int
    full_text: int
    full_text_working: int
    full_length: int

    @classmethod
    def of(cls, config: TrainConfig, model: CLIPConfig, flash: bool) -> Residuals:
        """Count the residuals of `config`."""
        saved = _residuals(config, model, flash)
        plain = _residuals(replace(config, remat="none"), model, flash)
        image_working, text_working = (
            int(without + _RECOMPUTED_AT_ONCE * (without - kept)) // layers
            for kept, without, layers in zip(
                saved, plain, (model.vision.layers, model.text.layers), strict=True
            )
        )
        return cls(saved[0], image_working, saved[1], text_working, model.text.context_length)

    def text(self, length: int) -> int:
        """Bytes of a text of `length` tokens."""
        return math.ceil(self.full_text * length / self.full_length)

    def text_working(self, length: int) -> int:
        """Bytes of the backward pass of a block of a text of `length` tokens."""
        return math.ceil(self.full_text_working * length / self.full_length)


@functools.cache
def _residuals(config: TrainConfig, model: CLIPConfig, flash: bool) -> tuple[int, int]:
    """Bytes in the encoder's vector-Jacobian product, of an image and of a text."""
    options = config.model_options | {"attention": "xla", "nvidia": False, "replay_projector": False}
    definition = graphdef(model, **options)
    params = jax.eval_shape(lambda: init_params(model))
    patches = kept_patches(model.vision, config.patch_dropout or 0.0)
    # Attention scores are recognized by their shape, as square as the number of tokens.
    lengths = (patches + 1, model.text.context_length)
    squares = {(n, n) for n in lengths} if flash else set()

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
    image, text = held(2, 1) - once, held(1, 2) - once
    if flash and config.remat == "none":
        # XLA saves cuDNN's output twice: as the attention's residual, and laid out for the next product.
        size = jnp.dtype(config.dtype).itemsize
        image += model.vision.layers * lengths[0] * model.vision.width * size
        text += model.text.layers * lengths[1] * model.text.width * size
    return image, text
