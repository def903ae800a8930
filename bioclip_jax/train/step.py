"""One update: both towers forward, the contrastive loss, its gradient, and the optimizer.

`Update.__call__` is the whole training step as a pure function of state and batch. A batch holds

    image        uint8 [B, H, W, 3]
    tokens       int32 [T, L]
    text_index   int32 [B]       with unique_texts: the row of `tokens` of each image; else T = B, in order
    crop         float32 [B, 5]  with images cropped on the device: the boxes, see models.crop_and_resize

and with experience replay the same arrays of the second stream as replay_image, replay_tokens, replay_crop.
Rows are sharded over the mesh.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int

from bioclip_jax.distributed import ActivationSharding, DataParallel, parameter_shardings
from bioclip_jax.models import (
    CLIP,
    CLIPConfig,
    crop_and_resize,
    draw_patches,
    graphdef,
    init_params,
    normalize_images,
    on_nvidia,
)
from bioclip_jax.pipeline.images import ImageConfig

from .config import TrainConfig
from .losses import PairLoss, contrastive_loss
from .optimizer import cosine_schedule, decay_mask, make_optimizer

Params = Any  # the CLIP's nested dict of arrays
Batch = dict[str, jax.Array]
Features = dict[str, Float[Array, "rows embed_dim"]]  # unit vectors: image, text, replay_image, replay_text
Metrics = dict[str, Any]

MAX_LOG_SCALE = math.log(100.0)
# Inputs of the towers, which micro-batches split; other arrays belong to the batch as a whole.
_TOWER_INPUTS = tuple(
    prefix + name for prefix in ("", "replay_") for name in ("image", "crop", "tokens", "kept")
)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class TrainState:
    """Everything that an update changes.

    step: number of updates, skipped ones included. params: float32, or bfloat16 with precision pure_bf16.
    skipped: number of updates skipped because loss or gradient was not finite, "total" and "in_row".
    """

    step: Int[Array, ""]
    params: Params
    opt_state: Any
    skipped: dict[str, Int[Array, ""]]

    @classmethod
    def init(cls, params: Params, optimizer: optax.GradientTransformation) -> TrainState:
        """Return the state before the first update."""
        zero = jnp.zeros((), jnp.int32)
        return cls(zero, params, optimizer.init(params), {"total": zero, "in_row": zero})

    def to_trees(self) -> dict[str, Any]:
        """Return the named trees of a checkpoint; the step is the checkpoint's name."""
        return {"params": self.params, "opt_state": self.opt_state, "skipped": self.skipped}


class Variant(NamedTuple):
    """Static arguments of an update; one program is compiled for each combination."""

    patch_dropout: float
    text_length: int
    replay_text_length: int


class Update:
    """The update of a config on a mesh.

    shards: number of parts that the mesh splits the rows of a batch into. shardings: of every array of the
    state.
    """

    def __init__(self, config: TrainConfig, model_config: CLIPConfig, mesh: Mesh) -> None:
        self.config = config
        self.model_config = model_config
        self.graphdef = graphdef(
            model_config,
            shard=ActivationSharding(mesh),
            nvidia=on_nvidia(mesh.devices.flat[0]),
            **config.model_options,
        )
        self.pair_loss = contrastive_loss(config.loss, mesh)
        self.schedule = cosine_schedule(config.learning_rate, config.warmup_steps, config.total_steps)
        self.optimizer = make_optimizer(
            config.optimizer, self.schedule, config.weight_decay, pure_bf16=config.precision == "pure_bf16"
        )
        self.shards = mesh.shape["data"] * mesh.shape["fsdp"]
        self.shardings: TrainState = parameter_shardings(jax.eval_shape(self.init), mesh)
        self.data_parallel = DataParallel(mesh, self.shardings.params, config.dtype)

    def init(self, params: Params | None = None) -> TrainState:
        """Return the state before the first update, from `params` or drawn from the config's seed."""
        if params is None:
            options = self.config.model_options
            extra = {name: options[name] for name in ("replay_projector", "logit_bias")}
            params = init_params(self.model_config, self.config.seed, **extra)
        if self.config.precision == "pure_bf16":
            params = jax.tree.map(lambda x: x.astype(jnp.bfloat16), params)
        return TrainState.init(params, self.optimizer)

    def __call__(self, state: TrainState, batch: Batch, variant: Variant) -> tuple[TrainState, Metrics]:
        """Return the next state and the metrics of the update, float32 scalars."""
        key = jax.random.fold_in(jax.random.key(self.config.seed), state.step)
        params = self._cast(state.params)
        batch = _cut_texts(batch, variant)
        batch = _draw_kept_patches(batch, key, self.model_config, variant.patch_dropout)
        (loss, loss_metrics), gradients = self.loss_and_gradients(params, batch)
        state, metrics = apply_gradients(state, loss, gradients, self.optimizer, self.schedule)
        return state, metrics | loss_metrics

    def loss_and_gradients(self, params: Params, batch: Batch) -> tuple[tuple[jax.Array, Metrics], Params]:
        """Return ((loss, metrics), gradients) of a batch; gradients have the parameters' types.

        Every array of the batch must have a multiple of micro_batches * shards rows.
        """

        def loss(params: Params) -> tuple[jax.Array, Metrics]:
            inputs = {name: batch[name] for name in _TOWER_INPUTS if name in batch}
            features = self.data_parallel(self._encode_rows, params, inputs)
            return objective(self.pair_loss, features, _temperature(params), batch)

        return jax.value_and_grad(loss, has_aux=True)(params)

    def _encode_rows(self, params: Params, batch: Batch) -> Features:
        """Encode a device's rows of a batch, in micro-batches.

        A contrastive loss compares all pairs, so it is not a sum over micro-batches. Its gradient is, given
        the gradient of the loss with respect to the features (Gao et al. 2021, "Scaling deep contrastive
        learning batch size under memory limited setup", https://arxiv.org/abs/2101.06983). Differentiation
        arranges that: forward through all micro-batches, then the loss, then backward through each.
        """
        count = self.config.micro_batches
        if count == 1:
            return self._encode(params, batch)
        # The scan adds up the gradients of its micro-batches in the type of what it differentiates by.
        params = jax.tree.map(lambda x: x.astype(jnp.float32), params)

        def encode_micro_batch(part: Batch) -> Features:
            return self._encode(params, part)

        if self.config.gradient_cache == "features":
            # Save nothing, and run the micro-batch forward again before its backward pass.
            encode_micro_batch = jax.checkpoint(encode_micro_batch, prevent_cse=False)
        parts = {name: x.reshape(count, -1, *x.shape[1:]) for name, x in batch.items()}
        features = jax.lax.map(encode_micro_batch, parts)
        return {name: x.reshape(-1, x.shape[-1]) for name, x in features.items()}

    def _encode(self, params: Params, batch: Batch) -> Features:
        return encode(nnx.merge(self.graphdef, params), batch, self.config.image)

    def _cast(self, params: Params) -> Params:
        """Return the parameters to differentiate by: bfloat16 copies of the matrices with bf16_params."""
        if self.config.precision != "bf16_params":
            return params

        def cast(value: jax.Array, is_matrix: bool) -> jax.Array:
            return value.astype(jnp.bfloat16) if is_matrix else value

        return jax.tree.map(cast, params, decay_mask(params))


def encode(model: CLIP, batch: Batch, image: ImageConfig) -> Features:
    """Encode a batch in one pass through each tower, replayed rows along with the others.

    Replayed images go through the same tower and their own projector, `continual_proj`. Texts of both streams
    share a pass if they are equally long; otherwise each stream runs at its own length. Source: BioCLIP 2
    (https://arxiv.org/abs/2505.23883), experience replay.
    """
    if "replay_image" not in batch:
        pooled = _pool_images(model, batch, image)
        return {"image": model.project_image(pooled), "text": model.encode_text(batch["tokens"])}

    image_inputs = [name for name in ("image", "crop", "kept") if name in batch]
    joined = {name: jnp.concatenate([batch[name], batch["replay_" + name]]) for name in image_inputs}
    pooled, replay_pooled = jnp.split(_pool_images(model, joined, image), [len(batch["image"])])
    features = {
        "image": model.project_image(pooled),
        "replay_image": model.project_image(replay_pooled, projector="continual_proj"),
    }
    tokens, replay_tokens = batch["tokens"], batch["replay_tokens"]
    if tokens.shape[1] == replay_tokens.shape[1]:
        texts = model.encode_text(jnp.concatenate([tokens, replay_tokens]))
        features["text"], features["replay_text"] = jnp.split(texts, [len(tokens)])
    else:
        features["text"] = model.encode_text(tokens)
        features["replay_text"] = model.encode_text(replay_tokens)
    return features


def _pool_images(model: CLIP, batch: Batch, image: ImageConfig) -> Float[Array, "rows width"]:
    images = batch["image"]
    if "crop" in batch:
        images = crop_and_resize(images, batch["crop"], image.interpolation)
    return model.pool_image(normalize_images(images, image.mean, image.std), batch.get("kept"))


def objective(
    pair_loss: PairLoss, features: Features, temperature: dict[str, jax.Array], batch: Batch
) -> tuple[jax.Array, Metrics]:
    """Return the contrastive loss and its metrics.

    With replay the loss is the sum of both streams' losses, with one temperature; the metrics hold each
    stream's own.
    """
    scale, bias = jnp.exp(temperature["logit_scale"]), temperature.get("logit_bias")
    text = features["text"]
    if "text_index" in batch:
        text = text[batch["text_index"]]
    loss, metrics = pair_loss(features["image"], text, scale, bias)
    if "replay_image" not in features:
        return loss, metrics
    replay_loss, replay = pair_loss(features["replay_image"], features["replay_text"], scale, bias)
    metrics = metrics | {"tree_of_life_loss": loss, "replay": replay | {"loss": replay_loss}}
    return loss + replay_loss, metrics


def apply_gradients(
    state: TrainState,
    loss: jax.Array,
    gradients: Params,
    optimizer: optax.GradientTransformation,
    schedule: Any,
) -> tuple[TrainState, Metrics]:
    """Apply one optimizer update, or skip it if loss or gradient norm is not finite.

    A skipped update leaves the parameters, the optimizer and its position in the schedule unchanged; `step`
    and `skipped` count it, so that training continues with the next batch.
    """
    gradients = jax.tree.map(lambda x: x.astype(jnp.float32), gradients)
    gradient_norm = optax.tree.norm(gradients)
    finite = jnp.isfinite(loss) & jnp.isfinite(gradient_norm)

    updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    params = {**params, "logit_scale": jnp.clip(params["logit_scale"], 0.0, MAX_LOG_SCALE)}
    params, opt_state = jax.tree.map(
        lambda new, old: jnp.where(finite, new, old), (params, opt_state), (state.params, state.opt_state)
    )
    bad = 1 - finite.astype(jnp.int32)
    skipped = {"total": state.skipped["total"] + bad, "in_row": (state.skipped["in_row"] + bad) * bad}
    metrics = {
        "loss": loss,
        "learning_rate": schedule(state.step - state.skipped["total"]),
        "gradient_norm": gradient_norm,
        "logit_scale": jnp.exp(params["logit_scale"].astype(jnp.float32)),
        "skipped_steps": skipped["total"],
        "skipped_in_row": skipped["in_row"],
    }
    return TrainState(state.step + 1, params, opt_state, skipped), metrics


def _temperature(params: Params) -> dict[str, jax.Array]:
    """Return the parameters outside the towers."""
    return {name: params[name] for name in ("logit_scale", "logit_bias") if name in params}


def _cut_texts(batch: Batch, variant: Variant) -> Batch:
    """Cut the padding behind the longest text of each stream."""
    lengths = {"tokens": variant.text_length, "replay_tokens": variant.replay_text_length}
    return batch | {name: batch[name][:, :length] for name, length in lengths.items() if name in batch}


def _draw_kept_patches(batch: Batch, key: jax.Array, config: CLIPConfig, patch_dropout: float) -> Batch:
    """Add "kept" int32 [B, patches] and "replay_kept": the patches of each image that the tower sees.

    Drawn for the whole batch, so that micro-batches see the same patches as the full batch.
    """
    if not patch_dropout:
        return batch
    kept = {}
    for stream, prefix in enumerate(("", "replay_")):
        if (images := batch.get(f"{prefix}image")) is not None:
            stream_key = jax.random.fold_in(key, stream) if stream else key
            kept[f"{prefix}kept"] = draw_patches(stream_key, len(images), config.vision, patch_dropout)
    return batch | kept
