"""Stream the vectors of many images, reusing cached ones."""

from __future__ import annotations

import hashlib
import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from jaxtyping import Float32

from bioclip_jax.pipeline.images import open_part
from bioclip_jax.predict.inputs import ImageFile
from bioclip_jax.predict.progress import track
from bioclip_jax.predict.vector_cache import CACHE_NAMES

if TYPE_CHECKING:
    from bioclip_jax.predict.embedder import OnBad
    from bioclip_jax.predict.model import Model
    from bioclip_jax.predict.vector_cache import VectorCache

Item = TypeVar("Item")

# Images looked up in the cache together: several batches, so that padding the last one costs little.
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
    """Yield image indices and vectors in order, as Embedder.stream, with a progress bar.

    Images whose content is in the cache are neither decoded nor encoded. Cache keys are the SHA-256 of an
    image's content with the preprocessing and its box; the model's fingerprint separates models.
    """
    bar = {"description": "embedding", "total": len(images), "results_on_stdout": results_on_stdout}
    if cache is None:
        yield from model.embedder.stream(track(images, **bar), on_bad, normalize=normalize)
        return
    made_by = f"{model.embedder.preprocess!r} {CACHE_NAMES[model.precision]} {'unit' if normalize else 'raw'}"
    recipe = hashlib.sha256(made_by.encode()).hexdigest()[:16]
    for block in blocks(track(range(len(images)), **bar), block_size(model)):
        contents = digests([images[index] for index in block])
        keys = {
            index: f"{digest} {recipe}"
            + ("" if images[index].box is None else f" {tuple(images[index].box)}")
            for index, digest in zip(block, contents)
            if digest is not None
        }
        cached = cache.get(model.fingerprint, keys.values())
        vectors = {index: cached[key] for index, key in keys.items() if key in cached}
        missing = [(index, images[index]) for index in block if index not in vectors]
        fresh: dict[int, Float32[np.ndarray, " embed_dim"]] = {}
        for indices, features in model.embedder.stream_indexed(missing, on_bad, normalize=normalize):
            fresh.update(zip(indices, features))
        cache.put(model.fingerprint, {keys[index]: row for index, row in fresh.items() if index in keys})
        if vectors := vectors | fresh:
            indices = sorted(vectors)
            yield indices, np.stack([vectors[index] for index in indices])


def block_size(model: Model) -> int:
    """Return the number of images to look up together.

    The device idles at the end of each block until the next one is decoded, so blocks span many batches.
    """
    return max(BLOCK, _BATCHES * model.embedder.batch_size)


def blocks(items: Iterable[Item], size: int = BLOCK) -> Iterator[list[Item]]:
    """Split items into lists of `size`; the last may be shorter."""
    items = iter(items)
    while block := list(itertools.islice(items, size)):
        yield block


def digests(images: Sequence[ImageFile]) -> list[str | None]:
    """Return the hexadecimal SHA-256 of each image's bytes, None for an unreadable one.

    That of a page or frame is of its file's SHA-256 and its number or time.
    """

    def digest(image: ImageFile) -> str | None:
        try:
            if image.frame is None:
                return hashlib.sha256(image.read()).hexdigest()
            status = os.stat(image.path)
            whole = _file_digest(image.path, image.offset, image.size, status.st_size, status.st_mtime_ns)
        except OSError:
            return None
        return hashlib.sha256(f"{whole} {image.frame!r}".encode()).hexdigest()

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        return list(pool.map(digest, images))


@lru_cache(maxsize=64)
def _file_digest(path: str, offset: int, size: int | None, *state: int) -> str:
    """Return the SHA-256 of a file with many pages or frames, read once for all of them."""
    with open_part(path, offset, size) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
