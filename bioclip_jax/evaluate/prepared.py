"""A labelled source that is encoded again and again, each time by other parameters."""

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


class PreparedImages:
    """The images of a source, prepared in the first call and kept in memory, up to `cache_bytes`; others are read in
    every call. What the source says of them is read once, here.
    """

    def __init__(
        self, source: Source, preprocess: Preprocess, encoder: Encoder, *, cache_bytes: int = CACHE_BYTES
    ) -> None:
        self._source, self._preprocess, self._encoder = source, preprocess, encoder
        self._bad: dict[int, str] = {}
        self._samples = {
            place: label for place in range(len(source)) if (label := self._label(place)) is not None
        }
        self._cache: list[tuple[int, UInt8[np.ndarray, "size size 3"]]] = []
        self._uncached = list(self._samples)
        self._cache_bytes = cache_bytes

    @property
    def samples(self) -> Sequence[Sample]:
        """What the source says of its images, those included that turn out not to be pictures."""
        return list(self._samples.values())

    def __call__(self, params: Any) -> LabeledEmbeddings:
        """The vectors of the readable images by `params` (the CLIP's parameters, on the encoder's mesh).

        Errors: UserError if no image can be read.
        """
        places: list[int] = []

        def pixels() -> Iterator[UInt8[np.ndarray, "size size 3"]]:
            for place, image in self._prepared():
                places.append(place)
                yield image

        batches = list(self._encoder.images(params, pixels(), normalize=False))
        if not batches:
            raise UserError(f"none of the {len(self._bad)} images can be read; give JPEG, PNG or the like")
        # In the source's order, whichever of them were kept in memory.
        order = np.argsort(places)
        chosen = np.array(places, np.int64)[order]
        samples = [self._samples[place] for place in chosen.tolist()]
        return LabeledEmbeddings(
            np.concatenate(batches)[order], samples, chosen, dict(Counter(self._bad.values()))
        )

    def _label(self, place: int) -> Sample | None:
        """What the source says of an image; None, and the cause noted, where there is no image."""
        try:
            sample = self._source[place]
        except (OSError, ValueError):
            self._bad[place] = "unreadable"
            return None
        if not sample.image:
            self._bad[place] = "no_image"
            return None
        return replace(sample, image=b"", captions={})

    def _prepared(self) -> Iterator[tuple[int, UInt8[np.ndarray, "size size 3"]]]:
        """Places and pixels: those in memory, then those that are read again, or now for the first time."""
        from bioclip_jax.predict import load_ahead

        yield from self._cache
        rest, self._uncached = self._uncached, []
        images = ((place, self._read(place)) for place in track(rest, "encoding images", len(rest)))
        done = 0
        try:
            for place, image in load_ahead(images, self._preprocess, 2 * self._encoder.batch_size):
                done += 1
                if isinstance(image, UserError):
                    self._bad[place] = (
                        image.__cause__.cause if isinstance(image.__cause__, BadImage) else "unreadable"
                    )
                    continue
                if image.nbytes <= self._cache_bytes:
                    self._cache_bytes -= image.nbytes
                    self._cache.append((place, image))
                else:
                    self._uncached.append(place)
                yield place, image
        finally:
            # Where an evaluation is broken off, the next one reads the others.
            self._uncached += rest[done:]

    def _read(self, place: int) -> bytes:
        try:
            return self._source[place].image
        except (OSError, ValueError):  # gone since the labels were read
            return b""
