"""Batch memory is reused only when nothing refers to it."""

import pickle

import jax
import numpy as np

from bioclip_jax.pipeline.buffers import BufferPool


def test_a_referenced_array_is_not_reused():
    arrays = BufferPool()
    first = arrays.take((2, 3))
    view = first[1:]
    second = arrays.take((2, 3))
    assert second is not first
    address = first.ctypes.data
    del first
    assert arrays.take((2, 3)).ctypes.data != address, "a view still refers to it"
    del view
    assert arrays.take((2, 3)).ctypes.data == address, "free, but not reused"


def test_an_array_aliased_by_a_device_array_is_not_reused():
    arrays = BufferPool()
    kept = []
    for value in range(8):
        batch = arrays.take((64, 64))
        batch[:] = value
        kept.append(jax.device_put(batch))
        del batch
    assert [int(np.asarray(x).max()) for x in kept] == list(range(8))


def test_a_pool_pickles_as_empty():
    arrays = BufferPool()
    arrays.take((2, 3))
    assert pickle.loads(pickle.dumps(arrays))._arrays == []
