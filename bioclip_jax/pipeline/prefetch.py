"""Prefetch batches onto the devices while these compute on the previous ones."""

import queue
import threading
import time
from collections.abc import Iterator, Mapping

import jax
import numpy as np


class DevicePrefetch(Iterator[tuple[dict[str, jax.Array], float]]):
    """Iterator over (global batch on the devices, seconds waited for it), up to `size` batches ahead.

    Errors of `batches` are raised in the caller's thread.
    """

    def __init__(
        self,
        batches: Iterator[Mapping[str, np.ndarray]],
        sharding: jax.sharding.Sharding | Mapping[str, jax.sharding.Sharding],
        size: int = 2,
    ) -> None:
        """sharding: of all arrays, or by name."""
        self._batches = batches
        self._sharding = sharding
        self._queue: queue.Queue = queue.Queue()
        # Acquired before a transfer, so that at most `size` batches wait in device memory.
        self._free_slots = threading.Semaphore(size)
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
        self._free_slots.release()
        return batch, waited

    def close(self) -> None:
        """Stop the thread, drop prefetched batches, and close `batches`."""
        self._finished = True
        self._stop.set()
        self._free_slots.release()
        self._thread.join()
        if hasattr(self._batches, "close"):
            self._batches.close()

    def _run(self) -> None:
        try:
            for batch in self._batches:
                self._free_slots.acquire()
                if self._stop.is_set():
                    return
                self._queue.put((self._transfer(batch), None))
            self._queue.put((None, StopIteration()))
        except BaseException as error:  # raised again in the consumer's thread
            self._queue.put((None, error))

    def _transfer(self, batch: Mapping[str, np.ndarray]) -> dict[str, jax.Array]:
        return {
            name: jax.make_array_from_process_local_data(self._sharding_of(name), array)
            for name, array in batch.items()
        }

    def _sharding_of(self, name: str) -> jax.sharding.Sharding:
        return self._sharding[name] if isinstance(self._sharding, Mapping) else self._sharding
