"""Experience replay: general images and captions beside the batches of the tree of life."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from bioclip_jax.errors import UserError
from bioclip_jax.text import PLAIN_TYPE, CaptionConfig

from .batches import TrainBatches
from .examples import Batch

PREFIX = "replay_"
# Of the seed's random streams: the tree of life has stream 0.
REPLAY_STREAM = 1


@dataclass(frozen=True)
class ReplayConfig:
    """The second stream of BioCLIP 2: pairs that keep what the model knew before.

    train: where it lies, as data.train. batch_size: global, pairs a step; 0 trains without replay.
    workers: processes that decode it. window: as data.window. caption: its samples have one caption, KEY.txt.
    """

    train: str = ""
    batch_size: int = 0
    workers: int = 0
    window: int = 0
    caption: CaptionConfig = field(default_factory=lambda: CaptionConfig(types=(PLAIN_TYPE,)))

    def __post_init__(self) -> None:
        for name in ("batch_size", "workers", "window"):
            if getattr(self, name) < 0:
                raise UserError(f"config.replay.{name} is {getattr(self, name)}; it must not be negative")
        if self.caption.unique_texts:
            raise UserError(
                "config.replay.caption.unique_texts is set; replayed captions hardly repeat, unset it"
            )


class WithReplay(Iterator[Batch]):
    """Batches of both streams as one: the replay's arrays are named `replay_...`."""

    def __init__(self, batches: TrainBatches, replay: TrainBatches) -> None:
        self._batches, self._replay = batches, replay

    def __next__(self) -> dict[str, np.ndarray]:
        return next(self._batches) | {PREFIX + name: array for name, array in next(self._replay).items()}

    def close(self) -> None:
        """Stops the workers of both."""
        self._batches.close()
        self._replay.close()
