"""The fingerprint depends on weights and architecture only."""

import jax
import numpy as np
import pytest

import bioclip_jax
from bioclip_jax.checkpoint import Checkpoints, TrainingDirectory
from bioclip_jax.convert import export_model, import_model, resolve, weights_fingerprint
from bioclip_jax.models import get_config


def test_checkpoint_export_and_import_have_one_fingerprint(bundle, tmp_path):
    expected = weights_fingerprint(bundle.params, bundle.config)
    assert len(expected) == 64 and int(expected, 16)
    run = TrainingDirectory(tmp_path / "run")
    run.write_config({"model": "ViT-Test-16", "data": {"train": "shards"}})
    checkpoints = Checkpoints(run, keep=None)
    checkpoints.save(1, {"params": bundle.params}, {})
    checkpoints.wait()
    checkpoints.close()
    exported = export_model(run.path, tmp_path / "exported")
    imported = import_model(
        exported / "open_clip_model.safetensors", tmp_path / "imported", model="ViT-Test-16"
    )
    for directory in (run.path, exported, imported):
        loaded = resolve(directory)
        assert weights_fingerprint(loaded.params, loaded.config) == expected, (
            f"{directory.name} has another fingerprint"
        )


def test_device_arrays_have_the_same_fingerprint(bundle):
    assert weights_fingerprint(jax.device_put(bundle.params), bundle.config) == weights_fingerprint(
        bundle.params, bundle.config
    )


def test_a_model_has_the_fingerprint(bundle, model_directory):
    assert bioclip_jax.load_model(model_directory).fingerprint == weights_fingerprint(
        bundle.params, bundle.config
    )


@pytest.mark.parametrize("leaf", range(0, 40, 7))
def test_one_bit_of_any_tensor_changes_it(bundle, leaf):
    params = {
        **bundle.params,
        "visual": {k: v for k, v in bundle.params["visual"].items() if k != "continual_proj"},
    }
    leaves, tree = jax.tree.flatten(params)
    index = leaf % len(leaves)
    leaves = [np.array(value) for value in leaves]
    leaves[index].reshape(-1).view(np.uint32)[-1] ^= 1
    changed = jax.tree.unflatten(tree, leaves)
    assert weights_fingerprint(changed, bundle.config) != weights_fingerprint(params, bundle.config)


def test_the_architecture_counts_and_the_replay_projector_does_not(bundle):
    visual = {**bundle.params["visual"], "continual_proj": bundle.params["visual"]["continual_proj"] + 1}
    expected = weights_fingerprint(bundle.params, bundle.config)
    assert weights_fingerprint({**bundle.params, "visual": visual}, bundle.config) == expected
    assert weights_fingerprint(bundle.params, get_config("ViT-B-16")) != expected
