"""Contrastive losses over the whole mesh, without the matrix of all pairs.

A batch of B pairs lies on n devices, b = B / n rows on each. Every device gathers the texts, [B, dim], and
goes through its b x B logits in blocks of b rows by some columns, of which it keeps only what the loss sums.
A block
serves both directions: what is summed along its rows stays on the device, what is summed along its columns is
merged over the devices, as vectors of length B. The backward pass computes each block again. So a device does
one product of b x B x dim forward and three backward, and its memory grows with B, not with its square.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Bool, Float, Int

# (image_features [B, dim], text_features [B, dim], scale [], bias [] or None) -> (loss [], metrics)
PairLoss = Callable[
    [Float[Array, "batch dim"], Float[Array, "batch dim"], Float[Array, ""], Float[Array, ""] | None],
    tuple[Float[Array, ""], dict[str, Float[Array, ""]]],
]

# A block holds as many logits as this many feature vectors have entries (12 MiB at a width of 768), little
# beside the features of a large batch. It has some columns however many rows there are, as a product of a few
# is a slow one.
BLOCK_VECTORS, FEWEST_COLUMNS = 4096, 256
# The column that padding stands for, and its logit: below every other, but a number, since inf - inf is none.
PADDING, LOWEST = -1, jnp.finfo(jnp.float32).min


def contrastive_loss(
    name: Literal["infonce", "siglip"], mesh: Mesh, chunk_size: int | None = None
) -> PairLoss:
    """The loss of a batch whose rows are split over all axes of `mesh`, and how often each side finds its partner.

    With unit rows `u_i` (images) and `v_i` (texts):

        infonce   z_ij = scale * u_i . v_j
                  loss = -1/2B sum_i [log softmax_j(z_ij)_i + log softmax_j(z_ji)_i]

        siglip    z_ij = scale * u_i . v_j + bias,  y_ij = 1 where i = j, else -1
                  loss = -1/B sum_ij log sigmoid(y_ij z_ij)

    infonce leaves a bias out, which no softmax would notice. All arithmetic is float32, also of bfloat16
    features.

    The metrics are "image_to_text" and "text_to_image": the shares of rows and of columns whose matched logit
    is the largest. A caption that stands twice in the batch ties with itself, which counts as found. Loss and
    metrics are float32 scalars, the same on every device.

    chunk_size: the columns of a block, about; None chooses.

    Errors: the loss raises ValueError for features of two shapes, for rows that the devices do not divide,
    and where siglip gets no bias.

    Sources: Radford et al. 2021, figure 3 (https://arxiv.org/abs/2103.00020) and open_clip's ClipLoss; Zhai
    et al. 2023 (https://arxiv.org/abs/2303.15343) and open_clip's SigLipLoss.
    """
    if name not in _SUMMANDS:
        raise ValueError(f"no contrastive loss is named {name!r}; the names are {', '.join(_SUMMANDS)}")
    summand, axes = _SUMMANDS[name], mesh.axis_names
    split, whole = PartitionSpec(axes), PartitionSpec()

    def pair_loss(
        image_features: Float[Array, "batch dim"],
        text_features: Float[Array, "batch dim"],
        scale: Float[Array, ""],
        bias: Float[Array, ""] | None = None,
    ) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
        batch, dim = image_features.shape
        if image_features.shape != text_features.shape or batch % mesh.size:
            raise ValueError(
                f"image and text features are {image_features.shape} and {text_features.shape}; "
                f"they must be alike, and their rows a multiple of the {mesh.size} devices"
            )
        if name == "infonce":
            bias = 0.0
        elif bias is None:
            raise ValueError(f"the bias is None; {name} needs one, a scalar")
        rows = batch // mesh.size
        chunks = _number_of_chunks(batch, chunk_size or max(FEWEST_COLUMNS, BLOCK_VECTORS * dim // rows))

        @partial(jax.shard_map, mesh=mesh, in_specs=(split, split, whole, whole), out_specs=whole)
        def on_each_device(images, texts, scale, bias):
            texts = jax.lax.all_gather(texts, axes, tiled=True)
            bias = jax.lax.pcast(bias, axes, to="varying")
            of_rows, part_of_columns, matched = _stream(summand, axes, chunks, scale * images, texts, bias)
            of_columns = _merge(summand, axes, part_of_columns)
            sums = {
                "loss": (summand.loss(of_rows, matched) + summand.loss(of_columns, matched)) / 2,
                "image_to_text": matched >= of_rows.largest,
                "text_to_image": matched >= of_columns.largest,
            }
            return {key: jax.lax.psum(jnp.sum(x, dtype=jnp.float32), axes) / batch for key, x in sums.items()}

        metrics = on_each_device(
            *(jnp.asarray(x, jnp.float32) for x in (image_features, text_features, scale, bias))
        )
        return metrics.pop("loss"), metrics

    return pair_loss


class _Sums(NamedTuple):
    """Of each row, or each column, as far as it was seen: the largest logit, and the sum that the loss needs.

    `largest` is a constant to the gradient, since the loss does not depend on what its sum is relative to.
    """

    largest: Float[Array, " n"]
    total: Float[Array, " n"]


class _Summand(NamedTuple):
    """A loss, as what it sums along the rows and along the columns of the logits, relative to the largest of each.

    of: (logit, whether it is matched, largest) -> what it adds to the sum. rescale: (largest, new largest) ->
    the factor of a sum so far. loss: (sums, matched logits) -> loss of each row or column, averaged over both
    sides.
    """

    of: Callable[[Array, Array, Array], Array]
    rescale: Callable[[Array, Array], Array]
    loss: Callable[[_Sums, Array], Array]


_SUMMANDS = {
    # -log softmax(z)_i = log sum_j exp(z_j) - z_i
    "infonce": _Summand(
        of=lambda z, is_matched, largest: jnp.exp(z - largest),
        rescale=lambda largest, new_largest: jnp.exp(largest - new_largest),
        loss=lambda sums, matched: sums.largest - matched + jnp.log(sums.total),
    ),
    # -log sigmoid(y z) = softplus(-y z), which has one sum along the rows and along the columns.
    "siglip": _Summand(
        of=lambda z, is_matched, largest: jax.nn.softplus(jnp.where(is_matched, -z, z)),
        rescale=lambda largest, new_largest: jnp.ones_like(largest),
        loss=lambda sums, matched: sums.total,
    ),
}


@partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2))
def _stream(
    summand: _Summand,
    axes: tuple[str, ...],
    chunks: int,
    images: Float[Array, "rows dim"],
    texts: Float[Array, "batch dim"],
    bias: Float[Array, ""],
) -> tuple[_Sums, _Sums, Float[Array, " rows"]]:
    """Of this device's rows: their sums, their part of the sums of all columns, their matched logits."""
    return _stream_forward(summand, axes, chunks, images, texts, bias)[0]


def _stream_forward(summand, axes, chunks, images, texts, bias):
    def add_block(carry, chunk):
        of_rows, matched = carry
        z, is_matched = _logits(axes, images, bias, *chunk)
        largest, largest_of_columns = jnp.maximum(of_rows.largest, z.max(1)), z.max(0)
        along_rows, along_columns, matched_here = _block_sums(
            summand, z, is_matched, largest, largest_of_columns
        )
        total = of_rows.total * summand.rescale(of_rows.largest, largest) + along_rows
        return (_Sums(largest, total), matched + matched_here), _Sums(largest_of_columns, along_columns)

    lowest, zero = jax.lax.pcast((jnp.full(len(images), LOWEST), jnp.zeros(len(images))), axes, to="varying")
    (of_rows, matched), of_columns = jax.lax.scan(
        add_block, (_Sums(lowest, zero), zero), _chunked(chunks, texts)
    )
    of_columns = jax.tree.map(lambda x: x.reshape(-1)[: len(texts)], of_columns)
    return (of_rows, of_columns, matched), (images, texts, bias, of_rows.largest, of_columns.largest)


def _stream_backward(summand, axes, chunks, kept, gradients):
    """The gradient, block by block once more; relative to the final largest, a block's sums need no rescaling."""
    images, texts, bias, largest_of_rows, largest_of_columns = kept
    d_rows, d_columns, d_matched = gradients

    def add_block(carry, chunk):
        d_images, d_bias = carry
        texts, column, largest, d_total = chunk

        def sums(images, texts, bias):
            z, is_matched = _logits(axes, images, bias, texts, column)
            return _block_sums(summand, z, is_matched, largest_of_rows, largest)

        _, pull_back = jax.vjp(sums, images, texts, bias)
        more_images, d_texts, more_bias = pull_back((d_rows.total, d_total, d_matched))
        return (d_images + more_images, d_bias + more_bias), d_texts

    start = (jnp.zeros_like(images), jnp.zeros_like(bias))
    xs = _chunked(chunks, texts, largest_of_columns, d_columns.total)
    (d_images, d_bias), d_texts = jax.lax.scan(add_block, start, xs)
    return d_images, d_texts.reshape(-1, texts.shape[1])[: len(texts)], d_bias


_stream.defvjp(_stream_forward, _stream_backward)


def _logits(
    axes: tuple[str, ...],
    images: Float[Array, "rows dim"],
    bias: Float[Array, ""],
    texts: Float[Array, "chunk dim"],
    column: Int[Array, " chunk"],
) -> tuple[Float[Array, "rows chunk"], Bool[Array, "rows chunk"]]:
    """A block of logits, and which of them are matched."""
    row = jax.lax.axis_index(axes) * len(images) + jnp.arange(len(images))
    # A GPU would round float32 factors to TF32, which moves logits of up to 100 by some 0.05.
    z = jnp.matmul(images, texts.T, precision="highest") + bias
    return jnp.where(column == PADDING, LOWEST, z), row[:, None] == column


def _block_sums(
    summand: _Summand,
    z: Float[Array, "rows chunk"],
    is_matched: Bool[Array, "rows chunk"],
    largest_of_rows: Float[Array, " rows"],
    largest_of_columns: Float[Array, " chunk"],
) -> tuple[Float[Array, " rows"], Float[Array, " chunk"], Float[Array, " rows"]]:
    """Along the rows, along the columns, and the matched logits or 0 where they are in no column of the block.

    The matched logits come from the block itself: computed apart, they could be rounded to less than the
    largest.
    """
    return (
        summand.of(z, is_matched, largest_of_rows[:, None]).sum(1),
        summand.of(z, is_matched, largest_of_columns).sum(0),
        jnp.where(is_matched, z, 0.0).sum(1),
    )


def _merge(summand: _Summand, axes: tuple[str, ...], part: _Sums) -> _Sums:
    """Over all devices, of those columns whose matched rows this device has."""
    part_largest = jax.lax.stop_gradient(part.largest)
    largest = jax.lax.pmax(part_largest, axes)
    total = jax.lax.psum_scatter(part.total * summand.rescale(part_largest, largest), axes, tiled=True)
    first = jax.lax.axis_index(axes) * len(total)
    return _Sums(jax.lax.dynamic_slice_in_dim(largest, first, len(total)), total)


def _chunked(
    chunks: int, texts: Float[Array, "batch dim"], *of_columns: Float[Array, " batch"]
) -> tuple[Array, ...]:
    """The texts, their columns' numbers and whatever belongs to the columns, each as [chunks, chunk, ...]."""
    batch = len(texts)
    chunk = -(-batch // chunks)

    def split(x: Array, fill: int = 0) -> Array:
        padding = [(0, chunks * chunk - batch)] + [(0, 0)] * (x.ndim - 1)
        return jnp.pad(x, padding, constant_values=fill).reshape(chunks, chunk, *x.shape[1:])

    return split(texts), split(jnp.arange(batch), PADDING), *map(split, of_columns)


def _number_of_chunks(batch: int, chunk_size: int) -> int:
    """As few as `chunk_size` allows, or up to twice as many where those need no padding."""
    least = -(-batch // chunk_size)
    return next((chunks for chunks in range(least, 2 * least) if batch % chunks == 0), least)
