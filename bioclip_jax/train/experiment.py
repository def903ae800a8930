"""The mesh, the compiled update and the initial or restored state of a config."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bioclip_jax.checkpoint import Checkpoints
from bioclip_jax.distributed import batch_sharding, check_tensor, compile_lowered, make_mesh, replicated
from bioclip_jax.errors import UserError
from bioclip_jax.models import LOGIT_BIAS, CLIPConfig, get_config, on_nvidia
from bioclip_jax.pipeline import PREFIX

from .config import TrainConfig
from .step import Batch, Metrics, TrainState, Update, Variant

_BOOLEANS = {"true": True, "false": False}


class Experiment:
    """A config's update on its mesh, compiled on demand, and the states it takes.

    batch_sharding: sharding of each array of a batch. shards: number of parts that the mesh splits its rows
    into. rows_multiple_of: divisor of the number of rows of each array.
    context_length, replay_context_length: tokens of a text. abstract_state: shapes and shardings of the
    state. compile_seconds: duration of each compilation.
    """

    def __init__(self, config: TrainConfig, devices: list[jax.Device] | None = None) -> None:
        """Build the update for `devices`, None for all of JAX's; needs `config.total_steps`.

        Raises UserError if the mesh, the batch or the text length does not fit the devices or the model.
        """
        self.config = config
        self.mesh = make_mesh(config.mesh, devices)
        self.model_config = get_config(config.model)
        check_tensor(self.model_config, self.mesh)
        self.context_length, self.replay_context_length = _context_lengths(config, self.model_config)
        self.batch_sharding = batch_sharding(self.mesh)
        self.update = Update(config, self.model_config, self.mesh)
        self.shards = self.update.shards
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
        self.abstract_state: TrainState = jax.tree.map(
            lambda x, sharding: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding),
            jax.eval_shape(self.update.init),
            self.update.shardings,
        )
        self.compile_seconds: list[float] = []
        self._compiled: dict[tuple[Variant, int], jax.stages.Compiled] = {}

    def train_step(
        self,
        state: TrainState,
        batch: Batch,
        step: int,
        text_length: int | None = None,
        replay_text_length: int | None = None,
    ) -> tuple[TrainState, Metrics]:
        """Return the state after update number `step` and its metrics; the buffers of `state` are donated.

        text_length, replay_text_length: lengths that texts can be cut to without losing tokens; None is the
        context length. The first call with a new length, number of texts or patch dropout compiles a program.
        """
        variant = self._variant(step, text_length, replay_text_length)
        key = (variant, len(batch["tokens"]))
        if key not in self._compiled:
            start = time.perf_counter()
            lowered = self._jitted(batch, variant).lower(self.abstract_state, batch)
            self._compiled[key] = compile_step(lowered, self.config)
            self.compile_seconds.append(time.perf_counter() - start)
        return self._compiled[key](state, batch)

    def lower(
        self, step: int = 1, text_length: int | None = None, replay_text_length: int | None = None
    ) -> jax.stages.Lowered:
        """Lower update number `step` as train_step would, without allocating an array."""
        jitted = self.jitted(step, text_length, replay_text_length)
        return jitted.lower(self.abstract_state, self.abstract_batch())

    def jitted(
        self, step: int = 1, text_length: int | None = None, replay_text_length: int | None = None
    ) -> Callable[[TrainState, Batch], tuple[TrainState, Metrics]]:
        """Return update number `step` as a jitted function of state and batch, for jax.export."""
        return self._jitted(self.abstract_batch(), self._variant(step, text_length, replay_text_length))

    def text_lengths(self, host_metadata: Mapping[str, np.ndarray]) -> tuple[int, int]:
        """Return text_length and replay_text_length of a batch from the "longest" texts of its streams."""
        caption, replay = self.config.caption, self.config.replay.caption
        return (
            caption.shortest_length(int(host_metadata["longest"]), self.context_length),
            replay.shortest_length(int(host_metadata.get(PREFIX + "longest", 0)), self.replay_context_length),
        )

    def abstract_batch(self) -> dict[str, jax.ShapeDtypeStruct]:
        """Return the shapes, types and shardings of a batch with a text for every image."""
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
        """Return the state before the first update, from `params`, else `init_from`, else the seed."""
        shardings = self.update.shardings
        if params is None and self.config.init_from is not None:
            params = self._imported(self.config.init_from)
        if params is None:
            return jax.jit(lambda: self.update.init(), out_shardings=shardings)()

        def put(value: Any, sharding: jax.sharding.Sharding) -> jax.Array:
            # Copied, since the first update donates the state's buffers.
            value = np.array(value)
            return jax.make_array_from_callback(value.shape, sharding, lambda index: value[index])

        params = jax.tree.map(put, params, shardings.params)
        return jax.jit(self.update.init, out_shardings=shardings)(params)

    def restore_newest(
        self, checkpoints: Checkpoints, report: Callable[[str], None]
    ) -> tuple[int, TrainState, dict[str, Any]]:
        """Restore the newest readable checkpoint on this mesh; return its step, state and metadata."""
        step, trees, meta = checkpoints.restore_newest(self.abstract_state.to_trees(), report)
        counter = jax.make_array_from_callback(
            (), replicated(self.mesh), lambda _: np.asarray(step, np.int32)
        )
        return step, TrainState(counter, **trees), meta

    def _variant(self, step: int, text_length: int | None, replay_text_length: int | None) -> Variant:
        return Variant(
            self.config.patch_dropout_at(step),
            text_length or self.context_length,
            replay_text_length or self.replay_context_length,
        )

    def _jitted(self, batch: Any, variant: Variant) -> Any:
        def train_step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
            return self.update(state, batch, variant)

        return jax.jit(
            train_step,
            in_shardings=(self.update.shardings, {name: self.batch_sharding for name in batch}),
            out_shardings=(self.update.shardings, replicated(self.mesh)),
            donate_argnums=0,
        )

    def _imported(self, model: str) -> Any:
        # Importing the Hub's client takes a second, which only this needs.
        from bioclip_jax.convert import resolve

        bundle = resolve(model, image_size=self.model_config.vision.image_size)
        if bundle.config != self.model_config:
            raise UserError(
                f"config.init_from {model} holds another architecture than config.model {self.config.model}; "
                "set config.model to the one it was made with"
            )
        visual, params = dict(bundle.params["visual"]), dict(bundle.params)
        projector = visual.pop("continual_proj", visual["proj"])
        if self.config.replay.batch_size:
            # The reference starts the replay projector from the first one, unless the weights have their own.
            visual["continual_proj"] = projector
        bias = params.pop("logit_bias", None)
        if self.config.loss == "siglip":
            params["logit_bias"] = np.float32(LOGIT_BIAS) if bias is None else bias
        return {**params, "visual": visual}


def compile_step(
    lowered: jax.stages.Lowered, config: TrainConfig, *, nvidia: bool | None = None
) -> jax.stages.Compiled:
    """Compile a lowered step, on NVIDIA's GPUs with the config's XLA options.

    nvidia: as in models.Options.
    """
    nvidia = on_nvidia() if nvidia is None else nvidia
    return compile_lowered(lowered, _compiler_options(config) if nvidia else {})


def _compiler_options(config: TrainConfig) -> dict[str, Any]:
    options: dict[str, Any] = dict(option.split("=", 1) for option in config.compiler_options)
    # XLA parses "1" as an integer, and accepts only a bool for a flag.
    options = {name: _BOOLEANS.get(value.lower(), value) for name, value in options.items()}
    if config.deterministic:
        options["xla_gpu_deterministic_ops"] = True
    return options


def _context_lengths(config: TrainConfig, model_config: CLIPConfig) -> tuple[int, int]:
    """Return the tokens of a caption and of a replayed caption.

    Raises UserError if one is longer than the model's context.
    """
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
