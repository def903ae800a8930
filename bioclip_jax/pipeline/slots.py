"""Memory that workers and their trainer share, used again and again."""

from __future__ import annotations

import math
import mmap
import os
import weakref

import numpy as np
from jaxtyping import UInt8

_NAME = "bioclip_jax"
_FREE, _TAKEN = 0, 1


class SharedSlots:
    """Arrays of one shape that workers fill and the trainer reads; each worker has some of its own.

    A fresh piece of shared memory for every array, as grain's workers take it, costs a page fault for every 4
    KiB, which was a fourth of a worker's time. A slot is a worker's from `take` until the trainer calls
    `release`. The memory has no name and no limit of /dev/shm, and is gone with the last process that maps
    it. Only Linux has such memory; elsewhere `take` finds no slot.
    """

    def __init__(self, workers: int, slots: int, shape: tuple[int, ...]):
        """slots: of each worker."""
        self._shape, self._slots, self._count = shape, slots, workers * slots
        self._descriptor, self._owner = -1, os.getpid()
        self._finalizer = None
        if hasattr(os, "memfd_create"):
            self._descriptor = os.memfd_create(_NAME)
            self._finalizer = weakref.finalize(self, os.close, self._descriptor)
            os.ftruncate(self._descriptor, self._size)
        self._attach(self._descriptor)

    def take(self, worker: int) -> tuple[int, UInt8[np.ndarray, "..."]] | None:
        """In worker number `worker`: a free slot of its own and its array; None if the trainer holds all of them."""
        for slot in range(worker * self._slots, (worker + 1) * self._slots):
            if self._states is not None and self._states[slot] == _FREE:
                self._states[slot] = _TAKEN
                return slot, self._arrays[slot]
        return None

    def array(self, slot: int) -> UInt8[np.ndarray, "..."]:
        """What lies in a slot."""
        return self._arrays[slot]

    def release(self, slot: int) -> None:
        """In the trainer: the slot may be filled again."""
        self._states[slot] = _FREE

    def close(self) -> None:
        """In the trainer: give up the memory."""
        self._states = self._arrays = None
        if self._finalizer:
            self._finalizer()

    def __getstate__(self):
        return self.__dict__ | {"_states": None, "_arrays": None, "_finalizer": None}

    def __setstate__(self, state):
        self.__dict__.update(state)
        path = f"/proc/{self._owner}/fd/{self._descriptor}"
        try:
            # The trainer may have closed it already, and its number be another file's.
            ours = f"/memfd:{_NAME}" in os.readlink(path) and os.stat(path).st_size == self._size
            descriptor = os.open(path, os.O_RDWR) if ours else -1
        except OSError:
            # The workers' arrays then go to the trainer as grain sends them.
            descriptor = -1
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
