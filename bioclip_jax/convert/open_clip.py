"""Conversion between open_clip's state dict and the parameter tree, bit for bit."""

import math
import mmap
import os
import re
from collections.abc import Iterator, Mapping, Set
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from jaxtyping import Float

from bioclip_jax.errors import UserError
from bioclip_jax.models import CLIPConfig

__all__ = ["from_state_dict", "state_dict_items", "to_state_dict"]

Params = dict[str, Any]
StateDict = dict[str, Float[np.ndarray, "..."]]

# open_clip's names of a block's tensors, and their paths in a Block.
_BLOCK = {
    "ln_1.weight": ("ln_1", "scale"),
    "ln_1.bias": ("ln_1", "bias"),
    "attn.in_proj_weight": ("attn", "in_proj", "kernel"),
    "attn.in_proj_bias": ("attn", "in_proj", "bias"),
    "attn.out_proj.weight": ("attn", "out_proj", "kernel"),
    "attn.out_proj.bias": ("attn", "out_proj", "bias"),
    "ln_2.weight": ("ln_2", "scale"),
    "ln_2.bias": ("ln_2", "bias"),
    "mlp.c_fc.weight": ("mlp", "c_fc", "kernel"),
    "mlp.c_fc.bias": ("mlp", "c_fc", "bias"),
    "mlp.c_proj.weight": ("mlp", "c_proj", "kernel"),
    "mlp.c_proj.bias": ("mlp", "c_proj", "bias"),
}
_LAYER_SCALE = {"ls_1.gamma": ("ls_1", "scale"), "ls_2.gamma": ("ls_2", "scale")}
_REST = {
    "visual.class_embedding": ("visual", "class_embedding"),
    "visual.positional_embedding": ("visual", "positional_embedding"),
    "visual.conv1.weight": ("visual", "patch_embedding", "kernel"),
    "visual.ln_pre.weight": ("visual", "ln_pre", "scale"),
    "visual.ln_pre.bias": ("visual", "ln_pre", "bias"),
    "visual.ln_post.weight": ("visual", "ln_post", "scale"),
    "visual.ln_post.bias": ("visual", "ln_post", "bias"),
    "visual.proj": ("visual", "proj"),
    "token_embedding.weight": ("text", "token_embedding"),
    "positional_embedding": ("text", "positional_embedding"),
    "ln_final.weight": ("text", "ln_final", "scale"),
    "ln_final.bias": ("text", "ln_final", "bias"),
    "text_projection": ("text", "text_projection"),
    "logit_scale": ("logit_scale",),
}
# Only in some models.
_OPTIONAL = {"visual.continual_proj": ("visual", "continual_proj"), "logit_bias": ("logit_bias",)}
# Buffers in OpenAI's own files.
_IGNORED = {"input_resolution", "context_length", "vocab_size", "attn_mask"}


def to_state_dict(params: Mapping[str, Any], config: CLIPConfig) -> StateDict:
    """Return the state dict that open_clip's CLIP of this configuration loads strictly.

    A replay projector becomes `visual.continual_proj`, which open_clip does not know and exports omit.
    """
    return dict(state_dict_items(params, config))


def state_dict_items(
    params: Mapping[str, Any], config: CLIPConfig
) -> Iterator[tuple[str, Float[np.ndarray, "..."]]]:
    """Yield the tensors of `to_state_dict` one at a time, so that large models are not in memory twice."""
    present = {key for key, path in _OPTIONAL.items() if _at(params, path) is not None}
    for key, path, layer in _entries(config, present):
        value = np.asarray(_at(params, path))
        yield key, _to_torch(key, value if layer is None else value[layer], config)


def from_state_dict(state_dict: Mapping[str, Float[np.ndarray, "..."]], config: CLIPConfig) -> Params:
    """Return the parameter tree of a state dict, with `visual.continual_proj` and `logit_bias` if present.

    Raises UserError for a missing or unknown tensor, or one of another shape than in the configuration.
    """
    given = {key: value for key, value in state_dict.items() if key not in _IGNORED}
    entries = list(_entries(config, _OPTIONAL.keys() & given))
    _check_keys({key for key, _, _ in entries}, set(given))

    params: Params = {}
    copies = []
    for key, path, layer in entries:
        value, expected = np.asarray(given[key]), _torch_shape(key, config)
        if key in ("logit_scale", "logit_bias"):
            value = value.reshape(())
        if value.shape != expected:
            raise UserError(
                f"{key} has shape {list(value.shape)}, the configuration says {list(expected)}: is it "
                f"the file of another model?"
            )
        node = params
        for name in path[:-1]:
            node = node.setdefault(name, {})
        shape = _parameter_shape(key, config)
        if layer is None:
            node[path[-1]] = _allocate(shape)
        elif layer == 0:
            layers = config.vision.layers if path[0] == "visual" else config.text.layers
            node[path[-1]] = _allocate((layers, *shape))
        copies.append((key, value, node[path[-1]] if layer is None else node[path[-1]][layer]))
    # NumPy releases the GIL while it copies.
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        list(pool.map(lambda copy: _from_torch(*copy), copies))
    return params


def _at(params: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    """Return the value at `path`, or None."""
    value = params
    for name in path:
        value = value.get(name)
        if value is None:
            break
    return value


def _entries(config: CLIPConfig, optional: Set[str]) -> Iterator[tuple[str, tuple[str, ...], int | None]]:
    """Yield open_clip's key, the parameter's path and the layer (None outside blocks) of every tensor.

    optional: the keys of `_OPTIONAL` that the model has.
    """
    for key, path in (_REST | {key: path for key, path in _OPTIONAL.items() if key in optional}).items():
        yield key, path, None
    for prefix, tower, sizes in (("visual.", "visual", config.vision), ("", "text", config.text)):
        block = _BLOCK | (_LAYER_SCALE if sizes.ls_init_value is not None else {})
        for layer in range(sizes.layers):
            for name, path in block.items():
                yield f"{prefix}transformer.resblocks.{layer}.{name}", (tower, "blocks", *path), layer


def _is_linear(key: str) -> bool:
    return ".resblocks." in key and ".ln_" not in key and key.endswith("weight")


def _to_torch(key: str, value: np.ndarray, config: CLIPConfig) -> np.ndarray:
    if key == "visual.conv1.weight":
        patch = config.vision.patch_size
        return value.reshape(patch, patch, 3, config.vision.width).transpose(3, 2, 0, 1).copy()
    if ".in_proj_" in key:
        value = value.reshape(*value.shape[:-2], -1)
    return _transpose(value, np.empty(value.shape[::-1], value.dtype)) if _is_linear(key) else value


def _from_torch(key: str, value: np.ndarray, target: np.ndarray) -> None:
    """Copy the tensor into `target`, of `_parameter_shape`."""
    if key == "visual.conv1.weight":
        target[...] = value.transpose(2, 3, 1, 0).reshape(target.shape)
    elif _is_linear(key):
        _transpose(value, target.reshape(len(target), -1))
    else:
        target[...] = value.reshape(target.shape)


def _parameter_shape(key: str, config: CLIPConfig) -> tuple[int, ...]:
    shape = _torch_shape(key, config)
    if key == "visual.conv1.weight":
        return math.prod(shape[1:]), shape[0]
    shape = shape[::-1] if _is_linear(key) else shape
    # Query, key and value are concatenated in open_clip, and have their own axis in Attention.
    return (*shape[:-1], 3, shape[-1] // 3) if ".in_proj_" in key else shape


def _transpose(matrix: np.ndarray, result: np.ndarray) -> np.ndarray:
    # In strips, five times as fast as NumPy's transposed copy, which misses the cache at each element.
    for start in range(0, len(matrix), 128):
        result[:, start : start + 128] = matrix[start : start + 128].T
    return result


def _allocate(shape: tuple[int, ...]) -> Float[np.ndarray, "..."]:
    """Allocate float32 in whole pages: XLA's CPU backend uses 64-byte-aligned arrays without copying them."""
    # MAP_POPULATE maps all pages in one call; a page fault for each takes several times as long.
    if not hasattr(mmap, "MAP_PRIVATE"):  # Windows
        return np.empty(shape, np.float32)
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_POPULATE", 0)
    return np.frombuffer(mmap.mmap(-1, 4 * math.prod(shape), flags=flags), np.float32).reshape(shape)


def _torch_shape(key: str, config: CLIPConfig) -> tuple[int, ...]:
    vision, text, embed = config.vision, config.text, config.embed_dim
    fixed = {
        "visual.class_embedding": (vision.width,),
        "visual.positional_embedding": (vision.tokens, vision.width),
        "visual.conv1.weight": (vision.width, 3, vision.patch_size, vision.patch_size),
        "visual.proj": (vision.width, embed),
        "visual.continual_proj": (vision.width, embed),
        "token_embedding.weight": (text.vocab_size, text.width),
        "positional_embedding": (text.context_length, text.width),
        "text_projection": (text.width, embed),
        "logit_scale": (),
        "logit_bias": (),
    }
    if key in fixed:
        return fixed[key]
    tower = vision if key.startswith("visual.") else text
    width, hidden = tower.width, tower.mlp_width
    in_branch = re.search(r"\.(?:attn|mlp)\.(.+)", key)
    return {
        "in_proj_weight": (3 * width, width),
        "in_proj_bias": (3 * width,),
        "out_proj.weight": (width, width),
        "out_proj.bias": (width,),
        "c_fc.weight": (hidden, width),
        "c_fc.bias": (hidden,),
        "c_proj.weight": (width, hidden),
        "c_proj.bias": (width,),
        "norm": (width,),
    }[in_branch[1] if in_branch else "norm"]


def _check_keys(expected: set[str], given: set[str]) -> None:
    missing, extra = sorted(expected - given), sorted(given - expected)
    if missing:
        raise UserError(
            f"{len(missing)} tensors are missing, such as {missing[0]}: the file is incomplete or of "
            f"another architecture"
        )
    if extra:
        raise UserError(
            f"{len(extra)} tensors are not of this architecture, such as {extra[0]}: name the right one "
            f"with --model"
        )
