"""The text tower: a causal transformer read at the end-of-text token."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from .blocks import Block, BlockInit, apply_blocks, stack_blocks
from .config import TextConfig
from .layers import LayerNorm
from .options import Options, precision

__all__ = ["TextTransformer"]


class TextTransformer(nnx.Module):
    """Token ids to one vector each: embeddings, causal blocks, ln_final at the end-of-text token, projection.

    Source: https://arxiv.org/abs/2103.00020, as built by open_clip's TextTransformer.
    """

    def __init__(
        self,
        config: TextConfig,
        embed_dim: int,
        *,
        rngs: nnx.Rngs,
        quick_gelu: bool,
        options: Options,
    ):
        normal = nnx.initializers.normal
        width = config.width
        self.token_embedding = nnx.Param(normal(0.02)(rngs.params(), (config.vocab_size, width)))
        self.positional_embedding = nnx.Param(normal(0.01)(rngs.params(), (config.context_length, width)))

        branch_std = width**-0.5 * (2 * config.layers) ** -0.5
        init = BlockInit(
            in_proj=normal(width**-0.5),
            out_proj=normal(branch_std),
            c_fc=normal((2 * width) ** -0.5),
            c_proj=normal(branch_std),
        )

        def make(rngs: nnx.Rngs) -> Block:
            return Block(
                width,
                config.heads,
                config.mlp_width,
                init,
                causal=True,
                quick_gelu=quick_gelu,
                ls_init_value=config.ls_init_value,
                options=options,
                rngs=rngs,
            )

        self.blocks = stack_blocks(make, config.layers, rngs)
        self.ln_final = LayerNorm(width, dtype=options.dtype)
        self.text_projection = nnx.Param(normal(width**-0.5)(rngs.params(), (width, embed_dim)))
        self.config = config
        self.options = options

    def __call__(self, tokens: Int[Array, "batch length"]) -> Float[Array, "batch embed_dim"]:
        """Features at the largest id of each row, which is the end-of-text token.

        Rows may be cut to any length that keeps that token: attention is causal, so what follows it
        changes nothing. ValueError where the rows are longer than the context.
        """
        batch, length = tokens.shape
        if length > self.config.context_length:
            raise ValueError(f"{length} tokens a text, the model takes at most {self.config.context_length}")
        dtype, shard = self.options.dtype, self.options.shard
        # Tables and projections are whole where they are used, whatever is kept where in between.
        table = shard(self.token_embedding[...], (None, None))
        positions = shard(self.positional_embedding[...][:length].astype(dtype), (None, None))
        x = jnp.take(table, tokens, axis=0, mode="clip").astype(dtype) + positions
        x = shard(x, ("batch", None, None))
        x = apply_blocks(self.blocks, x, self.options)
        end = jnp.argmax(tokens, axis=-1)
        pooled = jnp.take_along_axis(x, end[:, None, None], axis=1)[:, 0]
        projection = shard(self.text_projection[...].astype(dtype), (None, None))
        return jnp.matmul(self.ln_final(pooled), projection, precision=precision(dtype))
