"""Infer the architecture of a bare state dict."""

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from jaxtyping import Shaped

from bioclip_jax.errors import UserError
from bioclip_jax.models import CLIPConfig, get_config, model_names

__all__ = ["architecture_name", "infer_architecture"]


def architecture_name(config: CLIPConfig) -> str | None:
    """Return the name of a configuration, ignoring its image size; None if no architecture has its sizes."""
    names = [name for name in model_names() if _at_size(get_config(name), config.vision.image_size) == config]
    exact = [name for name in names if get_config(name) == config]
    return next(iter(exact + names), None)


def infer_architecture(state_dict: Mapping[str, Shaped[np.ndarray, "..."]]) -> str:
    """Return the only architecture whose tensors have these shapes.

    Raises UserError if none or several have: the shapes do not determine the head width and the GELU.
    """
    try:
        sizes = _sizes_of_tensors(state_dict)
    except (KeyError, IndexError) as error:
        raise UserError(f"no tensor {error} in the file: it is not a ViT-CLIP's state dict") from error
    names = [name for name in model_names() if _sizes_of_config(get_config(name)) == sizes]
    if len(names) == 1:
        return names[0]
    if not names:
        raise UserError(
            "the tensors' shapes fit no known architecture: give its configuration in a directory, or --model"
        )
    raise UserError(f"the tensors' shapes fit {' and '.join(names)}: choose one with --model")


def _at_size(config: CLIPConfig, image_size: int) -> CLIPConfig:
    return replace(config, vision=replace(config.vision, image_size=image_size))


def _sizes_of_tensors(state_dict: Mapping[str, Shaped[np.ndarray, "..."]]) -> tuple[int, ...]:
    def layers(prefix: str) -> int:
        return sum(key.startswith(prefix) and key.endswith(".ln_1.weight") for key in state_dict)

    width, _, patch_size, _ = state_dict["visual.conv1.weight"].shape
    tokens = len(state_dict["visual.positional_embedding"])
    text_width, embed_dim = state_dict["text_projection"].shape
    return (
        embed_dim,
        width,
        patch_size,
        math.isqrt(tokens - 1),
        layers("visual.transformer.resblocks."),
        len(state_dict["visual.transformer.resblocks.0.mlp.c_fc.weight"]),
        "visual.transformer.resblocks.0.ls_1.gamma" in state_dict,
        text_width,
        layers("transformer.resblocks."),
        *state_dict["positional_embedding"].shape[:1],
        *state_dict["token_embedding.weight"].shape[:1],
    )


def _sizes_of_config(config: CLIPConfig) -> tuple[int, ...]:
    vision, text = config.vision, config.text
    return (
        config.embed_dim,
        vision.width,
        vision.patch_size,
        vision.grid,
        vision.layers,
        vision.mlp_width,
        vision.ls_init_value is not None,
        text.width,
        text.layers,
        text.context_length,
        text.vocab_size,
    )
