"""Device prefetch: order, sharding, limit, errors, and the end of its thread."""

import threading
import time

import jax
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from bioclip_jax.pipeline.prefetch import DevicePrefetch


class Counting:
    """Batches 0, 1, 2, ... of eight rows, counting those made."""

    def __init__(self, stop: int | None = None, error: Exception | None = None):
        self.made, self.stop, self.error, self.closed = 0, stop, error, False

    def __iter__(self):
        return self

    def __next__(self):
        if self.made == self.stop:
            raise self.error or StopIteration
        self.made += 1
        return {
            "image": np.full((8, 2), self.made - 1, np.uint8),
            "tokens": np.full((8, 3), self.made - 1, np.int32),
        }

    def close(self):
        self.closed = True


@pytest.fixture
def sharding() -> NamedSharding:
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    return NamedSharding(mesh, PartitionSpec("data"))


def prefetch_threads() -> int:
    return sum(thread.name == "device_prefetch" for thread in threading.enumerate())


def test_batches_arrive_in_order_on_all_devices(sharding):
    prefetch = DevicePrefetch(Counting(stop=5), sharding)
    batches = [batch for batch, _ in prefetch]
    assert [int(batch["tokens"][0, 0]) for batch in batches] == list(range(5))
    assert batches[0]["image"].dtype == np.uint8 and batches[0]["image"].sharding == sharding
    assert len(batches[0]["image"].sharding.device_set) == 8
    assert prefetch_threads() == 0, "the thread still runs after the last batch"


def test_each_array_may_have_its_own_sharding(sharding):
    replicated = NamedSharding(sharding.mesh, PartitionSpec())
    with_own = DevicePrefetch(Counting(stop=1), {"image": sharding, "tokens": replicated})
    batch, _ = next(with_own)
    assert batch["image"].sharding == sharding and batch["tokens"].sharding == replicated
    with_own.close()


def test_prefetch_is_limited_to_its_size(sharding):
    batches = Counting()
    prefetch = DevicePrefetch(batches, sharding, size=2)
    next(prefetch)
    deadline = time.monotonic() + 10
    while batches.made < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.2)
    # One taken, two in the queue, one held by the thread.
    assert batches.made == 4
    prefetch.close()
    assert batches.closed and prefetch_threads() == 0
    with pytest.raises(StopIteration):
        next(prefetch)


def test_an_error_is_raised_after_the_good_batches(sharding):
    prefetch = DevicePrefetch(Counting(stop=2, error=OSError("the disk is gone")), sharding)
    next(prefetch), next(prefetch)
    with pytest.raises(OSError, match="the disk is gone"):
        next(prefetch)
    with pytest.raises(StopIteration):
        next(prefetch)
    assert prefetch_threads() == 0


def test_waiting_time_is_reported(sharding):
    class Slow(Counting):
        def __next__(self):
            time.sleep(0.3)
            return super().__next__()

    prefetch = DevicePrefetch(Slow(stop=2), sharding)
    _, waited = next(prefetch)
    assert 0.1 < waited < 20
    time.sleep(1.0)
    _, waited = next(prefetch)
    assert waited < 0.1, "the batch was ready, but a wait is reported"
    prefetch.close()
