"""FLOPs of an update, and throughput and MFU of a run."""

from __future__ import annotations

import time
from dataclasses import dataclass

import jax

from bioclip_jax.models import CLIPConfig, kept_patches

# Dense bf16 peaks in FLOP/s from the vendors' data sheets, by substring of JAX's device kind.
_PEAK_FLOPS = {"H100": 989e12, "H200": 989e12, "A100": 312e12, "B200": 2250e12, "L40S": 362e12}

# Matrix products of a block that the backward pass recomputes, by the config's remat. No policy recomputes
# c_proj, whose output no gradient needs. "scores" is q·kᵀ.
_RECOMPUTED = {
    "none": (),
    "full": ("in_proj", "scores", "mixing", "out_proj", "c_fc"),
    "attention": ("scores", "out_proj", "c_fc"),
    "dots": ("scores", "mixing"),
    "dots_attention": ("scores",),
}


def peak_flops(device: jax.Device) -> float | None:
    """Return the device's data-sheet bf16 peak in FLOP/s, or None if unknown, as for a CPU."""
    return next((peak for name, peak in _PEAK_FLOPS.items() if name in device.device_kind), None)


def _block_flops(width: int, mlp_ratio: float, tokens: int) -> dict[str, float]:
    """Return the forward FLOPs of a block's matrix products for one sequence, by name."""
    per_token = {
        "in_proj": 6 * width**2,
        "scores": 2 * tokens * width,
        "mixing": 2 * tokens * width,
        "out_proj": 2 * width**2,
        "c_fc": 2 * mlp_ratio * width**2,
        "c_proj": 2 * mlp_ratio * width**2,
    }
    return {name: tokens * flops for name, flops in per_token.items()}


def _image_block(config: CLIPConfig, patch_dropout: float) -> dict[str, float]:
    vision = config.vision
    return _block_flops(vision.width, vision.mlp_ratio, kept_patches(vision, patch_dropout) + 1)


def _text_block(config: CLIPConfig, length: int) -> dict[str, float]:
    return _block_flops(config.text.width, config.text.mlp_ratio, length)


def image_flops(config: CLIPConfig, patch_dropout: float = 0.0) -> float:
    """Return the FLOPs of one image's forward pass; a multiply-add counts as 2."""
    vision = config.vision
    embed = 2 * kept_patches(vision, patch_dropout) * 3 * vision.patch_size**2 * vision.width
    blocks = vision.layers * sum(_image_block(config, patch_dropout).values())
    return embed + blocks + 2 * vision.width * config.embed_dim


def text_flops(config: CLIPConfig, length: int) -> float:
    """Return the FLOPs of the forward pass of `length` tokens, without a discount for the causal mask."""
    blocks = config.text.layers * sum(_text_block(config, length).values())
    return blocks + 2 * config.text.width * config.embed_dim


def loss_flops(config: CLIPConfig, pairs: int) -> float:
    """Return the FLOPs of the contrastive loss of `pairs` and its gradient: 6 pairs² embed_dim.

    One product of all images with all texts, and one for the gradient of each side; recomputation by a
    streaming loss does not count.
    """
    return 6.0 * pairs**2 * config.embed_dim


@dataclass(frozen=True)
class Work:
    """FLOPs of the towers in one update, over all devices.

    model: three times the forward pass, as the backward pass costs two: the minimum of any implementation.
    repeated: recomputation to save memory.
    """

    model: float
    repeated: float

    def __add__(self, other: Work) -> Work:
        return Work(self.model + other.model, self.repeated + other.repeated)


def tower_work(
    config: CLIPConfig,
    *,
    images: int,
    texts: int,
    text_length: int,
    patch_dropout: float = 0.0,
    remat: str = "none",
    micro_batches: int = 1,
    gradient_cache: str = "features",
) -> Work:
    """Return the work of an update on n images and texts, replayed ones included, of `text_length` tokens.

    remat, micro_batches, gradient_cache: as in the config. More than one micro-batch costs another forward
    pass if only features are cached, and remat the products that it recomputes; recomputation inside cuDNN's
    attention does not count.
    """
    forward = images * image_flops(config, patch_dropout) + texts * text_flops(config, text_length)
    image_block, text_block = _image_block(config, patch_dropout), _text_block(config, text_length)
    repeated = sum(
        images * config.vision.layers * image_block[name] + texts * config.text.layers * text_block[name]
        for name in _RECOMPUTED[remat]
    )
    encodes_twice = micro_batches > 1 and gradient_cache == "features"
    return Work(3 * forward, repeated + (forward if encodes_twice else 0.0))


class Stopwatch:
    """Images/s, MFU and the share of time spent waiting for data, between two readings."""

    def __init__(self, config: CLIPConfig) -> None:
        self._config = config
        self._devices = jax.device_count()
        self._peak = peak_flops(jax.devices()[0])
        self.restart()

    def restart(self) -> None:
        """Begin a new interval."""
        self._start = time.perf_counter()
        self._images, self._flops, self._data_wait = 0, 0.0, 0.0

    def count(
        self, images: int, texts: int, text_length: int, data_wait: float, patch_dropout: float
    ) -> None:
        """Add one step: global images and texts, tokens of a text, seconds this process waited for data.

        Replayed texts of another length are counted separately, with no images and no waiting.
        """
        self._images += images
        work = tower_work(
            self._config, images=images, texts=texts, text_length=text_length, patch_dropout=patch_dropout
        )
        self._flops += work.model
        self._data_wait += data_wait

    def read(self) -> dict[str, float | None]:
        """Return the rates since the last reading, and begin a new interval."""
        seconds = max(time.perf_counter() - self._start, 1e-9)
        flops = self._flops / seconds / self._devices
        rates = {
            "images_per_second": self._images / seconds,
            "tflops": flops / 1e12,
            "mfu": None if self._peak is None else flops / self._peak,
            "data_wait": min(self._data_wait / seconds, 1.0),
        }
        self.restart()
        return rates
