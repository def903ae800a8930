"""The two towers as compiled functions from host arrays to host arrays, in few fixed shapes."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh
from jaxtyping import Float32, UInt8

from bioclip_jax.distributed.mesh import batch_sharding
from bioclip_jax.distributed.sharding import activation_sharding
from bioclip_jax.models import CLIP, CLIPConfig, graphdef, normalize_images
from bioclip_jax.pipeline.images import Preprocess
from bioclip_jax.predict.progress import track
from bioclip_jax.text.tokenizer import Tokenizer

_CONTEXT_STEP = 8
# Every context length costs a compilation, a second or more, which less work than this does not pay back.
_MANY_FLOPS = 2e12


class Encoder:
    """Pixels and texts to unit vectors by parameters that are given with each call and may change between calls.

    Rows are split over all devices of `mesh`. A batch holds `batch_size` rows, the last one filled up; fewer rows
    in all are filled up to a power of two. So each tower is compiled once a run (texts: once a context length).
    With several processes, each must make the same calls with the same rows, and gets all vectors.

    image_features, text_features: the compiled towers, (parameters, uint8 images or int32 tokens) -> unit vectors.
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
        """`batch_size`: rows a batch; None chooses for the kind of device. `dtype`: of the towers' arithmetic.

        `before_batch` is called before each batch; what it raises breaks a call off.
        """
        self._before_batch = before_batch
        self.mesh = mesh
        batch_size = batch_size or mesh.size * (16 if mesh.devices.flat[0].platform == "cpu" else 128)
        self.batch_size = -(-batch_size // mesh.size) * mesh.size
        self._tokenizer = Tokenizer(config.text.context_length)
        self._embed_dim = config.embed_dim
        self._text = config.text
        self._rows = batch_sharding(mesh)

        def model(params: Any) -> CLIP:
            # Parameters that only training uses: a second projector, and the sigmoid loss's bias.
            present = dict(replay_projector="continual_proj" in params["visual"], logit_bias="logit_bias" in params)
            return nnx.merge(graphdef(config, dtype=dtype, shard=activation_sharding(mesh), **present), params)

        def image_features(params: Any, images: jax.Array) -> jax.Array:
            return model(params).encode_image(normalize_images(images, preprocess.mean, preprocess.std))

        def text_features(params: Any, tokens: jax.Array) -> jax.Array:
            return model(params).encode_text(tokens)

        self.image_features = jax.jit(image_features, out_shardings=self._rows)
        self.text_features = jax.jit(text_features, out_shardings=self._rows)

    def images(
        self, params: Any, pixels: Iterable[UInt8[np.ndarray, "size size 3"]]
    ) -> Iterator[Float32[np.ndarray, "rows embed_dim"]]:
        """Unit vectors in the order of `pixels`, a batch at a time; pixels as Preprocess gives them."""
        shape = 0
        for batch in _batched(pixels, self.batch_size):
            shape = shape or self._shape(len(batch), self.batch_size)
            yield self._run(self.image_features, params, np.stack(batch), shape)

    def texts(self, params: Any, texts: Sequence[str]) -> Float32[np.ndarray, "n embed_dim"]:
        """Unit vectors of texts.

        They are cut behind the longest text, and many texts are sorted, so that each batch is as short as its own
        longest: under the causal mask, what stands behind the end-of-text token changes nothing.
        """
        tokens = self._tokenizer(texts)
        # The end-of-text token has the largest id.
        lengths = tokens.argmax(axis=1) + 1
        order = np.argsort(lengths, kind="stable")
        # A text is far less work than an image, so a batch holds more of them.
        shape = self._shape(len(order), 4 * self.batch_size)
        features = np.empty((len(texts), self._embed_dim), np.float32)
        # A multiplication and an addition for each of the 12 width^2 weights of a block.
        many = lengths.sum() * 24 * self._text.layers * self._text.width**2 > _MANY_FLOPS
        starts = range(0, len(order), shape)
        for start in track(starts, "encoding texts", len(starts)):
            rows = order[start : start + shape]
            longest = lengths[rows[-1] if many else order[-1]]
            context = -(-int(longest) // _CONTEXT_STEP) * _CONTEXT_STEP
            features[rows] = self._run(self.text_features, params, tokens[rows, :context], shape)
        return features

    def _shape(self, rows: int, most: int) -> int:
        """How many rows to compile for: `most`, or a power of two where there are fewer."""
        fewer = 1 << max(0, rows - 1).bit_length()
        return min(most, -(-fewer // self.mesh.size) * self.mesh.size)

    def _run(self, function: Any, params: Any, rows: np.ndarray, shape: int) -> np.ndarray:
        """`function` over the rows, filled up to `shape` and split over the devices."""
        if self._before_batch is not None:
            self._before_batch()
        filled = np.zeros((shape, *rows.shape[1:]), rows.dtype)
        filled[: len(rows)] = rows
        on_devices = jax.make_array_from_callback(filled.shape, self._rows, lambda index: filled[index])
        features = function(params, on_devices)
        if jax.process_count() > 1:
            from jax.experimental.multihost_utils import process_allgather

            features = process_allgather(features, tiled=True)
        # Waiting here keeps one step in flight; the threads that feed us work meanwhile.
        return np.asarray(features)[: len(rows)]


def _batched(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    items = iter(items)
    while batch := list(itertools.islice(items, size)):
        yield batch
