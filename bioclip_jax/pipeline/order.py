"""Data orders: the sample at each training position, as pure functions of seed and position.

Training position p = step * global_batch_size + row. Hosts, workers and devices do not enter, so any number
of them sees the same global batches, and a run resumes exactly on another machine shape.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np
from grain.experimental import index_shuffle
from jaxtyping import Float64, Int64

# Each kind of random decision has its own Philox key.
_KINDS = 4
_EPOCHS, _AUGMENTATION, _CAPTIONS, _SUBSTITUTES = range(_KINDS)

# Uniform numbers per position, a multiple of Philox's block of 4. Augmentation uses them from the front, the
# caption type uses the last.
DRAWS = 32
CAPTION_DRAW = DRAWS - 1

# index_shuffle permutes at least 65,536 numbers, repeatedly until the result is below the number of samples;
# for fewer samples a stored permutation is faster.
_SMALL = 1 << 16

# Substitutes of the windowed order from the sample's own shard, before the whole shard is presumed bad.
_NEAR = 8

# Length of the mixture's repeating pattern of sources; shares are rounded to multiples of 1 / PATTERN.
PATTERN = 4096


class Order(Protocol):
    """A mapping from training positions to samples."""

    def index(self, position: int) -> int:
        """Index of the sample at a position."""
        ...

    def substitute(self, position: int, attempt: int) -> int:
        """Index of the sample that replaces a bad one, for attempt 1, 2, ..."""
        ...


@dataclass(frozen=True)
class Draws:
    """Random numbers of every position for a seed; different `stream` numbers draw independently."""

    seed: int
    stream: int = 0

    def uniforms(self, position: int, count: int) -> Float64[np.ndarray, "count draws"]:
        """Draw DRAWS numbers in [0, 1) for each of `count` positions starting at `position`."""
        # One Philox counter gives four numbers, so each position starts at its own counter.
        return _philox(self.seed, self.stream, _AUGMENTATION, position * (DRAWS // 4)).random((count, DRAWS))

    def caption_draw(self, step: int) -> float:
        """Draw the number in [0, 1) that selects the caption type of a whole step."""
        return _philox(self.seed, self.stream, _CAPTIONS, step).random()


@dataclass(frozen=True)
class Shuffled:
    """A full shuffle: each epoch is another permutation of all samples."""

    seed: int
    samples: int
    stream: int = 0

    def index(self, position: int) -> int:
        """Index of the sample at a position."""
        epoch, offset = divmod(position, self.samples)
        if self.samples <= _SMALL:
            return int(_permutation(self.seed, self.stream, epoch, self.samples)[offset])
        return index_shuffle(
            offset, max_index=self.samples - 1, seed=_epoch_seed(self.seed, self.stream, epoch), rounds=4
        )

    def substitute(self, position: int, attempt: int) -> int:
        """Index of a uniformly drawn sample."""
        return int(_philox(self.seed, self.stream, _SUBSTITUTES, position, attempt).integers(self.samples))


class Windowed:
    """Shards in random order, read sequentially at `window` offsets at once, for slow random reads.

    Each epoch permutes the shards and concatenates them into a line of samples, which is cut into `window`
    lanes of equal length; positions take runs of `run` consecutive samples from the lanes in turn. With run =
    global_batch_size / window, every batch takes one run from each lane, and a lane always fills the same
    rows, so one host reads it. The last samples of the line that do not fill the lanes, fewer than `window`,
    are skipped, different ones each epoch.
    """

    def __init__(self, seed: int, shard_sizes: Sequence[int], window: int, run: int = 1, stream: int = 0):
        """shard_sizes: samples in each shard."""
        self._seed, self._stream, self._run = seed, stream, run
        self._firsts = np.concatenate([[0], np.cumsum(shard_sizes, dtype=np.int64)])
        self._window = max(1, min(window, self.samples))
        self._lane_length = self.samples // self._window
        self._lines: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    @property
    def samples(self) -> int:
        """Number of samples in all shards."""
        return int(self._firsts[-1])

    def index(self, position: int) -> int:
        """Index of the sample at a position."""
        run, offset = divmod(position, self._run)
        turn, lane = divmod(run, self._window)
        epoch, offset = divmod(turn * self._run + offset, self._lane_length)
        return self._index_in_line(epoch, lane * self._lane_length + offset)

    def substitute(self, position: int, attempt: int) -> int:
        """Index of a sample that is read soon: the next in the shard, then those of the next lanes."""
        if attempt > _NEAR:
            return self.index(position + (attempt - _NEAR) * self._run)
        index = self.index(position)
        shard = int(np.searchsorted(self._firsts, index, "right")) - 1
        first, end = int(self._firsts[shard]), int(self._firsts[shard + 1])
        return first + (index - first + attempt) % (end - first)

    def _index_in_line(self, epoch: int, offset: int) -> int:
        shards, ends = self._line(epoch)
        number = int(np.searchsorted(ends, offset, "right"))
        shard = int(shards[number])
        return int(self._firsts[shard + 1]) - (int(ends[number]) - offset)

    def _line(self, epoch: int) -> tuple[Int64[np.ndarray, " shards"], Int64[np.ndarray, " shards"]]:
        """An epoch's permuted shards, and the end offset of each in the line."""
        if epoch not in self._lines:
            if len(self._lines) > 2:
                self._lines.clear()
            shards = _permutation(self._seed, self._stream, epoch, len(self._firsts) - 1)
            self._lines[epoch] = shards, np.cumsum(np.diff(self._firsts)[shards])
        return self._lines[epoch]


class Mixture:
    """Interleaved orders of several sources, in which any range of positions holds each source by its share.

    The position within a source is the number of earlier positions of that source, so each source has its own
    epochs.
    """

    def __init__(self, orders: Sequence[Order], firsts: Sequence[int], shares: Sequence[float]):
        """firsts: index of each source's first sample in a ConcatSource. shares: in any unit."""
        self._orders, self._firsts = list(orders), list(firsts)
        self._counts = pattern_counts(shares)
        # Evenly spaced slots per source, half a step from the pattern's ends; the first source wins ties.
        times = np.concatenate([(np.arange(count) + 0.5) / count for count in self._counts])
        owners = np.repeat(np.arange(len(self._counts)), self._counts)
        self._pattern = owners[np.argsort(times, kind="stable")]
        self._ranks = np.zeros(PATTERN, np.int64)
        for source, count in enumerate(self._counts):
            self._ranks[self._pattern == source] = np.arange(count)

    def index(self, position: int) -> int:
        """Index in the ConcatSource of the sample at a position."""
        source, own_position = self._locate(position)
        return self._firsts[source] + self._orders[source].index(own_position)

    def substitute(self, position: int, attempt: int) -> int:
        """Index of a substitute from the same source."""
        source, own_position = self._locate(position)
        return self._firsts[source] + self._orders[source].substitute(own_position, attempt)

    def _locate(self, position: int) -> tuple[int, int]:
        """The source of a position, and the number of earlier positions of that source."""
        block, slot = divmod(position, PATTERN)
        source = int(self._pattern[slot])
        return source, block * int(self._counts[source]) + int(self._ranks[slot])


def pattern_counts(shares: Sequence[float]) -> Int64[np.ndarray, " sources"]:
    """Apportion the PATTERN slots to shares by largest remainder, at least one slot each."""
    wanted = np.asarray(shares, np.float64)
    wanted = wanted / wanted.sum() * PATTERN
    counts = np.maximum(np.floor(wanted), 1).astype(np.int64)
    # The minimum of one slot may exceed the total, which is then taken from the largest counts.
    left = PATTERN - int(counts.sum())
    for source in np.argsort(counts - wanted, kind="stable")[: max(left, 0)]:
        counts[source] += 1
    for _ in range(max(-left, 0)):
        counts[np.argmax(counts)] -= 1
    return counts


@lru_cache(maxsize=32)
def _permutation(seed: int, stream: int, epoch: int, count: int) -> Int64[np.ndarray, " count"]:
    # NumPy guarantees a generator's raw numbers across versions, but not its permutations.
    return np.argsort(_philox(seed, stream, _EPOCHS, epoch).bit_generator.random_raw(count), kind="stable")


@lru_cache(maxsize=16)
def _epoch_seed(seed: int, stream: int, epoch: int) -> int:
    return int(_philox(seed, stream, _EPOCHS, epoch).integers(1 << 32))


def _philox(seed: int, stream: int, kind: int, counter: int, attempt: int = 0) -> np.random.Generator:
    low, high = counter & 0xFFFF_FFFF_FFFF_FFFF, counter >> 64
    key = np.array([seed & 0xFFFF_FFFF_FFFF_FFFF, _KINDS * stream + kind], np.uint64)
    return np.random.Generator(
        np.random.Philox(key=key, counter=np.array([low, high, attempt, 0], np.uint64))
    )
