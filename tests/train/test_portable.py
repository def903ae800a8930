"""Cross-platform export of the train step and the encoder on a CPU."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

from bioclip_jax.distributed import MeshConfig, make_mesh
from bioclip_jax.models import get_config, init_params
from bioclip_jax.pipeline.images import ImageConfig
from bioclip_jax.predict import Encoder
from bioclip_jax.train.config import train_config
from bioclip_jax.train.experiment import Experiment

PLATFORMS = ["cpu", "cuda", "tpu"]


@pytest.mark.parametrize("precision", ["bf16", "bf16_params"])
def test_the_train_step_is_exported_for_every_platform(precision):
    values = {
        "data": {"train": "none"},
        "replay": {"train": "none", "batch_size": 16},
        "model": "ViT-Test-16",
        "global_batch_size": 32,
        "learning_rate": 1e-4,
        "total_steps": 5,
        "precision": precision,
        "micro_batches": 2,
        "remat": "full",
        "patch_dropout": 0.5,
        "mesh": {"data": 2, "fsdp": 2, "tensor": 2},
    }
    experiment = Experiment(train_config(values))
    exported = export.export(experiment.jitted(text_length=16), platforms=PLATFORMS)(
        experiment.abstract_state, experiment.abstract_batch()
    )
    assert exported.platforms == tuple(PLATFORMS) and exported.nr_devices == 8
    state, metrics = jax.tree.unflatten(exported.out_tree, exported.out_avals)
    assert jax.tree.map(lambda x: (x.shape, x.dtype), state) == jax.tree.map(
        lambda x: (x.shape, x.dtype), experiment.abstract_state
    )
    assert metrics["loss"].shape == () and metrics["replay"]["loss"].dtype == np.float32
    assert "cudnn" not in exported.mlir_module(), "the export contains an operation of NVIDIA's GPUs alone"


def test_the_encoder_is_exported_for_every_platform():
    config = get_config("ViT-Test-16")
    encoder = Encoder(
        config, ImageConfig().preprocess(32), make_mesh(MeshConfig(), jax.devices()[:1]), dtype=jnp.bfloat16
    )
    params = jax.eval_shape(lambda: init_params(config))
    for function, shape, dtype, features in (
        (encoder.image_features, (4, 32, 32, 3), np.uint8, (4, config.embed_dim)),
        (encoder.text_features, (4, 4, 16), np.int32, (4, 16, config.embed_dim)),
    ):
        exported = export.export(function, platforms=PLATFORMS)(params, jax.ShapeDtypeStruct(shape, dtype))
        assert exported.platforms == tuple(PLATFORMS)
        assert exported.out_avals[0].shape == features
