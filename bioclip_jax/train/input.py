"""Training input: global batches prefetched onto the devices, their metadata kept on the host."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import jax
import numpy as np

from bioclip_jax.distributed import rows_of_process
from bioclip_jax.errors import UserError
from bioclip_jax.pipeline import PREFIX, REPLAY_STREAM, DevicePrefetch, Sampling, WithReplay, train_batches
from bioclip_jax.pipeline.sources import Source, open_source

from .config import TrainConfig
from .experiment import Experiment

# Arrays of a batch that stay on the host: counts of bad samples by cause, tokens of the longest text.
_HOST_METADATA = tuple(prefix + name for prefix in ("", PREFIX) for name in ("bad", "longest"))


@dataclass(frozen=True)
class InputBatch:
    """A batch on the devices.

    host_metadata: its arrays that stay on the host, by name. data_wait: seconds that the caller waited.
    """

    batch: dict[str, jax.Array]
    host_metadata: Mapping[str, np.ndarray]
    data_wait: float


class TrainInput(Iterator[InputBatch]):
    """Batches of an experiment, in an order that only the seed and the step determine."""

    def __init__(self, experiment: Experiment, sources: Mapping[str, Source], start_step: int) -> None:
        """Start reading; `sources` are those of open_sources."""
        self._host_batches = _host_batches(experiment, sources, start_step)
        self._host_metadata: deque[dict[str, np.ndarray]] = deque()
        self._device_batches = DevicePrefetch(
            self._split_metadata(), experiment.batch_sharding, experiment.config.data.prefetch
        )

    def __next__(self) -> InputBatch:
        batch, data_wait = next(self._device_batches)
        return InputBatch(batch, self._host_metadata.popleft(), data_wait)

    def close(self) -> None:
        """Stop reading ahead."""
        self._device_batches.close()
        self._host_batches.close()

    def _split_metadata(self) -> Iterator[dict[str, np.ndarray]]:
        for batch in self._host_batches:
            self._host_metadata.append({name: batch.pop(name) for name in _HOST_METADATA if name in batch})
            yield batch


def open_sources(config: TrainConfig) -> dict[str, Source]:
    """Open the sources of the config: "train" and, with experience replay, "replay".

    Raises UserError if a path is not set or holds no data.
    """
    if not config.data.train:
        raise UserError("config.data.train is not set; give the training data with --config.data.train=PATH")
    locations = {"train": config.data.train}
    if config.replay.batch_size:
        if not config.replay.train:
            raise UserError(
                "config.replay.train is not set; give the replay data with --config.replay.train=PATH, or "
                "train without with --config.replay.batch_size=0"
            )
        locations["replay"] = config.replay.train
    shared = {"split": "train", "bad_shards": config.data.bad_shards, "tfds_dir": config.data.tfds_dir}
    forward = {"train": config.data.window > 0, "replay": config.replay.window > 0}
    return {
        name: open_source(location, forward=forward[name], **shared) for name, location in locations.items()
    }


def _host_batches(
    experiment: Experiment, sources: Mapping[str, Source], start_step: int
) -> Iterator[dict[str, np.ndarray]]:
    config = experiment.config
    # Processes of one tensor-parallel group read the same rows.
    part, parts = rows_of_process(experiment.batch_sharding)
    shared = dict(
        image_size=experiment.model_config.vision.image_size,
        image=config.image,
        context_length=experiment.model_config.text.context_length,
        seed=config.seed,
        start_step=start_step,
        host=part,
        hosts=parts,
    )
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
