"""Real photographs of fruit and vegetables, from scratch on two CPU cores: some thirteen minutes.

For the TreeOfLife tars of the Grocery Store photographs; give their folders as data.train and data.val.
"""

from ml_collections import ConfigDict

from bioclip_jax.configs import common


def get_config() -> ConfigDict:
    config = common.defaults()
    config.data.train = "../shared/data/produce/tol_shards/train"
    config.data.val = "../shared/data/produce/tol_shards/val"
    config.model = "ViT-Mini-8"
    config.unroll = 4
    config.global_batch_size = 128
    config.total_steps = 1400
    config.learning_rate = 1e-3
    config.weight_decay = 0.5
    config.warmup_steps = 70
    config.optimizer.name = "muon"
    config.optimizer.muon_rms = 0.4
    config.optimizer.beta2 = 0.95
    config.optimizer.clip_norm = 1.0
    # Piles of fruit: nearly any crop shows the fruit.
    config.image.scale = (0.12, 1.0)
    config.image.mirror = True
    config.image.brightness = 0.2
    config.image.contrast = 0.2
    config.image.saturation = 0.2
    # Half the patches for most of the run cost half as much and overfit less; the end is trained on whole
    # images.
    config.patch_dropout = 0.5
    config.patch_dropout_until = 0.9
    config.caption.unique_texts = True
    config.caption.context_length = 48
    config.evaluate.templates = "one"
    config.evaluate_every = 350
    config.checkpoint_every = 350
    return config
