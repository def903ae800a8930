"""Which 256-bit hashes differ in few bits, exactly: multi-index hashing.

The bits are cut into bands. If two hashes differ in at most d bits and the bands' radii r satisfy sum(r + 1)
> d, then in some band they differ in at most its radius (Norouzi, Punjani, Fleet, "Fast exact search in
Hamming space with multi-index hashing", 2014). So the candidates of a hash are those in its bucket of each
band and in the buckets within the radius; their distances are then counted. Bands and radii are chosen for
the least work.
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
# The distance that PDQ's authors advise for a confident match.
DISTANCE = 31

# A table of buckets takes 8 bytes times two to the power of this.
_MAX_WIDTH = 23
# What looking up a bucket costs, in comparisons of two hashes; measured.
_LOOKUP_COST = 3.0
# Pairs compared at once. More need memory, fewer cost more calls of NumPy.
_CHUNK = 1 << 18

# What bands may take together, and one of them for each hash; measured.
_MEMORY = 8 << 30
_BYTES_A_HASH = 86

Hashes = UInt8[np.ndarray, "n 32"]
Words = UInt64[np.ndarray, "n 4"]
Report = Callable[[np.ndarray, np.ndarray, np.ndarray], None]


class TooManyPairs(Exception):
    """More pairs than the caller wants to hold."""


def pairs_within(
    hashes: Hashes,
    distance: int = DISTANCE,
    *,
    groups: Int64[np.ndarray, " n"] | None = None,
    limit: int | None = None,
) -> Int64[np.ndarray, "pairs 2"]:
    """Every pair (i, j), i < j, of hashes that differ in at most `distance` bits, in ascending order.

    groups: only pairs of one group count, and a negative group is none. k equal hashes make k (k - 1) / 2
    pairs, so this is for hashes that are mostly different; TooManyPairs as soon as there are more than
    `limit`.
    """
    words = _words(hashes)
    too_many = TooManyPairs(f"more than {limit} pairs within {distance} bits among {len(words)} hashes")
    found: list[np.ndarray] = []
    count, over = 0, False

    def report(i: np.ndarray, j: np.ndarray, _: np.ndarray) -> None:
        nonlocal count, over
        if over:
            raise too_many
        found.append(np.minimum(i, j) * len(words) + np.maximum(i, j))
        count += len(i)
        # A pair may have been found in several bands; twice the limit, so that looking for that stays rare.
        if limit is not None and count > 2 * limit:
            found[:] = [np.unique(np.concatenate(found))]
            count = len(found[0])
            over = count > limit
            if over:
                raise too_many

    _search(words, None, distance, report, None if groups is None else (groups, groups))
    codes = np.unique(np.concatenate(found)) if found else np.zeros(0, np.int64)
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
    """Of each query, the index of the nearest hash of `base` and its distance in bits; -1 and -1 if none is within.

    Among equally near ones the first is taken. groups: only hashes of the query's own group count, and a
    negative group is none.
    """
    best = np.full(len(queries), np.iinfo(np.int64).max)

    def report(i: np.ndarray, j: np.ndarray, distances: np.ndarray) -> None:
        np.minimum.at(best, i, distances.astype(np.int64) << 48 | j)

    _search(_words(queries), _words(base), distance, report, groups)
    found = best != np.iinfo(np.int64).max
    return np.where(found, best & (1 << 48) - 1, -1), np.where(found, best >> 48, -1).astype(np.int16)


@dataclass(frozen=True)
class _Band:
    """`width` bits of a hash from bit `first` on, in which neighbours differ in at most `radius`."""

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
        """The differences within the radius, equality first."""
        bits = [1 << bit for bit in range(self.width)]
        return [sum(flips) for count in range(self.radius + 1) for flips in combinations(bits, count)]


def _bands(queries: int, base: int, distance: int) -> list[_Band]:
    """The bands of least work; a single one of no bits, where comparing everything is less."""

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
    """Reports every pair within the distance, perhaps several times; without `base`, of the queries among themselves.

    report(i, j, distances) is called from one thread at a time.
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

    # NumPy lets go of the interpreter's lock while it computes.
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    at_once = _MEMORY // (_BYTES_A_HASH * (len(queries) + len(inside)))
    with ThreadPoolExecutor(max(1, min(len(bands), cores, at_once))) as pool:
        for _ in pool.map(search, bands):
            pass


def _group_keys(queries: np.ndarray, base: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both groups as keys from 0 on, none as -1."""
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
    """Reports the pairs within the distance whose keys differ by one of the masks; a negative key has no pairs."""
    itself = base is None
    base = queries if itself else base
    order, starts = _buckets(base_keys)
    columns = [base[order, word] for word in range(queries.shape[1])]
    if itself:
        query_order, query_columns = order, columns
    else:
        # Queries of one bucket behind each other find its hashes in the cache.
        query_order, _ = _buckets(query_keys)
        query_columns = [queries[query_order, word] for word in range(queries.shape[1])]
    keys = query_keys[query_order]
    compare = partial(_compare, query_columns, columns, distance)
    for mask in masks:
        others = keys ^ mask
        known = others < len(starts) - 1
        if itself and mask:
            # The other half is the same pairs again.
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
    """The places of the keys from 0 on in ascending order, and where in it each key begins, with the end."""
    # NumPy sorts 16 bits by their digits, which is several times faster.
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
    """Yields (row, place, distance) arrays for the pairs of a row and the `counts` places from `first` on."""
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
        place = np.arange(ends[stop - 1] - before) + np.repeat(shift, count)
        # Half of the bits tell nearly all pairs of different hashes apart.
        bits = np.bitwise_count(np.repeat(query_columns[0][part], count) ^ columns[0][place])
        bits += np.bitwise_count(np.repeat(query_columns[1][part], count) ^ columns[1][place])
        near = np.flatnonzero(bits <= distance)
        begin = stop
        if not len(near):
            continue
        place = place[near]
        row = np.repeat(part, count)[near]
        bits = bits[near].astype(np.int16)
        for word in (2, 3):
            bits += np.bitwise_count(query_columns[word][row] ^ columns[word][place])
        near = bits <= distance
        yield row[near], place[near], bits[near]
