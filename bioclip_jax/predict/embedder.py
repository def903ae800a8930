"""Images and texts to unit vectors."""

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
from bioclip_jax.pipeline.images import BadImage, Preprocess, ReadOptions
from bioclip_jax.tables import shown_path

from .pixels import ImageLike, Pixels, choose_preprocess, load_pixels, name_of

if TYPE_CHECKING:
    from .encoder import Encoder

# Called with the place of an image among the inputs and what is wrong with it.
OnBad = Callable[[int, UserError], None]


class Embedder:
    """A model on this machine's devices. Images are decoded by threads ahead of it.

    preprocess: the transform from a picture to the model's pixels. transform: its name, "model" or
    "pybioclip".
    truncated: the images that were read though their files lack the end, and what of them is missing.
    """

    def __init__(
        self,
        bundle: ModelBundle,
        *,
        batch_size: int | None = None,
        devices: Sequence[jax.Device] | None = None,
        dtype: Any = None,
        transform: Transform | None = None,
        reading: ReadOptions | None = None,
    ) -> None:
        """`batch_size`: images a batch; None chooses for the kind of device. `devices`: None takes all of this machine.

        `dtype`: of the towers' arithmetic, float32 where it is None. `transform`: None is what the model's
        origin says.
        `reading`: how image files are read, in place of what `preprocess` says.
        """
        mesh = make_mesh(MeshConfig(), devices or jax.local_devices())
        self.mesh = mesh
        self.transform: Transform = transform or bundle.origin.transform
        self.preprocess: Preprocess = choose_preprocess(bundle, transform)
        if reading is not None:
            self.preprocess = replace(self.preprocess, read=reading)
        self.truncated: list[str] = []
        self._config, self._batch_size, self._dtype = bundle.config, batch_size, dtype or jnp.float32
        self._params = jax.device_put(bundle.params, replicated(mesh))
        self.embed_dim = bundle.config.embed_dim

    @property
    def batch_size(self) -> int:
        """Images that go through the model at once."""
        return self._encoder.batch_size

    @cached_property
    def _encoder(self) -> Encoder:
        # Flax is imported once there is something to encode.
        from .encoder import Encoder

        return Encoder(
            self._config, self.preprocess, self.mesh, batch_size=self._batch_size, dtype=self._dtype
        )

    @property
    def params(self) -> dict[str, Any]:
        """The model's parameters, on the devices."""
        return self._params

    def images(self, images: Sequence[ImageLike]) -> Float32[np.ndarray, "n embed_dim"]:
        """Unit vectors of images. UserError for one that cannot be read."""
        parts = [features for _, features in self.stream(images)]
        return np.concatenate(parts) if parts else np.empty((0, self.embed_dim), np.float32)

    def stream(
        self, images: Iterable[ImageLike], on_bad: OnBad | None = None, *, normalize: bool = True
    ) -> Iterator[tuple[list[int], Float32[np.ndarray, "rows embed_dim"]]]:
        """Places among `images` and their unit vectors, a batch at a time, in order.

        What cannot be read is handed to `on_bad` and left out, or without it raised as UserError.
        `normalize`: as Encoder.images.
        """
        places: deque[int] = deque()

        def pixels() -> Iterator[Pixels]:
            loaded = load_ahead(images, self.preprocess, 2 * self._encoder.batch_size, self.truncated)
            for place, result in enumerate(loaded):
                if isinstance(result, np.ndarray):
                    places.append(place)
                    yield result
                elif on_bad is None:
                    raise result
                else:
                    on_bad(place, result)

        for features in self.pixels(pixels(), normalize=normalize):
            yield [places.popleft() for _ in range(len(features))], features

    def pixels(
        self, pixels: Iterable[Pixels], *, normalize: bool = True
    ) -> Iterator[Float32[np.ndarray, "rows embed_dim"]]:
        """As Encoder.images, for what `preprocess` gives. UserError where the weights give no finite vectors."""
        for features in self._encoder.images(self._params, pixels, normalize=normalize):
            yield _finite(features)

    def texts(self, texts: Sequence[str]) -> Float32[np.ndarray, "n embed_dim"]:
        """Unit vectors of texts. UserError where the weights give no finite vectors."""
        return _finite(self._encoder.texts(self._params, texts))


def _finite(features: Float32[np.ndarray, "n dim"]) -> Float32[np.ndarray, "n dim"]:
    if not np.isfinite(features).all():
        raise UserError(
            "the model's vectors hold NaN or infinity: its weights are damaged or its training diverged; "
            "take an earlier checkpoint, or fetch the weights again"
        )
    return features


def load_ahead(
    images: Iterable[ImageLike], preprocess: Preprocess, ahead: int, truncated: list[str] | None = None
) -> Iterator[Pixels | UserError]:
    """Each image's pixels, in order, or what is wrong with it; at most `ahead` wait in memory.

    Images that are read though their files lack the end are added to `truncated`.
    """
    truncated = [] if truncated is None else truncated

    def load(image: ImageLike) -> Any:
        try:
            return load_pixels(
                image, preprocess, lambda missing: truncated.append(f"{name_of(image)}: {missing}")
            )
        except (BadImage, OSError, ValueError, MemoryError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else error
            name = shown_path(name_of(image)) or "an image"
            advice = "give a JPEG, PNG or the like"
            if isinstance(error, BadImage) and error.cause == "too_large":
                advice = "make it smaller, or raise the limit with --max-pixels"
            problem = UserError(f"{name} cannot be read ({reason}); {advice}")
            problem.__cause__ = error
            return problem

    pending: deque[Future] = deque()
    with ThreadPoolExecutor(min(16, os.cpu_count() or 1)) as pool:
        try:
            for image in images:
                pending.append(pool.submit(load, image))
                if len(pending) > ahead:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
