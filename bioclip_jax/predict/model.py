"""A model as Python code uses it."""

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

from bioclip_jax.convert import (
    DEFAULT_MODEL,
    TRANSFORMS,
    ModelBundle,
    Transform,
    resolve,
)
from bioclip_jax.distributed import allow_platform, check_backend
from bioclip_jax.errors import InvalidValue, UserError
from bioclip_jax.models import CLIPConfig
from bioclip_jax.pipeline.images import Preprocess, ReadOptions

from .embedder import Embedder
from .inputs import ImageFile
from .preprocess import ImageLike

# The names of device kinds: "gpu" is NVIDIA's or AMD's, "cuda" NVIDIA's alone.
_KINDS = ("cpu", "gpu", "cuda", "rocm", "tpu")
# Logarithm of the largest factor that leaves float32 room for logits.
_LARGEST_LOG = 80.0
NO_IMAGES = "there are no images; give paths, PIL images or uint8 arrays"


class Model:
    """Images and texts to unit vectors whose dot product, times `logit_scale`, is a logit.

    config: the architecture. preprocess: the transform from a picture to the model's pixels, and transform
    its name, "model" or "pybioclip". source: where the weights came from; published: the key of PUBLISHED
    whose weights they are, or None. directory: where it lies, where it lies in one. device: the kind of
    device that it runs on. dtype: of the towers' arithmetic, by its name.
    """

    def __init__(
        self,
        bundle: ModelBundle,
        *,
        batch_size: int | None = None,
        devices: Sequence[jax.Device] | None = None,
        dtype: Any = None,
        transform: Transform | None = None,
        reading: ReadOptions | None = None,
    ) -> None:
        """`batch_size`: images that are encoded together; None chooses for the kind of device. `devices`: None takes
        all of this machine. `dtype`: of the towers' arithmetic; None is float32. `transform`, `reading`: as
        Embedder.
        """
        how = {
            "batch_size": batch_size,
            "devices": devices,
            "dtype": dtype,
            "transform": transform,
            "reading": reading,
        }
        self.embedder = Embedder(bundle, **how)
        self.device: str = self.embedder.mesh.devices.flat[0].platform
        self.dtype: str = np.dtype(dtype or np.float32).name
        self.config: CLIPConfig = bundle.config
        self.preprocess: Preprocess = self.embedder.preprocess
        self.transform: Transform = self.embedder.transform
        self.source: str = bundle.source
        self.published: str | None = bundle.origin.published
        self.directory: Path | None = bundle.directory
        self.logit_scale: float = _factor(float(bundle.params["logit_scale"]), bundle.source)

    @property
    def transform_note(self) -> str:
        """The transform by its name, and what it does to a picture, for a log."""
        return f"{self.transform} ({self.preprocess.describe()})"

    @cached_property
    def fingerprint(self) -> str:
        """What the weights and the architecture are, wherever they lie: see convert/fingerprint.py."""
        from bioclip_jax.convert import weights_fingerprint

        return weights_fingerprint(self.embedder.params, self.config)

    def encode_image(self, images: ImageLike | Sequence[ImageLike]) -> Float32[np.ndarray, "n embed_dim"]:
        """Unit vectors of images: paths, PIL images or uint8 arrays [height, width, 3]; one counts as a list of one.

        UserError for an image that cannot be read.
        """
        listed = as_images(images)
        for place, image in enumerate(listed):
            check_image(image, place)
        return self.embedder.images(listed)

    def encode_text(self, texts: str | Sequence[str]) -> Float32[np.ndarray, "n embed_dim"]:
        """Unit vectors of texts; one counts as a list of one. A text longer than the context is cut."""
        listed = [texts] if isinstance(texts, str) or not isinstance(texts, Iterable) else list(texts)
        for place, text in enumerate(listed):
            if not isinstance(text, str):
                raise InvalidValue(f"text {place} is {text!r}, which is not text; leave it out")
        return self.embedder.texts(listed)


def _factor(logarithm: float, source: str) -> float:
    """exp of the stored logit_scale; UserError where no float32 holds it, as scores would be NaN."""
    if logarithm > _LARGEST_LOG:
        raise UserError(
            f"the logit_scale of {source} is {logarithm:.6g}, a logarithm (trained models end at 4.6052, or "
            f"ln 100); "
            "the weights are damaged, or keep the factor itself: give others"
        )
    return math.exp(logarithm)


def load_model(
    model: str | os.PathLike[str] | None = None,
    *,
    pretrained: str | os.PathLike[str] | None = None,
    device: str | None = None,
    batch_size: int | None = None,
    dtype: Any = None,
    transform: Transform | None = None,
    reading: ReadOptions | None = None,
) -> Model:
    """Load a MODEL: a training directory, a checkpoint in it, an exported or imported directory, local-dir:PATH or
    hf-hub:ORG/NAME, None for BioCLIP 2; or an architecture by its name, with its weights in `pretrained`.

    Args: `pretrained`, a file of weights or one of open_clip's tags, None for the only tag that there is;
      `device`, as predict/devices.py; `batch_size` and `dtype`, as Model; `transform`, "model" for the
      model's own preprocessing or "pybioclip" for pybioclip's squash, None for what the model is: pybioclip's
      for imageomics/bioclip and imageomics/bioclip-2, wherever they lie, and for what was trained from them;
      `reading`, how image files are read: ReadOptions(exif="ignore") takes them as stored, as pybioclip does.
    Errors: UserError if MODEL is none of these, or its weights or the device are not to be had.
    """
    # A device that is not there is told at once, not after gigabytes were read.
    chosen = local_devices(device)
    if transform not in (None, *TRANSFORMS):
        raise UserError(f"the transform {transform!r} does not exist; choose from {', '.join(TRANSFORMS)}")
    bundle = resolve(os.fspath(model or DEFAULT_MODEL), pretrained=pretrained)
    how = {"batch_size": batch_size, "dtype": dtype, "transform": transform, "reading": reading}
    return Model(bundle, devices=chosen, **how)


def as_images(images: ImageLike | Sequence[ImageLike]) -> Sequence[ImageLike]:
    """A list of images, where one image counts as a list of one, and an array of four dimensions as a list.

    So does what else lists paths, such as an array of texts or a column of a table.
    """
    if isinstance(images, np.ndarray) and images.dtype == np.uint8:
        return images if images.ndim == 4 else [images]
    if isinstance(images, (str, bytes, os.PathLike, Image.Image, ImageFile)):
        return [images]
    if not isinstance(images, Iterable):
        raise InvalidValue(NO_IMAGES)
    return images if isinstance(images, (list, tuple)) else list(images)


def check_image(image: Any, place: int) -> None:
    """InvalidValue for what is not an image that a classifier takes, such as a tensor or None."""
    if not isinstance(image, (str, bytes, os.PathLike, ImageFile, Image.Image, np.ndarray)):
        kind = type(image).__name__
        raise InvalidValue(f"image {place} is of type {kind}; give a path, a PIL image or a uint8 array")


def local_devices(name: str | None = None) -> list[jax.Device]:
    """This machine's devices of the kind `name`, all of them; of None, the best kind there is.

    `name`: cpu, gpu, cuda, rocm or tpu, or one device of a kind by its number, such as cuda:1; a
    torch.device is one too. UserError for any other, and where there is no such device.
    """
    if name is None:
        check_backend()
        return jax.local_devices()
    kind, colon, number = str(name).strip().lower().partition(":")
    if kind == "mps":
        raise UserError(f"the device {name} is Apple's, which JAX cannot use here; use cpu")
    if kind not in _KINDS or (colon and not number.isdecimal()):
        raise UserError(
            f"there is no device {name!r}; choose cpu, gpu, cuda or tpu, or one by its number as in cuda:1"
        )
    if kind == "cpu":
        # Every machine has one, and the option says more than the environment.
        allow_platform(kind)
    check_backend()
    try:
        found = jax.local_devices(backend=kind)
    except RuntimeError as error:
        there = ", ".join(sorted({device.platform for device in jax.local_devices()}))
        extra = " and bioclip_jax[cuda13]" if kind in ("gpu", "cuda") else ""
        advice = f"use {there}, or install the driver{extra}"
        raise UserError(
            f"the device {name} cannot be used: JAX finds no {kind} on this machine; {advice}"
        ) from error
    if not colon:
        return found
    if int(number) >= len(found):
        raise UserError(f"there is no device {name}: this machine has {kind}:0 to {kind}:{len(found) - 1}")
    return [found[int(number)]]
