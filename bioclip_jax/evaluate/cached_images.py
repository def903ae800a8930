"""In-memory cache of a labeled source's preprocessed images, to encode them with changing parameters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import UInt8

from bioclip_jax.errors import UserError
from bioclip_jax.pipeline.images import BadImage, Preprocess
from bioclip_jax.pipeline.sources import Sample, Source
from bioclip_jax.predict import track
from bioclip_jax.predict.embedding import LabeledEmbeddings

if TYPE_CHECKING:
    from bioclip_jax.predict import Encoder

CACHE_BYTES = 2 << 30


class CachedImages:
    """Images of a source, preprocessed in the first call and cached up to `cache_bytes`.

    The source's labels are read once, at construction; images beyond the cache are read in every call.
    """

    def __init__(
        self, source: Source, preprocess: Preprocess, encoder: Encoder, *, cache_bytes: int = CACHE_BYTES
    ) -> None:
        self._source, self._preprocess, self._encoder = source, preprocess, encoder
        self._bad: dict[int, str] = {}
        self._samples = {
            index: label for index in range(len(source)) if (label := self._label(index)) is not None
        }
        self._cache: list[tuple[int, UInt8[np.ndarray, "size size 3"]]] = []
        self._uncached = list(self._samples)
        self._cache_bytes = cache_bytes

    @property
    def samples(self) -> Sequence[Sample]:
        """Labels of the images, including any that later turn out not to be decodable."""
        return list(self._samples.values())

    def __call__(self, params: Any) -> LabeledEmbeddings:
        """Encode the readable images by `params` (the CLIP parameters, on the encoder's mesh).

        Raises UserError if no image can be read.
        """
        indices: list[int] = []

        def pixels() -> Iterator[UInt8[np.ndarray, "size size 3"]]:
            for index, image in self._preprocessed():
                indices.append(index)
                yield image

        batches = list(self._encoder.images(params, pixels(), normalize=False))
        if not batches:
            raise UserError(f"none of the {len(self._bad)} images can be read; give JPEG, PNG or the like")
        # Back to the source's order, since cached images come first.
        order = np.argsort(indices)
        chosen = np.array(indices, np.int64)[order]
        samples = [self._samples[index] for index in chosen.tolist()]
        return LabeledEmbeddings(
            np.concatenate(batches)[order], samples, chosen, dict(Counter(self._bad.values()))
        )

    def _label(self, index: int) -> Sample | None:
        """Return a sample without its image; None, with the cause recorded, if it has no image."""
        try:
            sample = self._source[index]
        except (OSError, ValueError):
            self._bad[index] = "unreadable"
            return None
        if not sample.image:
            self._bad[index] = "no_image"
            return None
        return replace(sample, image=b"", captions={})

    def _preprocessed(self) -> Iterator[tuple[int, UInt8[np.ndarray, "size size 3"]]]:
        """Yield index and pixels: cached images first, then the others, cached while there is room."""
        from bioclip_jax.predict import load_ahead

        yield from self._cache
        rest, self._uncached = self._uncached, []
        images = ((index, self._read(index)) for index in track(rest, "encoding images", len(rest)))
        done = 0
        try:
            for index, image in load_ahead(images, self._preprocess, 2 * self._encoder.batch_size):
                done += 1
                if isinstance(image, UserError):
                    cause = image.__cause__
                    self._bad[index] = cause.cause if isinstance(cause, BadImage) else "unreadable"
                    continue
                if image.nbytes <= self._cache_bytes:
                    self._cache_bytes -= image.nbytes
                    self._cache.append((index, image))
                else:
                    self._uncached.append(index)
                yield index, image
        finally:
            # After an interrupted evaluation, the next one reads the rest.
            self._uncached += rest[done:]

    def _read(self, index: int) -> bytes:
        try:
            return self._source[index].image
        except (OSError, ValueError):  # removed since the labels were read
            return b""
