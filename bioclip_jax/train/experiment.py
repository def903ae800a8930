"""A config made into what the loop runs: mesh, model, optimizer, compiled step, state."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bioclip_jax.checkpoint.manager import Checkpoints
from bioclip_jax.distributed.mesh import batch_sharding, make_mesh, parameter_shardings, replicated
from bioclip_jax.errors import UserError
from bioclip_jax.models import get_config, graphdef, init_params
from bioclip_jax.train.config import TrainConfig
from bioclip_jax.train.optimizer import cosine_schedule, make_optimizer
from bioclip_jax.train.state import TrainState, init_state
from bioclip_jax.train.step import Batch, Metrics, make_loss, make_train_step


class Experiment:
    """`loss(params, batch, key)`, without patch dropout, and `train_step` of a config, on its mesh.

    `batch_shardings`: how each array of a batch lies on the mesh, by its name.
    """

    def __init__(self, config: TrainConfig) -> None:
        """`config.total_steps` must be set. Errors: UserError for a mesh or a batch that does not fit the devices."""
        self.config = config
        self.mesh = make_mesh(config.mesh)
        if config.global_batch_size % self.mesh.size:
            raise UserError(
                f"config.global_batch_size is {config.global_batch_size}, which does not divide over "
                f"{self.mesh.size} devices; make it a multiple of {self.mesh.size}"
            )
        self.model_config = get_config(config.model)
        longest = self.model_config.text.context_length
        if (config.caption.context_length or 0) > longest:
            raise UserError(
                f"config.caption.context_length is {config.caption.context_length}; {config.model} takes at most {longest}"
            )
        model = graphdef(
            self.model_config, dtype=config.dtype, remat=config.remat, unroll=config.unroll
        )
        schedule = cosine_schedule(config.learning_rate, config.warmup_steps, config.total_steps)
        optimizer = make_optimizer(config.optimizer, schedule, config.weight_decay)
        rows = batch_sharding(self.mesh)
        # Distinct texts are few and their number varies, so every device encodes them all.
        texts = replicated(self.mesh) if config.caption.unique_texts else rows
        self.batch_shardings = {"image": rows, "tokens": texts, "text_index": rows}

        self._init_state = lambda params: init_state(params, optimizer)
        abstract = jax.eval_shape(lambda: self._init_state(init_params(self.model_config)))
        self._shardings = parameter_shardings(abstract, self.mesh)
        self._abstract = jax.tree.map(
            lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), abstract, self._shardings
        )

        def compiled(patch_dropout: float) -> Callable[[TrainState, Batch], tuple[TrainState, Metrics]]:
            loss = make_loss(model, self.model_config, config.image.mean, config.image.std, patch_dropout)
            return jax.jit(
                make_train_step(loss, optimizer, schedule, config.seed),
                in_shardings=(self._shardings, None),
                out_shardings=(self._shardings, replicated(self.mesh)),
                donate_argnums=0,
            )

        self.loss = make_loss(model, self.model_config, config.image.mean, config.image.std)
        self._steps = {dropout: compiled(dropout) for dropout in {config.patch_dropout, 0.0}}

    def train_step(self, state: TrainState, batch: Batch, step: int) -> tuple[TrainState, Metrics]:
        """The compiled update that takes `state` to `step`; the buffers of `state` are given away."""
        return self._steps[self.config.patch_dropout_at(step)](state, batch)

    def init(self, params: Any = None) -> TrainState:
        """The state before the first step: from `params`, else `init_from`, else the seed."""
        if params is None and self.config.init_from is not None:
            params = self._imported(self.config.init_from)
        if params is None:
            make = lambda: self._init_state(init_params(self.model_config, self.config.seed))  # noqa: E731
            return jax.jit(make, out_shardings=self._shardings)()
        # A copy that the state owns: the step gives its buffers away.
        params = jax.tree.map(lambda x, s: jax.device_put(np.array(x), s), params, self._shardings.params)
        return jax.jit(self._init_state, out_shardings=self._shardings)(params)

    def restore(self, checkpoints: Checkpoints, step: int) -> tuple[TrainState, dict[str, Any]]:
        """The state of checkpoint `step`, laid out on this mesh, and what was noted with it."""
        trees, meta = checkpoints.restore(
            step, {"params": self._abstract.params, "opt_state": self._abstract.opt_state}
        )
        counter = jax.device_put(jnp.asarray(step, jnp.int32), replicated(self.mesh))
        return TrainState(counter, trees["params"], trees["opt_state"]), meta

    def _imported(self, name: str) -> Any:
        # Brings the Hub's client along, which only this needs.
        from bioclip_jax.convert.load import resolve

        bundle = resolve(name, image_size=self.model_config.vision.image_size)
        if bundle.config != self.model_config:
            raise UserError(
                f"config.init_from {name} holds another architecture than config.model {self.config.model}; "
                "set config.model to the one it was made with"
            )
        # The projector of a replay stream; this trainer has one stream.
        visual = {name: value for name, value in bundle.params["visual"].items() if name != "continual_proj"}
        return {**bundle.params, "visual": visual}
