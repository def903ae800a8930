"""Load a model and encode images and texts with it."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Float32
from PIL import Image

from bioclip_jax.convert import DEFAULT_MODEL, TRANSFORMS, ModelBundle, Transform, resolve
from bioclip_jax.distributed import allow_platform, check_backend
from bioclip_jax.errors import InvalidValue, UserError
from bioclip_jax.models import CLIPConfig
from bioclip_jax.pipeline.images import Preprocess, ReadOptions

from .embedder import Embedder
from .inputs import ImageFile
from .options import PRECISIONS, Precision
from .preprocess import ImageLike

# Device kinds; "gpu" is NVIDIA's or AMD's, "cuda" only NVIDIA's.
_KINDS = ("cpu", "gpu", "cuda", "rocm", "tpu")
# Largest logit_scale, a logarithm, whose logits fit float32.
_LARGEST_LOG = 80.0
NO_IMAGES = "there are no images; give paths, PIL images or uint8 arrays"


class Model:
    """Encode images and texts as unit vectors; their dot product times `logit_scale` is a logit.

    config: the architecture. preprocess: PIL image -> the model's pixels; transform: its name, "model" or
    "pybioclip". source: origin of the weights. published: their key in PUBLISHED, or None. directory: the
    model's directory, if it has one. device: the kind of device. precision: of the towers, "fp32" or "bf16".
    """

    def __init__(self, bundle: ModelBundle, **options: Any) -> None:
        """Place a model on devices; options as Embedder."""
        self.embedder = Embedder(bundle, **options)
        self.device: str = self.embedder.mesh.devices.flat[0].platform
        self.precision: Precision = self.embedder.precision
        self.config: CLIPConfig = bundle.config
        self.preprocess: Preprocess = self.embedder.preprocess
        self.transform: Transform = self.embedder.transform
        self.source: str = bundle.source
        self.published: str | None = bundle.origin.published
        self.directory: Path | None = bundle.directory
        self.logit_scale: float = _logit_factor(float(bundle.params["logit_scale"]), bundle.source)

    @property
    def transform_note(self) -> str:
        """The transform's name and description, for a log."""
        return f"{self.transform} ({self.preprocess.describe()})"

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the weights and the architecture, see convert.weights_fingerprint."""
        from bioclip_jax.convert import weights_fingerprint

        return weights_fingerprint(self.embedder.params, self.config)

    def encode_image(self, images: ImageLike | Sequence[ImageLike]) -> Float32[np.ndarray, "n embed_dim"]:
        """Return the unit vectors of one or more paths, PIL images or uint8 arrays [height, width, 3].

        Raises UserError for an unreadable image.
        """
        listed = as_images(images)
        for index, image in enumerate(listed):
            check_image(image, index)
        return self.embedder.images(listed)

    def encode_text(self, texts: str | Sequence[str]) -> Float32[np.ndarray, "n embed_dim"]:
        """Return the unit vectors of one or more texts, truncated to the context length."""
        listed = [texts] if isinstance(texts, str) or not isinstance(texts, Iterable) else list(texts)
        for index, text in enumerate(listed):
            if not isinstance(text, str):
                raise InvalidValue(f"text {index} is {text!r}, which is not text; leave it out")
        return self.embedder.texts(listed)


def _logit_factor(logarithm: float, source: str) -> float:
    """Return exp(logit_scale). Raises UserError if float32 logits would overflow."""
    if logarithm > _LARGEST_LOG:
        raise UserError(
            f"the logit_scale of {source} is {logarithm:.6g}, a logarithm (trained models have at most "
            "ln 100 = 4.6052); the weights are damaged or store the factor itself: use others"
        )
    return math.exp(logarithm)


def load_model(
    model: str | os.PathLike[str] | None = None,
    *,
    pretrained: str | os.PathLike[str] | None = None,
    device: str | None = None,
    batch_size: int | None = None,
    precision: Precision = "fp32",
    transform: Transform | None = None,
    reading: ReadOptions | None = None,
) -> Model:
    """Load a MODEL on this machine's devices.

    model: a training directory, a checkpoint in it, an exported or imported directory, local-dir:PATH,
    hf-hub:ORG/NAME, None for BioCLIP 2, or an architecture's name with `pretrained`.
    pretrained: a file of weights or one of open_clip's tags; None takes the only tag.
    device: as local_devices. batch_size: as Embedder.
    precision: "fp32" has the scores of open_clip and pybioclip; "bf16" is meant for GPUs.
    transform: "model" for the model's own preprocessing, "pybioclip" for pybioclip's squash; None takes
    pybioclip's for imageomics/bioclip and imageomics/bioclip-2, and for models trained from them.
    reading: image file options; ReadOptions(exif="ignore") keeps the stored orientation, as pybioclip.

    Raises UserError if MODEL is none of these, or its weights or the device are not available.
    """
    # A missing device is reported before gigabytes of weights are read.
    devices = local_devices(device)
    if transform not in (None, *TRANSFORMS):
        raise UserError(f"the transform {transform!r} does not exist; choose from {', '.join(TRANSFORMS)}")
    if precision not in PRECISIONS:
        raise UserError(f"the precision {precision!r} does not exist; choose from {', '.join(PRECISIONS)}")
    bundle = resolve(os.fspath(model or DEFAULT_MODEL), pretrained=pretrained)
    return Model(
        bundle,
        devices=devices,
        batch_size=batch_size,
        precision=precision,
        transform=transform,
        reading=reading,
    )


def as_images(images: ImageLike | Sequence[ImageLike]) -> Sequence[ImageLike]:
    """Return one image, a four-dimensional array, or any iterable of images as a sequence of images."""
    if isinstance(images, np.ndarray) and images.dtype == np.uint8:
        return images if images.ndim == 4 else [images]
    if isinstance(images, (str, bytes, os.PathLike, Image.Image, ImageFile)):
        return [images]
    if not isinstance(images, Iterable):
        raise InvalidValue(NO_IMAGES)
    return images if isinstance(images, (list, tuple)) else list(images)


def check_image(image: Any, index: int) -> None:
    """Raise InvalidValue for a value that cannot be an image, such as a tensor or None."""
    if not isinstance(image, (str, bytes, os.PathLike, ImageFile, Image.Image, np.ndarray)):
        kind = type(image).__name__
        raise InvalidValue(f"image {index} is of type {kind}; give a path, a PIL image or a uint8 array")


def local_devices(name: str | None = None) -> list[jax.Device]:
    """Return this machine's devices of a kind; None means the best kind available.

    name: cpu, gpu, cuda, rocm or tpu, or one device of a kind by its number, such as cuda:1; a torch.device
    works too. Raises UserError for any other name, and for a device that is not available.
    """
    if name is None:
        check_backend()
        return jax.local_devices()
    kind, colon, number = str(name).strip().lower().partition(":")
    if kind == "mps":
        raise UserError(f"the device {name} is Apple's, which JAX does not support; use cpu")
    if kind not in _KINDS or (colon and not number.isdecimal()):
        raise UserError(
            f"there is no device {name!r}; choose cpu, gpu, cuda or tpu, or one by its number as in cuda:1"
        )
    if kind == "cpu":
        # The option overrides JAX_PLATFORMS, since every machine has a CPU.
        allow_platform(kind)
    check_backend()
    try:
        devices = jax.local_devices(backend=kind)
    except RuntimeError as error:
        available = ", ".join(sorted({device.platform for device in jax.local_devices()}))
        extra = " and bioclip_jax[cuda13]" if kind in ("gpu", "cuda") else ""
        advice = f"use {available}, or install the driver{extra}"
        raise UserError(
            f"the device {name} cannot be used: JAX finds no {kind} on this machine; {advice}"
        ) from error
    if not colon:
        return devices
    if int(number) >= len(devices):
        raise UserError(f"there is no device {name}: this machine has {kind}:0 to {kind}:{len(devices) - 1}")
    return [devices[int(number)]]
