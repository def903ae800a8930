"""The two towers as compiled functions from host arrays to host arrays, in few fixed shapes."""

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

# Tokens in a row of texts: long rows repeat fewer beginnings, and attention's share grows with their square.
_ROW_LENGTH = 128


class Encoder:
    """Pixels and texts to unit vectors by parameters that are given with each call and may change between calls.

    Rows are split over all devices of `mesh`. A batch holds `batch_size` rows, the last one filled up; fewer
    rows in all are filled up to a power of two. So each tower is compiled once a run.
    With several processes, each must make the same calls with the same rows, and gets all vectors.

    image_features, text_features: the compiled towers, (parameters, images or packed int32 texts) -> unit
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
        """`batch_size`: rows a batch; None chooses for the kind of device. `dtype`: of the towers' arithmetic.

        `before_batch` is called before each batch; what it raises breaks a call off.
        """
        self._before_batch = before_batch
        self.mesh = mesh
        batch_size = batch_size or mesh.size * (16 if mesh.devices.flat[0].platform == "cpu" else 128)
        self.batch_size = -(-batch_size // mesh.size) * mesh.size
        self._context_length = config.text.context_length
        self._embed_dim = config.embed_dim
        self._row_length = max(_ROW_LENGTH, self._context_length)
        self._rows = batch_sharding(mesh)
        # "auto" goes by the machine's best device, and `mesh` may be made of another kind.
        attention = "xla" if mesh.devices.flat[0].platform == "cpu" else "auto"

        def model(params: Any) -> CLIP:
            # Parameters that only training uses: a second projector, and the sigmoid loss's bias.
            present = dict(
                replay_projector="continual_proj" in params["visual"], logit_bias="logit_bias" in params
            )
            options = dict(dtype=dtype, attention=attention, shard=ActivationSharding(mesh))
            return nnx.merge(graphdef(config, **options, **present), params)

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
        """Unit vectors in the order of `pixels`, a batch at a time; pixels as Preprocess gives them.

        `normalize`: False gives the vectors as the tower projects them, of any length.
        """
        function = self.image_features if normalize else self._raw_image_features
        shape = 0
        for batch in _batched(pixels, self.batch_size):
            shape = shape or self._shape(len(batch), self.batch_size)
            yield self._run(function, params, np.stack(batch), shape)

    def texts(self, params: Any, texts: Sequence[str]) -> Float32[np.ndarray, "n embed_dim"]:
        """Unit vectors of texts, packed into rows with what several begin with only once: see text_packing.

        A text longer than the context is cut.
        """
        if not len(texts):
            return np.empty((0, self._embed_dim), np.float32)
        # Its libraries take a while to import, and who has the texts' vectors already never needs them.
        from bioclip_jax.text import Tokenizer

        tokens = Tokenizer(self._context_length)(texts)
        # The end-of-text token has the largest id.
        packed = pack(tokens, tokens.argmax(axis=1).astype(np.int32) + 1, self._row_length)
        # A row of short texts is about as much work as an image; half as many leave less of the last batch
        # empty.
        shape = self._shape(len(packed.rows), -(-self.batch_size // (2 * self.mesh.size)) * self.mesh.size)
        features = np.empty((len(texts), self._embed_dim), np.float32)
        starts = range(0, len(packed.rows), shape)
        row, column = np.divmod(packed.ends, self._row_length)
        for start in track(starts, "encoding texts", len(starts)):
            found = self._run(self.text_features, params, packed.rows[start : start + shape], shape)
            here = (row >= start) & (row < start + shape)
            features[here] = found[row[here] - start, column[here]]
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
