"""Image preprocessing on the device: normalization, and the random crop of training."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, UInt8

__all__ = ["crop_and_resize", "normalize_images"]


def normalize_images(
    images: UInt8[Array, "batch height width 3"], mean: Sequence[float], std: Sequence[float]
) -> Float[Array, "batch height width 3"]:
    """(pixel / 255 - mean) / std in float32, with a mean and std per channel."""
    mean, std = jnp.asarray(mean, jnp.float32), jnp.asarray(std, jnp.float32)
    return (images.astype(jnp.float32) / 255.0 - mean) / std


def crop_and_resize(
    images: UInt8[Array, "batch size size 3"], boxes: Float[Array, "batch 5"], interpolation: str
) -> UInt8[Array, "batch size size 3"]:
    """Resize a box of each image to the image's size by two matrix products; within 1 of OpenCV's pixels.

    boxes: top, left, height and width in pixels, and 1 to mirror, else 0.
    interpolation: "bicubic" (a = -0.75) or "bilinear".
    """
    size = images.shape[1]
    vertical = _resize_weights(boxes[:, 0], boxes[:, 2], size, interpolation)
    horizontal = _resize_weights(boxes[:, 1], boxes[:, 3], size, interpolation)
    horizontal = jnp.where(boxes[:, 4, None, None] > 0, horizontal[:, ::-1], horizontal)
    # A GPU would otherwise round to TF32, ten bits of mantissa.
    pixels = jnp.einsum(
        "bij,bjkc,blk->bilc", vertical, images.astype(jnp.float32), horizontal, precision="highest"
    )
    return jnp.clip(jnp.round(pixels), 0, 255).astype(jnp.uint8)


def _resize_weights(
    start: Float[Array, " batch"], length: Float[Array, " batch"], size: int, interpolation: str
) -> Float[Array, "batch size size"]:
    """Matrices that resize `length` pixels from `start` on to `size` pixels.

    Output pixel i samples the interval at (i + 1/2) length / size - 1/2; edge pixels are repeated.
    """
    center = (jnp.arange(size) + 0.5) * (length[:, None] / size) - 0.5
    first = jnp.floor(center)
    fraction = (center - first)[..., None]
    taps = jnp.arange(-1, 3) if interpolation == "bicubic" else jnp.arange(2)
    distance = jnp.abs(fraction - taps)
    weights = _cubic(distance) if interpolation == "bicubic" else 1 - distance
    index = jnp.clip(first[..., None] + taps, 0, length[:, None, None] - 1) + start[:, None, None]
    index = index.astype(jnp.int32)
    return sum(jax.nn.one_hot(index[..., tap], size) * weights[..., tap, None] for tap in range(len(taps)))


def _cubic(distance: Float[Array, "..."], a: float = -0.75) -> Float[Array, "..."]:
    """Cubic convolution kernel (Keys 1981) with OpenCV's parameter."""
    near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
    far = ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
    return jnp.where(distance <= 1, near, jnp.where(distance < 2, far, 0.0))
