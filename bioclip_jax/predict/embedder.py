"""Embed images and texts as unit vectors, with images decoded ahead of the device by a thread pool."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float32

from bioclip_jax.convert import ModelBundle, Transform
from bioclip_jax.distributed import MeshConfig, make_mesh, replicated
from bioclip_jax.errors import UserError
from bioclip_jax.pipeline.images import BadImage, FrameReader, MissingLibrary, Preprocess, ReadOptions
from bioclip_jax.tables import shown_path

from .crop import SMALL_CROP
from .image_file import ImageFile
from .options import Precision
from .preprocess import ImageLike, Pixels, choose_preprocess, load_pixels, name_of

if TYPE_CHECKING:
    from .encoder import Encoder

# Called with the index of an unreadable image and the error.
OnBad = Callable[[int, UserError], None]
# Image indices, and one vector for each.
Embedded = tuple[list[int], Float32[np.ndarray, "rows embed_dim"]]


class Embedder:
    """A model on this machine's devices.

    preprocess: PIL image -> the model's pixels. transform: its name, "model" or "pybioclip". precision: of
    the towers, "fp32" or "bf16".
    truncated: names of truncated images that were read nevertheless, each with its missing part.
    """

    def __init__(
        self,
        bundle: ModelBundle,
        *,
        batch_size: int | None = None,
        devices: Sequence[jax.Device] | None = None,
        precision: Precision = "fp32",
        transform: Transform | None = None,
        reading: ReadOptions | None = None,
    ) -> None:
        """Place the parameters on the devices.

        batch_size: None chooses by device kind. devices: None means all local ones. precision: "bf16"
        computes the towers in bfloat16, except their norms, softmax and vectors. transform: None follows the
        model's origin. reading: overrides how `preprocess` reads image files.
        """
        self.mesh = make_mesh(MeshConfig(), devices or jax.local_devices())
        self.transform: Transform = transform or bundle.origin.transform
        self.preprocess: Preprocess = choose_preprocess(bundle, transform)
        if reading is not None:
            self.preprocess = replace(self.preprocess, read=reading)
        self.truncated: list[str] = []
        self.precision: Precision = precision
        self._config, self._batch_size = bundle.config, batch_size
        self._params = jax.device_put(bundle.params, replicated(self.mesh))
        self.embed_dim = bundle.config.embed_dim

    @property
    def batch_size(self) -> int:
        """Images per forward pass."""
        return self._encoder.batch_size

    @cached_property
    def _encoder(self) -> Encoder:
        # Importing Flax takes a while, so it is deferred until there is something to encode.
        from .encoder import Encoder

        return Encoder(
            self._config,
            self.preprocess,
            self.mesh,
            batch_size=self._batch_size,
            dtype=jnp.bfloat16 if self.precision == "bf16" else jnp.float32,
        )

    @property
    def params(self) -> dict[str, Any]:
        """The model's parameters, on the devices."""
        return self._params

    def images(self, images: Sequence[ImageLike]) -> Float32[np.ndarray, "n embed_dim"]:
        """Return the unit vectors of images. Raises UserError if one is unreadable."""
        parts = [features for _, features in self.stream(images)]
        return np.concatenate(parts) if parts else np.empty((0, self.embed_dim), np.float32)

    def stream(
        self, images: Iterable[ImageLike], on_bad: OnBad | None = None, *, normalize: bool = True
    ) -> Iterator[Embedded]:
        """Yield image indices and unit vectors in order, one batch at a time; see stream_indexed."""
        return self.stream_indexed(enumerate(images), on_bad, normalize=normalize)

    def stream_indexed(
        self, images: Iterable[tuple[int, ImageLike]], on_bad: OnBad | None = None, *, normalize: bool = True
    ) -> Iterator[Embedded]:
        """Yield the indices of (index, image) pairs and their unit vectors in order, one batch at a time.

        Unreadable images are passed to `on_bad` and skipped; without it they raise UserError. normalize:
        False returns the image tower's projections, as Encoder.images.
        """
        indices: deque[int] = deque()

        def pixels() -> Iterator[Pixels]:
            ahead = 2 * self._encoder.batch_size
            for index, loaded in load_ahead(images, self.preprocess, ahead, self.truncated):
                if isinstance(loaded, np.ndarray):
                    indices.append(index)
                    yield loaded
                elif on_bad is None:
                    raise loaded
                else:
                    on_bad(index, loaded)

        for features in self.pixels(pixels(), normalize=normalize):
            yield [indices.popleft() for _ in range(len(features))], features

    def pixels(
        self, pixels: Iterable[Pixels], *, normalize: bool = True
    ) -> Iterator[Float32[np.ndarray, "rows embed_dim"]]:
        """Encode preprocessed images, as Encoder.images. Raises UserError for non-finite vectors."""
        for features in self._encoder.images(self._params, pixels, normalize=normalize):
            yield _check_finite(features)

    def texts(self, texts: Sequence[str]) -> Float32[np.ndarray, "n embed_dim"]:
        """Return the unit vectors of texts. Raises UserError for non-finite vectors."""
        return _check_finite(self._encoder.texts(self._params, texts))


def _check_finite(features: Float32[np.ndarray, "n dim"]) -> Float32[np.ndarray, "n dim"]:
    if not np.isfinite(features).all():
        raise UserError(
            "the model's vectors hold NaN or infinity: its weights are damaged or its training diverged; "
            "use an earlier checkpoint, or download the weights again"
        )
    return features


def load_ahead(
    images: Iterable[tuple[int, ImageLike]],
    preprocess: Preprocess,
    ahead: int,
    truncated: list[str] | None = None,
) -> Iterator[tuple[int, Pixels | UserError]]:
    """Decode (index, image) pairs in a thread pool: yield indices with pixels or an error, in order.

    At most `ahead` images wait in memory. Truncated but readable images are added to `truncated`. Frames of a
    video are decoded in order by one process, while the others are decoded by the pool.
    """
    truncated = [] if truncated is None else truncated
    frames = FrameReader()

    def load(index: int, image: ImageLike) -> tuple[int, Pixels | UserError]:
        try:
            return index, load_pixels(
                image,
                preprocess,
                lambda missing: truncated.append(f"{name_of(image)}: {missing}"),
                frames if _is_frame(image) else None,
            )
        except (BadImage, OSError, ValueError, MemoryError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else error
            name = shown_path(name_of(image)) or "an image"
            advice = "give a JPEG, PNG or the like"
            if isinstance(error, BadImage) and error.cause == "too_large":
                advice = "make it smaller, or raise the limit with --max-pixels"
            if isinstance(error, BadImage) and error.cause == SMALL_CROP:
                advice = "raise --detection-threshold, or correct the box"
            if isinstance(error, MissingLibrary):
                advice = error.advice
            problem = UserError(f"{name} cannot be read ({reason}); {advice}")
            problem.__cause__ = error
            return index, problem

    pending: deque[Future] = deque()
    with ThreadPoolExecutor(min(16, os.cpu_count() or 1)) as pool:
        try:
            for index, image in images:
                if _is_frame(image):
                    # Whole frames would fill the memory, so only the model's pixels wait.
                    pending.append(done := Future())
                    done.set_result(load(index, image))
                else:
                    pending.append(pool.submit(load, index, image))
                if len(pending) > ahead:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            frames.close()


def _is_frame(image: ImageLike) -> bool:
    return isinstance(image, ImageFile) and isinstance(image.frame, float)
