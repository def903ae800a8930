"""Exact neighbor search among 256-bit hashes by Hamming distance, with multi-index hashing.

The bits are split into bands. If two hashes differ in at most d bits and the bands' radii r satisfy sum(r +
1) > d, they differ in at most r bits in some band (Norouzi, Punjani, Fleet, "Fast exact search in Hamming
space with multi-index hashing", 2014). A hash's candidates are therefore those of its bucket and of the
buckets within the radius, band by band; their full distances are then computed. Bands and radii minimize the
estimated work.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from math import comb

import numpy as np
from jaxtyping import Int16, Int64, UInt8, UInt64

BITS = 256
# Distance of a confident match, as PDQ's authors advise.
DISTANCE = 31

# A table of buckets takes 8 * 2**width bytes.
_MAX_WIDTH = 23
# Cost of a bucket lookup in units of comparisons, measured.
_LOOKUP_COST = 3.0
# Pairs per comparison: more need memory, fewer make more NumPy calls.
_CHUNK = 1 << 18

# Memory limit of concurrent bands, and measured memory of a band per hash.
_MEMORY = 8 << 30
_BYTES_PER_HASH = 86

Hashes = UInt8[np.ndarray, "n 32"]
Words = UInt64[np.ndarray, "n 4"]
Report = Callable[[np.ndarray, np.ndarray, np.ndarray], None]


class TooManyPairs(Exception):
    """More pairs than the caller's limit."""


def pairs_within(
    hashes: Hashes,
    distance: int = DISTANCE,
    *,
    groups: Int64[np.ndarray, " n"] | None = None,
    limit: int | None = None,
) -> Int64[np.ndarray, "pairs 2"]:
    """Return all pairs (i, j), i < j, of hashes within `distance` bits, in ascending order.

    groups: restrict pairs to equal nonnegative groups. Intended for mostly different hashes, because k equal
    ones make k (k - 1) / 2 pairs; raises TooManyPairs as soon as there are more than `limit`.
    """
    words = _words(hashes)
    too_many = TooManyPairs(f"more than {limit} pairs within {distance} bits among {len(words)} hashes")
    blocks: list[np.ndarray] = []
    count, over = 0, False

    def report(i: np.ndarray, j: np.ndarray, _: np.ndarray) -> None:
        nonlocal count, over
        if over:
            raise too_many
        blocks.append(np.minimum(i, j) * len(words) + np.maximum(i, j))
        count += len(i)
        # Bands repeat pairs; deduplicating only at twice the limit keeps it rare.
        if limit is not None and count > 2 * limit:
            blocks[:] = [np.unique(np.concatenate(blocks))]
            count = len(blocks[0])
            over = count > limit
            if over:
                raise too_many

    _search(words, None, distance, report, None if groups is None else (groups, groups))
    codes = np.unique(np.concatenate(blocks)) if blocks else np.zeros(0, np.int64)
    if limit is not None and len(codes) > limit:
        raise too_many
    return np.stack(np.divmod(codes, max(1, len(words))), axis=1)


def nearest_within(
    queries: Hashes,
    base: Hashes,
    distance: int = DISTANCE,
    *,
    groups: tuple[Int64[np.ndarray, " queries"], Int64[np.ndarray, " base"]] | None = None,
) -> tuple[Int64[np.ndarray, " queries"], Int16[np.ndarray, " queries"]]:
    """Find each query's nearest hash of `base` within `distance` bits.

    groups: restrict matches to equal nonnegative groups. Returns indices, the first of equally near hashes,
    and distances; -1 without a match.
    """
    best = np.full(len(queries), np.iinfo(np.int64).max)

    def report(i: np.ndarray, j: np.ndarray, distances: np.ndarray) -> None:
        np.minimum.at(best, i, distances.astype(np.int64) << 48 | j)

    _search(_words(queries), _words(base), distance, report, groups)
    matched = best != np.iinfo(np.int64).max
    return np.where(matched, best & (1 << 48) - 1, -1), np.where(matched, best >> 48, -1).astype(np.int16)


@dataclass(frozen=True)
class _Band:
    """`width` bits of a hash from bit `first` on, searched within `radius` bits."""

    first: int
    width: int
    radius: int

    @property
    def lookups(self) -> int:
        return sum(comb(self.width, flips) for flips in range(self.radius + 1))

    def keys(self, words: Words) -> Int64[np.ndarray, " n"]:
        word, shift = divmod(self.first, 64)
        keys = words[:, word] >> np.uint64(shift)
        if shift + self.width > 64:
            keys |= words[:, word + 1] << np.uint64(64 - shift)
        return (keys & np.uint64((1 << self.width) - 1)).astype(np.int64)

    def masks(self) -> list[int]:
        """XOR masks of the differences within the radius, equality first."""
        bits = [1 << bit for bit in range(self.width)]
        return [sum(flips) for count in range(self.radius + 1) for flips in combinations(bits, count)]


def _bands(queries: int, base: int, distance: int) -> list[_Band]:
    """Choose bands by estimated work; a single band of no bits compares everything."""

    def work(bands: list[_Band]) -> float:
        return sum(
            2**band.width + band.lookups * queries * (_LOOKUP_COST + base / 2**band.width) for band in bands
        )

    choices = [[_Band(0, 0, 0)]]
    for count in range(1, min(distance + 1, BITS) + 1):
        radius, wider = divmod(distance + 1, count)
        edges = [BITS * band // count for band in range(count + 1)]
        widths = [min(_MAX_WIDTH, end - first) for first, end in zip(edges, edges[1:])]
        if radius <= min(widths):
            radii = [radius - (band >= wider) for band in range(count)]
            choices.append([_Band(*band) for band in zip(edges, widths, radii)])
    return min(choices, key=work)


def _words(hashes: Hashes) -> Words:
    if hashes.dtype != np.uint8 or hashes.ndim != 2 or hashes.shape[1] != BITS // 8:
        raise ValueError(f"hashes are {hashes.dtype} {hashes.shape}; they must be uint8 [n, {BITS // 8}]")
    return np.ascontiguousarray(hashes).view(np.uint64)


def _search(
    queries: Words,
    base: Words | None,
    distance: int,
    report: Report,
    groups: tuple[np.ndarray, np.ndarray] | None,
) -> None:
    """Report every pair within the distance, possibly repeatedly; without `base`, pairs of queries.

    report(i, j, distances) is called by one thread at a time.
    """
    lock = threading.Lock()

    def report_alone(*pairs: np.ndarray) -> None:
        with lock:
            report(*pairs)

    inside = queries if base is None else base
    if not len(queries) or not len(inside) or distance < 0:
        return
    if groups is not None:
        _join(queries, base, *_group_keys(*groups), [0], distance, report_alone)
        return
    bands = _bands(len(queries), len(inside), distance)

    def search(band: _Band) -> None:
        keys = band.keys(queries)
        inside_keys = keys if base is None else band.keys(base)
        _join(queries, base, keys, inside_keys, band.masks(), distance, report_alone)

    # Threads suffice: NumPy releases the interpreter lock.
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    concurrent = _MEMORY // (_BYTES_PER_HASH * (len(queries) + len(inside)))
    with ThreadPoolExecutor(max(1, min(len(bands), cores, concurrent))) as pool:
        for _ in pool.map(search, bands):
            pass


def _group_keys(queries: np.ndarray, base: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Encode both groups as consecutive keys, negative groups as -1."""
    names, keys = np.unique(np.concatenate([queries, base]), return_inverse=True)
    keys = np.maximum(keys - np.searchsorted(names, 0), -1)
    return keys[: len(queries)], keys[len(queries) :]


def _join(
    queries: Words,
    base: Words | None,
    query_keys: Int64[np.ndarray, " queries"],
    base_keys: Int64[np.ndarray, " base"],
    masks: list[int],
    distance: int,
    report: Report,
) -> None:
    """Report pairs within the distance whose keys differ by one of the masks, skipping negative keys."""
    itself = base is None
    base = queries if itself else base
    order, starts = _buckets(base_keys)
    columns = [base[order, word] for word in range(queries.shape[1])]
    if itself:
        query_order, query_columns = order, columns
    else:
        # Sorted by bucket, so that a bucket's hashes stay in the cache.
        query_order, _ = _buckets(query_keys)
        query_columns = [queries[query_order, word] for word in range(queries.shape[1])]
    keys = query_keys[query_order]
    compare = partial(_compare, query_columns, columns, distance)
    for mask in masks:
        others = keys ^ mask
        known = others < len(starts) - 1
        if itself and mask:
            # The other half repeats the same pairs.
            known &= others > keys
        rows = np.flatnonzero(known)
        first, end = starts[others[rows]], starts[others[rows] + 1]
        if itself and not mask:
            first = rows + 1
        filled = end > first
        for i, j, distances in compare(rows[filled], first[filled], (end - first)[filled]):
            report(query_order[i], order[j], distances)


def _buckets(
    keys: Int64[np.ndarray, " n"],
) -> tuple[Int64[np.ndarray, " sorted"], Int64[np.ndarray, " buckets"]]:
    """Sort nonnegative keys: their order, and each key's start in it, plus the end."""
    # NumPy radix-sorts 16-bit integers, which is several times faster.
    narrow = 0 <= keys.min() and keys.max() < 1 << 16
    order = np.argsort(keys.astype(np.uint16) if narrow else keys, kind="stable")
    order = order[np.count_nonzero(keys < 0) :]
    return order, np.concatenate([[0], np.cumsum(np.bincount(keys[order]))]).astype(np.int64)


def _compare(
    query_columns: list[np.ndarray],
    columns: list[np.ndarray],
    distance: int,
    rows: Int64[np.ndarray, " rows"],
    first: Int64[np.ndarray, " rows"],
    counts: Int64[np.ndarray, " rows"],
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield (row, position, distance) arrays for each row paired with `counts` positions from `first` on."""
    ends = np.cumsum(counts)
    cuts = np.searchsorted(ends, np.arange(_CHUNK, ends[-1] + _CHUNK, _CHUNK)) if len(ends) else []
    begin = 0
    for cut in cuts:
        stop = min(int(cut) + 1, len(rows))
        if stop <= begin:
            continue
        part, count = rows[begin:stop], counts[begin:stop]
        before = ends[begin] - count[0]
        shift = first[begin:stop] - (ends[begin:stop] - count - before)
        position = np.arange(ends[stop - 1] - before) + np.repeat(shift, count)
        # Half of the bits already separate nearly all pairs of different hashes.
        bits = np.bitwise_count(np.repeat(query_columns[0][part], count) ^ columns[0][position])
        bits += np.bitwise_count(np.repeat(query_columns[1][part], count) ^ columns[1][position])
        near = np.flatnonzero(bits <= distance)
        begin = stop
        if not len(near):
            continue
        position = position[near]
        row = np.repeat(part, count)[near]
        bits = bits[near].astype(np.int16)
        for word in (2, 3):
            bits += np.bitwise_count(query_columns[word][row] ^ columns[word][position])
        near = bits <= distance
        yield row[near], position[near], bits[near]
