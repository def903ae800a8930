"""BioCLIP 2.5 Huge: ViT-H-14, with BioCLIP 2's hyperparameters, since its own are not published.

Published are the architecture, the start from laion2B-s32B-b79K, the 233 million images, and that BioCLIP 2's
code trained it in pure_bf16. Give --config.data.train, --config.replay.train, and --config.init_from, an
import of those weights.
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
    config.global_batch_size = 90_112

    # Experience replay: a second stream of general image-text pairs, with a projector and a loss of its own
    config.replay.train = ""  # --config.replay.train=PATH
    config.replay.batch_size = 10_240
    config.replay.caption.types = ("txt",)

    # Images: random resized crops, no mirroring and no color jitter
    config.image.scale = (0.9, 1.0)
    config.image.ratio = (3 / 4, 4 / 3)
    config.image.interpolation = "bicubic"
    config.image.mirror = False
    config.image.brightness = config.image.contrast = config.image.saturation = config.image.hue = 0.0
    # ImageNet's normalization, as in the reference, though init_from's weights were trained with CLIP's.
    config.image.mean = (0.485, 0.456, 0.406)
    config.image.std = (0.229, 0.224, 0.225)
    config.image.resize_mode = "squash"  # for evaluation and prediction

    # Captions: one of five types, drawn for a whole batch, cut at the model's 77 tokens
    config.caption.types = ("sci", "com", "taxon", "sci_com", "taxon_com")
    config.caption.draw = "step"
    config.caption.context_length = None

    # Model
    config.model = "ViT-H-14"
    config.init_from = None  # --config.init_from=MODEL
    config.patch_dropout = None  # that of init_from
    # BioCLIP 2's published run kept parameters and optimizer in bfloat16 too (--config.precision=pure_bf16);
    # see bioclip2_vit_l14.py for the difference.
    config.precision = "bf16"

    # Loss and optimizer: linear warmup, then a half cosine to 0
    config.loss = "infonce"
    config.epochs = 30
    config.warmup_steps = 1875
    config.learning_rate = 1e-4
    config.weight_decay = 0.2  # not of biases, norms, the class embedding and the logit scale
    config.optimizer.name = "adamw"
    config.optimizer.beta1 = 0.9
    config.optimizer.beta2 = 0.98
    config.optimizer.eps = 1e-6
    config.optimizer.clip_norm = None
    config.optimizer.frozen = ()

    # Nothing below changes the trained model, only time and memory. On 32 devices 176 + 20 of a device's
    # 2,816 + 320 pairs are encoded at a time, in 58 GB; the residuals of all of them would need more than
    # 80 GB. Chosen by compiling for an H100 (bioclip_jax/bench/README.md), not by running on one.
    config.micro_batches = 16
    config.gradient_cache = "features"
    config.remat = "dots"
    config.unroll = 32
    config.compiler_options = ("xla_gpu_enable_triton_gemm=false",)  # products by cuBLASLt, with epilogues
    config.caption.lengths = (24, 32, 48)
    config.data.workers = 4
    config.replay.workers = 1
    config.checkpoint_every = 250
    return config
