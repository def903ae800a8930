"""Compiled image and text encoders on host arrays, in a few fixed shapes."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh
from jaxtyping import Float32

from bioclip_jax.distributed import ActivationSharding, batch_sharding
from bioclip_jax.models import CLIP, CLIPConfig, graphdef, normalize_images
from bioclip_jax.pipeline.images import Preprocess

from .preprocess import Pixels
from .progress import track
from .text_packing import pack, packed_features

# Tokens per row of packed texts: longer rows repeat fewer shared prefixes, but attention grows quadratically.
_ROW_LENGTH = 128


class Encoder:
    """Pixels and texts to unit vectors, with parameters passed to each call, which may change between calls.

    Rows are sharded over all devices of `mesh`. Batches have `batch_size` rows, the last one padded; if there
    are fewer rows in total, they are padded to a power of two. Each tower is thus compiled once per run. With
    several processes, each must make the same calls with the same rows, and each gets all vectors.

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
        batch_size = batch_size or mesh.size * (16 if mesh.devices.flat[0].platform == "cpu" else 128)
        self.batch_size = -(-batch_size // mesh.size) * mesh.size
        self._context_length = config.text.context_length
        self._embed_dim = config.embed_dim
        self._row_length = max(_ROW_LENGTH, self._context_length)
        self._rows = batch_sharding(mesh)
        # "auto" follows the machine's best device, while `mesh` may have another kind.
        attention = "xla" if mesh.devices.flat[0].platform == "cpu" else "auto"

        def model(params: Any) -> CLIP:
            # Parameters that only training uses: a second projector, and the bias of the sigmoid loss.
            extras = dict(
                replay_projector="continual_proj" in params["visual"], logit_bias="logit_bias" in params
            )
            options = dict(dtype=dtype, attention=attention, shard=ActivationSharding(mesh))
            return nnx.merge(graphdef(config, **options, **extras), params)

        def image_features(params: Any, images: jax.Array, normalize: bool = True) -> jax.Array:
            pixels = normalize_images(images, preprocess.mean, preprocess.std)
            return model(params).encode_image(pixels, normalize=normalize)

        def text_features(params: Any, packed: jax.Array) -> jax.Array:
            return packed_features(model(params), packed)

        self.image_features = jax.jit(image_features, out_shardings=self._rows)
        self._raw_image_features = jax.jit(partial(image_features, normalize=False), out_shardings=self._rows)
        self.text_features = jax.jit(text_features, out_shardings=self._rows)

    def images(
        self, params: Any, pixels: Iterable[Pixels], *, normalize: bool = True
    ) -> Iterator[Float32[np.ndarray, "rows embed_dim"]]:
        """Yield the unit vectors of preprocessed images in order, one batch at a time.

        normalize: False returns the tower's projections, of any length.
        """
        function = self.image_features if normalize else self._raw_image_features
        shape = 0
        for batch in _batched(pixels, self.batch_size):
            shape = shape or self._shape(len(batch), self.batch_size)
            yield self._run(function, params, np.stack(batch), shape)

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
        # A row of short texts is about as much work as an image; half a batch wastes less padding.
        shape = self._shape(len(packed.rows), -(-self.batch_size // (2 * self.mesh.size)) * self.mesh.size)
        features = np.empty((len(texts), self._embed_dim), np.float32)
        starts = range(0, len(packed.rows), shape)
        row, column = np.divmod(packed.ends, self._row_length)
        for start in track(starts, "encoding texts", len(starts)):
            batch = self._run(self.text_features, params, packed.rows[start : start + shape], shape)
            ends = (row >= start) & (row < start + shape)
            features[ends] = batch[row[ends] - start, column[ends]]
        return features

    def _shape(self, rows: int, most: int) -> int:
        """Return the number of rows to compile for: `most`, or a power of two for fewer rows."""
        fewer = 1 << max(0, rows - 1).bit_length()
        return min(most, -(-fewer // self.mesh.size) * self.mesh.size)

    def _run(self, function: Any, params: Any, rows: np.ndarray, shape: int) -> np.ndarray:
        """Apply `function` to the rows, padded to `shape` and sharded over the devices."""
        if self._before_batch is not None:
            self._before_batch()
        padded = np.zeros((shape, *rows.shape[1:]), rows.dtype)
        padded[: len(rows)] = rows
        on_devices = jax.make_array_from_callback(padded.shape, self._rows, lambda index: padded[index])
        features = function(params, on_devices)
        if jax.process_count() > 1:
            from jax.experimental.multihost_utils import process_allgather

            features = process_allgather(features, tiled=True)
        # Waiting for the result keeps one step in flight while threads decode the next images.
        return np.asarray(features)[: len(rows)]


def _batched(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    items = iter(items)
    while batch := list(itertools.islice(items, size)):
        yield batch
