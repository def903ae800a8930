"""Reused memory for image batches: shared between workers and trainer, or within one process."""

from __future__ import annotations

import math
import mmap
import os
import sys
import weakref

import numpy as np
from jaxtyping import UInt8

_NAME = "bioclip_jax"
_FREE, _TAKEN = 0, 1


class SharedBuffers:
    """Shared-memory arrays of one shape that workers fill and the trainer reads; each worker owns some slots.

    grain's workers allocate fresh shared memory for every array, whose page faults took a quarter of a
    worker's time. A slot belongs to a worker from `take` until the trainer calls `release`. The memory is an
    anonymous memfd: no name, no limit of /dev/shm, freed with the last process that maps it. Linux only;
    elsewhere `take` returns None.
    """

    def __init__(self, workers: int, slots: int, shape: tuple[int, ...]):
        """slots: number of arrays per worker."""
        self._shape, self._slots, self._count = shape, slots, workers * slots
        self._descriptor, self._owner = -1, os.getpid()
        self._finalizer = None
        if hasattr(os, "memfd_create"):
            self._descriptor = os.memfd_create(_NAME)
            self._finalizer = weakref.finalize(self, os.close, self._descriptor)
            os.ftruncate(self._descriptor, self._size)
        self._attach(self._descriptor)

    def take(self, worker: int) -> tuple[int, UInt8[np.ndarray, "..."]] | None:
        """In a worker: a free slot of its own and the slot's array; None if the trainer holds all of them."""
        for slot in range(worker * self._slots, (worker + 1) * self._slots):
            if self._states is not None and self._states[slot] == _FREE:
                self._states[slot] = _TAKEN
                return slot, self._arrays[slot]
        return None

    def array(self, slot: int) -> UInt8[np.ndarray, "..."]:
        """The array of a slot."""
        return self._arrays[slot]

    def release(self, slot: int) -> None:
        """In the trainer: let the slot be filled again."""
        self._states[slot] = _FREE

    def close(self) -> None:
        """In the trainer: free the memory."""
        self._states = self._arrays = None
        if self._finalizer:
            self._finalizer()

    def __getstate__(self):
        return self.__dict__ | {"_states": None, "_arrays": None, "_finalizer": None}

    def __setstate__(self, state):
        self.__dict__.update(state)
        path = f"/proc/{self._owner}/fd/{self._descriptor}"
        try:
            # The trainer may have closed it already, and reused the number for another file.
            is_ours = f"/memfd:{_NAME}" in os.readlink(path) and os.stat(path).st_size == self._size
            descriptor = os.open(path, os.O_RDWR) if is_ours else -1
        except OSError:
            descriptor = -1  # grain then sends the worker's arrays itself
        self._attach(descriptor)
        if descriptor >= 0:
            os.close(descriptor)

    @property
    def _size(self) -> int:
        return self._count * (1 + math.prod(self._shape))

    def _attach(self, descriptor: int) -> None:
        self._states = self._arrays = None
        if descriptor < 0:
            return
        memory = mmap.mmap(descriptor, 0)
        self._states = np.frombuffer(memory, np.uint8, self._count)
        pixels = np.frombuffer(memory, np.uint8, offset=self._count)
        self._arrays = pixels.reshape(self._count, *self._shape)


class BufferPool:
    """Image arrays of one process, reused once only the pool refers to them.

    A fresh array costs a page fault for every 4 KiB written, up to a third of the time of a batch. A view of
    an array, or a device array that aliases it, keeps it from being reused.
    """

    def __init__(self) -> None:
        self._arrays: list[np.ndarray] = []

    def take(self, shape: tuple[int, ...]) -> UInt8[np.ndarray, "..."]:
        """An array of this shape with arbitrary content."""
        self._arrays = [array for array in self._arrays if array.shape == shape]
        for index in range(len(self._arrays)):
            if _references(self._arrays, index) == _UNHELD:
                return self._arrays[index]
        self._arrays.append(np.empty(shape, np.uint8))
        return self._arrays[-1]

    def __reduce__(self) -> tuple[type, tuple[()]]:
        # A worker starts with an empty pool.
        return BufferPool, ()


def _references(arrays: list[np.ndarray], index: int) -> int:
    return sys.getrefcount(arrays[index])


# This interpreter's count for an array that only its list refers to.
_UNHELD = _references([np.empty(0)], 0)
