"""Memory for image batches, used again once nobody looks at the batch any more."""

import sys

import numpy as np
from jaxtyping import UInt8


class RecycledArrays:
    """Image arrays handed out, and handed out again when only this object still refers to them.

    A fresh array costs a page fault for every 4 KiB that is written, which can be a third of the time of a
    batch. A view of an array, or a device array that aliases it, keeps it from being handed out again.
    """

    def __init__(self) -> None:
        self._arrays: list[np.ndarray] = []

    def take(self, shape: tuple[int, ...]) -> UInt8[np.ndarray, "..."]:
        """An array of this shape with whatever is in it."""
        self._arrays = [array for array in self._arrays if array.shape == shape]
        for place in range(len(self._arrays)):
            if _references(self._arrays, place) == _UNHELD:
                return self._arrays[place]
        self._arrays.append(np.empty(shape, np.uint8))
        return self._arrays[-1]

    def __reduce__(self) -> tuple[type, tuple[()]]:
        # A worker begins with its own.
        return RecycledArrays, ()


def _references(arrays: list[np.ndarray], place: int) -> int:
    return sys.getrefcount(arrays[place])


# What this interpreter counts for an array that its list alone refers to.
_UNHELD = _references([np.empty(0)], 0)
