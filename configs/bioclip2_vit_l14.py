"""BioCLIP 2's published recipe: ViT-L-14 on TreeOfLife-200M with experience replay, for 32 H100s.

Give --config.data.train, --config.replay.train, and --config.init_from, an import of open_clip's ViT-L-14
laion2b_s32b_b82k.
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
    config.global_batch_size = 90_112  # the reference's, on any number of devices

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
    config.model = "ViT-L-14"
    config.init_from = None  # --config.init_from=MODEL
    config.patch_dropout = None  # that of init_from
    # The published run kept parameters and optimizer in bfloat16 too (--config.precision=pure_bf16), where a
    # weight decay of 2e-5 a step rounds to no change of any value, and the logit scale stops at 98.9. With
    # float32 parameters the decay acts, as it does in bfloat16 with --config.optimizer.rounding=stochastic.
    config.precision = "bf16"

    # Loss and optimizer: linear warmup, then a half cosine to 0
    config.loss = "infonce"
    # 71,244 steps over 213.9 M images, in whole batches of all epochs together. The published run took 71,280
    # (--config.total_steps=71280): its loader rounds the batches of an epoch up to a multiple of its workers.
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

    # Nothing below changes the trained model, only time and memory. On 32 devices 352 + 40 of a device's
    # 2,816 + 320 pairs are encoded at a time, and the blocks' inputs of all of them are kept for the backward
    # pass: 64 GB, for which XLA_PYTHON_CLIENT_MEM_FRACTION=.9 is needed. With less memory, or with more pairs
    # on a device, use gradient_cache "features", remat "none" and more micro-batches. Chosen by compiling for
    # an H100 (bioclip_jax/bench/README.md), not by running on one.
    config.micro_batches = 8
    config.gradient_cache = "residuals"
    config.remat = "full"
    config.unroll = 24
    config.compiler_options = ("xla_gpu_enable_triton_gemm=false",)  # products by cuBLASLt, with epilogues
    config.caption.lengths = (24, 32, 48)
    config.data.workers = 4
    config.replay.workers = 1
    config.checkpoint_every = 250
    return config
