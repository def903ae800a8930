"""Real photographs of fruit and vegetables, from scratch on two CPU cores: some thirteen minutes.

For TreeOfLife tars of the Grocery Store photographs: give their folders with --config.data.train=PATH and
--config.data.val=PATH.
"""

from ml_collections import ConfigDict

from bioclip_jax.configs import common


def get_config() -> ConfigDict:
    """Return the experiment."""
    config = common.defaults()

    # Data
    config.data.train = ""  # --config.data.train=PATH
    config.data.val = ""  # --config.data.val=PATH
    config.data.window = 0  # shuffle all samples
    config.seed = 0  # of the weights, the data order, the crops and the captions
    config.global_batch_size = 128

    # Images: random resized crops, resampled and normalized as in CLIP
    config.image.scale = (0.12, 1.0)  # a small part of a pile of fruit still shows the fruit
    config.image.ratio = (3 / 4, 4 / 3)
    config.image.interpolation = "bicubic"
    config.image.mirror = True
    config.image.brightness = 0.2
    config.image.contrast = 0.2
    config.image.saturation = 0.2
    config.image.hue = 0.0
    config.image.mean = (0.48145466, 0.4578275, 0.40821073)
    config.image.std = (0.26862954, 0.26130258, 0.27577711)
    config.image.resize_mode = "squash"  # for evaluation and prediction

    # Captions: one of five types, drawn for a whole batch; each distinct text is encoded once
    config.caption.types = ("sci", "com", "taxon", "sci_com", "taxon_com")
    config.caption.draw = "step"
    config.caption.context_length = 48
    config.caption.unique_texts = True

    # Model, from random weights
    config.model = "ViT-Mini-8"
    config.precision = "fp32"
    # Half of the patches take half the time and overfit less; the last steps see whole images.
    config.patch_dropout = 0.5
    config.patch_dropout_until = 0.9
    config.replay.batch_size = 0  # no second stream of image-text pairs

    # Loss and optimizer: linear warmup, then a half cosine to 0
    config.loss = "infonce"
    config.total_steps = 1400
    config.warmup_steps = 70
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
    config.evaluate_every = 350
    config.evaluate.text_type = "taxon_com"
    config.evaluate.templates = "one"

    # Nothing below changes the trained model.
    config.unroll = 4
    config.checkpoint_every = 350
    return config
