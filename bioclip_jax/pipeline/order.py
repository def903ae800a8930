"""Which sample stands where: data orders as pure functions of the seed and the position.

Training position p = step * global_batch_size + row. Nothing here knows of hosts, workers or devices, so
every arrangement of them sees the same global batches.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np
from grain.experimental import index_shuffle
from jaxtyping import Float64, Int64

# Every kind of decision draws from its own sequence of a counter-based generator.
_KINDS = 4
_EPOCHS, _AUGMENTATION, _CAPTIONS, _SUBSTITUTES = range(_KINDS)

# Uniform numbers that each position has: for its augmentation from the front, for its caption the last. A
# multiple of Philox's block of 4.
DRAWS = 32
CAPTION_DRAW = DRAWS - 1

# index_shuffle walks through 65,536 numbers at least until it meets one that is below the number of samples.
_SMALL = 1 << 16

# A whole shard may be bad: so many substitutes of the windowed order come from the sample's own.
_NEAR = 8


class Order(Protocol):
    """Says which sample each position has."""

    def index(self, position: int) -> int:
        """The number of the sample at a position."""
        ...

    def substitute(self, position: int, attempt: int) -> int:
        """The sample that takes a bad one's place, for attempt 1, 2, ..."""
        ...


@dataclass(frozen=True)
class Draws:
    """The random numbers of every position for a seed.

    stream: streams of one run that draw independently of each other have different numbers.
    """

    seed: int
    stream: int = 0

    def uniforms(self, position: int, count: int) -> Float64[np.ndarray, "count draws"]:
        """DRAWS numbers in [0, 1) for each of `count` positions from `position` on."""
        # One Philox counter gives four numbers, so a position's own begin at its own counter.
        return _philox(self.seed, self.stream, _AUGMENTATION, position * (DRAWS // 4)).random((count, DRAWS))

    def caption_draw(self, step: int) -> float:
        """The number in [0, 1) that draws a whole step's caption type."""
        return _philox(self.seed, self.stream, _CAPTIONS, step).random()


@dataclass(frozen=True)
class Shuffled:
    """Epoch by epoch another permutation of all samples, each sample as likely at any place."""

    seed: int
    samples: int
    stream: int = 0

    def index(self, position: int) -> int:
        """The sample at a position."""
        epoch, place = divmod(position, self.samples)
        if self.samples <= _SMALL:
            return int(_permutation(self.seed, self.stream, epoch, self.samples)[place])
        return index_shuffle(
            place, max_index=self.samples - 1, seed=_epoch_seed(self.seed, self.stream, epoch), rounds=4
        )

    def substitute(self, position: int, attempt: int) -> int:
        """Any sample."""
        return int(_philox(self.seed, self.stream, _SUBSTITUTES, position, attempt).integers(self.samples))


class Windowed:
    """Shards in a random order, `window` places in them read forward at the same time: for slow random reads.

    The shards stand in a line, permuted anew each epoch. The line is cut into `window` lanes of equal length;
    positions take runs of `run` consecutive samples from the lanes in turns. With run = global_batch_size /
    window, every batch takes one run from each lane, and a lane always stands in the same rows, so one host
    reads it. An epoch leaves out the line's last samples that do not fill the lanes, fewer than `window`,
    each time others.
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
        """Of all shards."""
        return int(self._firsts[-1])

    def index(self, position: int) -> int:
        """The sample at a position."""
        number, place = divmod(position, self._run)
        turn, lane = divmod(number, self._window)
        epoch, place = divmod(turn * self._run + place, self._lane_length)
        return self._at(epoch, lane * self._lane_length + place)

    def substitute(self, position: int, attempt: int) -> int:
        """The samples behind it in its shard, then those at its place in the lanes behind: all about to be read."""
        if attempt > _NEAR:
            return self.index(position + (attempt - _NEAR) * self._run)
        index = self.index(position)
        shard = int(np.searchsorted(self._firsts, index, "right")) - 1
        first, end = int(self._firsts[shard]), int(self._firsts[shard + 1])
        return first + (index - first + attempt) % (end - first)

    def _at(self, epoch: int, place: int) -> int:
        """The sample at a place of an epoch's line."""
        shards, ends = self._line(epoch)
        number = int(np.searchsorted(ends, place, "right"))
        shard = int(shards[number])
        return int(self._firsts[shard + 1]) - (int(ends[number]) - place)

    def _line(self, epoch: int) -> tuple[Int64[np.ndarray, " shards"], Int64[np.ndarray, " shards"]]:
        """The shards in an epoch's order, and the place in the line behind each."""
        if epoch not in self._lines:
            if len(self._lines) > 2:
                self._lines.clear()
            shards = _permutation(self._seed, self._stream, epoch, len(self._firsts) - 1)
            self._lines[epoch] = shards, np.cumsum(np.diff(self._firsts)[shards])
        return self._lines[epoch]


@lru_cache(maxsize=32)
def _permutation(seed: int, stream: int, epoch: int, count: int) -> Int64[np.ndarray, " count"]:
    # Sorted by raw numbers, whose sequence NumPy keeps from version to version, unlike its permutations.
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
