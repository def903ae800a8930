"""The quickstart: a small CLIP on tree_of_life_mini, some three minutes on two CPU cores."""

from ml_collections import ConfigDict

from bioclip_jax.configs import common


def get_config() -> ConfigDict:
    config = common.defaults()
    config.data.train = "tree_of_life_mini:train"
    config.data.val = "tree_of_life_mini:validation"
    config.model = "ViT-Mini-8"
    config.global_batch_size = 128
    config.total_steps = 500
    config.learning_rate = 1e-3
    config.weight_decay = 0.1
    config.warmup_steps = 50
    config.image.scale = (0.5, 1.0)
    config.image.mirror = True
    config.unroll = 6
    config.patch_dropout = 0.5
    config.patch_dropout_until = 0.85
    config.caption.unique_texts = True
    config.checkpoint_every = 250
    config.evaluate_every = 250
    config.log_every = 10
    return config
