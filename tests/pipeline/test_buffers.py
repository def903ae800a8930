"""Batch memory is used again only when nobody looks at it."""

import pickle

import jax
import numpy as np

from bioclip_jax.pipeline.buffers import BufferPool


def test_a_held_array_is_never_handed_out_again():
    arrays = BufferPool()
    first = arrays.take((2, 3))
    view = first[1:]
    second = arrays.take((2, 3))
    assert second is not first
    address = first.ctypes.data
    del first
    assert arrays.take((2, 3)).ctypes.data != address, "a view still looks at it"
    del view
    assert arrays.take((2, 3)).ctypes.data == address, "free, but not used again"


def test_a_device_array_keeps_what_it_was_made_from():
    arrays = BufferPool()
    kept = []
    for value in range(8):
        batch = arrays.take((64, 64))
        batch[:] = value
        kept.append(jax.device_put(batch))
        del batch
    assert [int(np.asarray(x).max()) for x in kept] == list(range(8))


def test_a_worker_begins_with_its_own():
    arrays = BufferPool()
    arrays.take((2, 3))
    assert pickle.loads(pickle.dumps(arrays))._arrays == []
