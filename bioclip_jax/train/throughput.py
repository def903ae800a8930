"""How fast a run is, against what the device could do."""

from __future__ import annotations

import time

import jax

from bioclip_jax.models import CLIPConfig, kept_patches

# Dense bf16 peaks in FLOP/s, from the makers' data sheets, by a part of JAX's device kind.
_PEAK_FLOPS = {"H100": 989e12, "H200": 989e12, "A100": 312e12, "B200": 2250e12, "L40S": 362e12}


def peak_flops(device: jax.Device) -> float | None:
    """The device's data-sheet bf16 peak in FLOP/s, or None where none is known (a CPU)."""
    return next((peak for name, peak in _PEAK_FLOPS.items() if name in device.device_kind), None)


def _transformer_flops(width: int, layers: int, mlp_ratio: float, tokens: int) -> float:
    # Per token: qkv and output projections 8 w^2, MLP 4 r w^2, attention scores and sums 4 n w.
    return layers * tokens * (8 * width**2 + 4 * mlp_ratio * width**2 + 4 * tokens * width)


def image_flops(config: CLIPConfig, patch_dropout: float = 0.0) -> float:
    """FLOPs of one image's forward pass (a multiply-add counts 2)."""
    vision = config.vision
    patches = kept_patches(vision, patch_dropout)
    embed = 2 * patches * 3 * vision.patch_size**2 * vision.width
    blocks = _transformer_flops(vision.width, vision.layers, vision.mlp_ratio, patches + 1)
    return embed + blocks + 2 * vision.width * config.embed_dim


def text_flops(config: CLIPConfig, length: int) -> float:
    """FLOPs of one text's forward pass at `length` tokens, without a discount for the causal mask."""
    text = config.text
    return _transformer_flops(text.width, text.layers, text.mlp_ratio, length) + 2 * text.width * config.embed_dim


class Stopwatch:
    """Images/s, MFU and the share of time spent waiting for data, between two readings."""

    def __init__(self, config: CLIPConfig) -> None:
        self._config = config
        self._devices = jax.device_count()
        self._peak = peak_flops(jax.devices()[0])
        self.restart()

    def restart(self) -> None:
        self._since = time.perf_counter()
        self._images, self._flops, self._waited = 0, 0.0, 0.0

    def count(self, images: int, texts: int, text_length: int, waited: float, patch_dropout: float) -> None:
        """Add one step: global images and texts, tokens a text, seconds this process waited for data."""
        self._images += images
        forward = images * image_flops(self._config, patch_dropout) + texts * text_flops(self._config, text_length)
        # Training costs three forward passes: one forward, two backward. Recomputation does not count.
        self._flops += 3 * forward
        self._waited += waited

    def read(self) -> dict[str, float | None]:
        """The figures since the last reading, which starts the next interval."""
        seconds = max(time.perf_counter() - self._since, 1e-9)
        flops = self._flops / seconds / self._devices
        figures = {
            "images_per_second": self._images / seconds,
            "tflops": flops / 1e12,
            "mfu": None if self._peak is None else flops / self._peak,
            "data_wait": min(self._waited / seconds, 1.0),
        }
        self.restart()
        return figures
