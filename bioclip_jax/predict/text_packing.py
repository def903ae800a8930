"""Sequence packing of short texts, with shared prefixes computed once.

Under the causal mask, texts with the same first tokens share all computation of that prefix. A row consists
of segments: a prefix, then the suffixes of its texts, then the next prefix, and so on. A token attends to its
own segment so far and, from a suffix, to the prefix before it. CLIP's templates thus cost little more than
the label and a full stop.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Int32

from bioclip_jax.models import CLIP


@dataclass(frozen=True)
class PackedTexts:
    """Texts packed into rows.

    rows: for each token its id, its position in its text, its segment, and the prefix's segment (or its own).
    Segments count from 1; padding is 0 throughout. ends: index of each text's end-of-text token, as
    row * length + column.
    """

    rows: Int32[np.ndarray, "rows 4 length"]
    ends: Int32[np.ndarray, " texts"]


def pack(
    tokens: Int32[np.ndarray, "texts context"], lengths: Int32[np.ndarray, " texts"], length: int
) -> PackedTexts:
    """Pack texts of `lengths` tokens into rows of `length`, at least that of the longest text."""
    order = np.lexsort(tokens[:, : lengths.max()].T[::-1])
    texts, counts = tokens[order], lengths[order].tolist()
    # (text, its first token in the segment, its last + 1, row, column, segment, segment of the prefix)
    segments: list[tuple[int, int, int, int, int, int, int]] = []
    row = column = segment = prefix = 0
    for start, stop, shared in _prefix_groups(texts, lengths[order]):
        prefix_row = -1
        for text in range(start, stop):
            if column + counts[text] - (shared if prefix_row == row else 0) > length:
                row, column = row + 1, 0
            if shared and prefix_row != row:
                segment, prefix, prefix_row = segment + 1, segment + 1, row
                segments.append((text, 0, shared, row, column, segment, segment))
                column += shared
            segment += 1
            segments.append((text, shared, counts[text], row, column, segment, prefix if shared else segment))
            column += counts[text] - shared
    text, first, last, rows, columns, numbers, prefixes = np.array(segments, np.int32).T
    sizes = last - first
    offsets = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    slots = np.repeat(rows * length + columns, sizes) + offsets
    positions = np.repeat(first, sizes) + offsets
    packed = np.zeros((4, (row + 1) * length), np.int32)
    packed[0, slots] = texts[np.repeat(text, sizes), positions]
    packed[1, slots] = positions
    packed[2, slots] = np.repeat(numbers, sizes)
    packed[3, slots] = np.repeat(prefixes, sizes)
    ends = np.empty(len(tokens), np.int32)
    complete = last == lengths[order][text]
    ends[order[text[complete]]] = (rows * length + columns + sizes - 1)[complete]
    return PackedTexts(np.ascontiguousarray(packed.reshape(4, row + 1, length).transpose(1, 0, 2)), ends)


def _prefix_groups(
    texts: Int32[np.ndarray, "texts context"], lengths: Int32[np.ndarray, " texts"]
) -> Sequence[tuple[int, int, int]]:
    """Split sorted texts into runs (start, stop, shared) that share their first `shared` tokens.

    The split minimizes the tokens to compute, where a run's prefix counts once.
    """
    same = np.logical_and.accumulate(texts[1:] == texts[:-1], axis=1).sum(axis=1)
    # Each text keeps its own end-of-text token.
    common = np.minimum(same, np.minimum(lengths[1:], lengths[:-1]) - 1)
    # Each node of the trie of prefixes is one run, or is split like its children, whichever saves more.
    # Open nodes: start, shared, tokens saved by the children, their runs.
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
    """Return the unit vectors of `CLIP.encode_text` at each token, as if its text ended there."""
    tokens, positions, segments, prefixes = (packed[:, plane] for plane in range(4))
    own, prefix = segments[:, None, :] == segments[:, :, None], segments[:, None, :] == prefixes[:, :, None]
    mask = (own | prefix) & jnp.tri(tokens.shape[1], dtype=bool)
    return model.encode_packed_text(tokens, positions, mask)
