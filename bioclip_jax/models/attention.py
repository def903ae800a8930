"""Multi-head self-attention with cuDNN or XLA."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx
from jax.ad_checkpoint import checkpoint_name
from jax.sharding import PartitionSpec
from jaxtyping import Array, Bool, Float

from bioclip_jax.errors import UserError

from .layers import Initializer, Linear
from .merged_attention import merged_attention
from .options import Options, Shard, precision

__all__ = ["Attention", "Mask"]

# True for the keys that a query attends to, or numbers that are added to the logits.
Mask = Bool[Array, "#batch #queries tokens"] | Float[Array, "#batch #queries tokens"]


class Attention(nnx.Module):
    """softmax(q·kᵀ/√head_width)·v with the softmax in float32, over heads of width / heads channels.

    Raises UserError if `options.attention` asks for cuDNN and it does not support the device, dtype or heads.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        in_proj: Initializer,
        out_proj: Initializer,
        *,
        causal: bool,
        options: Options,
        rngs: nnx.Rngs,
    ):
        zeros = nnx.initializers.zeros_init()
        shared = dict(options=options, rngs=rngs)
        # q, k and v have their own axis, so that splitting the last axis gives each device whole heads.
        self.in_proj = Linear(width, (3, width), in_proj, zeros, axes=("embed", "qkv", "heads"), **shared)
        self.out_proj = Linear(width, width, out_proj, zeros, axes=("heads", "embed"), **shared)
        self.heads = heads
        self.causal = causal
        self.cudnn = _uses_cudnn(options, width // heads)
        self.merges = options.attention == "cudnn_merged" and not causal
        self.splits_qkv = options.splits_qkv
        self.shard = options.shard

    def __call__(
        self,
        x: Float[Array, "batch tokens width"],
        mask: Mask | None = None,
        length: int | None = None,
    ) -> Float[Array, "batch tokens width"]:
        """Apply attention.

        mask: [row, query, key], in place of the causal mask, without cuDNN; numbers are added to the logits,
        log(g) multiplying a key's attention by g before it is normalized. length: the number of tokens that
        are attended to, None for all; the tokens after them are padding.
        """
        batch, tokens, width = x.shape
        length = tokens if length is None else length
        # JAX cannot differentiate cuDNN attention over an odd number of patches.
        if self.merges and mask is None and tokens % 2 and length == tokens and not _other_axes():
            return self._merge(x)
        query, key, value = self._project(x)
        if self.cudnn and mask is None:
            mixed = _attend_cudnn(query, key, value, causal=self.causal, length=length, shard=self.shard)
        else:
            if mask is None and self.causal:
                mask = jnp.tri(tokens, dtype=bool)[None]
            elif mask is None and length < tokens:
                mask = (jnp.arange(tokens) < length)[None, None]
            mixed = checkpoint_name(_attend_xla(query, key, value, mask), "mixed")
        return self.out_proj(mixed.reshape(batch, tokens, width))

    def _merge(self, x: Float[Array, "batch tokens width"]) -> Float[Array, "batch tokens width"]:
        """Attend with the first token apart, projected separately so that q, k and v need no copies."""
        # XLA would merge products by the same kernel, with copies of both parts. The barrier prevents that.
        graphdef, state = nnx.split(self)
        apart = nnx.merge(graphdef, jax.lax.optimization_barrier(state))
        token, patches = merged_attention(tuple(apart._project(x[:, :1])), tuple(self._project(x[:, 1:])))
        token, patches = (part.reshape(*part.shape[:2], -1) for part in (token, patches))
        return jnp.concatenate([apart.out_proj(token), self.out_proj(patches)], axis=1)

    def _project(self, x: Float[Array, "batch tokens width"]) -> list[Float[Array, "batch tokens heads _"]]:
        """Return q, k and v."""
        batch, tokens, width = x.shape
        heads = (self.heads, width // self.heads)
        if self.splits_qkv:
            parts = (part.reshape(batch, tokens, *heads) for part in self.in_proj.parts(x))
            return [checkpoint_name(self.shard(y, ("batch", None, "heads", None)), "qkv") for y in parts]
        qkv = self.in_proj(x).reshape(batch, tokens, 3, *heads)
        qkv = checkpoint_name(self.shard(qkv, ("batch", None, None, "heads", None)), "qkv")
        return [qkv[:, :, i] for i in range(3)]


def _uses_cudnn(options: Options, head_width: int) -> bool:
    if options.attention == "xla":
        return False
    dtype, reason = options.dtype, None
    if not options.for_nvidia:
        reason = f"it needs an NVIDIA GPU, not {jax.default_backend()}"
    elif jnp.dtype(dtype) not in (jnp.bfloat16, jnp.float16):
        reason = f"it needs bfloat16 or float16, not {jnp.dtype(dtype).name}"
    elif head_width % 8 or head_width > 128:
        reason = f"it needs heads of 8, 16, ... 128 channels, not {head_width}"
    if reason and options.attention != "auto":
        raise UserError(f'attention "{options.attention}" is not available: {reason}; use "auto" or "xla"')
    return reason is None


def _attend_cudnn(
    query: Float[Array, "batch tokens heads head_width"],
    key: Float[Array, "batch tokens heads head_width"],
    value: Float[Array, "batch tokens heads head_width"],
    *,
    causal: bool,
    length: int,
    shard: Shard,
) -> Float[Array, "batch tokens heads head_width"]:
    batch, tokens = query.shape[:2]
    lengths = {}
    if tokens % 2:
        # JAX cannot differentiate cuDNN attention over an odd number of tokens.
        query, key, value = (jnp.pad(x, ((0, 0), (0, 1), (0, 0), (0, 0))) for x in (query, key, value))
    elif length < tokens:
        key, value = (_constant_padding(x, length) for x in (key, value))
    if not causal and length < query.shape[1]:
        # Sharded like the batch: a replicated length would not match the rows of a device.
        lengths = {
            "query_seq_lengths": shard(jnp.full(batch, query.shape[1], jnp.int32), ("batch",)),
            "key_value_seq_lengths": shard(jnp.full(batch, length, jnp.int32), ("batch",)),
        }

    def attend(query: Array, key: Array, value: Array, lengths: dict[str, Array]) -> Array:
        return jax.nn.dot_product_attention(
            query, key, value, is_causal=causal, implementation="cudnn", **lengths
        )

    mixed = _by_heads(attend)(query, key, value, lengths)
    return mixed[:, :tokens]


def _by_heads(attend: Callable[..., Array]) -> Callable[..., Array]:
    """Let each device attend with its own heads, if a shard_map covers only some axes of the mesh.

    XLA's partitioner, in charge of the others, cannot split cuDNN's attention in a shard_map (jax 0.10.2).
    """
    other = _other_axes()
    if not other:
        return attend
    heads = PartitionSpec(None, None, tuple(other))
    return jax.shard_map(
        attend,
        in_specs=(heads, heads, heads, PartitionSpec()),
        out_specs=heads,
        axis_names=other,
        check_vma=False,
    )


def _other_axes() -> set[str]:
    """Return the axes of the mesh that are not those of the shard_map around, none without a shard_map."""
    mesh = jax.sharding.get_abstract_mesh()
    return set(mesh.axis_names) - set(mesh.manual_axes) if mesh.manual_axes else set()


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def _constant_padding(
    x: Float[Array, "batch tokens heads head_width"], length: int
) -> Float[Array, "batch tokens heads head_width"]:
    """Return x; its gradient is 0 after the first `length` tokens, whatever cuDNN writes for masked keys."""
    return x


def _clear_padding(length: int, _: None, gradient: Array) -> tuple[Array]:
    # In place; gradient.at[:, length:].set(0) is a scatter, which copies.
    zeros = jnp.zeros_like(gradient[:, length:])
    return (jax.lax.dynamic_update_slice_in_dim(gradient, zeros, length, axis=1),)


_constant_padding.defvjp(lambda x, length: (x, None), _clear_padding)


def _attend_xla(
    query: Float[Array, "batch tokens heads head_width"],
    key: Float[Array, "batch tokens heads head_width"],
    value: Float[Array, "batch tokens heads head_width"],
    mask: Mask | None,
) -> Float[Array, "batch tokens heads head_width"]:
    # Heads before tokens: on a CPU this takes two thirds of jax.nn.dot_product_attention's time, both ways.
    query, key, value = (x.transpose(0, 2, 1, 3) for x in (query, key, value))
    query, exact = query * query.shape[-1] ** -0.5, precision(query.dtype)
    logits = jnp.einsum("bhtd,bhsd->bhts", query, key, precision=exact, preferred_element_type=jnp.float32)
    if mask is not None:
        mask = mask[:, None]
        logits = jnp.where(mask, logits, -jnp.inf) if mask.dtype == bool else logits + mask
    weights = jax.nn.softmax(logits, axis=-1).astype(value.dtype)
    return jnp.einsum("bhts,bhsd->bhtd", weights, value, precision=exact).transpose(0, 2, 1, 3)
