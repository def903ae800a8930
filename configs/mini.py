"""The quickstart: a small CLIP on tree_of_life_mini, some three minutes on two CPU cores."""

from ml_collections import ConfigDict

from bioclip_jax.configs import common


def get_config() -> ConfigDict:
    config = common.defaults()
    config.data.train = "tree_of_life_mini:train"
    config.data.val = "tree_of_life_mini:validation"
    config.model = "ViT-Mini-16"
    config.unroll = 4
    config.global_batch_size = 128
    config.total_steps = 370
    config.learning_rate = 1e-3
    config.weight_decay = 0.5
    config.warmup_steps = 30
    config.optimizer.name = "muon"
    config.optimizer.muon_rms = 0.4
    config.optimizer.beta2 = 0.95
    config.optimizer.clip_norm = 1.0
    config.image.scale = (0.5, 1.0)
    config.image.mirror = True
    config.caption.unique_texts = True
    config.caption.context_length = 48
    config.evaluate.templates = "one"
    config.evaluate_every = 93
    config.checkpoint_every = 185
    return config
