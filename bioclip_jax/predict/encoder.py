"""Compiled image and text encoders on host arrays, in a few fixed shapes."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh
from jaxtyping import Float32

from bioclip_jax.distributed import ActivationSharding, batch_sharding, compile_lowered
from bioclip_jax.models import CLIP, CLIPConfig, graphdef, normalize_images, on_nvidia
from bioclip_jax.pipeline.images import Preprocess

from .preprocess import Pixels
from .progress import track
from .text_packing import pack, packed_features

# Tokens per row of packed texts: longer rows repeat fewer shared prefixes, but attention grows quadratically.
_ROW_LENGTH = 128
# Batches dispatched before the first result is awaited: the device has the next one while the host consumes.
_IN_FLIGHT = 2
# Rows of one device's programs on an accelerator, where compiling takes longer than padding costs.
_FEW_IMAGES, _TEXT_ROWS = 8, 32
# XLA's options on NVIDIA's GPUs. Its Triton products are autotuned over many tilings, each compiled, which is
# most of a cold start; cuBLASLt's fuse bias and residual, and its heuristics need no tuning for a few texts.
_IMAGE_OPTIONS = {"xla_gpu_enable_triton_gemm": False}
_TEXT_OPTIONS = {**_IMAGE_OPTIONS, "xla_gpu_autotune_level": 0}


class Encoder:
    """Pixels and texts to unit vectors, with parameters passed to each call, which may change between calls.

    Rows are sharded over all devices of `mesh`. Batches have `batch_size` rows, the last one padded, and two
    are in flight. Fewer images in total are padded to a power of two on a CPU, else to 8 a device or to a
    whole batch. Each tower is thus compiled once per run. With several processes, each must make the same
    calls with the same rows, and each gets all vectors.

    image_features, text_features: the jitted towers, (parameters, images or packed int32 texts) -> unit
    vectors.
    """

    def __init__(
        self,
        config: CLIPConfig,
        preprocess: Preprocess,
        mesh: Mesh,
        *,
        batch_size: int | None = None,
        dtype: Any = jnp.float32,
        before_batch: Callable[[], None] | None = None,
    ) -> None:
        """Define the jitted towers.

        batch_size: None chooses by device kind. dtype: compute dtype. before_batch: called before each batch;
        may raise to abort a call.
        """
        self._before_batch = before_batch
        self.mesh = mesh
        self._on_cpu = mesh.devices.flat[0].platform == "cpu"
        batch_size = batch_size or mesh.size * (16 if self._on_cpu else 128)
        self.batch_size = -(-batch_size // mesh.size) * mesh.size
        self._context_length = config.text.context_length
        self._embed_dim = config.embed_dim
        self._row_length = max(_ROW_LENGTH, self._context_length)
        self._rows = batch_sharding(mesh)
        nvidia = on_nvidia(mesh.devices.flat[0])

        def model(params: Any) -> CLIP:
            # Parameters that only training uses: a second projector, and the bias of the sigmoid loss.
            extras = dict(
                replay_projector="continual_proj" in params["visual"], logit_bias="logit_bias" in params
            )
            options = dict(dtype=dtype, nvidia=nvidia, shard=ActivationSharding(mesh))
            return nnx.merge(graphdef(config, **options, **extras), params)

        def image_features(params: Any, images: jax.Array, normalize: bool = True) -> jax.Array:
            pixels = normalize_images(images, preprocess.mean, preprocess.std)
            return model(params).encode_image(pixels, normalize=normalize)

        def text_features(params: Any, packed: jax.Array) -> jax.Array:
            return packed_features(model(params), packed)

        self.image_features = jax.jit(image_features, out_shardings=self._rows)
        self._raw_image_features = jax.jit(partial(image_features, normalize=False), out_shardings=self._rows)
        self.text_features = jax.jit(text_features, out_shardings=self._rows)
        self._options: dict[Any, dict[str, Any]] = {}
        if nvidia:
            self._options = {
                self.image_features: _IMAGE_OPTIONS,
                self._raw_image_features: _IMAGE_OPTIONS,
                self.text_features: _TEXT_OPTIONS,
            }
        self._compiled: dict[Any, jax.stages.Compiled] = {}

    def images(
        self, params: Any, pixels: Iterable[Pixels], *, normalize: bool = True
    ) -> Iterator[Float32[np.ndarray, "rows embed_dim"]]:
        """Yield the unit vectors of preprocessed images in order, one batch at a time.

        The next batch is read and dispatched before a batch's vectors are awaited. normalize: False returns
        the tower's projections, of any length.
        """
        function = self.image_features if normalize else self._raw_image_features
        batches = _batched(pixels, self.batch_size)
        if (first := next(batches, None)) is not None:
            shape = self._image_rows(len(first))
            yield from self._stream(function, params, itertools.chain([first], batches), shape)

    def texts(self, params: Any, texts: Sequence[str]) -> Float32[np.ndarray, "n embed_dim"]:
        """Return the unit vectors of texts, packed into rows with shared prefixes computed once.

        Texts longer than the context are truncated.
        """
        if not len(texts):
            return np.empty((0, self._embed_dim), np.float32)
        # Its libraries are slow to import, and cached text vectors do not need them.
        from bioclip_jax.text import Tokenizer

        tokens = Tokenizer(self._context_length)(texts)
        # The end-of-text token has the largest id.
        packed = pack(tokens, tokens.argmax(axis=1).astype(np.int32) + 1, self._row_length)
        shape = self._text_rows(len(packed.rows))
        features = np.empty((len(texts), self._embed_dim), np.float32)
        starts = range(0, len(packed.rows), shape)
        row, column = np.divmod(packed.ends, self._row_length)
        chunks = (
            packed.rows[start : start + shape] for start in track(starts, "encoding texts", len(starts))
        )
        for start, batch in zip(starts, self._stream(self.text_features, params, chunks, shape)):
            ends = (row >= start) & (row < start + shape)
            features[ends] = batch[row[ends] - start, column[ends]]
        return features

    def _image_rows(self, images: int) -> int:
        """Return the number of images to compile for, given those of the first batch."""
        if self._on_cpu:
            return self._power_of_two(images, self.batch_size)
        few = min(_FEW_IMAGES * self.mesh.size, self.batch_size)
        return few if images <= few else self.batch_size

    def _text_rows(self, rows: int) -> int:
        """Return the number of rows of packed texts to compile for."""
        # A row of short texts is about as much work as an image; half a batch wastes less padding.
        most = -(-self.batch_size // (2 * self.mesh.size)) * self.mesh.size
        return self._power_of_two(rows, most) if self._on_cpu else min(most, _TEXT_ROWS * self.mesh.size)

    def _power_of_two(self, rows: int, most: int) -> int:
        fewer = 1 << max(0, rows - 1).bit_length()
        return min(most, -(-fewer // self.mesh.size) * self.mesh.size)

    def _stream(
        self, function: Any, params: Any, batches: Iterable[Sequence[np.ndarray]], shape: int
    ) -> Iterator[np.ndarray]:
        """Yield the results of `function` for batches of up to `shape` rows, in order."""
        running: deque[tuple[jax.Array, int]] = deque()
        for rows in batches:
            running.append((self._dispatch(function, params, rows, shape), len(rows)))
            if len(running) == _IN_FLIGHT:
                yield _fetch(*running.popleft())
        while running:
            yield _fetch(*running.popleft())

    def _dispatch(self, function: Any, params: Any, rows: Sequence[np.ndarray], shape: int) -> jax.Array:
        """Start `function` on the rows, padded to `shape` and sharded over the devices."""
        if self._before_batch is not None:
            self._before_batch()
        padded = np.empty((shape, *rows[0].shape), rows[0].dtype)
        np.stack(rows, out=padded[: len(rows)])
        padded[len(rows) :] = 0
        on_devices = jax.make_array_from_callback(padded.shape, self._rows, lambda index: padded[index])
        features = self._program(function, params, on_devices)(params, on_devices)
        if features.is_fully_addressable:
            features.copy_to_host_async()
        return features

    def _program(self, function: Any, params: Any, rows: jax.Array) -> Callable[..., jax.Array]:
        """Return `function`, compiled with this platform's options if it has any."""
        if function not in self._options:
            return function
        key = (function, rows.shape, rows.dtype, jax.tree.structure(params))
        if key not in self._compiled:
            self._compiled[key] = compile_lowered(function.lower(params, rows), self._options[function])
        return self._compiled[key]


def _fetch(features: jax.Array, rows: int) -> np.ndarray:
    """Wait for the features of a batch, and return its rows without the padding."""
    if not features.is_fully_addressable:
        from jax.experimental.multihost_utils import process_allgather

        features = process_allgather(features, tiled=True)
    return np.asarray(features)[:rows]


def _batched(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    items = iter(items)
    while batch := list(itertools.islice(items, size)):
        yield batch
