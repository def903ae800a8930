"""Exact and atomic saves, restored on any mesh."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bioclip_jax.checkpoint.layout import TrainingDirectory
from bioclip_jax.checkpoint.manager import Checkpoints, checksums, restore_params
from bioclip_jax.distributed import MeshConfig, make_mesh, parameter_shardings
from bioclip_jax.errors import UserError


def _params(mesh):
    rng = np.random.default_rng(0)
    params = {"visual": {"proj": rng.normal(size=(16, 8)).astype(np.float32)}, "logit_scale": np.float32(2.5)}
    return params, jax.device_put(params, parameter_shardings(params, mesh))


def test_restores_exactly_on_another_mesh_and_as_numpy(tmp_path):
    directory = TrainingDirectory(tmp_path)
    params, sharded = _params(make_mesh(MeshConfig(data=2, fsdp=4)))
    checkpoints = Checkpoints(directory, keep=2)
    for step in (1, 2, 3):
        checkpoints.save(step, {"params": sharded}, {"seed": step})
    checkpoints.wait()
    assert directory.steps() == [2, 3], "keep=2 leaves the two newest"

    other = parameter_shardings(params, make_mesh(MeshConfig(data=1, fsdp=8)))
    abstract = jax.tree.map(lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), params, other)
    restored, meta = checkpoints.restore(3, {"params": abstract})
    checkpoints.close()
    assert meta == {"seed": 3}
    assert restored["params"]["visual"]["proj"].sharding.is_equivalent_to(other["visual"]["proj"], 2)
    jax.tree.map(np.testing.assert_array_equal, restored["params"], params)

    step, as_numpy = restore_params(tmp_path)
    assert step == 3 and isinstance(as_numpy["visual"]["proj"], np.ndarray)
    jax.tree.map(np.testing.assert_array_equal, as_numpy, params)


def test_checksums_are_the_sums_of_the_bits_on_any_mesh():
    rng = np.random.default_rng(0)
    arrays = {
        "a": rng.normal(size=(2, 8, 16)).astype(np.float32),
        "b": rng.normal(size=16).astype(jnp.bfloat16),
    }
    words = [arrays["a"].view(np.uint32), arrays["b"].view(np.uint16)]
    expected = {"t": sum(int(word.sum(dtype=np.uint64)) for word in words) % 2**32}
    assert checksums({"t": arrays}) == expected
    mesh = make_mesh(MeshConfig(data=2, fsdp=4))
    sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(None, "fsdp"))
    assert checksums({"t": arrays | {"a": jax.device_put(arrays["a"], sharding)}}) == expected
    assert checksums({"t": {"scalar": np.float32(2.5)}}) == {"t": int(np.float32(2.5).view(np.uint32))}


def test_an_unfinished_checkpoint_is_not_listed(tmp_path):
    directory = TrainingDirectory(tmp_path)
    (directory.checkpoints / "7.orbax-checkpoint-tmp-12").mkdir(parents=True)
    assert directory.steps() == []
    checkpoints = Checkpoints(directory, keep=None)
    checkpoints.save(1, {"params": {"x": jnp.ones(2)}}, {})
    checkpoints.wait()
    checkpoints.close()
    assert directory.steps() == [1]


def test_restoring_a_missing_checkpoint_is_an_error(tmp_path):
    with pytest.raises(UserError, match="holds no finished checkpoint"):
        restore_params(tmp_path)
    (tmp_path / "checkpoints" / "5").mkdir(parents=True)
    with pytest.raises(UserError, match="has no checkpoint 4; it has 5"):
        restore_params(tmp_path, 4)


def test_config_json_is_written_atomically(tmp_path):
    directory = TrainingDirectory(tmp_path / "new")
    directory.write_config({"model": "ViT-B-16", "rate": 1e-4})
    assert directory.read_config() == {"model": "ViT-B-16", "rate": 1e-4}
    assert [p.name for p in directory.path.iterdir()] == ["config.json"]
    directory.config_file.write_text("{")
    with pytest.raises(UserError, match="cannot be read"):
        directory.read_config()
