"""The nearest of some vectors, computed in full on the device: for a web page, and for sets that fit its memory."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Float32, Int32

Row = dict[str, Any]

# A block's scores, and not those of all vectors, are held for each query.
_BLOCK = 8192
_QUERIES = 64


class Nearest(NamedTuple):
    """Cosines, best first, and the places of the vectors that have them, for each query."""

    scores: Float32[np.ndarray, "queries k"]
    places: Int32[np.ndarray, "queries k"]


class ExactIndex:
    """Vectors on the default device, searched by cosine; every answer is exact, up to float32."""

    def __init__(self, vectors: Float32[np.ndarray, "n dim"], rows: Sequence[Row] | None = None) -> None:
        """`vectors`: of any length but 0; they are kept as unit vectors, in blocks. `rows`: what `search` answers with,
        one a vector; None gives their places.
        """
        self._rows = rows
        vectors = np.asarray(vectors, np.float32)
        self._number, dim = vectors.shape
        block = min(_BLOCK, max(1, self._number))
        blocks = -(-self._number // block)
        filled = np.zeros((blocks * block, dim), np.float32)
        filled[: self._number] = _unit(vectors)
        self._blocks = jax.device_put(filled.reshape(blocks, block, dim))

    def __len__(self) -> int:
        return self._number

    def search(
        self,
        vectors: Float32[np.ndarray, "queries dim"],
        k: int = 10,
        among: Bool[np.ndarray, " n"] | None = None,
    ) -> list[list[Row]]:
        """As `nearest`; the answer as ImageIndex.search gives it: for each query, rows with their "score"."""
        rows = self._rows
        return [
            [
                ({"place": place} if rows is None else rows[place]) | {"score": score}
                for score, place in zip(*found)
            ]
            for found in zip(*(part.tolist() for part in self.nearest(vectors, k, among)))
        ]

    def nearest(
        self,
        queries: Float32[np.ndarray, "queries dim"],
        k: int = 10,
        among: Bool[np.ndarray, " n"] | None = None,
    ) -> Nearest:
        """The k vectors of the largest cosine with each query, of those that `among` allows; of equals, the first.

        Returns: fewer than k where there are fewer.
        """
        k = min(k, self._number if among is None else int(among.sum()))
        queries = _unit(np.asarray(queries, np.float32))
        if k == 0 or not len(queries):
            return Nearest(np.empty((len(queries), k), np.float32), np.empty((len(queries), k), np.int32))
        blocks, block, _ = self._blocks.shape
        allowed = np.zeros(blocks * block, bool)
        allowed[: self._number] = True if among is None else among
        parts = []
        for start in range(0, len(queries), _QUERIES):
            chunk = queries[start : start + _QUERIES]
            # A power of two, so that few shapes are compiled.
            filled = np.zeros((1 << (len(chunk) - 1).bit_length(), queries.shape[1]), np.float32)
            filled[: len(chunk)] = chunk
            found = _nearest(self._blocks, allowed.reshape(blocks, block), filled, k)
            parts.append([np.asarray(part)[: len(chunk)] for part in found])
        return Nearest(*map(np.concatenate, zip(*parts)))


@partial(jax.jit, static_argnames="k")
def _nearest(
    vectors: Float[Array, "blocks block dim"],
    allowed: Bool[Array, "blocks block"],
    queries: Float[Array, "queries dim"],
    k: int,
) -> tuple[Float[Array, "queries k"], Int32[Array, "queries k"]]:
    size = vectors.shape[1]

    def merge(
        best: tuple[Array, Array], block: tuple[Array, Array, Array]
    ) -> tuple[tuple[Array, Array], None]:
        number, rows, among = block
        # On accelerators a product is rounded to fewer bits unless one asks.
        scores = jnp.matmul(queries, rows.T, precision=jax.lax.Precision.HIGHEST)
        scores, places = jax.lax.top_k(jnp.where(among, scores, -jnp.inf), min(k, size))
        # The best so far come first, so of equal scores the earlier place wins.
        scores = jnp.concatenate([best[0], scores], axis=1)
        places = jnp.concatenate([best[1], places + number * size], axis=1)
        scores, order = jax.lax.top_k(scores, k)
        return (scores, jnp.take_along_axis(places, order, axis=1)), None

    nothing = jnp.full((len(queries), k), -jnp.inf), jnp.zeros((len(queries), k), jnp.int32)
    numbers = jnp.arange(len(vectors), dtype=jnp.int32)
    return jax.lax.scan(merge, nothing, (numbers, vectors, allowed))[0]


def _unit(vectors: Float32[np.ndarray, "n dim"]) -> Float32[np.ndarray, "n dim"]:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
