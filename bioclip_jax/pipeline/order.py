"""Which sample stands where: the data order as a pure function of the seed and the position.

Training position p = step * global_batch_size + row. Nothing here knows of hosts, workers or devices, so every
arrangement of them sees the same global batches.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from grain.experimental import index_shuffle
from jaxtyping import Float64

# Every kind of decision draws from its own sequence of a counter-based generator.
_KINDS = 4
_EPOCHS, _AUGMENTATION, _CAPTIONS, _SUBSTITUTES = range(_KINDS)

# Uniform numbers that each position has: for its augmentation from the front, for its caption the last. A multiple of
# Philox's block of 4.
DRAWS = 32
CAPTION_DRAW = DRAWS - 1


@dataclass(frozen=True)
class Order:
    """The order of `samples` samples for a seed, and the random numbers of every position.

    stream: streams of one run that draw independently of each other have different numbers.
    """

    seed: int
    samples: int
    stream: int = 0

    def index(self, position: int) -> int:
        """The sample at a position: epoch by epoch another permutation of all samples."""
        epoch, place = divmod(position, self.samples)
        return index_shuffle(place, max_index=self.samples - 1, seed=_epoch_seed(self.seed, self.stream, epoch), rounds=4)

    def substitute(self, position: int, attempt: int) -> int:
        """The sample that takes a bad one's place, for attempt 1, 2, ..."""
        return int(self._philox(_SUBSTITUTES, position, attempt).integers(self.samples))

    def uniforms(self, position: int, count: int) -> Float64[np.ndarray, "count draws"]:
        """DRAWS numbers in [0, 1) for each of `count` positions from `position` on."""
        # One Philox counter gives four numbers, so a position's own begin at its own counter.
        return self._philox(_AUGMENTATION, position * (DRAWS // 4)).random((count, DRAWS))

    def caption_draw(self, step: int) -> float:
        """The number in [0, 1) that draws a whole step's caption type."""
        return self._philox(_CAPTIONS, step).random()

    def _philox(self, kind: int, counter: int, attempt: int = 0) -> np.random.Generator:
        return _philox(self.seed, self.stream, kind, counter, attempt)


@lru_cache(maxsize=16)
def _epoch_seed(seed: int, stream: int, epoch: int) -> int:
    return int(_philox(seed, stream, _EPOCHS, epoch).integers(1 << 32))


def _philox(seed: int, stream: int, kind: int, counter: int, attempt: int = 0) -> np.random.Generator:
    low, high = counter & 0xFFFF_FFFF_FFFF_FFFF, counter >> 64
    key = np.array([seed & 0xFFFF_FFFF_FFFF_FFFF, _KINDS * stream + kind], np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=np.array([low, high, attempt, 0], np.uint64)))
