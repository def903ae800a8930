"""The image tower: a plain ViT with a class token."""

import dataclasses
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int, UInt8

from .blocks import Block, BlockInit, apply_blocks, stack_blocks
from .config import VisionConfig
from .layers import LayerNorm, Linear, uniform_init
from .options import Options, precision

__all__ = ["VisionTransformer", "draw_patches", "kept_patches", "normalize_images"]


def draw_patches(key: Array, batch: int, config: VisionConfig, dropout: float) -> Int[Array, "batch kept"]:
    """Which patches of each image stay when a share `dropout` of them is left out, at random for each image.

    Source: FLIP (https://arxiv.org/abs/2212.00794), as open_clip's patch dropout; the class token always
    stays.
    """
    patches = config.tokens - 1
    return jnp.argsort(jax.random.uniform(key, (batch, patches)), axis=1)[:, : kept_patches(config, dropout)]


def kept_patches(config: VisionConfig, dropout: float) -> int:
    """How many patches stay, at least one."""
    return max(1, int((config.tokens - 1) * (1 - dropout)))


def normalize_images(
    images: UInt8[Array, "batch height width 3"], mean: Sequence[float], std: Sequence[float]
) -> Float[Array, "batch height width 3"]:
    """(pixel / 255 - mean) / std in float32, one mean and std a channel."""
    mean, std = jnp.asarray(mean, jnp.float32), jnp.asarray(std, jnp.float32)
    return (images.astype(jnp.float32) / 255.0 - mean) / std


class VisionTransformer(nnx.Module):
    """Images to one vector each: patches, class token, ln_pre, blocks, ln_post on the class token, projection.

    Source: https://arxiv.org/abs/2103.00020, as built by open_clip's VisionTransformer.
    """

    def __init__(
        self,
        config: VisionConfig,
        embed_dim: int,
        *,
        rngs: nnx.Rngs,
        quick_gelu: bool,
        replay_projector: bool,
        options: Options,
    ):
        width, patch_dim, dtype = config.width, 3 * config.patch_size**2, options.dtype
        normal = nnx.initializers.normal(width**-0.5)
        self.class_embedding = nnx.Param(normal(rngs.params(), (width,)))
        self.positional_embedding = nnx.Param(normal(rngs.params(), (config.tokens, width)))
        # Always in `dtype`: fp8 is for the blocks.
        self.patch_embedding = Linear(
            patch_dim,
            width,
            uniform_init(1 / math.sqrt(patch_dim)),
            None,
            axes=(None, None),
            options=dataclasses.replace(options, matmul="default"),
            rngs=rngs,
        )
        self.ln_pre = LayerNorm(width, dtype=dtype)

        init = BlockInit(
            in_proj=uniform_init(math.sqrt(6 / (width + 3 * width))),
            out_proj=uniform_init(1 / math.sqrt(width)),
            c_fc=uniform_init(1 / math.sqrt(width)),
            c_proj=uniform_init(1 / math.sqrt(config.mlp_width)),
        )

        def make(rngs: nnx.Rngs) -> Block:
            return Block(
                width,
                config.heads,
                config.mlp_width,
                init,
                causal=False,
                quick_gelu=quick_gelu,
                ls_init_value=config.ls_init_value,
                options=options,
                rngs=rngs,
            )

        self.blocks = stack_blocks(make, config.layers, rngs)
        self.ln_post = LayerNorm(width, dtype=dtype)
        self.proj = nnx.Param(normal(rngs.params(), (width, embed_dim)))
        # The second projector sees replayed images only; BioCLIP 2 starts it as a copy of the first.
        self.continual_proj = nnx.Param(jnp.array(self.proj[...])) if replay_projector else None
        self.config = config
        self.options = options

    def pool(
        self, images: Float[Array, "batch height width 3"], kept: Int[Array, "batch kept"] | None = None
    ) -> Float[Array, "batch vision_width"]:
        """The class token after ln_post, before any projection; of `kept` patches alone where they are given."""
        dtype, shard = self.options.dtype, self.options.shard
        patches = _patchify(images.astype(dtype), self.config)
        positions = shard(self.positional_embedding[...].astype(dtype), (None, None))
        if kept is None:
            patches = self.patch_embedding(patches) + positions[1:]
        else:
            # Before the embedding, so that neither it nor its gradient sees what was left out.
            patches = jnp.take_along_axis(patches, kept[..., None], axis=1)
            patches = self.patch_embedding(patches) + positions[1:][kept]
        batch, _, width = patches.shape
        class_token = jnp.broadcast_to(
            self.class_embedding[...].astype(dtype) + positions[0], (batch, 1, width)
        )
        x = self.ln_pre(jnp.concatenate([class_token, patches], axis=1))
        x = apply_blocks(self.blocks, shard(x, ("batch", None, None)), self.options)
        return self.ln_post(x[:, 0])

    def project(
        self, pooled: Float[Array, "batch vision_width"], projector: str = "proj"
    ) -> Float[Array, "batch embed_dim"]:
        """Pooled vectors through `proj` or `continual_proj`; ValueError where the model has no such projector."""
        kernel = {"proj": self.proj, "continual_proj": self.continual_proj}.get(projector)
        if kernel is None:
            raise ValueError(
                f"projector {projector!r} is not in this model: build it with replay_projector=True, or use "
                f"'proj'"
            )
        dtype = self.options.dtype
        projection = self.options.shard(kernel[...].astype(dtype), (None, None))
        return jnp.matmul(pooled, projection, precision=precision(dtype))


def _patchify(
    images: Float[Array, "batch height width 3"], config: VisionConfig
) -> Float[Array, "batch patches pixels"]:
    # A convolution with stride = kernel size is this reshape and one matrix product, which CPUs do much
    # faster.
    batch, height, width, channels = images.shape
    if (height, width) != (config.image_size, config.image_size):
        raise ValueError(
            f"images are {height}x{width} pixels, the model takes {config.image_size}x{config.image_size}"
        )
    grid, patch = config.grid, config.patch_size
    images = images[:, : grid * patch, : grid * patch]
    images = images.reshape(batch, grid, patch, grid, patch, channels).transpose(0, 1, 3, 2, 4, 5)
    return images.reshape(batch, grid * grid, patch * patch * channels)
