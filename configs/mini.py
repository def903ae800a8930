"""The quickstart: a small CLIP on tree_of_life_mini, some three minutes on two CPU cores."""

from ml_collections import ConfigDict

from bioclip_jax.configs import common


def get_config() -> ConfigDict:
    """Return the experiment."""
    config = common.defaults()

    # Data
    config.data.train = "tree_of_life_mini:train"
    config.data.val = "tree_of_life_mini:validation"
    config.data.window = 0  # shuffle all samples
    config.seed = 0  # of the weights, the data order, the crops and the captions
    config.global_batch_size = 128

    # Images: random resized crops, resampled and normalized as in CLIP
    config.image.scale = (0.5, 1.0)
    config.image.ratio = (3 / 4, 4 / 3)
    config.image.interpolation = "bicubic"
    config.image.mirror = True
    config.image.brightness = config.image.contrast = config.image.saturation = config.image.hue = 0.0
    config.image.mean = (0.48145466, 0.4578275, 0.40821073)
    config.image.std = (0.26862954, 0.26130258, 0.27577711)
    config.image.resize_mode = "squash"  # for evaluation and prediction

    # Captions: one of five types, drawn for a whole batch; each distinct text is encoded once
    config.caption.types = ("sci", "com", "taxon", "sci_com", "taxon_com")
    config.caption.draw = "step"
    config.caption.context_length = 48
    config.caption.unique_texts = True

    # Model, from random weights
    config.model = "ViT-Mini-16"
    config.precision = "fp32"
    config.patch_dropout = None  # none, unless init_from is set to a model that has it
    config.replay.batch_size = 0  # no second stream of image-text pairs

    # Loss and optimizer: linear warmup, then a half cosine to 0
    config.loss = "infonce"
    config.total_steps = 370
    config.warmup_steps = 30
    config.learning_rate = 1e-3
    config.weight_decay = 0.5  # not of biases, norms, the class embedding and the logit scale
    config.optimizer.name = "muon"  # for the matrices of the blocks; AdamW for the rest
    config.optimizer.muon_rms = 0.4
    config.optimizer.beta1 = 0.9
    config.optimizer.beta2 = 0.95
    config.optimizer.eps = 1e-6
    config.optimizer.clip_norm = 1.0
    config.optimizer.frozen = ()

    # Evaluation: zero-shot, with one prompt a class
    config.evaluate_every = 93
    config.evaluate.text_type = "taxon_com"
    config.evaluate.templates = "one"

    # Nothing below changes the trained model.
    config.unroll = 4
    config.checkpoint_every = 185
    return config
