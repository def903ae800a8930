"""Batches onto the devices, while the devices still work on the ones before."""

import queue
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np


class DeviceFeed(Iterator[tuple[dict[str, jax.Array], float]]):
    """The iterator of device_prefetch; `close` stops its thread and the batches' own iterator."""

    def __init__(self, batches: Iterator[Mapping[str, np.ndarray]], sharding: Any, size: int):
        self._batches = batches
        self._sharding = sharding
        self._queue: queue.Queue = queue.Queue()
        # Taken before a batch is placed, so that no more than `size` wait in a device's memory.
        self._places = threading.Semaphore(size)
        self._stop = threading.Event()
        self._finished = False
        self._thread = threading.Thread(target=self._run, name="device_prefetch", daemon=True)
        self._thread.start()

    def __next__(self) -> tuple[dict[str, jax.Array], float]:
        if self._finished:
            raise StopIteration
        start = time.perf_counter()
        batch, error = self._queue.get()
        waited = time.perf_counter() - start
        if error is not None:
            self.close()
            raise error
        self._places.release()
        return batch, waited

    def close(self) -> None:
        """Stops reading; batches already fetched are dropped."""
        self._finished = True
        self._stop.set()
        self._places.release()
        self._thread.join()
        if hasattr(self._batches, "close"):
            self._batches.close()

    def _run(self) -> None:
        try:
            for batch in self._batches:
                self._places.acquire()
                if self._stop.is_set():
                    return
                self._queue.put((self._place(batch), None))
            self._queue.put((None, StopIteration()))
        except BaseException as error:  # handed to the consumer, who must hear of it
            self._queue.put((None, error))

    def _place(self, batch: Mapping[str, np.ndarray]) -> dict[str, jax.Array]:
        return {
            name: jax.make_array_from_process_local_data(self._sharding_of(name), x)
            for name, x in batch.items()
        }

    def _sharding_of(self, name: str) -> jax.sharding.Sharding:
        return self._sharding[name] if isinstance(self._sharding, Mapping) else self._sharding


def device_prefetch(
    batches: Iterator[Mapping[str, np.ndarray]],
    sharding: jax.sharding.Sharding | Mapping[str, jax.sharding.Sharding],
    size: int = 2,
) -> DeviceFeed:
    """(global batch on the devices, seconds the caller waited for it), made by a thread, `size` of them ahead.

    sharding: of every array, or a mapping from an array's name to its own. An error of `batches` is raised
    here.
    """
    return DeviceFeed(batches, sharding, size)
