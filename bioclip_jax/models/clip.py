"""CLIP: an image tower, a text tower and a temperature."""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from .architectures import get_config
from .config import CLIPConfig
from .options import LogicalAxes, Options
from .text import TextTransformer
from .vision import VisionTransformer

__all__ = ["CLIP", "LOGIT_BIAS", "graphdef", "init_params", "parameter_axes"]

# Initial bias of the sigmoid loss (https://arxiv.org/abs/2303.15343).
LOGIT_BIAS = -10.0


class CLIP(nnx.Module):
    """Images and texts to unit vectors in one space (https://arxiv.org/abs/2103.00020).

    Parameters and returned features are float32. options: the fields of `Options`.
    replay_projector: adds a second image projection, "continual_proj".
    logit_bias: adds the scalar bias of the sigmoid loss's logits, initially -10, with an initial scale of 10
    (https://arxiv.org/abs/2303.15343) instead of 1/0.07.
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
        """Features of normalized images; projector: "proj" or "continual_proj"."""
        return self.project_image(self.pool_image(images), projector=projector, normalize=normalize)

    def pool_image(
        self, images: Float[Array, "batch height width 3"], kept: Int[Array, "batch kept"] | None = None
    ) -> Float[Array, "batch vision_width"]:
        """The image tower up to its projection; kept: patches to encode, of `draw_patches`, None for all."""
        return self.visual.pool(images, kept)

    def project_image(
        self, pooled: Float[Array, "batch vision_width"], *, projector: str = "proj", normalize: bool = True
    ) -> Float[Array, "batch embed_dim"]:
        """Project the vectors of `pool_image`; one pass of the tower can serve both projectors."""
        return _output(self.visual.project(pooled, projector), normalize)

    def encode_text(
        self, tokens: Int[Array, "batch length"], *, normalize: bool = True
    ) -> Float[Array, "batch embed_dim"]:
        """Features of texts, cut to any length that keeps their end-of-text tokens."""
        return _output(self.text(tokens), normalize)

    def encode_packed_text(
        self,
        tokens: Int[Array, "rows length"],
        positions: Int[Array, "rows length"],
        mask: Bool[Array, "rows length length"],
    ) -> Float[Array, "rows length embed_dim"]:
        """Unit features at every token of rows of packed texts, as if the token's text ended there.

        positions: of tokens in their texts; mask: [row, query, key], True for the query's text up to itself.
        """
        return _output(self.text.project(self.text.hidden(tokens, positions, mask)), normalize=True)

    def __call__(
        self,
        images: Float[Array, "batch height width 3"],
        tokens: Int[Array, "texts length"],
        kept: Int[Array, "batch kept"] | None = None,
    ) -> tuple[Float[Array, "batch embed_dim"], Float[Array, "texts embed_dim"], Float[Array, ""]]:
        """Unit image features, unit text features, and exp(logit_scale); kept: as in `pool_image`."""
        image_features = self.project_image(self.pool_image(images, kept))
        return image_features, self.encode_text(tokens), jnp.exp(self.logit_scale[...])


def _output(features: Float[Array, "*batch embed_dim"], normalize: bool) -> Float[Array, "*batch embed_dim"]:
    features = features.astype(jnp.float32)
    if not normalize:
        return features
    norm = jnp.sqrt(jnp.sum(jnp.square(features), axis=-1, keepdims=True))
    return features / jnp.maximum(norm, 1e-12)


def graphdef(config: CLIPConfig, **options: Any) -> nnx.GraphDef:
    """Return the model without parameters, using no memory; `nnx.merge(graphdef(config), params)` is a CLIP.

    options: those of CLIP (replay_projector, logit_bias, and the fields of `Options`).
    """
    return nnx.split(nnx.eval_shape(lambda: CLIP(config, rngs=nnx.Rngs(0), **options)))[0]


def init_params(
    config: CLIPConfig, seed: int = 0, *, replay_projector: bool = False, logit_bias: bool = False
) -> dict[str, Any]:
    """Initialize parameters from open_clip's distributions: a nested dict of float32 arrays.

    The tree is the same for all `Options`.
    """
    return _init(config, jax.random.key(seed), replay_projector, logit_bias)


# Compiled as one program, so that even ViT-H takes only seconds.
@functools.partial(jax.jit, static_argnums=(0, 2, 3))
def _init(config: CLIPConfig, key: Array, replay_projector: bool, logit_bias: bool) -> dict[str, Any]:
    model = CLIP(config, rngs=nnx.Rngs(key), replay_projector=replay_projector, logit_bias=logit_bias)
    return nnx.to_pure_dict(nnx.state(model, nnx.Param))


@functools.cache
def parameter_axes() -> dict[tuple[str, ...], LogicalAxes]:
    """Return the logical axes of the parameters by path, equal in all architectures; others have none."""

    def make() -> CLIP:
        return CLIP(get_config("ViT-Test-16"), rngs=nnx.Rngs(0), replay_projector=True, logit_bias=True)

    axes = {}
    for path, parameter in nnx.to_flat_state(nnx.state(nnx.eval_shape(make), nnx.Param)):
        own = parameter.get_metadata().get("axes", ())
        if any(own):
            # Stacked blocks have a leading axis of layers.
            axes[path] = ("layers",) * (len(parameter.shape) - len(own)) + own
    return axes
