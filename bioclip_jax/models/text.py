"""The text tower: a causal transformer pooled at the end-of-text token."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from .blocks import Block, BlockInit, apply_blocks, stack_blocks
from .config import TextConfig
from .layers import LayerNorm
from .options import Options, precision

__all__ = ["TextTransformer"]


class TextTransformer(nnx.Module):
    """Token ids to one vector per text: causal blocks, ln_final at the end-of-text token, projection.

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
        self.token_embedding = nnx.Param(
            normal(0.02)(rngs.params(), (config.vocab_size, width)), axes=("vocab", "embed")
        )
        self.positional_embedding = nnx.Param(
            normal(0.01)(rngs.params(), (config.context_length, width)), axes=("tokens", "embed")
        )

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
        self.text_projection = nnx.Param(
            normal(width**-0.5)(rngs.params(), (width, embed_dim)), axes=("embed", "features")
        )
        self.config = config
        self.options = options

    def __call__(self, tokens: Int[Array, "batch length"]) -> Float[Array, "batch embed_dim"]:
        """Features at the largest id of each row, which is the end-of-text token.

        Rows may be cut to any length that keeps that token: attention is causal, so later tokens have no
        effect. Raises ValueError if the rows are longer than the context.
        """
        x = self.hidden(tokens)
        end = jnp.argmax(tokens, axis=-1)
        return self.project(jnp.take_along_axis(x, end[:, None, None], axis=1)[:, 0])

    def hidden(
        self,
        tokens: Int[Array, "batch length"],
        positions: Int[Array, "batch length"] | None = None,
        mask: Bool[Array, "batch length length"] | None = None,
    ) -> Float[Array, "batch length width"]:
        """Activations after the last block.

        positions: of each token in its text, None for 0, 1, 2, ...; mask: [row, query, key], None for causal.
        With both, a row may hold several texts, for inference.
        """
        dtype, shard = self.options.dtype, self.options.shard
        length, context = tokens.shape[1], self.config.context_length
        # Tables and projections are gathered before use, however they are sharded between uses.
        token_table = shard(self.token_embedding[...], (None, None))
        position_table = self.positional_embedding[...]
        x = jnp.take(token_table, tokens, axis=0, mode="clip")
        if positions is None:
            if length > context:
                raise ValueError(f"texts have {length} tokens, the model takes at most {context}")
            x = x.astype(dtype) + shard(position_table[:length].astype(dtype), (None, None))
        else:
            x = x + jnp.take(shard(position_table, (None, None)), positions, axis=0, mode="clip")
        x = shard(x.astype(dtype), ("batch", None, None))
        return apply_blocks(self.blocks, x, self.options, mask)

    def project(self, x: Float[Array, "*batch width"]) -> Float[Array, "*batch embed_dim"]:
        """Features of activations after the last block: ln_final and projection."""
        dtype = self.options.dtype
        projection = self.options.shard(self.text_projection[...].astype(dtype), (None, None))
        return jnp.matmul(self.ln_final(x), projection, precision=precision(dtype))
