"""Contrastive losses over the whole mesh, without the matrix of all pairs.

A batch of B pairs is sharded over n devices, b = B / n rows each. Every device gathers the texts, [B, dim],
and computes its b x B logits in blocks of columns, keeping only running sums. A block serves both directions:
its row sums stay on the device, its column sums are reduced over the devices as vectors of length B. The
backward pass recomputes each block. A device thus does one product of b x B x dim forward and three backward,
in memory that grows linearly with B.
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

# A block of logits takes the memory of this many feature vectors (12 MiB at a width of 768), little compared
# with the features of a large batch.
_BLOCK_VECTORS = 4096
# Narrower products are slow.
_MIN_COLUMNS = 256
# Column index of padding, and its logit: below every other, but finite, since inf - inf is NaN.
_PADDING, _LOWEST = -1, jnp.finfo(jnp.float32).min


def contrastive_loss(
    name: Literal["infonce", "siglip"], mesh: Mesh, chunk_size: int | None = None
) -> PairLoss:
    """Return the loss function of a batch whose rows are sharded over all axes of `mesh`.

    With unit rows `u_i` (images) and `v_i` (texts):

        infonce   z_ij = scale * u_i . v_j
                  loss = -1/2B sum_i [log softmax_j(z_ij)_i + log softmax_j(z_ji)_i]

        siglip    z_ij = scale * u_i . v_j + bias,  y_ij = 1 where i = j, else -1
                  loss = -1/B sum_ij log sigmoid(y_ij z_ij)

    infonce ignores the bias, to which a softmax is invariant. All arithmetic is float32, also of bfloat16
    features.

    The metrics are the top-1 retrieval accuracies "image_to_text" and "text_to_image": the shares of rows and
    of columns whose matched logit is the largest. A caption repeated in the batch ties with itself, which
    counts as correct. Loss and metrics are float32 scalars, the same on every device.

    chunk_size: approximate number of columns of a block; None chooses.

    The loss raises ValueError if the features differ in shape, if their rows do not divide over the devices,
    and if siglip gets no bias.

    Sources: Radford et al. 2021, figure 3 (https://arxiv.org/abs/2103.00020) and open_clip's ClipLoss; Zhai
    et al. 2023 (https://arxiv.org/abs/2303.15343) and open_clip's SigLipLoss.
    """
    if name not in _SUMMANDS:
        raise ValueError(f"unknown contrastive loss {name!r}; the names are {', '.join(_SUMMANDS)}")
    summand, axes = _SUMMANDS[name], mesh.axis_names
    sharded, replicated = PartitionSpec(axes), PartitionSpec()

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
                f"the shapes must be equal, and the rows a multiple of the {mesh.size} devices"
            )
        if name == "infonce":
            bias = 0.0
        elif bias is None:
            raise ValueError(f"the bias is None; {name} needs one, a scalar")
        rows = batch // mesh.size
        chunks = _number_of_chunks(batch, chunk_size or max(_MIN_COLUMNS, _BLOCK_VECTORS * dim // rows))

        @partial(
            jax.shard_map,
            mesh=mesh,
            in_specs=(sharded, sharded, replicated, replicated),
            out_specs=replicated,
        )
        def on_each_device(images, texts, scale, bias):
            texts = jax.lax.all_gather(texts, axes, tiled=True)
            bias = jax.lax.pcast(bias, axes, to="varying")
            row_sums, partial_column_sums, matched = _stream(
                summand, axes, chunks, scale * images, texts, bias
            )
            column_sums = _reduce(summand, axes, partial_column_sums)
            sums = {
                "loss": (summand.loss(row_sums, matched) + summand.loss(column_sums, matched)) / 2,
                "image_to_text": matched >= row_sums.largest,
                "text_to_image": matched >= column_sums.largest,
            }
            return {key: jax.lax.psum(jnp.sum(x, dtype=jnp.float32), axes) / batch for key, x in sums.items()}

        metrics = on_each_device(
            *(jnp.asarray(x, jnp.float32) for x in (image_features, text_features, scale, bias))
        )
        return metrics.pop("loss"), metrics

    return pair_loss


class _Sums(NamedTuple):
    """Running sums of the rows, or of the columns: the largest logit, and the loss's sum relative to it.

    `largest` has no gradient, since the loss does not depend on the offset of its sum.
    """

    largest: Float[Array, " n"]
    total: Float[Array, " n"]


class _Summand(NamedTuple):
    """A loss as a sum along the rows and along the columns of the logits, relative to the largest of each.

    term: (logits, is_matched, largest) -> terms of the sum. rescale: (largest, new largest) -> factor of a
    running sum. loss: (sums, matched logits) -> loss of each row or column.
    """

    term: Callable[[Array, Array, Array], Array]
    rescale: Callable[[Array, Array], Array]
    loss: Callable[[_Sums, Array], Array]


_SUMMANDS = {
    # -log softmax(z)_i = log sum_j exp(z_j) - z_i
    "infonce": _Summand(
        term=lambda z, is_matched, largest: jnp.exp(z - largest),
        rescale=lambda largest, new_largest: jnp.exp(largest - new_largest),
        loss=lambda sums, matched: sums.largest - matched + jnp.log(sums.total),
    ),
    # -log sigmoid(y z) = softplus(-y z), the same along rows and columns.
    "siglip": _Summand(
        term=lambda z, is_matched, largest: jax.nn.softplus(jnp.where(is_matched, -z, z)),
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
    """Return this device's row sums, its part of the sums of all columns, and its matched logits."""
    return _stream_forward(summand, axes, chunks, images, texts, bias)[0]


def _stream_forward(summand, axes, chunks, images, texts, bias):
    def add_block(carry, chunk):
        row_sums, matched = carry
        z, is_matched = _logits(axes, images, bias, *chunk)
        row_largest, column_largest = jnp.maximum(row_sums.largest, z.max(1)), z.max(0)
        row_total, column_total, block_matched = _block_sums(
            summand, z, is_matched, row_largest, column_largest
        )
        total = row_sums.total * summand.rescale(row_sums.largest, row_largest) + row_total
        return (_Sums(row_largest, total), matched + block_matched), _Sums(column_largest, column_total)

    lowest, zero = jax.lax.pcast((jnp.full(len(images), _LOWEST), jnp.zeros(len(images))), axes, to="varying")
    (row_sums, matched), column_sums = jax.lax.scan(
        add_block, (_Sums(lowest, zero), zero), _chunked(chunks, texts)
    )
    column_sums = jax.tree.map(lambda x: x.reshape(-1)[: len(texts)], column_sums)
    return (row_sums, column_sums, matched), (images, texts, bias, row_sums.largest, column_sums.largest)


def _stream_backward(summand, axes, chunks, residuals, gradients):
    """Recompute each block and its gradient, relative to the final largest, so that no sum is rescaled."""
    images, texts, bias, row_largest, column_largest = residuals
    d_rows, d_columns, d_matched = gradients

    def add_block(carry, chunk):
        d_images, d_bias = carry
        texts, column, largest, d_total = chunk

        def sums(images, texts, bias):
            z, is_matched = _logits(axes, images, bias, texts, column)
            return _block_sums(summand, z, is_matched, row_largest, largest)

        _, pull_back = jax.vjp(sums, images, texts, bias)
        block_d_images, d_texts, block_d_bias = pull_back((d_rows.total, d_total, d_matched))
        return (d_images + block_d_images, d_bias + block_d_bias), d_texts

    start = (jnp.zeros_like(images), jnp.zeros_like(bias))
    xs = _chunked(chunks, texts, column_largest, d_columns.total)
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
    """Return a block of logits, and a mask of the matched ones."""
    row = jax.lax.axis_index(axes) * len(images) + jnp.arange(len(images))
    # A GPU's default precision is TF32, which would change logits of up to 100 by some 0.05.
    z = jnp.matmul(images, texts.T, precision="highest") + bias
    return jnp.where(column == _PADDING, _LOWEST, z), row[:, None] == column


def _block_sums(
    summand: _Summand,
    z: Float[Array, "rows chunk"],
    is_matched: Bool[Array, "rows chunk"],
    row_largest: Float[Array, " rows"],
    column_largest: Float[Array, " chunk"],
) -> tuple[Float[Array, " rows"], Float[Array, " chunk"], Float[Array, " rows"]]:
    """Return the sums along rows and columns, and each row's matched logit, 0 if it is in another block.

    Matched logits are taken from the block: computed separately, rounding could make them less than the
    largest.
    """
    return (
        summand.term(z, is_matched, row_largest[:, None]).sum(1),
        summand.term(z, is_matched, column_largest).sum(0),
        jnp.where(is_matched, z, 0.0).sum(1),
    )


def _reduce(summand: _Summand, axes: tuple[str, ...], partial_sums: _Sums) -> _Sums:
    """Reduce column sums over all devices; return those of the columns whose matched rows this device has."""
    partial_largest = jax.lax.stop_gradient(partial_sums.largest)
    largest = jax.lax.pmax(partial_largest, axes)
    total = partial_sums.total * summand.rescale(partial_largest, largest)
    total = jax.lax.psum_scatter(total, axes, tiled=True)
    first = jax.lax.axis_index(axes) * len(total)
    return _Sums(jax.lax.dynamic_slice_in_dim(largest, first, len(total)), total)


def _chunked(
    chunks: int, texts: Float[Array, "batch dim"], *column_values: Float[Array, " batch"]
) -> tuple[Array, ...]:
    """Return the texts, their column indices and `column_values`, each as [chunks, chunk, ...]."""
    batch = len(texts)
    chunk = -(-batch // chunks)

    def split(x: Array, fill: int = 0) -> Array:
        padding = [(0, chunks * chunk - batch)] + [(0, 0)] * (x.ndim - 1)
        return jnp.pad(x, padding, constant_values=fill).reshape(chunks, chunk, *x.shape[1:])

    return split(texts), split(jnp.arange(batch), _PADDING), *map(split, column_values)


def _number_of_chunks(batch: int, chunk_size: int) -> int:
    """Return the least number of chunks for `chunk_size`, or up to twice as many to avoid padding."""
    least = -(-batch // chunk_size)
    return next((chunks for chunks in range(least, 2 * least) if batch % chunks == 0), least)
