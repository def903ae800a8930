"""CLIP: two towers and a temperature."""

import math
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from .config import CLIPConfig
from .options import Options
from .text import TextTransformer
from .vision import VisionTransformer

__all__ = ["CLIP", "LOGIT_BIAS", "graphdef", "init_params"]

# Where the sigmoid loss starts (https://arxiv.org/abs/2303.15343).
LOGIT_BIAS = -10.0


class CLIP(nnx.Module):
    """Images and texts to unit vectors in one space (https://arxiv.org/abs/2103.00020).

    Parameters are float32, and so are the features returned. `options` are the fields of `Options`: they say
    how the towers compute. The other two add parameters:
    replay_projector: a second image projection, "continual_proj". logit_bias: the scalar that the sigmoid
    loss adds to its logits; it starts at -10 and the scale at 10 (https://arxiv.org/abs/2303.15343), which
    without it is 1/0.07.
    """

    def __init__(
        self,
        config: CLIPConfig,
        *,
        rngs: nnx.Rngs,
        replay_projector: bool = False,
        logit_bias: bool = False,
        **options: Any,
    ):
        shared = dict(rngs=rngs, quick_gelu=config.quick_gelu, options=Options(**options))
        self.visual = VisionTransformer(
            config.vision, config.embed_dim, replay_projector=replay_projector, **shared
        )
        self.text = TextTransformer(config.text, config.embed_dim, **shared)
        self.logit_scale = nnx.Param(jnp.asarray(math.log(10 if logit_bias else 1 / 0.07), jnp.float32))
        self.logit_bias = nnx.Param(jnp.asarray(LOGIT_BIAS, jnp.float32)) if logit_bias else None
        self.config = config

    def encode_image(
        self, images: Float[Array, "batch height width 3"], *, projector: str = "proj", normalize: bool = True
    ) -> Float[Array, "batch embed_dim"]:
        """Features of images that `normalize_images` has prepared; `projector` is "proj" or "continual_proj"."""
        return self.project_image(self.pool_image(images), projector=projector, normalize=normalize)

    def pool_image(
        self, images: Float[Array, "batch height width 3"], kept: Int[Array, "batch kept"] | None = None
    ) -> Float[Array, "batch vision_width"]:
        """The image tower up to its projection, so that one pass can serve two projectors.

        `kept`: the patches that the tower sees, as draw_patches; None for all.
        """
        return self.visual.pool(images, kept)

    def project_image(
        self, pooled: Float[Array, "batch vision_width"], *, projector: str = "proj", normalize: bool = True
    ) -> Float[Array, "batch embed_dim"]:
        """What `pool_image` gave, through one projector."""
        return _finish(self.visual.project(pooled, projector), normalize)

    def encode_text(
        self, tokens: Int[Array, "batch length"], *, normalize: bool = True
    ) -> Float[Array, "batch embed_dim"]:
        """Features of token rows of any length up to the context, each holding its end-of-text token."""
        return _finish(self.text(tokens), normalize)

    def __call__(
        self,
        images: Float[Array, "batch height width 3"],
        tokens: Int[Array, "texts length"],
        kept: Int[Array, "batch kept"] | None = None,
    ) -> tuple[Float[Array, "batch embed_dim"], Float[Array, "texts embed_dim"], Float[Array, ""]]:
        """Unit image features (of the `kept` patches where given), unit text features, and exp(logit_scale)."""
        image_features = self.project_image(self.pool_image(images, kept))
        return image_features, self.encode_text(tokens), jnp.exp(self.logit_scale[...])


def _finish(features: Float[Array, "batch embed_dim"], normalize: bool) -> Float[Array, "batch embed_dim"]:
    features = features.astype(jnp.float32)
    if not normalize:
        return features
    norm = jnp.sqrt(jnp.sum(jnp.square(features), axis=-1, keepdims=True))
    return features / jnp.maximum(norm, 1e-12)


def graphdef(config: CLIPConfig, **options: Any) -> nnx.GraphDef:
    """The model without its numbers: `nnx.merge(graphdef(config, ...), params)` is a CLIP. Costs no memory.

    options: those of CLIP (replay_projector, logit_bias, and the fields of `Options`).
    """
    return nnx.split(nnx.eval_shape(lambda: CLIP(config, rngs=nnx.Rngs(0), **options)))[0]


def init_params(
    config: CLIPConfig, seed: int = 0, *, replay_projector: bool = False, logit_bias: bool = False
) -> dict[str, Any]:
    """Fresh parameters as a nested dict of float32 arrays, from open_clip's distributions.

    Compiled as one program, so that ViT-H takes seconds. The tree is the same for all `Options`.
    """

    def make(key: Array) -> dict[str, Any]:
        model = CLIP(config, rngs=nnx.Rngs(key), replay_projector=replay_projector, logit_bias=logit_bias)
        return nnx.to_pure_dict(nnx.state(model, nnx.Param))

    return jax.jit(make)(jax.random.key(seed))
