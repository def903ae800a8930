"""BioCLIP 2.5 Huge: ViT-H-14. Its hyper-parameters are not published, so these are BioCLIP 2's.

Published are the architecture, the start from laion2B-s32B-b79K, the 233 million images, and that BioCLIP 2's
code trained it in pure_bf16 (see precision in bioclip2_vit_l14.py). Give --config.data.train,
--config.replay.train, and --config.init_from, an import of those weights.
"""

from ml_collections import ConfigDict

from bioclip_jax.configs import bioclip2_vit_l14


def get_config() -> ConfigDict:
    config = bioclip2_vit_l14.get_config()
    config.model = "ViT-H-14"
    config.micro_batches = 32
    return config
