"""A real open_clip model with distinctive random weights, and its features."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from bioclip_jax.models import CLIPConfig


def random_open_clip(config: CLIPConfig, seed: int = 0) -> Any:
    """Return a real open_clip model in which every tensor affects the features.

    open_clip initializes norms to one, most biases to zero and the text tower close to zero, so that a
    misplaced bias would hardly show. Here they are random too, activations reach the range where an
    approximate GELU differs, and the first norms have so little variance that their epsilon matters. Norms
    are open_clip's for bfloat16, equal in float32. The model is created without memory and each number is
    drawn once, which halves the time for ViT-H.
    """
    import torch
    from open_clip.model import CLIP

    with torch.device("meta"):
        model = CLIP(**config.to_open_clip(), cast_dtype=torch.bfloat16)
    model = model.to_empty(device="cpu").eval()
    model.attn_mask.fill_(-math.inf).triu_(1)
    generator = np.random.Generator(np.random.SFC64(seed))
    for name, tensor in numpy_state_dict(model).items():
        if name == "logit_scale":
            tensor[...] = math.log(1 / 0.07)
            continue
        low, high = _range(name, tensor.shape)
        generator.random(out=tensor, dtype=np.float32)
        tensor *= high - low
        tensor += low
    return model


def _range(name: str, shape: tuple[int, ...]) -> tuple[float, float]:
    if len(shape) == 1:
        return (0.7, 1.3) if "ln_" in name and name.endswith("weight") else (-0.3, 0.3)
    if "embedding" in name:
        return -0.02, 0.02
    fan_in = shape[0] if name in ("visual.proj", "text_projection") else math.prod(shape[1:])
    # A uniform distribution of this width keeps a signal's size.
    bound = math.sqrt(3 / fan_in) * (0.02 if name == "visual.conv1.weight" else 1.0)
    return -bound, bound


def numpy_state_dict(model: Any) -> dict[str, np.ndarray]:
    """Return the model's state dict, as views of its memory."""
    return {name: tensor.detach().numpy() for name, tensor in model.state_dict().items()}


def open_clip_features(
    model: Any, images: Sequence[Image.Image], texts: Sequence[str], *, bf16: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Return normalized features by open_clip's own transform, tokenizer and towers."""
    import open_clip
    import torch

    transform = open_clip.image_transform(model.visual.image_size, is_train=False)
    pixels = torch.stack([transform(image) for image in images])
    with torch.inference_mode():
        image = model.encode_image(pixels.bfloat16() if bf16 else pixels, normalize=True)
        text = model.encode_text(open_clip.tokenize(list(texts)), normalize=True)
    return image.float().numpy(), text.float().numpy()
