"""A batch through both towers in one forward pass, the replayed pairs along with the others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
from flax import nnx

from bioclip_jax.distributed import rows
from bioclip_jax.models import CLIP, CLIPConfig, draw_patches, normalize_images
from bioclip_jax.pipeline import resample
from bioclip_jax.pipeline.images import ImageConfig

Batch = dict[str, jax.Array]
# Unit vectors [rows, embed_dim] by name: image, text, and with replay replay_image, replay_text.
Features = dict[str, jax.Array]
# (params, batch) -> features, row by row: the features of a part of the rows are that part of the features.
Encode = Callable[[Any, Batch], Features]

KEPT = "kept"


def draw_kept_patches(batch: Batch, key: jax.Array, config: CLIPConfig, patch_dropout: float) -> Batch:
    """The batch, and for each of its images which patches the image tower sees.

    Drawn for the whole batch at once, so that micro-batches see what the full batch would.
    """
    if not patch_dropout:
        return batch
    drawn = {}
    for stream, prefix in enumerate(("", "replay_")):
        if (images := batch.get(f"{prefix}image")) is not None:
            stream_key = jax.random.fold_in(key, stream) if stream else key
            drawn[prefix + KEPT] = draw_patches(stream_key, len(images), config.vision, patch_dropout)
    return batch | drawn


def make_encode(graphdef: nnx.GraphDef, image: ImageConfig, shards: int) -> Encode:
    """The encoder of the model that `graphdef` describes.

    The batch holds "image" uint8 [B, H, W, 3] and "tokens" int32 [T, L], with replay "replay_image" [R, H, W,
    3] and "replay_tokens" [R, L'], with the crop on the devices "crop" and "replay_crop" (see pipeline.crop),
    and with patch dropout what draw_kept_patches adds. image: how images are cropped and normalised. shards:
    into how many parts the rows are split over the mesh.

    Replayed images go through the same tower and their own projector, `continual_proj`. Texts of both streams
    go together where they are equally long; where the captions of the one are shorter, each runs at its own
    length.
    Source: BioCLIP 2 (https://arxiv.org/abs/2505.23883), experience replay.
    """

    def pool(model: CLIP, batch: Batch) -> jax.Array:
        images = batch["image"]
        if "crop" in batch:
            images = resample(images, batch["crop"], image.interpolation)
        return model.pool_image(normalize_images(images, image.mean, image.std), batch.get(KEPT))

    def encode(params: Any, batch: Batch) -> Features:
        model = nnx.merge(graphdef, params)
        if "replay_image" not in batch:
            pooled = pool(model, batch)
            return {"image": model.project_image(pooled), "text": model.encode_text(batch["tokens"])}

        of_images = [name for name in ("image", "crop", KEPT) if name in batch]
        pooled = pool(
            model, {name: rows.join(batch[name], batch["replay_" + name], shards) for name in of_images}
        )
        of_tree, of_replay = rows.part(pooled, len(batch["image"]), shards)
        features = {
            "image": model.project_image(of_tree),
            "replay_image": model.project_image(of_replay, projector="continual_proj"),
        }
        tokens, replay_tokens = batch["tokens"], batch["replay_tokens"]
        if tokens.shape[1] == replay_tokens.shape[1]:
            texts = model.encode_text(rows.join(tokens, replay_tokens, shards))
            features["text"], features["replay_text"] = rows.part(texts, len(tokens), shards)
        else:
            features["text"], features["replay_text"] = (
                model.encode_text(tokens),
                model.encode_text(replay_tokens),
            )
        return features

    return encode
