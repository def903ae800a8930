"""The contrastive loss."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def contrastive_loss(
    image_features: Float[Array, "batch dim"],
    text_features: Float[Array, "batch dim"],
    scale: Float[Array, ""],
) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
    """Symmetric InfoNCE over the global batch, and how often each side finds its partner.

    With unit rows `u_i` (images) and `v_i` (texts) and `z_ij = scale * u_i . v_j`:

        loss = -1/2B sum_i [log softmax_j(z_ij)_i + log softmax_j(z_ji)_i]

    The products are float32 even when the towers ran in bfloat16.
    Source: Radford et al. 2021, figure 3; open_clip's ClipLoss.
    """
    image_features = image_features.astype(jnp.float32)
    text_features = text_features.astype(jnp.float32)
    # A GPU would round float32 factors to TF32, which moves logits of up to 100 by some 0.05.
    logits = jnp.matmul(scale * image_features, text_features.T, precision="highest")
    matched = jnp.diagonal(logits)
    loss = 0.5 * jnp.mean(jax.nn.logsumexp(logits, axis=1) + jax.nn.logsumexp(logits, axis=0) - 2 * matched)
    # A caption that stands twice in the batch ties with itself, which counts as found.
    metrics = {
        "image_to_text": jnp.mean(matched >= logits.max(axis=1)),
        "text_to_image": jnp.mean(matched >= logits.max(axis=0)),
    }
    return loss, metrics
