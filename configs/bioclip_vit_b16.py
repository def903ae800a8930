"""BioCLIP's published recipe: ViT-B-16 from OpenAI's weights on TreeOfLife-10M.

Give --config.data.train, and --config.init_from, an import of OpenAI's ViT-B-16-quickgelu.
"""

from ml_collections import ConfigDict

from bioclip_jax.configs import common


def get_config() -> ConfigDict:
    """Return the experiment."""
    config = common.defaults()

    # Data
    config.data.train = ""  # --config.data.train=PATH
    config.data.window = 0  # shuffle all samples
    config.seed = 0  # of the data order, the crops and the captions
    config.global_batch_size = 32_768

    config.replay.batch_size = 0  # no second stream of image-text pairs

    # Images: random resized crops, no mirroring and no color jitter
    config.image.scale = (0.9, 1.0)
    config.image.ratio = (3 / 4, 4 / 3)
    config.image.interpolation = "bicubic"
    config.image.mirror = False
    config.image.brightness = config.image.contrast = config.image.saturation = config.image.hue = 0.0
    # ImageNet's normalization, as in the reference, though OpenAI's weights were trained with CLIP's.
    config.image.mean = (0.485, 0.456, 0.406)
    config.image.std = (0.229, 0.224, 0.225)
    config.image.resize_mode = "squash"  # for evaluation and prediction

    # Captions: one of five types, drawn for a whole batch, cut at the model's 77 tokens
    config.caption.types = ("sci", "com", "taxon", "sci_com", "taxon_com")
    config.caption.draw = "step"
    config.caption.context_length = None

    # Model
    config.model = "ViT-B-16-quickgelu"
    config.init_from = None  # --config.init_from=MODEL
    config.patch_dropout = None  # that of init_from
    config.precision = "bf16"

    # Loss and optimizer: linear warmup, then a half cosine to 0
    config.loss = "infonce"
    config.epochs = 100
    config.warmup_steps = 1000
    config.learning_rate = 1e-4
    config.weight_decay = 0.2  # not of biases, norms, the class embedding and the logit scale
    config.optimizer.name = "adamw"
    config.optimizer.beta1 = 0.9
    config.optimizer.beta2 = 0.98
    config.optimizer.eps = 1e-6
    config.optimizer.clip_norm = None
    config.optimizer.frozen = ()

    # Nothing below changes the trained model, only time and memory.
    config.remat = "full"
    config.caption.lengths = (24, 32, 48)
    config.data.workers = 12
    config.checkpoint_every = 500
    return config
