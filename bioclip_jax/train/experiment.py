"""A config made into what the loop runs: mesh, model, optimizer, compiled step, state."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bioclip_jax.checkpoint import Checkpoints
from bioclip_jax.distributed import (
    activation_sharding,
    batch_sharding,
    check_tensor,
    make_mesh,
    parameter_shardings,
    replicated,
)
from bioclip_jax.errors import UserError
from bioclip_jax.models import LOGIT_BIAS, CLIPConfig, get_config, graphdef, init_params
from bioclip_jax.pipeline import PREFIX

from .accumulate import Metrics, loss_and_gradients
from .compiler import compile_step
from .config import TrainConfig
from .features import Batch, draw_kept_patches, make_encode
from .losses import contrastive_loss
from .objective import make_objective
from .optimizer import cosine_schedule, decay_mask, make_optimizer
from .state import TrainState, init_state
from .step import make_train_step


class Experiment:
    """The update of a config on its mesh, and the states it goes through.

    batch_sharding: how each array of a batch lies on the mesh. shards: into how many parts its rows are
    split.
    context_length, replay_context_length: of the tokens of a batch. loss_and_gradients: (params, batch) ->
    ((loss, metrics), gradients), without patch dropout. compile_seconds: what each program that was compiled
    so far took.
    """

    def __init__(self, config: TrainConfig) -> None:
        """`config.total_steps` must be set. Errors: UserError for a mesh or a batch that does not fit the devices."""
        self.config = config
        self.mesh = make_mesh(config.mesh)
        self.model_config = get_config(config.model)
        check_tensor(self.model_config, self.mesh)
        self.context_length, self.replay_context_length = _context_lengths(config, self.model_config)
        self.batch_sharding = batch_sharding(self.mesh)
        self.shards = self.mesh.shape["data"] * self.mesh.shape["fsdp"]
        # Of what the rows of every array of a batch are a multiple.
        self.rows_multiple_of = math.lcm(self.mesh.size, self.shards * config.micro_batches)
        for name, rows in (
            ("global_batch_size", config.global_batch_size),
            ("replay.batch_size", config.replay.batch_size),
        ):
            if rows % self.rows_multiple_of:
                raise UserError(
                    f"config.{name} is {rows}, which does not divide over {self.mesh.size} devices and "
                    f"{config.micro_batches} micro-batches; make it a multiple of {self.rows_multiple_of}"
                )
        self._schedule = cosine_schedule(config.learning_rate, config.warmup_steps, config.total_steps)
        self._optimizer = make_optimizer(
            config.optimizer, self._schedule, config.weight_decay, pure_bf16=config.precision == "pure_bf16"
        )
        abstract = jax.eval_shape(lambda: self._init_state(self._fresh_params()))
        self._shardings = parameter_shardings(abstract, self.mesh)
        self.abstract_state: TrainState = jax.tree.map(
            lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), abstract, self._shardings
        )
        model = graphdef(self.model_config, shard=activation_sharding(self.mesh), **config.model_options)
        self.loss_and_gradients = loss_and_gradients(
            make_encode(model, config.image, self.shards),
            make_objective(contrastive_loss(config.loss, self.mesh)),
            micro_batches=config.micro_batches,
            shards=self.shards,
            shardings=self._shardings.params,
        )
        self.compile_seconds: list[float] = []
        self._compiled: dict[Any, jax.stages.Compiled] = {}

    def train_step(
        self,
        state: TrainState,
        batch: Batch,
        step: int,
        text_length: int | None = None,
        replay_text_length: int | None = None,
    ) -> tuple[TrainState, Metrics]:
        """The update that takes `state` to `step`; the buffers of `state` are given away.

        text_length, replay_text_length: to how many tokens texts may be cut without losing any; None for all.
        A program is compiled for each pair of them, number of texts and patch dropout, where it is first
        needed.
        """
        variant = self._variant(step, text_length, replay_text_length)
        key = (variant, len(batch["tokens"]))
        if key not in self._compiled:
            start = time.perf_counter()
            self._compiled[key] = compile_step(self._lower(batch, variant), self.config)
            self.compile_seconds.append(time.perf_counter() - start)
        return self._compiled[key](state, batch)

    def lower(
        self, step: int = 1, text_length: int | None = None, replay_text_length: int | None = None
    ) -> jax.stages.Lowered:
        """The update of `step` as train_step would compile it, without any array."""
        return self._lower(self.abstract_batch(), self._variant(step, text_length, replay_text_length))

    def jitted(
        self, step: int = 1, text_length: int | None = None, replay_text_length: int | None = None
    ) -> Callable[[TrainState, Batch], tuple[TrainState, Metrics]]:
        """The update of `step` as a jitted function of state and batch, for jax.export."""
        return self._jitted(self.abstract_batch(), self._variant(step, text_length, replay_text_length))

    def text_lengths(self, notes: Mapping[str, np.ndarray]) -> tuple[int, int]:
        """text_length and replay_text_length of a batch, by the "longest" that the host noted of each stream."""
        caption, replay = self.config.caption, self.config.replay.caption
        return (
            caption.shortest_length(int(notes["longest"]), self.context_length),
            replay.shortest_length(int(notes.get(PREFIX + "longest", 0)), self.replay_context_length),
        )

    def abstract_batch(self) -> dict[str, jax.ShapeDtypeStruct]:
        """Shapes, types and shardings of a batch whose texts are all given, by name."""
        size = self.model_config.vision.image_size
        batch = {}
        for prefix, rows, length in (
            ("", self.config.global_batch_size, self.context_length),
            (PREFIX, self.config.replay.batch_size, self.replay_context_length),
        ):
            if rows:
                batch[f"{prefix}image"] = ((rows, size, size, 3), jnp.uint8)
                batch[f"{prefix}tokens"] = ((rows, length), jnp.int32)
                if self.config.image.crop == "device":
                    batch[f"{prefix}crop"] = ((rows, 5), jnp.float32)
        return {name: jax.ShapeDtypeStruct(*x, sharding=self.batch_sharding) for name, x in batch.items()}

    def init(self, params: Any = None) -> TrainState:
        """The state before the first step: from `params`, else `init_from`, else the seed."""
        if params is None and self.config.init_from is not None:
            params = self._imported(self.config.init_from)
        if params is None:
            make = lambda: self._init_state(self._fresh_params())  # noqa: E731
            return jax.jit(make, out_shardings=self._shardings)()

        def place(value: Any, sharding: jax.sharding.Sharding) -> jax.Array:
            # A copy that the state owns: the step gives its buffers away.
            value = np.array(value)
            return jax.make_array_from_callback(value.shape, sharding, lambda index: value[index])

        params = jax.tree.map(place, params, self._shardings.params)
        return jax.jit(self._init_state, out_shardings=self._shardings)(params)

    def restore_newest(
        self, checkpoints: Checkpoints, say: Callable[[str], None]
    ) -> tuple[int, TrainState, dict[str, Any]]:
        """The step and state of the newest checkpoint that can be read, laid out on this mesh, and its meta."""
        step, trees, meta = checkpoints.restore_newest(self.abstract_state.to_trees(), say)
        counter = jax.make_array_from_callback(
            (), replicated(self.mesh), lambda _: np.asarray(step, np.int32)
        )
        return step, TrainState(counter, **trees), meta

    def _variant(
        self, step: int, text_length: int | None, replay_text_length: int | None
    ) -> tuple[float, int, int]:
        lengths = text_length or self.context_length, replay_text_length or self.replay_context_length
        return self.config.patch_dropout_at(step), *lengths

    def _lower(self, batch: Any, variant: tuple[float, int, int]) -> jax.stages.Lowered:
        return self._jitted(batch, variant).lower(self.abstract_state, batch)

    def _jitted(self, batch: Any, variant: tuple[float, int, int]) -> Any:
        patch_dropout, text_length, replay_text_length = variant

        def prepare(batch: Batch, key: jax.Array) -> Batch:
            batch = batch | {"tokens": batch["tokens"][:, :text_length]}
            if "replay_tokens" in batch:
                batch["replay_tokens"] = batch["replay_tokens"][:, :replay_text_length]
            return draw_kept_patches(batch, key, self.model_config, patch_dropout)

        step = make_train_step(
            self.loss_and_gradients,
            self._optimizer,
            self._schedule,
            prepare=prepare,
            compute_params=self._compute_params,
            seed=self.config.seed,
        )
        shardings = {name: self.batch_sharding for name in batch}
        return jax.jit(
            step,
            in_shardings=(self._shardings, shardings),
            out_shardings=(self._shardings, replicated(self.mesh)),
            donate_argnums=0,
        )

    def _compute_params(self, params: Any) -> Any:
        """The copies that the loss is differentiated by: with bf16_params, of every matrix in bfloat16."""
        if self.config.precision != "bf16_params":
            return params

        def cast(value: jax.Array, is_matrix: bool, sharding: jax.sharding.Sharding) -> jax.Array:
            # Cast where it lies, so that what is gathered from other devices is half as large.
            return (
                jax.lax.with_sharding_constraint(value.astype(jnp.bfloat16), sharding) if is_matrix else value
            )

        return jax.tree.map(cast, params, decay_mask(params), self._shardings.params)

    def _init_state(self, params: Any) -> TrainState:
        if self.config.precision == "pure_bf16":
            params = jax.tree.map(lambda x: x.astype(jnp.bfloat16), params)
        return init_state(params, self._optimizer)

    def _fresh_params(self) -> Any:
        options = self.config.model_options
        extra = {name: options[name] for name in ("replay_projector", "logit_bias")}
        return init_params(self.model_config, self.config.seed, **extra)

    def _imported(self, name: str) -> Any:
        # Brings the Hub's client along, which only this needs.
        from bioclip_jax.convert import resolve

        bundle = resolve(name, image_size=self.model_config.vision.image_size)
        if bundle.config != self.model_config:
            raise UserError(
                f"config.init_from {name} holds another architecture than config.model {self.config.model}; "
                "set config.model to the one it was made with"
            )
        visual, params = dict(bundle.params["visual"]), dict(bundle.params)
        projector = visual.pop("continual_proj", visual["proj"])
        if self.config.replay.batch_size:
            # As the reference starts it, unless the weights bring the one they were trained with.
            visual["continual_proj"] = projector
        bias = params.pop("logit_bias", None)
        if self.config.loss == "siglip":
            params["logit_bias"] = np.float32(LOGIT_BIAS) if bias is None else bias
        return {**params, "visual": visual}


def _context_lengths(config: TrainConfig, model_config: CLIPConfig) -> tuple[int, int]:
    """Tokens a text of the tree of life and of the replay; UserError where the model takes fewer."""
    longest = model_config.text.context_length
    captions = {"caption": config.caption, "replay.caption": config.replay.caption}
    for name, caption in captions.items():
        for key, length in (
            ("context_length", caption.context_length or 0),
            ("lengths", max(caption.lengths, default=0)),
        ):
            if length > longest:
                raise UserError(f"config.{name}.{key} is {length}; {config.model} takes at most {longest}")
    return tuple(caption.context_length or longest for caption in captions.values())
