"""Training steps on synthetic or real batches, timed in turns."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bioclip_jax.pipeline import PREFIX
from bioclip_jax.pipeline.sources import Source
from bioclip_jax.train import Experiment, InputBatch, TrainInput, Work, tower_work

# Tokens of the longest caption of Rare Species, start and end included; a large batch has such a length.
_LONGEST_CAPTION = 39


@dataclass(frozen=True)
class Turn:
    """Means per step of several steps, and the text lengths (tree of life, replay) of the last."""

    seconds: float
    data_wait: float
    work: Work
    text_lengths: tuple[int, int]


class StepTimer:
    """The trainer's update from random weights. sources: as TrainInput's; None for one synthetic batch.

    state: the TrainState to start from, by default a new one; timers of like states can pass one on in turns.
    """

    def __init__(
        self,
        experiment: Experiment,
        sources: dict[str, Source] | None = None,
        state: Any = None,
    ) -> None:
        self._experiment = experiment
        self._step = 0
        self.state = experiment.init() if state is None else state
        self._input = SyntheticInput(experiment) if sources is None else TrainInput(experiment, sources, 0)

    def turn(self, steps: int) -> Turn:
        """Train and time `steps` steps, without the compile time of new text lengths."""
        experiment, compiled = self._experiment, len(self._experiment.compile_seconds)
        data_wait, work, start = 0.0, Work(0.0, 0.0), time.perf_counter()
        for _ in range(steps):
            batch = next(self._input)
            lengths = experiment.text_lengths(batch.host_metadata)
            self._step += 1
            self.state, metrics = experiment.train_step(self.state, batch.batch, self._step, *lengths)
            # Two programs in flight can deadlock on more virtual devices than the CPU has cores.
            if jax.default_backend() == "cpu":
                jax.block_until_ready(metrics)
            data_wait += batch.data_wait
            work += self._work(batch, lengths)
        jax.block_until_ready(metrics)
        # A new text length is compiled once, which a long run amortizes.
        seconds = time.perf_counter() - start - sum(experiment.compile_seconds[compiled:])
        mean_work = Work(work.model / steps, work.repeated / steps)
        return Turn(seconds / steps, data_wait / steps, mean_work, lengths)

    def _work(self, batch: InputBatch, lengths: tuple[int, int]) -> Work:
        config = self._experiment.config
        options: dict[str, Any] = {
            "patch_dropout": config.patch_dropout_at(self._step),
            "remat": config.remat,
            "micro_batches": config.micro_batches,
            "gradient_cache": config.gradient_cache,
        }
        model, replayed = self._experiment.model_config, config.replay.batch_size
        pairs, texts = config.global_batch_size + replayed, len(batch.batch["tokens"])
        tree = tower_work(model, images=pairs, texts=texts, text_length=lengths[0], **options)
        return tree + tower_work(model, images=0, texts=replayed, text_length=lengths[1], **options)

    def close(self) -> None:
        """Stop the loader."""
        self._input.close()


class SyntheticInput:
    """Input of one random batch on the devices; replayed texts have the model's full length."""

    def __init__(self, experiment: Experiment) -> None:
        config = experiment.model_config.text
        longest = min(_LONGEST_CAPTION, experiment.context_length)

        def random(number: int, name: str, like: jax.ShapeDtypeStruct) -> jax.Array:
            key = jax.random.fold_in(jax.random.key(0), number)
            if name.endswith("image"):
                return jax.random.randint(key, like.shape, 0, 256, jnp.int32).astype(jnp.uint8)
            if name.endswith("crop"):
                size = experiment.model_config.vision.image_size
                return jnp.broadcast_to(jnp.array([0, 0, size, size, 0], like.dtype), like.shape)
            length = longest if name == "tokens" else like.shape[1]
            texts = jax.random.randint(key, (like.shape[0], length), 1, config.vocab_size - 2, jnp.int32)
            texts = texts.at[:, 0].set(config.vocab_size - 2).at[:, -1].set(config.vocab_size - 1)
            return jnp.pad(texts, ((0, 0), (0, like.shape[1] - length)))

        abstract = experiment.abstract_batch()
        make = lambda: {name: random(n, name, like) for n, (name, like) in enumerate(abstract.items())}  # noqa: E731
        batch = jax.jit(make, out_shardings=experiment.batch_sharding)()
        metadata = {
            "longest": np.int32(longest),
            PREFIX + "longest": np.int32(experiment.replay_context_length),
        }
        self._batch = InputBatch(jax.block_until_ready(batch), metadata, 0.0)

    def __next__(self) -> InputBatch:
        return self._batch

    def close(self) -> None:
        """Do nothing, as there is no loader to stop."""
