"""Batches on their way to the devices, and what the host knows of each of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import jax
import numpy as np

from bioclip_jax.distributed import rows_of_process
from bioclip_jax.pipeline import PREFIX, REPLAY_STREAM, Sampling, WithReplay, device_prefetch, train_batches
from bioclip_jax.pipeline.sources import Source

from .experiment import Experiment

# What stays on the host.
_NOTES = ("bad", "longest")


@dataclass(frozen=True)
class Fed:
    """A batch on the devices. notes: what the host keeps of it, by name. waited: seconds until it was there."""

    batch: dict[str, jax.Array]
    notes: Mapping[str, np.ndarray]
    waited: float


class Feed:
    """An experiment's batches from `start` steps on; `sources` are "train" and, with replay, "replay"."""

    def __init__(self, experiment: Experiment, sources: Mapping[str, Source], start: int) -> None:
        self._host_batches = _host_batches(experiment, sources, start)
        self._notes: deque[dict[str, np.ndarray]] = deque()
        self._device_batches = device_prefetch(
            self._without_notes(), experiment.batch_sharding, experiment.config.data.prefetch
        )

    def _without_notes(self) -> Iterator[dict[str, np.ndarray]]:
        names = [prefix + name for prefix in ("", PREFIX) for name in _NOTES]
        for batch in self._host_batches:
            self._notes.append({name: batch.pop(name) for name in names if name in batch})
            yield batch

    def next(self) -> Fed:
        """The next batch."""
        batch, waited = next(self._device_batches)
        return Fed(batch, self._notes.popleft(), waited)

    def close(self) -> None:
        """Stops reading ahead."""
        self._device_batches.close()
        self._host_batches.close()


def _host_batches(
    experiment: Experiment, sources: Mapping[str, Source], start: int
) -> Iterator[dict[str, np.ndarray]]:
    config = experiment.config
    shared = dict(
        image_size=experiment.model_config.vision.image_size,
        image=config.image,
        context_length=experiment.model_config.text.context_length,
        seed=config.seed,
        start_step=start,
    )
    # Processes that share the rows of a tensor-parallel group read the same part.
    part, parts = rows_of_process(experiment.batch_sharding)
    shared |= {"host": part, "hosts": parts}
    batches = train_batches(
        sources["train"],
        caption=config.caption,
        global_batch_size=config.global_batch_size,
        workers=config.data.workers,
        sampling=config.data.sampling,
        texts_multiple_of=experiment.rows_multiple_of,
        **shared,
    )
    if "replay" not in sources:
        return batches
    replay = train_batches(
        sources["replay"],
        caption=config.replay.caption,
        global_batch_size=config.replay.batch_size,
        workers=config.replay.workers,
        sampling=Sampling(window=config.replay.window),
        stream=REPLAY_STREAM,
        name="replay",
        **shared,
    )
    return WithReplay(batches, replay)
