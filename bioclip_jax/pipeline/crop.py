"""The training crop on the devices: resampling as two small matrix products an image."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, UInt8


def resample(
    images: UInt8[Array, "rows size size 3"], boxes: Float[Array, "rows 5"], interpolation: str
) -> UInt8[Array, "rows size size 3"]:
    """Each image's box enlarged to the size of the image, as OpenCV's resize does it, to one level of 256.

    boxes: top, left, height and width in pixels, and 1 to mirror, else 0. interpolation: "bicubic" (a =
    -0.75) or "bilinear".
    """
    size = images.shape[1]
    down = _weights(boxes[:, 0], boxes[:, 2], size, interpolation)
    across = _weights(boxes[:, 1], boxes[:, 3], size, interpolation)
    across = jnp.where(boxes[:, 4, None, None] > 0, across[:, ::-1], across)
    # A GPU would else round to ten bits.
    pixels = jnp.einsum("bij,bjkc,blk->bilc", down, images.astype(jnp.float32), across, precision="highest")
    return jnp.clip(jnp.round(pixels), 0, 255).astype(jnp.uint8)


def _weights(
    start: Float[Array, " rows"], length: Float[Array, " rows"], size: int, interpolation: str
) -> Float[Array, "rows size size"]:
    """What each of `size` pixels takes from each of the image's, of which a stretch is enlarged to all of them.

    Pixel i lies at (i + 1/2) length / size - 1/2 in the stretch; beyond its ends stands its last pixel.
    """
    place = (jnp.arange(size) + 0.5) * (length[:, None] / size) - 0.5
    first = jnp.floor(place)
    past = (place - first)[..., None]
    taps = jnp.arange(-1, 3) if interpolation == "bicubic" else jnp.arange(2)
    weights = _cubic(jnp.abs(past - taps)) if interpolation == "bicubic" else 1 - jnp.abs(past - taps)
    at = jnp.clip(first[..., None] + taps, 0, length[:, None, None] - 1) + start[:, None, None]
    at = at.astype(jnp.int32)
    return sum(jax.nn.one_hot(at[..., tap], size) * weights[..., tap, None] for tap in range(len(taps)))


def _cubic(distance: Float[Array, "..."], a: float = -0.75) -> Float[Array, "..."]:
    """The cubic convolution kernel (Keys 1981) with OpenCV's parameter."""
    near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
    far = ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
    return jnp.where(distance <= 1, near, jnp.where(distance < 2, far, 0.0))
