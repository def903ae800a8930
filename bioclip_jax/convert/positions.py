"""Position embeddings of one image size made to fit another."""

import math

import numpy as np
from jaxtyping import Float

from bioclip_jax.errors import UserError

__all__ = ["resize_positions"]


def resize_positions(
    positions: Float[np.ndarray, "old_tokens width"], grid: int
) -> Float[np.ndarray, "new_tokens width"]:
    """The class token's embedding as it is, the square grid of the others resampled to grid x grid.

    Bicubic with antialiasing as open_clip's resize_pos_embed does it; unchanged, bit for bit, where the
    size is right already. UserError where the old grid is not square.
    """
    class_token, patches = positions[:1], positions[1:]
    old = math.isqrt(len(patches))
    if old * old != len(patches):
        raise UserError(
            f"visual.positional_embedding has {len(patches)} patches, not a square: only square images are "
            f"supported"
        )
    if old == grid:
        return positions
    weights = _bicubic(old, grid)
    patches = patches.astype(np.float64).reshape(old, old, -1)
    patches = np.einsum("yi,xj,ijc->yxc", weights, weights, patches, optimize=True)
    return np.concatenate([class_token, patches.reshape(grid * grid, -1).astype(positions.dtype)])


def _bicubic(old: int, new: int) -> Float[np.ndarray, "new old"]:
    """Row i holds the weights of the old samples in new sample i: Keys' kernel with a = -1/2, widened to shrink."""
    ratio = old / new
    centers = (np.arange(new) + 0.5) * ratio - 0.5
    distance = np.abs(centers[:, None] - np.arange(old)[None, :]) / max(ratio, 1.0)
    near = (1.5 * distance - 2.5) * distance**2 + 1
    far = ((-0.5 * distance + 2.5) * distance - 4) * distance + 2
    weights = np.where(distance < 1, near, np.where(distance < 2, far, 0.0))
    return weights / weights.sum(1, keepdims=True)
