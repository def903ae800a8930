"""Probabilities over all taxa, streamed in blocks: no full probability vector is ever held."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float, Float32, Int

from bioclip_jax.distributed import batch_sharding, replicated
from bioclip_jax.predict.rank import MIN_PROB, Rank

from .embeddings import TaxonEmbeddings

# The k best taxa are in the k chunks with the largest maxima, so only a chunk's maximum is kept.
_CHUNK = 64
# Rows scored together: what a CPU's caches hold, or what is worth a kernel launch.
_CPU_BLOCK, _BLOCK = 64 * _CHUNK, 1024 * _CHUNK
# Mapped bytes after which pages are dropped, so that memory does not grow by gigabytes.
_MAPPED_BYTES = 256 << 20
# Share of an accelerator's memory for keeping the embeddings there between passes.
_RESIDENT = 0.5


# Vectors, their scales, and the bias of the logits, None for 0.
_Block = tuple[Array, Array, Array | None]


class Totals(NamedTuple):
    """Softmax normalization of n images, from one pass over the taxa.

    largest, sum: each image's largest logit m, and its sum of exp(logit - m). maxima: largest logit of each
    chunk of taxa.
    """

    largest: Float32[np.ndarray, " n"]
    sum: Float32[np.ndarray, " n"]
    maxima: Float32[np.ndarray, "n chunks"]


class TaxaScorer:
    """softmax(logit_scale * cosine + bias) over taxa, or over some of their rows, on the devices of `mesh`.

    names: the taxa, in the row order of all results. group_size: number of images to score per pass.
    """

    def __init__(
        self,
        head: TaxonEmbeddings,
        logit_scale: float,
        mesh: Mesh,
        rows: Int[np.ndarray, " taxa"] | None = None,
        bias: Float32[np.ndarray, " taxa"] | None = None,
    ) -> None:
        """`rows`: ascending rows of the embeddings; None takes all. bias: finite, one for each of these."""
        self.names = head.names if rows is None else head.names.take(rows)
        self.logit_scale = logit_scale
        self._bias = bias
        self._head, self._rows, self._mesh = head, rows, mesh
        on_cpu = mesh.devices.flat[0].platform == "cpu"
        self.group_size = 256 if on_cpu else 1024
        # Contiguous rows are read from the file without a copy.
        self._offset = None if rows is not None and len(rows) != rows[-1] - rows[0] + 1 else 0
        if self._offset is not None and rows is not None:
            self._offset = int(rows[0])
        most = _CPU_BLOCK if on_cpu else _BLOCK
        self._block_rows = min(most, -(-len(self.names) // _CHUNK) * _CHUNK)
        self._resident: dict[int, Any] | None = None if on_cpu or not self._fits_on_device() else {}

    def species(
        self, features: Float32[np.ndarray, "n dim"], k: int
    ) -> tuple[Int[np.ndarray, "n k"], Float32[np.ndarray, "n k"]]:
        """Return the rows of each image's k most probable species and their probabilities, best first."""
        return self.best_species(features, self.totals(features), k)

    def totals(self, features: Float32[np.ndarray, "n dim"]) -> Totals:
        """Compute the softmax normalization of unit vectors (ideally `group_size` of them) in one pass."""
        n, features = len(features), self._on_devices(features)
        carry = (jnp.full(features.shape[0], -jnp.inf), jnp.zeros(features.shape[0]))
        maxima: list[Any] = []
        for _, block, valid in self._blocks():
            carry, chunk_maxima = _add_to_totals(carry, block, valid, features, self.logit_scale)
            # Transfer one block while another is computed; more would fill the memory.
            maxima[-1:] = [np.asarray(part)[:n] for part in maxima[-1:]]
            maxima.append(chunk_maxima)
        largest, total = (np.asarray(part)[:n] for part in carry)
        return Totals(largest, total, np.concatenate([*maxima[:-1], np.asarray(maxima[-1])[:n]], axis=1))

    def best_species(
        self, features: Float32[np.ndarray, "n dim"], totals: Totals, k: int
    ) -> tuple[Int[np.ndarray, "n k"], Float32[np.ndarray, "n k"]]:
        """Return the same as `species`, from precomputed totals."""
        k = min(k, len(self.names))
        rows = np.empty((len(features), k), np.int64)
        scores = np.empty((len(features), k), np.float32)
        read = 0
        for image, vector in enumerate(features):
            chunks = top_k_indices(totals.maxima[image], k)
            candidates = (np.sort(chunks)[:, None] * _CHUNK + np.arange(_CHUNK)).ravel()
            candidates = candidates[candidates < len(self.names)]
            logits = self.logit_scale * np.concatenate(
                [self._vectors(part) @ vector for part in _parts(candidates, _CPU_BLOCK)]
            )
            if self._bias is not None:
                logits += self._bias[candidates]
            best = top_k_indices(logits, k)
            rows[image] = candidates[best]
            scores[image] = np.exp(logits[best] - totals.largest[image]) / totals.sum[image]
            read += len(candidates) * vector.nbytes
            if read > _MAPPED_BYTES or image == len(features) - 1:
                self._head.drop_pages()
                read = 0
        # Logits computed twice may differ in the last bits.
        return rows, np.minimum(scores, 1)

    def rank_sums(
        self, features: Float32[np.ndarray, "n dim"], totals: Totals, rank: Rank, min_prob: float = MIN_PROB
    ) -> Float32[np.ndarray, "groups n"]:
        """Return each taxon's probability at a rank, the sum over its species.

        Rows are in the order of names.starts(rank). As in pybioclip, species with a probability up to
        `min_prob` do not count.
        """
        starts = self.names.starts(rank)
        groups = np.zeros(len(self.names), np.int32)
        groups[starts[1:]] = 1
        np.cumsum(groups, out=groups)
        n, features = len(features), self._on_devices(features)
        largest = self._padded(totals.largest, features.shape[0])
        total = self._padded(totals.sum, features.shape[0])
        sums = np.zeros((len(starts), n), np.float32)
        for start, block, valid in self._blocks():
            in_block = groups[start : start + int(valid)]
            first, last = in_block[0], in_block[-1] + 1
            padded = np.full(self._block_rows, self._block_rows, np.int32)
            padded[: len(in_block)] = in_block - first
            block_sums = _sum_by_group(block, padded, features, self.logit_scale, largest, total, min_prob)
            sums[first:last] += np.asarray(block_sums[: last - first, :n])
        return np.minimum(sums, 1, out=sums)

    def all_rank_sums(
        self, features: Float32[np.ndarray, "n dim"], totals: Totals, min_prob: float = MIN_PROB
    ) -> dict[Rank, Float32[np.ndarray, "groups n"]]:
        """Return `rank_sums` of all ranks above species, each summed from the genera."""
        genera = self.rank_sums(features, totals, Rank.GENUS, min_prob)
        sums = {Rank.GENUS: genera}
        for rank in list(Rank)[: Rank.GENUS.value]:
            first_genus = np.searchsorted(self.names.starts(Rank.GENUS), self.names.starts(rank))
            sums[rank] = np.minimum(np.add.reduceat(genera, first_genus, axis=0), 1)
        return sums

    def logits(
        self, rows: Int[np.ndarray, " rows"], vector: Float32[np.ndarray, " dim"]
    ) -> Float32[np.ndarray, " rows"]:
        """Return the logits of some rows for one image."""
        logits = self.logit_scale * (self._vectors(rows) @ vector)
        return logits if self._bias is None else logits + self._bias[rows]

    def linear(
        self, rows: Int[np.ndarray, " rows"]
    ) -> tuple[Float32[np.ndarray, "rows dim"], Float32[np.ndarray, " rows"]]:
        """Return weights and biases whose logits are those of some rows, for any image."""
        weights = np.float32(self.logit_scale) * self._vectors(rows)
        return weights, np.zeros(len(rows), np.float32) if self._bias is None else self._bias[rows]

    def _blocks(self) -> Iterator[tuple[int, _Block, np.int32]]:
        """Yield each block's first row, vectors, scales and bias on the devices, and number of valid rows."""
        on_all = replicated(self._mesh)
        mapped = 0
        for start in range(0, len(self.names), self._block_rows):
            stop = min(start + self._block_rows, len(self.names))
            if self._resident is not None and start in self._resident:
                yield start, self._resident[start], np.int32(stop - start)
                continue
            vectors, scales = self._stored(start, stop)
            scales = np.ones(stop - start, np.float32) if scales is None else scales
            bias = None if self._bias is None else self._bias[start:stop]
            if stop - start < self._block_rows:
                missing = self._block_rows - (stop - start)
                vectors = np.pad(vectors, ((0, missing), (0, 0)))
                scales = np.pad(scales, (0, missing))
                bias = None if bias is None else np.pad(bias, (0, missing))
            block = jax.device_put((vectors, scales, bias), on_all)
            if self._resident is not None:
                self._resident[start] = block
            yield start, block, np.int32(stop - start)
            mapped += vectors.nbytes
            if mapped > _MAPPED_BYTES or stop == len(self.names):
                self._head.drop_pages()
                mapped = 0

    def _stored(self, start: int, stop: int) -> tuple[np.ndarray, np.ndarray | None]:
        if self._offset is not None:
            return self._head.block(self._offset + start, self._offset + stop)
        return self._head.rows(self._rows[start:stop]), None

    def _vectors(self, rows: Int[np.ndarray, " rows"]) -> Float32[np.ndarray, "rows dim"]:
        return self._head.rows(rows if self._rows is None else self._rows[rows])

    def _on_devices(self, features: Float32[np.ndarray, "n dim"]) -> Float[Array, "padded dim"]:
        """Pad to a power of two, so that few shapes are compiled, and shard over the devices."""
        size = 1 << max(0, len(features) - 1).bit_length()
        size = -(-size // self._mesh.size) * self._mesh.size
        return jax.device_put(self._padded(features, size), batch_sharding(self._mesh))

    def _padded(self, values: np.ndarray, size: int) -> np.ndarray:
        padded = np.ones((size, *values.shape[1:]), np.float32)
        padded[: len(values)] = values
        return padded

    def _fits_on_device(self) -> bool:
        stats = self._mesh.devices.flat[0].memory_stats() or {}
        # Selected rows are float32.
        dtype = np.float32 if self._offset is None else self._head.dtype
        size = len(self.names) * self._head.dim * np.dtype(dtype).itemsize
        return size <= _RESIDENT * stats.get("bytes_limit", 0)


def _logits(block: _Block, features: Float[Array, "n dim"], logit_scale: float) -> Float[Array, "n block"]:
    vectors, scales, bias = block
    # Full float32 products, also on GPUs. Images come first, since CPUs multiply faster that way.
    cosines = jnp.matmul(features, vectors.astype(jnp.float32).T, precision=jax.lax.Precision.HIGHEST)
    logits = logit_scale * scales * cosines
    return logits if bias is None else logits + bias


@partial(jax.jit, donate_argnums=0)
def _add_to_totals(
    carry: tuple[Array, Array],
    block: _Block,
    valid: Int[Array, ""],
    features: Array,
    logit_scale: float,
) -> tuple[tuple[Float[Array, " n"], Float[Array, " n"]], Float[Array, "n chunks"]]:
    """Update the running log-sum-exp (Milakov and Gimelshein 2018); return each chunk's maximum too."""
    largest, total = carry
    logits = _logits(block, features, logit_scale)
    logits = jnp.where(jnp.arange(logits.shape[1]) < valid, logits, -jnp.inf)
    maxima = logits.reshape(len(logits), -1, _CHUNK).max(axis=2)
    new = jnp.maximum(largest, maxima.max(axis=1))
    total = total * jnp.exp(largest - new) + jnp.exp(logits - new[:, None]).sum(axis=1)
    return (new, total), maxima


@jax.jit
def _sum_by_group(
    block: _Block,
    groups: Int[Array, " block"],
    features: Float[Array, "n dim"],
    logit_scale: float,
    largest: Float[Array, " n"],
    total: Float[Array, " n"],
    min_prob: float,
) -> Float[Array, "block n"]:
    """Sum the probabilities above min_prob over runs of equal `groups`; an out-of-range group is padding."""
    probabilities = jnp.exp(_logits(block, features, logit_scale) - largest[:, None]) / total[:, None]
    probabilities = jnp.where(probabilities > min_prob, probabilities, 0)
    return jax.ops.segment_sum(probabilities.T, groups, num_segments=len(groups), indices_are_sorted=True)


def top_k_indices(values: Float32[np.ndarray, " n"], k: int) -> Int[np.ndarray, " k"]:
    """Return the indices of the k largest values, or all if fewer, descending, the first of equals first."""
    if k >= len(values):
        return np.argsort(-values, kind="stable")
    kth = np.partition(values, -k)[-k]
    above = np.flatnonzero(values > kth)
    indices = np.concatenate([above, np.flatnonzero(values == kth)[: k - len(above)]])
    return indices[np.lexsort((indices, -values[indices]))]


def _parts(values: np.ndarray, size: int) -> Iterator[np.ndarray]:
    return (values[start : start + size] for start in range(0, len(values), size))
