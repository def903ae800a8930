"""Training batches: the examples of a step put together, the same for any hosts and workers."""

import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import grain
import numpy as np
from jaxtyping import Int32

from bioclip_jax.errors import UserError
from bioclip_jax.pipeline.images import ImageConfig, TrainTransform
from bioclip_jax.pipeline.sources import Source
from bioclip_jax.text import CaptionConfig, Tokenizer

from .examples import Batch, Examples
from .order import Draws
from .recycled import RecycledArrays
from .sampling import Sampling, make_order
from .slots import SharedSlots
from .workers import in_workers

# What a worker hands over at once: large enough to be worth a message, small enough that a batch keeps all
# busy.
_CHUNK = 64
_CHUNKS_AHEAD = 2
# Those ahead, which grain keeps in the worker and once more in the trainer, one on its way at either end, and
# those that are being filled and read.
_SLOTS = 2 * _CHUNKS_AHEAD + 4
_FOREVER = 1 << 60


@dataclass(frozen=True)
class DataConfig:
    """Where the data lies and how it is read.

    train, val: a folder of tars or of ArrayRecord files, a folder with metadata.csv, or a TFDS name; val may
    be "". Tars and ArrayRecord files may lie in object storage, as s3://BUCKET/FOLDER. Several for train are
    joined by "::".
    weights, upsample, window: see sampling.Sampling.
    workers: processes that decode beside each process of the trainer, 0 for none (then a thread of it
    decodes).
    bad_shards: "error" stops at a tar that cannot be read, "skip" leaves it out and counts it.
    tfds_dir: where TFDS keeps prepared data, None for its own default.
    prefetch: batches that wait on the devices, beside the one that is trained on.
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
        """How `train` is drawn."""
        return Sampling(self.weights, self.upsample, self.window)

    def __post_init__(self):
        self.sampling  # checks itself
        if self.workers < 0:
            raise UserError(f"data.workers is {self.workers}; it must be 0 or more")
        if self.prefetch < 1:
            raise UserError(f"data.prefetch is {self.prefetch}; it must be at least 1")
        if self.bad_shards not in ("error", "skip"):
            raise UserError(f"data.bad_shards is {self.bad_shards!r}; choose 'error' or 'skip'")


def train_batches(
    source: Source,
    *,
    image_size: int,
    image: ImageConfig = ImageConfig(),
    caption: CaptionConfig = CaptionConfig(),
    context_length: int = 77,
    seed: int,
    global_batch_size: int,
    start_step: int = 0,
    host: int = 0,
    hosts: int = 1,
    workers: int = 0,
    sampling: Sampling = Sampling(),
    stream: int = 0,
    name: str = "data",
    texts_multiple_of: int = 1,
) -> "TrainBatches":
    """This host's part of every global batch from `start_step` on, without end.

    A batch is {"image": uint8 [b, size, size, 3], "tokens": int32 [b, context], "bad": int32 [len(CAUSES)],
    "longest": int32 []}, with image.crop = "device" also "crop" float32 [b, 5] (see crop.resample), with
    b = global_batch_size / hosts; host h has the rows from h * b on. "bad" counts the samples that
    substitutes replaced, "longest" is the length of the longest text, its end included. With
    caption.unique_texts, "tokens" are the batch's distinct texts, padded to a power of two and then to a
    multiple of `texts_multiple_of`, and "text_index" int32 [b] says which one each image has.
    caption.context_length, if set, overrides context_length.
    sampling: the order of the samples. stream: streams of one run that draw independently have different
    numbers.
    name: of the config's group that the source comes from, for errors.
    UserError if the batch cannot be split, or while iterating if MAX_ATTEMPTS samples in a row are bad.
    """
    if global_batch_size < 1 or global_batch_size % hosts:
        raise UserError(
            f"global_batch_size {global_batch_size} cannot be split evenly over {hosts} hosts; change it"
        )
    if caption.unique_texts and hosts > 1:
        raise UserError(f"caption.unique_texts works on one host, not on {hosts}; switch it off")
    rows = global_batch_size // hosts
    chunk, size = min(_CHUNK, rows) if workers else rows, (image_size, image_size, 3)
    examples = Examples(
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
        slots=SharedSlots(workers, _SLOTS, (chunk, *size)) if workers else None,
    )
    return TrainBatches(examples, start_step, workers, texts_multiple_of if caption.unique_texts else None)


class TrainBatches(Iterator[Batch]):
    """The iterator of train_batches; `close` stops its workers."""

    def __init__(self, examples: Examples, start_step: int, workers: int, texts_multiple_of: int | None):
        """texts_multiple_of: of what the number of texts is a multiple where each is given once; None gives all."""
        self._examples = examples
        self._texts_multiple_of = texts_multiple_of
        chunks = grain.MapDataset.range(start_step * examples.chunks, _FOREVER).map(examples)
        # Reading ahead is device_prefetch's work; threads of grain's own would only add copies in flight.
        chunks = chunks.to_iter_dataset(grain.ReadOptions(num_threads=0, prefetch_buffer_size=0))
        if workers:
            chunks = in_workers(chunks, workers, _CHUNKS_AHEAD)
        self._chunks = iter(chunks)
        self._images = RecycledArrays()
        # Also at the interpreter's exit, where grain's own clean-up comes too late to be quiet.
        self._finalizer = weakref.finalize(self, self._chunks.close)

    def __next__(self) -> Batch:
        batch = self._joined() if self._examples.slots else next(self._chunks)
        # The end-of-text token has the largest id.
        batch["longest"] = np.int32(batch["tokens"].argmax(axis=1).max() + 1)
        if self._texts_multiple_of is not None:
            batch["tokens"], batch["text_index"] = _unique_rows(batch["tokens"], self._texts_multiple_of)
        return batch

    def _joined(self) -> Batch:
        """The step's chunks as the workers send them, put together."""
        slots, rows, size = self._examples.slots, self._examples.rows, self._examples.transform.size
        images = self._images.take((rows, size, size, 3))
        others: list[Batch] = []
        row = 0
        for _ in range(self._examples.chunks):
            part = next(self._chunks)
            count, image = len(part["tokens"]), part.pop("image")
            if isinstance(image, int):
                images[row : row + count] = slots.array(image)[:count]
                slots.release(image)
            else:
                images[row : row + count] = image
            others.append(part)
            row += count
        batch = {name: np.concatenate([part[name] for part in others]) for name in others[0] if name != "bad"}
        return batch | {"image": images, "bad": sum(part["bad"] for part in others)}

    def close(self) -> None:
        """Stops the workers; the iterator cannot be used any more."""
        self._finalizer()
        if self._examples.slots:
            self._examples.slots.close()


def _unique_rows(
    tokens: Int32[np.ndarray, "b context"], multiple_of: int
) -> tuple[Int32[np.ndarray, "texts context"], Int32[np.ndarray, " b"]]:
    """The distinct rows, and each row's number among them.

    Padded with copies of the first to a power of two (at least 16), so that few shapes occur, and to
    `multiple_of`.
    """
    unique, inverse = np.unique(tokens, axis=0, return_inverse=True)
    size = max(16, 1 << (len(unique) - 1).bit_length())
    size = -(-size // multiple_of) * multiple_of
    padded = np.concatenate([unique, np.broadcast_to(unique[:1], (size - len(unique), unique.shape[1]))])
    return padded, inverse.reshape(-1).astype(np.int32)
