"""Memory: constant while streaming images, and weights held once on a CPU."""

from __future__ import annotations

import io
import subprocess
import sys

import jax
import numpy as np
import pytest
from PIL import Image

from bioclip_jax.convert import resolve
from bioclip_jax.predict.embedder import Embedder
from bioclip_jax.predict.inputs import ImageFile, find_images

# In its own process, because other tests have grown this one's memory. The first thousand images leave
# compiled programs and pools behind; a run over four times as many must need no more.
STREAM = """
import sys
from bioclip_jax.convert.load import resolve
from bioclip_jax.predict.embedder import Embedder

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096

embedder = Embedder(resolve(sys.argv[1]), batch_size=32)

def run(number):
    return sum(len(features) for _, features in embedder.stream(sys.argv[2] for _ in range(number)))

assert run(1000) == 1000
before = resident()
assert run(4000) == 4000
print(resident() - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_streaming_memory_is_constant(model_directory, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "x.png")
    command = [sys.executable, "-c", STREAM, str(model_directory), str(tmp_path / "x.png")]
    grown = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    # 3,072 bytes of pixels per image would be 12 MB.
    assert grown < 6e6, f"4,000 images left {grown / 4000:.0f} bytes each behind"


def test_an_image_file_needs_little_more_than_its_path(tmp_path):
    import tracemalloc

    table = io.StringIO()
    table.write("filepath\n")
    table.writelines(f"images/{number:06}.jpg\n" for number in range(20_000))
    (tmp_path / "list.csv").write_text(table.getvalue())
    # The first call imports readers of tables, which are not an image's memory.
    find_images([tmp_path / "list.csv"])
    tracemalloc.start()
    images = find_images([tmp_path / "list.csv"])
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    path = sys.getsizeof(images[0].name)
    assert held / len(images) < path + 100, (
        f"{held / len(images):.0f} bytes an image, whose path takes {path}"
    )
    assert not hasattr(ImageFile("x", "x"), "__dict__")


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
