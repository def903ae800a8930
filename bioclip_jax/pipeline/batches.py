"""Training batches: the samples of a step decoded, cropped and tokenised, the same for any hosts and workers."""

import multiprocessing
import os
import shutil
import signal
import threading
import weakref
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import grain
import numpy as np
from absl import flags
from jaxtyping import Int32, UInt8

from bioclip_jax.errors import UserError
from bioclip_jax.pipeline.images import CAUSES, BadImage, ImageConfig, TrainTransform, decode
from bioclip_jax.pipeline.order import CAPTION_DRAW, Order
from bioclip_jax.pipeline.recycled import RecycledArrays
from bioclip_jax.pipeline.sources import Source
from bioclip_jax.text.captions import CaptionConfig, MissingCaption, complete_captions
from bioclip_jax.text.tokenizer import Tokenizer

# Bad samples in a row at one position after which something else must be wrong.
MAX_ATTEMPTS = 100

# What a worker hands over at once: large enough to be worth a message, small enough that a batch keeps all busy.
_CHUNK = 64
_CHUNKS_AHEAD = 2
# Room for one decoded image of up to 1,024 x 1,024 pixels.
_SCRATCH = 3 << 20
_FOREVER = 1 << 60

Batch = dict[str, np.ndarray]


@dataclass(frozen=True)
class DataConfig:
    """Where the data lies and how it is read.

    train, val: a folder of tars or of ArrayRecord files, a folder with metadata.csv, or a TFDS name; val may be "".
    workers: processes that decode beside each process of the trainer, 0 for none (then a thread of it decodes).
    bad_shards: "error" stops at a tar that cannot be read, "skip" leaves it out and counts it.
    tfds_dir: where TFDS keeps prepared data, None for its own default.
    prefetch: batches that wait on the devices, beside the one that is trained on.
    """

    train: str = ""
    val: str = ""
    workers: int = 0
    bad_shards: Literal["error", "skip"] = "error"
    tfds_dir: str | None = None
    prefetch: int = 2

    def __post_init__(self):
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
    stream: int = 0,
    name: str = "data",
    texts_multiple_of: int = 1,
) -> "TrainBatches":
    """This host's part of every global batch from `start_step` on, without end.

    A batch is {"image": uint8 [b, size, size, 3], "tokens": int32 [b, context], "bad": int32 [len(CAUSES)],
    "longest": int32 []} with b = global_batch_size / hosts; host h has the rows from h * b on. "bad" counts the
    samples that substitutes replaced, "longest" is the length of the longest text, its end included. With
    caption.unique_texts, "tokens" are the batch's distinct texts, padded to a power of two and then to a multiple of
    `texts_multiple_of`, and "text_index" int32 [b] says which one each image has. caption.context_length, if set,
    overrides context_length. stream: streams of one run that draw independently have different numbers. name: of the
    config's group that the source comes from, for errors.
    UserError if the batch cannot be split, or while iterating if MAX_ATTEMPTS samples in a row are bad.
    """
    if global_batch_size < 1 or global_batch_size % hosts:
        raise UserError(f"global_batch_size {global_batch_size} cannot be split evenly over {hosts} hosts; change it")
    if caption.unique_texts and hosts > 1:
        raise UserError(f"caption.unique_texts works on one host, not on {hosts}; switch it off")
    rows = global_batch_size // hosts
    examples = _Examples(
        source=source,
        order=Order(seed, len(source), stream),
        transform=TrainTransform(image_size, image),
        caption=caption,
        tokenizer=Tokenizer(caption.context_length or context_length),
        global_batch_size=global_batch_size,
        first_row=host * rows,
        rows=rows,
        chunk=min(_CHUNK, rows) if workers else rows,
        name=name,
    )
    return TrainBatches(examples, start_step, workers, texts_multiple_of if caption.unique_texts else None)


class TrainBatches(Iterator[Batch]):
    """The iterator of train_batches; `close` stops its workers."""

    def __init__(self, examples: "_Examples", start_step: int, workers: int, texts_multiple_of: int | None):
        """texts_multiple_of: of what the number of texts is a multiple where each is given once; None gives all."""
        self._examples = examples
        self._texts_multiple_of = texts_multiple_of
        chunks = grain.MapDataset.range(start_step * examples.chunks, _FOREVER).map(examples)
        # Reading ahead is device_prefetch's work; threads of grain's own would only add copies in flight.
        chunks = chunks.to_iter_dataset(grain.ReadOptions(num_threads=0, prefetch_buffer_size=0))
        if workers:
            _check_shared_memory(examples, workers)
            # grain's workers pass absl's flags on, which only absl's own main function would have parsed.
            if not flags.FLAGS.is_parsed():
                flags.FLAGS.mark_as_parsed()
            options = grain.MultiprocessingOptions(num_workers=workers, per_worker_buffer_size=_CHUNKS_AHEAD)
            chunks = chunks.mp_prefetch(options, worker_init_fn=_start_worker)
        self._chunks = iter(chunks)
        # Also at the interpreter's exit, where grain's own clean-up comes too late to be quiet.
        self._finalizer = weakref.finalize(self, self._chunks.close)

    def __next__(self) -> Batch:
        parts = [next(self._chunks) for _ in range(self._examples.chunks)]
        if len(parts) == 1:
            batch = parts[0]
        else:
            batch = {name: np.concatenate([part[name] for part in parts]) for name in ("image", "tokens")}
            batch["bad"] = sum(part["bad"] for part in parts)
        # The end-of-text token has the largest id.
        batch["longest"] = np.int32(batch["tokens"].argmax(axis=1).max() + 1)
        if self._texts_multiple_of is not None:
            batch["tokens"], batch["text_index"] = _unique_rows(batch["tokens"], self._texts_multiple_of)
        return batch

    def close(self) -> None:
        """Stops the workers; the iterator cannot be used any more."""
        self._finalizer()


class _Examples:
    """From the number of a chunk to its examples; what a worker runs.

    A step has `chunks` of them, of `chunk` rows each but for the last; this host's rows begin at `first_row`.
    """

    def __init__(
        self,
        source: Source,
        order: Order,
        transform: TrainTransform,
        caption: CaptionConfig,
        tokenizer: Tokenizer,
        global_batch_size: int,
        first_row: int,
        rows: int,
        chunk: int,
        name: str,
    ):
        self.name = name
        self.source = source
        self.order = order
        self.transform = transform
        self.caption = caption
        self.tokenizer = tokenizer
        self.global_batch_size = global_batch_size
        self.first_row = first_row
        self.rows = rows
        self.chunk = chunk
        self.chunks = -(-rows // chunk)
        self._scratch = None
        self._images = RecycledArrays()

    def __getstate__(self):
        return self.__dict__ | {"_scratch": None}

    def __call__(self, number: int) -> Batch:
        if self._scratch is None:
            self._scratch = np.empty(_SCRATCH, np.uint8)
        step, part = divmod(number, self.chunks)
        start = part * self.chunk
        count = min(self.chunk, self.rows - start)
        first = step * self.global_batch_size + self.first_row + start
        size = self.transform.size
        batch = {
            "image": self._images.take((count, size, size, 3)),
            "tokens": np.zeros((count, self.tokenizer.context_length), np.int32),
            "bad": np.zeros(len(CAUSES), np.int32),
        }
        draws = self.order.uniforms(first, count)
        caption_draws = draws[:, CAPTION_DRAW].tolist()
        if self.caption.draw == "step":
            caption_draws = [self.order.caption_draw(step)] * count
        types = self.caption.types
        for row in range(count):
            kind = types[int(caption_draws[row] * len(types))]
            self._fill(first + row, kind, draws[row], batch["image"][row], batch["tokens"][row], batch["bad"])
        return batch

    def _fill(
        self,
        position: int,
        kind: str,
        draws: np.ndarray,
        image: UInt8[np.ndarray, "size size 3"],
        tokens: Int32[np.ndarray, " context"],
        bad: Int32[np.ndarray, " causes"],
    ) -> None:
        """Puts the position's example into `image` and `tokens`, a substitute's if its own sample is bad."""
        causes = Counter()
        for attempt in range(MAX_ATTEMPTS):
            index = self.order.substitute(position, attempt) if attempt else self.order.index(position)
            cause = self._try(index, kind, draws, image, tokens)
            if cause is None:
                for name, count in causes.items():
                    bad[CAUSES.index(name)] += count
                return
            causes[cause] += 1
        found = ", ".join(f"{cause} {count}" for cause, count in causes.most_common())
        raise UserError(f"{MAX_ATTEMPTS} samples in a row are bad ({found}); check {self.name}.train and its caption types")

    def _try(self, index: int, kind: str, draws: np.ndarray, image: np.ndarray, tokens: np.ndarray) -> str | None:
        """Makes the example of one sample; the cause if it cannot be made."""
        try:
            sample = self.source[index]
            text = sample.captions.get(kind) or complete_captions(sample.captions)[kind]
            if not sample.image:
                return "no_image"
            self.transform(decode(sample.image, self.transform.min_side, self._scratch), draws, out=image)
        except BadImage as error:
            return error.cause
        except (MissingCaption, KeyError):
            return "no_caption"
        except (OSError, ValueError):
            return "unreadable"
        self.tokenizer.write(text, tokens)
        return None


def _start_worker(worker: int, workers: int) -> None:
    """Leaves it to the trainer when a worker ends: by closing, or by being gone.

    Ctrl-C and a scheduler's SIGTERM or SIGUSR1 reach every process of a job; workers that died of them would make the trainer
    fail where it wants to save and leave in order.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_leave_with_parent, daemon=True).start()


def _leave_with_parent() -> None:
    multiprocessing.parent_process().join()
    os._exit(1)


def _unique_rows(
    tokens: Int32[np.ndarray, "b context"], multiple_of: int
) -> tuple[Int32[np.ndarray, "texts context"], Int32[np.ndarray, " b"]]:
    """The distinct rows, and each row's number among them.

    Padded with copies of the first to a power of two (at least 16), so that few shapes occur, and to `multiple_of`.
    """
    unique, inverse = np.unique(tokens, axis=0, return_inverse=True)
    size = max(16, 1 << (len(unique) - 1).bit_length())
    size = -(-size // multiple_of) * multiple_of
    padded = np.concatenate([unique, np.broadcast_to(unique[:1], (size - len(unique), unique.shape[1]))])
    return padded, inverse.reshape(-1).astype(np.int32)


def _check_shared_memory(examples: _Examples, workers: int) -> None:
    """Workers hand images over in shared memory; running out of it kills them without a word."""
    needed = (_CHUNKS_AHEAD + 2) * workers * examples.chunk * examples.transform.size**2 * 3
    try:
        free = shutil.disk_usage("/dev/shm").free
    except OSError:
        return
    if needed > free:
        raise UserError(
            f"{workers} workers need {needed >> 20} MiB of shared memory and /dev/shm has {free >> 20}; "
            "give the container more (docker run --shm-size) or set fewer data.workers"
        )
