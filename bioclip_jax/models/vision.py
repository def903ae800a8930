"""The image tower: a plain ViT with a class token."""

import dataclasses
import math

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from .blocks import Block, BlockInit, apply_blocks, stack_blocks
from .config import VisionConfig
from .layers import LayerNorm, Linear, uniform_init
from .options import Options, precision

__all__ = ["VisionTransformer", "draw_patches", "kept_patches"]


def draw_patches(key: Array, batch: int, config: VisionConfig, dropout: float) -> Int[Array, "batch kept"]:
    """Draw the patches that patch dropout keeps, independently for each image; the class token is kept.

    Source: FLIP (https://arxiv.org/abs/2212.00794), as in open_clip.
    """
    patches = config.tokens - 1
    return jnp.argsort(jax.random.uniform(key, (batch, patches)), axis=1)[:, : kept_patches(config, dropout)]


def kept_patches(config: VisionConfig, dropout: float) -> int:
    """Return the number of patches that patch dropout keeps, at least one."""
    return max(1, int((config.tokens - 1) * (1 - dropout)))


class VisionTransformer(nnx.Module):
    """Images to one vector each: patches, class token, ln_pre, blocks, ln_post, projection.

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
        self.positional_embedding = nnx.Param(
            normal(rngs.params(), (config.tokens, width)), axes=("tokens", "embed")
        )
        # Always in `dtype`: fp8 is only for the blocks.
        self.patch_embedding = Linear(
            patch_dim,
            width,
            uniform_init(1 / math.sqrt(patch_dim)),
            None,
            axes=("pixels", "embed"),
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
        axes = ("embed", "features")
        self.proj = nnx.Param(normal(rngs.params(), (width, embed_dim)), axes=axes)
        # The second projector is for replayed images only; BioCLIP 2 initializes it as a copy of the first.
        self.continual_proj = nnx.Param(jnp.array(self.proj[...]), axes=axes) if replay_projector else None
        self.config = config
        self.options = options

    def pool(
        self,
        images: Float[Array, "batch height width 3"],
        kept: Int[Array, "batch kept"] | None = None,
        gates: Bool[Array, "rows patches"] | Float[Array, "rows patches"] | None = None,
    ) -> Float[Array, "rows vision_width"]:
        """The class token after ln_post, before projection; kept: indexes of patches, None for all.

        gates: factors of each patch's attention in every block, for one row each, or for several rows of one
        image. 0, or False, has the result of a sequence without that patch; 1 changes nothing.
        """
        dtype, shard = self.options.dtype, self.options.shard
        patches = _patchify(images.astype(dtype), self.config)
        positions = shard(self.positional_embedding[...].astype(dtype), (None, None))
        if kept is None:
            patches = self.patch_embedding(patches) + positions[1:]
        else:
            # Selected before the embedding, so that it and its gradient cost nothing for dropped patches.
            patches = jnp.take_along_axis(patches, kept[..., None], axis=1)
            patches = self.patch_embedding(patches) + positions[1:][kept]
        mask = None
        if gates is not None:
            patches = jnp.broadcast_to(patches, (len(gates), *patches.shape[1:]))
            mask = _attention_mask(gates, self.options.padded(1 + patches.shape[1]))
        batch, _, width = patches.shape
        class_token = jnp.broadcast_to(
            self.class_embedding[...].astype(dtype) + positions[0], (batch, 1, width)
        )
        length = 1 + patches.shape[1]
        # Attention masks the padding, so it has no effect on other tokens and no gradient.
        padding = jnp.zeros((batch, self.options.padded(length) - length, width), dtype)
        x = self.ln_pre(jnp.concatenate([class_token, patches, padding], axis=1))
        x = apply_blocks(self.blocks, shard(x, ("batch", None, None)), self.options, mask, length)
        return self.ln_post(x[:, 0])

    def project(
        self, pooled: Float[Array, "batch vision_width"], projector: str = "proj"
    ) -> Float[Array, "batch embed_dim"]:
        """Project pooled vectors. Raises ValueError if the model lacks the projector."""
        kernel = {"proj": self.proj, "continual_proj": self.continual_proj}.get(projector)
        if kernel is None:
            raise ValueError(f"the model has no projector {projector!r}: build it with replay_projector=True")
        dtype = self.options.dtype
        projection = self.options.shard(kernel[...].astype(dtype), (None, None))
        return jnp.matmul(pooled, projection, precision=precision(dtype))


def _attention_mask(
    gates: Bool[Array, "rows patches"] | Float[Array, "rows patches"], tokens: int
) -> Bool[Array, "rows 1 tokens"] | Float[Array, "rows 1 tokens"]:
    """Return the mask of attention for gates of patches: the class token is open, padding closed."""
    rows, patches = gates.shape
    is_open = gates.dtype == bool
    gates = gates if is_open else jnp.log(gates.astype(jnp.float32))
    ends = (True, False) if is_open else (0.0, -jnp.inf)
    parts = [jnp.full((rows, n), value, gates.dtype) for n, value in zip((1, tokens - 1 - patches), ends)]
    return jnp.concatenate([parts[0], gates, parts[1]], axis=1)[:, None]


def _patchify(
    images: Float[Array, "batch height width 3"], config: VisionConfig
) -> Float[Array, "batch patches pixels"]:
    # A convolution with stride = kernel size, as a reshape and one matrix product: much faster on CPUs.
    batch, height, width, channels = images.shape
    if (height, width) != (config.image_size, config.image_size):
        raise ValueError(
            f"images are {height}x{width} pixels, the model takes {config.image_size}x{config.image_size}"
        )
    grid, patch = config.grid, config.patch_size
    images = images[:, : grid * patch, : grid * patch]
    images = images.reshape(batch, grid, patch, grid, patch, channels).transpose(0, 1, 3, 2, 4, 5)
    return images.reshape(batch, grid * grid, patch * patch * channels)
