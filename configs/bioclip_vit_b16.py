"""BioCLIP's published recipe: ViT-B-16 from OpenAI's weights on TreeOfLife-10M.

Give --config.data.train, and --config.init_from, an import of OpenAI's ViT-B-16-quickgelu.
"""

from ml_collections import ConfigDict

from bioclip_jax.configs import common


def get_config() -> ConfigDict:
    config = common.defaults()
    config.model = "ViT-B-16-quickgelu"
    config.global_batch_size = 32_768
    config.epochs = 100
    config.learning_rate = 1e-4
    config.weight_decay = 0.2
    config.warmup_steps = 1000
    # ImageNet's, over those of OpenAI's weights, as the reference's trainer does.
    config.image.mean = (0.485, 0.456, 0.406)
    config.image.std = (0.229, 0.224, 0.225)
    config.precision = "bf16"
    config.remat = "full"
    config.caption.lengths = (24, 32, 48)
    config.data.workers = 12
    config.checkpoint_every = 500
    return config
