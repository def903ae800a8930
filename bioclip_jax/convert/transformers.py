"""Conversion of Hugging Face transformers' CLIPModel to open_clip's state dict."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from jaxtyping import Shaped

from bioclip_jax.errors import UserError

__all__ = ["from_transformers", "is_transformers"]

StateDict = dict[str, Shaped[np.ndarray, "..."]]

_REST = {
    "logit_scale": "logit_scale",
    "text_model.embeddings.token_embedding.weight": "token_embedding.weight",
    "text_model.embeddings.position_embedding.weight": "positional_embedding",
    "text_model.final_layer_norm.weight": "ln_final.weight",
    "text_model.final_layer_norm.bias": "ln_final.bias",
    "vision_model.embeddings.class_embedding": "visual.class_embedding",
    "vision_model.embeddings.patch_embedding.weight": "visual.conv1.weight",
    "vision_model.embeddings.position_embedding.weight": "visual.positional_embedding",
    # Misspelled there, too.
    "vision_model.pre_layrnorm.weight": "visual.ln_pre.weight",
    "vision_model.pre_layrnorm.bias": "visual.ln_pre.bias",
    "vision_model.post_layernorm.weight": "visual.ln_post.weight",
    "vision_model.post_layernorm.bias": "visual.ln_post.bias",
}
# Linear layers in transformers, plain matrices in open_clip.
_PROJECTIONS = {"text_projection.weight": "text_projection", "visual_projection.weight": "visual.proj"}
_TOWERS = {
    "text_model.encoder.layers.": "transformer.resblocks.",
    "vision_model.encoder.layers.": "visual.transformer.resblocks.",
}
_BLOCK = {
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
    "self_attn.out_proj": "attn.out_proj",
}
# Buffers of older versions: 0, 1, 2, ...
_IGNORED = (".position_ids",)


def is_transformers(keys: Iterable[str]) -> bool:
    """Return True for keys of transformers' CLIPModel, or of one of its towers."""
    return any(key.startswith(("text_model.", "vision_model.")) for key in keys)


def from_transformers(tensors: Mapping[str, Shaped[np.ndarray, "..."]]) -> StateDict:
    """Return the tensors by open_clip's keys, in its layout. Raises UserError for other models' tensors."""
    converted: StateDict = {}
    for key, value in tensors.items():
        if key.endswith(_IGNORED) or ".self_attn.k_proj." in key or ".self_attn.v_proj." in key:
            continue
        if key in _REST:
            converted[_REST[key]] = value
        elif key in _PROJECTIONS:
            converted[_PROJECTIONS[key]] = value.T
        else:
            name, value = _convert_block(key, tensors)
            converted[name] = value
    missing = {*_REST.values(), *_PROJECTIONS.values()} - converted.keys()
    if missing:
        raise UserError(
            f"it holds only a part of a transformers CLIP model, without {', '.join(sorted(missing)[:3])}: "
            "use the model.safetensors of the whole CLIPModel"
        )
    return converted


def _convert_block(key: str, tensors: Mapping[str, np.ndarray]) -> tuple[str, np.ndarray]:
    for theirs, ours in _TOWERS.items():
        number, _, rest = key.removeprefix(theirs).partition(".")
        if key.startswith(theirs) and number.isdecimal():
            name, _, kind = rest.rpartition(".")
            if name == "self_attn.q_proj":
                # open_clip has query, key and value in one matrix.
                parts = [key.replace("q_proj", f"{letter}_proj") for letter in "qkv"]
                if all(part in tensors for part in parts):
                    return f"{ours}{number}.attn.in_proj_{kind}", np.concatenate(
                        [tensors[part] for part in parts]
                    )
            elif name in _BLOCK:
                return f"{ours}{number}.{_BLOCK[name]}.{kind}", tensors[key]
    raise UserError(
        f"it holds a transformers model with the tensor {key}, which a CLIP of plain ViT towers does not "
        f"have: use the weights of a CLIPModel"
    )
