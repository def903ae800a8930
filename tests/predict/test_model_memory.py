"""On a CPU, weights are in memory only once."""

import jax
import numpy as np

from bioclip_jax.convert import resolve
from bioclip_jax.predict.embedder import Embedder


def test_a_cpu_shares_memory_with_the_loaded_weights(model_directory):
    bundle = resolve(model_directory)
    params = Embedder(bundle, devices=jax.local_devices()[:1]).params
    copied = [
        jax.tree_util.keystr(path)
        for (path, host), device in zip(
            jax.tree_util.tree_leaves_with_path(bundle.params), jax.tree.leaves(params)
        )
        if device.unsafe_buffer_pointer() != host.ctypes.data
    ]
    assert not copied, f"{copied} are twice in memory"


def test_weights_survive_donation_of_their_device_copy(model_directory):
    bundle = resolve(model_directory)
    before = jax.tree.map(np.copy, bundle.params)
    on_device = jax.device_put(bundle.params, jax.local_devices()[0])
    add = jax.jit(lambda tree: jax.tree.map(lambda x: x + 1, tree), donate_argnums=0)
    jax.block_until_ready(add(on_device))
    assert all(map(np.array_equal, jax.tree.leaves(bundle.params), jax.tree.leaves(before)))
