"""Decode, crop and tokenize samples into training examples and replace bad samples; runs in the workers."""

from collections import Counter

import numpy as np
from jaxtyping import Float32, Int32, UInt8

from bioclip_jax.errors import UserError
from bioclip_jax.pipeline.images import CAUSES, BadImage, TrainTransform, decode
from bioclip_jax.pipeline.sources import Source
from bioclip_jax.text import CaptionConfig, MissingCaption, Tokenizer, complete_captions, has_unknown_words

from .buffers import BufferPool, SharedBuffers
from .order import CAPTION_DRAW, Draws, Order
from .workers import worker_index

# Number of consecutive bad samples at one position that points to another cause, such as the config.
MAX_ATTEMPTS = 100

# Bytes for one decoded image of up to 1,024 x 1,024 pixels.
_SCRATCH = 3 << 20

Batch = dict[str, np.ndarray]


class MakeExamples:
    """Map the number of a chunk to its examples: {"image", "crop", "tokens", "bad"}, as in train_batches.

    A step has `chunks` chunks of `chunk` rows, the last one maybe smaller; this host's rows start at
    `first_row`. With `buffers`, "image" is the slot of the buffer that holds the images, if one was free.
    """

    def __init__(
        self,
        source: Source,
        order: Order,
        draws: Draws,
        transform: TrainTransform,
        caption: CaptionConfig,
        tokenizer: Tokenizer,
        global_batch_size: int,
        first_row: int,
        rows: int,
        chunk: int,
        name: str,
        buffers: SharedBuffers | None,
    ):
        self.name = name
        self.source = source
        self.order = order
        self.draws = draws
        self.transform = transform
        self.on_device = transform.config.crop == "device"
        self.caption = caption
        self.tokenizer = tokenizer
        self.global_batch_size = global_batch_size
        self.first_row = first_row
        self.rows = rows
        self.chunk = chunk
        self.chunks = -(-rows // chunk)
        self.buffers = buffers
        self._scratch = None
        self._images = BufferPool()

    def __getstate__(self):
        return self.__dict__ | {"_scratch": None}

    def __call__(self, number: int) -> Batch:
        """Make the examples of a chunk."""
        if self._scratch is None:
            self._scratch = np.empty(_SCRATCH, np.uint8)
        step, part = divmod(number, self.chunks)
        start = part * self.chunk
        count = min(self.chunk, self.rows - start)
        first = step * self.global_batch_size + self.first_row + start
        size = self.transform.size
        slot = self.buffers and self.buffers.take(worker_index())
        images = slot[1][:count] if slot else self._images.take((count, size, size, 3))
        batch = {
            "image": slot[0] if slot else images,
            "tokens": np.zeros((count, self.tokenizer.context_length), np.int32),
            "bad": np.zeros(len(CAUSES), np.int32),
        }
        if self.on_device:
            batch["crop"] = np.zeros((count, 5), np.float32)
        draws = self.draws.uniforms(first, count)
        caption_draws = draws[:, CAPTION_DRAW].tolist()
        if self.caption.draw == "step":
            caption_draws = [self.draws.caption_draw(step)] * count
        types = self.caption.types
        for row in range(count):
            caption_type = types[int(caption_draws[row] * len(types))]
            crop = batch["crop"][row] if self.on_device else None
            self._fill(
                first + row, caption_type, draws[row], images[row], crop, batch["tokens"][row], batch["bad"]
            )
        return batch

    def _fill(
        self,
        position: int,
        caption_type: str,
        draws: np.ndarray,
        image: UInt8[np.ndarray, "size size 3"],
        crop: Float32[np.ndarray, "5"] | None,
        tokens: Int32[np.ndarray, " context"],
        bad: Int32[np.ndarray, " causes"],
    ) -> None:
        """Write the position's example, or a substitute's, into `image`, `crop` and `tokens`."""
        causes = Counter()
        for attempt in range(MAX_ATTEMPTS):
            index = self.order.substitute(position, attempt) if attempt else self.order.index(position)
            cause, reason = self._try(index, caption_type, draws, image, crop, tokens)
            if cause is None:
                for name, count in causes.items():
                    bad[CAUSES.index(name)] += count
                return
            causes[cause] += 1
        counts = ", ".join(f"{cause} {count}" for cause, count in causes.most_common())
        raise UserError(
            f"{MAX_ATTEMPTS} samples in a row are bad ({counts}; the last: {reason}); "
            f"check {self.name}.train and its caption types"
        )

    def _try(
        self,
        index: int,
        caption_type: str,
        draws: np.ndarray,
        image: np.ndarray,
        crop: np.ndarray | None,
        tokens: np.ndarray,
    ) -> tuple[str | None, str]:
        """Make the example of one sample; return cause and message if it is bad, else (None, "")."""
        try:
            sample = self.source[index]
            text = sample.captions.get(caption_type, "")
            if not text or text.isspace() or has_unknown_words(caption_type, text):
                text = complete_captions(sample.captions)[caption_type]
            if not sample.image:
                return "no_image", f"{sample.key} has no image{_because(sample.note)}"
            self._make_image(sample.image, draws, image, crop)
        except BadImage as error:
            return error.cause, f"{sample.key}: {error}"
        except (MissingCaption, KeyError):
            return "no_caption", f"{sample.key} has no caption {caption_type}{_because(sample.note)}"
        except (OSError, ValueError) as error:
            return "unreadable", str(error)
        self.tokenizer.write(text, tokens)
        return None, ""

    def _make_image(self, data: bytes, draws: np.ndarray, image: np.ndarray, crop: np.ndarray | None) -> None:
        if crop is None:
            pixels = decode(data, self.transform.min_side, self._scratch, self.transform.read)
            self.transform(pixels, draws, out=image)
            return
        pixels = decode(data, self.transform.min_side, image.reshape(-1), self.transform.read)
        shared = np.may_share_memory(pixels, image)
        if pixels.shape == image.shape:
            crop[:] = self.transform.box(draws)
            if not shared:
                image[:] = pixels
        else:
            # An image of another size is cropped on the host, and its box for the device is the whole result.
            self.transform(pixels.copy() if shared else pixels, draws, out=image)
            crop[:] = (0, 0, *image.shape[:2], False)


def _because(note: str) -> str:
    return f" ({note})" if note else ""
