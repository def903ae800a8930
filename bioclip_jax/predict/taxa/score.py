"""Probabilities over all taxa of a head, which is streamed in blocks: no image's full vector of them is ever kept."""

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

from .head import TaxaHead

# The k best of all taxa lie in the k chunks with the largest maxima, so the maxima are all that is kept of a
# chunk.
_CHUNK = 64
# Rows that are scored together: on a CPU what its caches hold, elsewhere what is worth starting a kernel for.
_CPU_BLOCK, _BLOCK = 64 * _CHUNK, 1024 * _CHUNK
# Pages of the head that are let lie in memory; to drop them costs little, to count them all would be
# gigabytes.
_MAPPED_BYTES = 256 << 20
# Share of an accelerator's memory that the head may stay in between two passes.
_RESIDENT = 0.5


class Totals(NamedTuple):
    """What one pass over the taxa leaves of n images' logits: enough for any probability among them.

    largest, sum: of each image, the largest logit m and the sum of exp(logit - m). maxima: of each chunk of
    taxa.
    """

    largest: Float32[np.ndarray, " n"]
    sum: Float32[np.ndarray, " n"]
    maxima: Float32[np.ndarray, "n chunks"]


class TaxaScorer:
    """softmax(logit_scale * cosine) over the taxa of a head, or over some of its rows, on the devices of `mesh`.

    names: the taxa, by whose rows all results go. group_size: how many images a pass over the head is best
    shared by.
    """

    def __init__(
        self, head: TaxaHead, logit_scale: float, mesh: Mesh, rows: Int[np.ndarray, " taxa"] | None = None
    ) -> None:
        """`rows`: rows of the head in increasing order; None takes all."""
        self.names = head.names if rows is None else head.names.taken(rows)
        self.logit_scale = logit_scale
        self._head, self._rows, self._mesh = head, rows, mesh
        on_cpu = mesh.devices.flat[0].platform == "cpu"
        self.group_size = 256 if on_cpu else 1024
        # Rows that follow one another are used where they lie in the file.
        self._offset = None if rows is not None and len(rows) != rows[-1] - rows[0] + 1 else 0
        if self._offset is not None and rows is not None:
            self._offset = int(rows[0])
        most = _CPU_BLOCK if on_cpu else _BLOCK
        self._block_rows = min(most, -(-len(self.names) // _CHUNK) * _CHUNK)
        self._resident: dict[int, Any] | None = None if on_cpu or not self._fits_on_device() else {}

    def species(
        self, features: Float32[np.ndarray, "n dim"], k: int
    ) -> tuple[Int[np.ndarray, "n k"], Float32[np.ndarray, "n k"]]:
        """The rows of the k most probable species of each image and their probabilities, best first."""
        return self.best_species(features, self.totals(features), k)

    def totals(self, features: Float32[np.ndarray, "n dim"]) -> Totals:
        """The pass over all taxa that every probability needs. `features`: unit vectors, best `group_size` of them."""
        n, features = len(features), self._on_devices(features)
        carry = (jnp.full(features.shape[0], -jnp.inf), jnp.zeros(features.shape[0]))
        maxima: list[Any] = []
        for _, block, valid in self._blocks():
            carry, chunk_maxima = _add_to_totals(carry, block, valid, features, self.logit_scale)
            # One block is on its way while another is computed; more would pile up in memory.
            maxima[-1:] = [np.asarray(part)[:n] for part in maxima[-1:]]
            maxima.append(chunk_maxima)
        largest, total = (np.asarray(part)[:n] for part in carry)
        return Totals(largest, total, np.concatenate([*maxima[:-1], np.asarray(maxima[-1])[:n]], axis=1))

    def best_species(
        self, features: Float32[np.ndarray, "n dim"], totals: Totals, k: int
    ) -> tuple[Int[np.ndarray, "n k"], Float32[np.ndarray, "n k"]]:
        """As `species`, from totals that are there already."""
        k = min(k, len(self.names))
        rows = np.empty((len(features), k), np.int64)
        scores = np.empty((len(features), k), np.float32)
        read = 0
        for image, vector in enumerate(features):
            chunks = largest(totals.maxima[image], k)
            candidates = (np.sort(chunks)[:, None] * _CHUNK + np.arange(_CHUNK)).ravel()
            candidates = candidates[candidates < len(self.names)]
            logits = self.logit_scale * np.concatenate(
                [self._vectors(part) @ vector for part in _parts(candidates, _CPU_BLOCK)]
            )
            best = largest(logits, k)
            rows[image] = candidates[best]
            scores[image] = np.exp(logits[best] - totals.largest[image]) / totals.sum[image]
            read += len(candidates) * vector.nbytes
            if read > _MAPPED_BYTES or image == len(features) - 1:
                self._head.drop_pages()
                read = 0
        # The logits were computed twice, and the last bits differ.
        return rows, np.minimum(scores, 1)

    def rank_sums(
        self, features: Float32[np.ndarray, "n dim"], totals: Totals, rank: Rank, min_prob: float = MIN_PROB
    ) -> Float32[np.ndarray, "groups n"]:
        """The probability of each taxon of a rank (in the order of names.starts(rank)): the sum over its species.

        As pybioclip does, species of a probability up to `min_prob` are left out of the sum.
        """
        starts = self.names.starts(rank)
        group_of = np.zeros(len(self.names), np.int32)
        group_of[starts[1:]] = 1
        np.cumsum(group_of, out=group_of)
        n, features = len(features), self._on_devices(features)
        largest = self._padded(totals.largest, features.shape[0])
        total = self._padded(totals.sum, features.shape[0])
        sums = np.zeros((len(starts), n), np.float32)
        for start, block, valid in self._blocks():
            here = group_of[start : start + int(valid)]
            groups = np.full(self._block_rows, self._block_rows, np.int32)
            groups[: len(here)] = here - here[0]
            found = _sum_by_group(block, groups, features, self.logit_scale, largest, total, min_prob)
            last = here[-1] + 1
            sums[here[0] : last] += np.asarray(found[: last - here[0], :n])
        return np.minimum(sums, 1, out=sums)

    def all_rank_sums(
        self, features: Float32[np.ndarray, "n dim"], totals: Totals, min_prob: float = MIN_PROB
    ) -> dict[Rank, Float32[np.ndarray, "groups n"]]:
        """`rank_sums` of all ranks above species: those of genera, added up to the higher ranks."""
        genera = self.rank_sums(features, totals, Rank.GENUS, min_prob)
        sums = {Rank.GENUS: genera}
        for rank in list(Rank)[: Rank.GENUS.value]:
            first_genus = np.searchsorted(self.names.starts(Rank.GENUS), self.names.starts(rank))
            sums[rank] = np.minimum(np.add.reduceat(genera, first_genus, axis=0), 1)
        return sums

    def logits_of(
        self, rows: Int[np.ndarray, " rows"], vector: Float32[np.ndarray, " dim"]
    ) -> Float32[np.ndarray, " rows"]:
        """The logits of some rows for one image."""
        return self.logit_scale * (self._vectors(rows) @ vector)

    def _blocks(self) -> Iterator[tuple[int, tuple[Array, Array], np.int32]]:
        """Of each block its first row, the vectors and scales on the devices, and how many rows are no padding."""
        on_all = replicated(self._mesh)
        mapped = 0
        for start in range(0, len(self.names), self._block_rows):
            stop = min(start + self._block_rows, len(self.names))
            if self._resident is not None and start in self._resident:
                yield start, self._resident[start], np.int32(stop - start)
                continue
            vectors, scales = self._stored(start, stop)
            scales = np.ones(stop - start, np.float32) if scales is None else scales
            if stop - start < self._block_rows:
                missing = self._block_rows - (stop - start)
                vectors = np.pad(vectors, ((0, missing), (0, 0)))
                scales = np.pad(scales, (0, missing))
            block = jax.device_put((vectors, scales), on_all)
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
        """Filled up to a power of two, so that few shapes are compiled, and split over the devices."""
        size = 1 << max(0, len(features) - 1).bit_length()
        size = -(-size // self._mesh.size) * self._mesh.size
        return jax.device_put(self._padded(features, size), batch_sharding(self._mesh))

    def _padded(self, values: np.ndarray, size: int) -> np.ndarray:
        padded = np.ones((size, *values.shape[1:]), np.float32)
        padded[: len(values)] = values
        return padded

    def _fits_on_device(self) -> bool:
        stats = self._mesh.devices.flat[0].memory_stats() or {}
        # Rows that are picked out come as float32.
        dtype = np.float32 if self._offset is None else self._head.dtype
        size = len(self.names) * self._head.dim * np.dtype(dtype).itemsize
        return size <= _RESIDENT * stats.get("bytes_limit", 0)


def _logits(
    block: tuple[Array, Array], features: Float[Array, "n dim"], logit_scale: float
) -> Float[Array, "n block"]:
    vectors, scales = block
    # Full float32 products, also on GPUs that would round them. Images first: CPUs multiply faster that way
    # round.
    cosines = jnp.matmul(features, vectors.astype(jnp.float32).T, precision=jax.lax.Precision.HIGHEST)
    return logit_scale * scales * cosines


@partial(jax.jit, donate_argnums=0)
def _add_to_totals(
    carry: tuple[Array, Array],
    block: tuple[Array, Array],
    valid: Int[Array, ""],
    features: Array,
    logit_scale: float,
) -> tuple[tuple[Float[Array, " n"], Float[Array, " n"]], Float[Array, "n chunks"]]:
    """The running log-sum-exp (Milakov and Gimelshein 2018), and the largest logit of each chunk."""
    largest, total = carry
    logits = _logits(block, features, logit_scale)
    logits = jnp.where(jnp.arange(logits.shape[1]) < valid, logits, -jnp.inf)
    maxima = logits.reshape(len(logits), -1, _CHUNK).max(axis=2)
    new = jnp.maximum(largest, maxima.max(axis=1))
    total = total * jnp.exp(largest - new) + jnp.exp(logits - new[:, None]).sum(axis=1)
    return (new, total), maxima


@jax.jit
def _sum_by_group(
    block: tuple[Array, Array],
    groups: Int[Array, " block"],
    features: Float[Array, "n dim"],
    logit_scale: float,
    largest: Float[Array, " n"],
    total: Float[Array, " n"],
    min_prob: float,
) -> Float[Array, "block n"]:
    """Sums of the probabilities above min_prob over runs of equal `groups`; a group that is out of range is padding."""
    probabilities = jnp.exp(_logits(block, features, logit_scale) - largest[:, None]) / total[:, None]
    probabilities = jnp.where(probabilities > min_prob, probabilities, 0)
    return jax.ops.segment_sum(probabilities.T, groups, num_segments=len(groups), indices_are_sorted=True)


def largest(values: Float32[np.ndarray, " n"], k: int) -> Int[np.ndarray, " k"]:
    """The places of the k largest (all, where there are fewer), largest first, the first of equals first."""
    if k >= len(values):
        return np.argsort(-values, kind="stable")
    kth = np.partition(values, -k)[-k]
    above = np.flatnonzero(values > kth)
    places = np.concatenate([above, np.flatnonzero(values == kth)[: k - len(above)]])
    return places[np.lexsort((places, -values[places]))]


def _parts(values: np.ndarray, size: int) -> Iterator[np.ndarray]:
    return (values[start : start + size] for start in range(0, len(values), size))
