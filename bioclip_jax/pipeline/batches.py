"""Training batches, identical for any number of hosts and workers, and the replay stream."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import grain
import numpy as np
from jaxtyping import Int32

from bioclip_jax.errors import UserError
from bioclip_jax.pipeline.images import ImageConfig, TrainTransform
from bioclip_jax.pipeline.sources import Source
from bioclip_jax.text import PLAIN_TYPE, CaptionConfig, Tokenizer

from .buffers import BufferPool, SharedBuffers
from .make_example import Batch, MakeExamples
from .order import Draws
from .sampling import Sampling, make_order
from .workers import in_workers

# Rows that a worker sends at once: enough to be worth a message, few enough to keep all workers busy within a
# batch.
_CHUNK = 64
_CHUNKS_AHEAD = 2
# Buffers per worker: chunks ahead, which grain keeps in the worker and again in the trainer, one in flight at
# either end, and those being filled and read.
_SLOTS = 2 * _CHUNKS_AHEAD + 4
_FOREVER = 1 << 60

# Prefix of the replay arrays' names in a batch.
PREFIX = "replay_"
# Random stream of the replay data; the main data has stream 0.
REPLAY_STREAM = 1

_IMAGE, _CAPTION, _SAMPLING = ImageConfig(), CaptionConfig(), Sampling()


@dataclass(frozen=True)
class DataConfig:
    """Location and reading of the data.

    train, val: a folder of tars or of ArrayRecord files, a folder with metadata.csv, or a TFDS name; val may
    be "". Tars and ArrayRecord files may be in object storage, as s3://BUCKET/FOLDER. Several locations for
    train are joined by "::".
    weights, upsample, window: see sampling.Sampling.
    workers: decoding processes per trainer process; 0 decodes in a thread of the trainer.
    bad_shards: "error" stops at an unreadable tar, "skip" skips and counts it.
    tfds_dir: directory of prepared TFDS data, None for TFDS's default.
    prefetch: batches that wait on the devices, besides the one in use.
    """

    train: str = ""
    val: str = ""
    weights: tuple[float, ...] = ()
    upsample: tuple[float, ...] = ()
    window: int = 0
    workers: int = 0
    bad_shards: Literal["error", "skip"] = "error"
    tfds_dir: str | None = None
    prefetch: int = 2

    @property
    def sampling(self) -> Sampling:
        """Sampling options of `train`."""
        return Sampling(self.weights, self.upsample, self.window)

    def __post_init__(self):
        self.sampling  # noqa: B018 (validates itself)
        if self.workers < 0:
            raise UserError(f"data.workers is {self.workers}; it must be 0 or more")
        if self.prefetch < 1:
            raise UserError(f"data.prefetch is {self.prefetch}; it must be at least 1")
        if self.bad_shards not in ("error", "skip"):
            raise UserError(f"data.bad_shards is {self.bad_shards!r}; choose 'error' or 'skip'")


@dataclass(frozen=True)
class ReplayConfig:
    """Experience replay as in BioCLIP 2: general pairs that preserve the initial model's knowledge.

    train: location, as data.train. batch_size: global pairs per step; 0 trains without replay. workers:
    decoding processes. window: as data.window. caption: replay samples have one caption, KEY.txt.
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


def train_batches(
    source: Source,
    *,
    image_size: int,
    image: ImageConfig = _IMAGE,
    caption: CaptionConfig = _CAPTION,
    context_length: int = 77,
    seed: int,
    global_batch_size: int,
    start_step: int = 0,
    host: int = 0,
    hosts: int = 1,
    workers: int = 0,
    sampling: Sampling = _SAMPLING,
    stream: int = 0,
    name: str = "data",
    texts_multiple_of: int = 1,
) -> TrainBatches:
    """Iterate endlessly over this host's rows of every global batch from `start_step`.

    A batch is {"image": uint8 [b, size, size, 3], "tokens": int32 [b, context], "bad": int32 [len(CAUSES)],
    "longest": int32 []}, with image.crop = "device" also "crop" float32 [b, 5] (see models.crop_and_resize);
    b = global_batch_size / hosts, and host h has the rows from h * b. "bad" counts replaced samples by cause,
    "longest" is the length of the longest text including the end token. With caption.unique_texts, "tokens"
    are the batch's distinct texts, padded to a power of two and then to a multiple of `texts_multiple_of`,
    and "text_index" int32 [b] is each image's index among them.

    caption.context_length, if set, overrides context_length. stream: different numbers draw independently
    within a run. name: the config group of the source, for errors.

    Raises UserError if the batch cannot be split, or while iterating if MAX_ATTEMPTS samples in a row are
    bad.
    """
    if global_batch_size < 1 or global_batch_size % hosts:
        raise UserError(
            f"global_batch_size {global_batch_size} cannot be split evenly over {hosts} hosts; change it"
        )
    if caption.unique_texts and hosts > 1:
        raise UserError(f"caption.unique_texts works on one host, not on {hosts}; switch it off")
    rows = global_batch_size // hosts
    chunk, size = min(_CHUNK, rows) if workers else rows, (image_size, image_size, 3)
    examples = MakeExamples(
        source=source,
        order=make_order(source, sampling, seed, global_batch_size, stream, name),
        draws=Draws(seed, stream),
        transform=TrainTransform(image_size, image),
        caption=caption,
        tokenizer=Tokenizer(caption.context_length or context_length),
        global_batch_size=global_batch_size,
        first_row=host * rows,
        rows=rows,
        chunk=chunk,
        name=name,
        buffers=SharedBuffers(workers, _SLOTS, (chunk, *size)) if workers else None,
    )
    return TrainBatches(examples, start_step, workers, texts_multiple_of if caption.unique_texts else None)


class TrainBatches(Iterator[Batch]):
    """The iterator of train_batches; `close` stops its workers."""

    def __init__(self, examples: MakeExamples, start_step: int, workers: int, texts_multiple_of: int | None):
        """texts_multiple_of: padding of the distinct texts, as in train_batches; None: one text per image."""
        self._examples = examples
        self._texts_multiple_of = texts_multiple_of
        chunks = grain.MapDataset.range(start_step * examples.chunks, _FOREVER).map(examples)
        # DevicePrefetch reads ahead; grain's own threads would only add copies in flight.
        chunks = chunks.to_iter_dataset(grain.ReadOptions(num_threads=0, prefetch_buffer_size=0))
        if workers:
            chunks = in_workers(chunks, workers, _CHUNKS_AHEAD)
        self._chunks = iter(chunks)
        self._images = BufferPool()
        # Also runs at interpreter exit, because grain's own cleanup is too late there and prints errors.
        self._finalizer = weakref.finalize(self, self._chunks.close)

    def __next__(self) -> Batch:
        batch = self._concatenate_chunks() if self._examples.buffers else next(self._chunks)
        # The end-of-text token has the largest id.
        batch["longest"] = np.int32(batch["tokens"].argmax(axis=1).max() + 1)
        if self._texts_multiple_of is not None:
            batch["tokens"], batch["text_index"] = _unique_rows(batch["tokens"], self._texts_multiple_of)
        return batch

    def _concatenate_chunks(self) -> Batch:
        """Receive the step's chunks from the workers."""
        buffers, rows, size = self._examples.buffers, self._examples.rows, self._examples.transform.size
        images = self._images.take((rows, size, size, 3))
        others: list[Batch] = []
        row = 0
        for _ in range(self._examples.chunks):
            part = next(self._chunks)
            count, image = len(part["tokens"]), part.pop("image")
            if isinstance(image, int):
                images[row : row + count] = buffers.array(image)[:count]
                buffers.release(image)
            else:
                images[row : row + count] = image
            others.append(part)
            row += count
        batch = {name: np.concatenate([part[name] for part in others]) for name in others[0] if name != "bad"}
        return batch | {"image": images, "bad": sum(part["bad"] for part in others)}

    def close(self) -> None:
        """Stop the workers and end the iterator."""
        self._finalizer()
        if self._examples.buffers:
            self._examples.buffers.close()


class WithReplay(Iterator[Batch]):
    """Batches of both streams merged, the replay's arrays named `replay_...`."""

    def __init__(self, batches: TrainBatches, replay: TrainBatches) -> None:
        self._batches, self._replay = batches, replay

    def __next__(self) -> dict[str, np.ndarray]:
        return next(self._batches) | {PREFIX + name: array for name, array in next(self._replay).items()}

    def close(self) -> None:
        """Stop the workers of both streams."""
        self._batches.close()
        self._replay.close()


def _unique_rows(
    tokens: Int32[np.ndarray, "b context"], multiple_of: int
) -> tuple[Int32[np.ndarray, "texts context"], Int32[np.ndarray, " b"]]:
    """The distinct rows, and each row's index among them.

    Padded with copies of the first row to a power of two (at least 16), so that few shapes are compiled, and
    to a multiple of `multiple_of`.
    """
    unique, inverse = np.unique(tokens, axis=0, return_inverse=True)
    size = max(16, 1 << (len(unique) - 1).bit_length())
    size = -(-size // multiple_of) * multiple_of
    padded = np.concatenate([unique, np.broadcast_to(unique[:1], (size - len(unique), unique.shape[1]))])
    return padded, inverse.reshape(-1).astype(np.int32)
