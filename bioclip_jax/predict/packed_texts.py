"""Short texts laid one after another in long rows, what several of them begin with only once.

Under the causal mask a token sees its own text so far, so texts that begin alike share all that is computed
of that beginning. A row is made of segments: a beginning, then the rests of its texts, and so on; a token
sees its own segment so far and, from a rest, the beginning before it. CLIP's templates thus cost little more
than the label and a full stop.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, Int32

from bioclip_jax.models import CLIP, precision


@dataclass(frozen=True)
class Packed:
    """rows: of each token its id, its position in its text, its segment, and the segment before that (or itself).

    Segments count from 1; where nothing is, everything is 0. ends: where each text's end-of-text token is, as
    row * length + column.
    """

    rows: Int32[np.ndarray, "rows 4 length"]
    ends: Int32[np.ndarray, " texts"]


def pack(
    tokens: Int32[np.ndarray, "texts context"], lengths: Int32[np.ndarray, " texts"], length: int
) -> Packed:
    """Lay texts of `lengths` tokens into rows of `length`, which is no shorter than the longest of them."""
    order = np.lexsort(tokens[:, : lengths.max()].T[::-1])
    texts, counts = tokens[order], lengths[order].tolist()
    # text, its first and last + 1 token here, row, column, number, number of the segment before
    segments: list[tuple[int, int, int, int, int, int, int]] = []
    row = column = number = before = 0
    for start, stop, shared in _groups(texts, lengths[order]):
        opened = -1
        for text in range(start, stop):
            if column + counts[text] - (shared if opened == row else 0) > length:
                row, column = row + 1, 0
            if shared and opened != row:
                number, before, opened = number + 1, number + 1, row
                segments.append((text, 0, shared, row, column, number, number))
                column += shared
            number += 1
            segments.append((text, shared, counts[text], row, column, number, before if shared else number))
            column += counts[text] - shared
    text, first, last, rows, columns, numbers, befores = np.array(segments, np.int32).T
    sizes = last - first
    within = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    places = np.repeat(rows * length + columns, sizes) + within
    positions = np.repeat(first, sizes) + within
    packed = np.zeros((4, (row + 1) * length), np.int32)
    packed[0, places] = texts[np.repeat(text, sizes), positions]
    packed[1, places] = positions
    packed[2, places] = np.repeat(numbers, sizes)
    packed[3, places] = np.repeat(befores, sizes)
    ends = np.empty(len(tokens), np.int32)
    complete = last == lengths[order][text]
    ends[order[text[complete]]] = (rows * length + columns + sizes - 1)[complete]
    return Packed(np.ascontiguousarray(packed.reshape(4, row + 1, length).transpose(1, 0, 2)), ends)


def _groups(
    texts: Int32[np.ndarray, "texts context"], lengths: Int32[np.ndarray, " texts"]
) -> Sequence[tuple[int, int, int]]:
    """Sorted texts cut into runs (start, stop, shared) whose first `shared` tokens are the same, so that these, counted
    once a run, and all others together are as few as can be.
    """
    same = np.logical_and.accumulate(texts[1:] == texts[:-1], axis=1).sum(axis=1)
    # The end-of-text token stays each text's own.
    common = np.minimum(same, np.minimum(lengths[1:], lengths[:-1]) - 1)
    # Each node of the tree of common beginnings is one run, or is cut up as its children are: whichever saves
    # more. Open nodes: start, shared, tokens that the children save, their runs.
    open_nodes: list[tuple[int, int, int, list[tuple[int, int, int]]]] = []
    for text, shared in enumerate([*common.tolist(), 0]):
        start, saved, runs = text, 0, [(text, text + 1, 0)]
        while open_nodes and open_nodes[-1][1] > shared:
            start, own, below, parts = open_nodes.pop()
            together = own * (text - start)
            apart = below + saved
            saved, runs = (together, [(start, text + 1, own)]) if together >= apart else (apart, parts + runs)
        if open_nodes and open_nodes[-1][1] == shared:
            first, _, below, parts = open_nodes.pop()
            parts.extend(runs)
            open_nodes.append((first, shared, below + saved, parts))
        else:
            open_nodes.append((start, shared, saved, runs))
    return open_nodes[-1][3]


def packed_features(
    model: CLIP, packed: Int[Array, "rows 4 length"]
) -> Float[Array, "rows length embed_dim"]:
    """Unit vectors as CLIP.encode_text gives them, at each token as if its text ended there."""
    text = model.text
    dtype, shard = text.options.dtype, text.options.shard
    tokens, positions, segments, before = (packed[:, plane] for plane in range(4))
    table, places = (
        shard(text.token_embedding[...], (None, None)),
        shard(text.positional_embedding[...], (None, None)),
    )
    x = (
        jnp.take(table, tokens, axis=0, mode="clip") + jnp.take(places, positions, axis=0, mode="clip")
    ).astype(dtype)
    own, earlier = segments[:, None, :] == segments[:, :, None], segments[:, None, :] == before[:, :, None]
    seen = (own | earlier) & jnp.tri(tokens.shape[1], dtype=bool)
    graphdef, layers = nnx.split(text.blocks)

    def block(x: Array, layer: nnx.State) -> tuple[Array, None]:
        block = nnx.merge(graphdef, layer)
        branch = _attend(block.attn, block.ln_1(x), seen)
        x = shard(x + (branch if block.ls_1 is None else block.ls_1(branch)), ("batch", None, None))
        branch = block.mlp(block.ln_2(x))
        return shard(x + (branch if block.ls_2 is None else block.ls_2(branch)), ("batch", None, None)), None

    x, _ = jax.lax.scan(block, shard(x, ("batch", None, None)), layers)
    projection = shard(text.text_projection[...].astype(dtype), (None, None))
    features = jnp.matmul(text.ln_final(x), projection, precision=precision(dtype)).astype(jnp.float32)
    return features / jnp.maximum(jnp.linalg.norm(features, axis=-1, keepdims=True), 1e-12)


def _attend(
    attention: nnx.Module, x: Float[Array, "rows length width"], seen: Bool[Array, "rows length length"]
) -> Float[Array, "rows length width"]:
    """models.attention.Attention with a mask of its own for each row: `seen` by a token (second axis) are its True."""
    rows, length, width = x.shape
    heads = attention.in_proj(x).reshape(rows, length, 3, attention.heads, width // attention.heads)
    query, key, value = heads.transpose(2, 0, 3, 1, 4)
    query, exact = query * query.shape[-1] ** -0.5, precision(x.dtype)
    logits = jnp.einsum("bhtd,bhsd->bhts", query, key, precision=exact, preferred_element_type=jnp.float32)
    weights = jax.nn.softmax(jnp.where(seen[:, None], logits, -jnp.inf), axis=-1).astype(x.dtype)
    mixed = jnp.einsum("bhts,bhsd->bhtd", weights, value, precision=exact)
    return attention.out_proj(mixed.transpose(0, 2, 1, 3).reshape(rows, length, width))
