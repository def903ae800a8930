"""Vectors of many images, some of them from a cache."""

from __future__ import annotations

import hashlib
import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from jaxtyping import Float32

from bioclip_jax.errors import UserError
from bioclip_jax.predict.inputs import ImageFile
from bioclip_jax.predict.progress import track

if TYPE_CHECKING:
    from bioclip_jax.predict.embedder import OnBad
    from bioclip_jax.predict.model import Model
    from bioclip_jax.predict.vector_cache import VectorCache

Item = TypeVar("Item")

# Some batches, so that the last one, which is filled up, costs little.
BLOCK = 256
_BATCHES = 16


def stream_vectors(
    model: Model,
    images: Sequence[ImageFile],
    on_bad: OnBad,
    cache: VectorCache | None = None,
    *,
    normalize: bool = True,
    results_on_stdout: bool = False,
) -> Iterator[tuple[list[int], Float32[np.ndarray, "rows embed_dim"]]]:
    """As Embedder.stream, with a bar; images whose content the cache knows are neither decoded nor encoded again.

    The content is known by its SHA-256, the preprocessing, and the model's fingerprint.
    """
    bar = {"description": "embedding", "total": len(images), "results_on_stdout": results_on_stdout}
    if cache is None:
        yield from model.embedder.stream(track(images, **bar), on_bad, normalize=normalize)
        return
    made_by = f"{model.embedder.preprocess!r} {model.dtype} {'unit' if normalize else 'raw'}"
    how = hashlib.sha256(made_by.encode()).hexdigest()[:16]
    # The device waits at a block's end until the next one's images are decoded: blocks of many batches keep
    # it busy.
    size = max(BLOCK, _BATCHES * model.embedder.batch_size)
    for block in blocks(track(range(len(images)), **bar), size):
        contents = digests([images[place] for place in block])
        keys = {place: f"{content} {how}" for place, content in zip(block, contents) if content is not None}
        vectors = cache.get(model.fingerprint, keys.values())
        found = {place: vectors[key] for place, key in keys.items() if key in vectors}
        fresh: dict[int, Float32[np.ndarray, " embed_dim"]] = {}
        missing = [place for place in block if place not in found]
        for places, features in stream_places(model, images, missing, on_bad, normalize=normalize):
            fresh.update(zip(places, features))
        cache.put(model.fingerprint, {keys[place]: row for place, row in fresh.items() if place in keys})
        if found := found | fresh:
            places = sorted(found)
            yield places, np.stack([found[place] for place in places])


def stream_places(
    model: Model, images: Sequence[ImageFile], places: Sequence[int], on_bad: OnBad, *, normalize: bool = True
) -> Iterator[tuple[list[int], Float32[np.ndarray, "rows embed_dim"]]]:
    """As Embedder.stream, for the images at `places`: these are the places that it gives, and tells `on_bad`."""

    def noting_bad(number: int, problem: UserError) -> None:
        on_bad(places[number], problem)

    chosen = (images[place] for place in places)
    for numbers, features in model.embedder.stream(chosen, noting_bad, normalize=normalize):
        yield [places[number] for number in numbers], features


def blocks(items: Iterable[Item], size: int = BLOCK) -> Iterator[list[Item]]:
    """The items, `size` at a time."""
    items = iter(items)
    while block := list(itertools.islice(items, size)):
        yield block


def digests(images: Sequence[ImageFile]) -> list[str | None]:
    """The SHA-256 of each image's bytes, in hexadecimal; None where it cannot be read."""

    def digest(image: ImageFile) -> str | None:
        try:
            return hashlib.sha256(image.read()).hexdigest()
        except OSError:
            return None

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        return list(pool.map(digest, images))
