"""Training augmentation: random resized crop, mirroring and color jitter."""

import math
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from jaxtyping import Float64, UInt8
from PIL import Image

from bioclip_jax.errors import UserError

from .preprocess import OPENAI_MEAN, OPENAI_STD, Preprocess, check_image_fields
from .read_options import ReadOptions

# Uniform numbers per image: ten attempts at area and ratio, the crop's position, the mirror, four color
# changes.
TRANSFORM_DRAWS = 27
_ATTEMPTS = 10
_TOP, _LEFT, _MIRROR, _BRIGHTNESS, _CONTRAST, _SATURATION, _HUE = range(2 * _ATTEMPTS, TRANSFORM_DRAWS)

# NTSC's luminance and two chrominances; scaling the latter changes the saturation and leaves gray unchanged.
_GRAY = np.array([0.299, 0.587, 0.114])
_TO_YIQ = np.array([_GRAY, [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])
_FROM_YIQ = np.linalg.inv(_TO_YIQ)

# OpenCV is ten times as fast, but its kernels do not widen when an image shrinks, which causes aliasing.
# Pillow's do, and are those of the reference's transform: cubic with a = -0.5, not OpenCV's -0.75.
_ENLARGING = {"bicubic": cv2.INTER_CUBIC, "bilinear": cv2.INTER_LINEAR}
_SHRINKING = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}

# OpenCV's threads do not speed up one small image, and the pipeline's workers already use all cores.
cv2.setNumThreads(0)


@dataclass(frozen=True)
class ImageConfig:
    """Augmentation in training, normalization, and the evaluation transform.

    scale: range of the crop's share of the area. ratio: range of its width over its height.
    brightness, contrast, saturation: x draws a factor from [1 - x, 1 + x]. hue: x draws a rotation from
    [-x, x], at most 0.5. mirror: flip half of the images left to right.
    crop: "host", or "device" to crop on the accelerator images stored at the model's size, as in TreeOfLife
    shards, which saves a third of the host's time but cannot change colors.
    resize_mode: of the evaluation transform; "squash" as the shards. transform: preprocessing of `predict`
    with the trained model, "model" by these keys or "pybioclip" by pybioclip's squash with this mean and std;
    None takes that of init_from, or "model" without init_from or if resize_mode is not "squash". exif: as
    ReadOptions.
    """

    mean: tuple[float, float, float] = OPENAI_MEAN
    std: tuple[float, float, float] = OPENAI_STD
    scale: tuple[float, float] = (0.9, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    interpolation: Literal["bicubic", "bilinear"] = "bicubic"
    resize_mode: Literal["shortest", "squash", "longest"] = "squash"
    transform: Literal["model", "pybioclip"] | None = None
    mirror: bool = False
    crop: Literal["host", "device"] = "host"
    exif: Literal["apply", "ignore"] = "apply"
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0

    def __post_init__(self):
        for name in ("mean", "std", "scale", "ratio"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        check_image_fields(self)
        for name, top in (("scale", 1.0), ("ratio", math.inf)):
            low_high = getattr(self, name)
            if len(low_high) != 2 or not 0 < low_high[0] <= low_high[1] <= top:
                raise UserError(
                    f"image.{name} is {low_high}; it must be (low, high) with 0 < low <= high <= {top}"
                )
        for name, top in (("brightness", 1.0), ("contrast", 1.0), ("saturation", 1.0), ("hue", 0.5)):
            if not 0 <= getattr(self, name) <= top:
                raise UserError(f"image.{name} is {getattr(self, name)}; it must be between 0 and {top}")

        if self.transform not in (None, "model", "pybioclip"):
            raise UserError(f"image.transform is {self.transform!r}; choose model or pybioclip")
        if self.exif not in ("apply", "ignore"):
            raise UserError(f"image.exif is {self.exif!r}; choose apply or ignore")
        if self.crop not in ("host", "device"):
            raise UserError(f"image.crop is {self.crop!r}; choose host or device")
        if self.crop == "device" and self.changes_color:
            raise UserError(
                "image.crop is device, which changes no colors; set it to host, or the colors' keys to 0"
            )

    @property
    def changes_color(self) -> bool:
        """True if brightness, contrast, saturation or hue is changed."""
        return bool(self.brightness or self.contrast or self.saturation or self.hue)

    def preprocess(self, size: int) -> Preprocess:
        """The evaluation transform of a model trained with this config."""
        return Preprocess(
            size, self.mean, self.std, self.interpolation, self.resize_mode, read=ReadOptions(exif=self.exif)
        )


@dataclass(frozen=True)
class TrainTransform:
    """Augment an image to [size, size], as a function of TRANSFORM_DRAWS uniform numbers in [0, 1)."""

    size: int
    config: ImageConfig = ImageConfig()

    @property
    def read(self) -> ReadOptions:
        """Options for reading images; truncated ones are refused, as other samples can replace them."""
        return ReadOptions(exif=self.config.exif, strict=True)

    @property
    def min_side(self) -> int:
        """Shorter side in pixels of the smallest image that no crop has to enlarge."""
        low, high = self.config.ratio
        return math.ceil(self.size / math.sqrt(self.config.scale[0] * min(low, 1 / high, 1.0)))

    def box(self, draws: Float64[np.ndarray, " draws"]) -> tuple[int, int, int, int, bool]:
        """The crop of an image of [size, size]: top, left, height, width, and True to mirror it."""
        uniform = draws.tolist()
        crop = random_crop(self.size, self.size, self.config.scale, self.config.ratio, uniform)
        return *crop, self.config.mirror and uniform[_MIRROR] < 0.5

    def __call__(
        self,
        image: UInt8[np.ndarray, "height width 3"],
        draws: Float64[np.ndarray, " draws"],
        out: UInt8[np.ndarray, "size size 3"] | None = None,
    ) -> UInt8[np.ndarray, "size size 3"]:
        """Augment the image, into `out` if given."""
        config, uniform = self.config, draws.tolist()
        height, width = image.shape[:2]
        top, left, crop_height, crop_width = random_crop(height, width, config.scale, config.ratio, uniform)
        crop = image[top : top + crop_height, left : left + crop_width]
        out = np.empty((self.size, self.size, 3), np.uint8) if out is None else out
        if crop_height > self.size or crop_width > self.size:
            picture = Image.fromarray(np.ascontiguousarray(crop))
            out[:] = picture.resize((self.size, self.size), _SHRINKING[config.interpolation])
        else:
            cv2.resize(crop, (self.size, self.size), dst=out, interpolation=_ENLARGING[config.interpolation])
        if config.mirror and uniform[_MIRROR] < 0.5:
            cv2.flip(out, 1, dst=out)
        if config.changes_color:
            matrix = color_matrix(
                brightness=1 + config.brightness * (2 * uniform[_BRIGHTNESS] - 1),
                contrast=1 + config.contrast * (2 * uniform[_CONTRAST] - 1),
                saturation=1 + config.saturation * (2 * uniform[_SATURATION] - 1),
                hue=config.hue * (2 * uniform[_HUE] - 1),
                mean_gray=float(_GRAY @ cv2.mean(out)[:3]),
            )
            cv2.transform(out, matrix, dst=out)
        return out


def random_crop(
    height: int, width: int, scale: tuple[float, float], ratio: tuple[float, float], uniform: list[float]
) -> tuple[int, int, int, int]:
    """(top, left, height, width) of a random crop, distributed as torchvision's RandomResizedCrop.

    Makes up to ten attempts at an area in `scale` and a log-uniform ratio (width over height) in `ratio`; if
    none fits, returns the largest center crop of an allowed ratio, for most images the whole. Uses
    uniform[0:22].
    """
    low, high = math.log(ratio[0]), math.log(ratio[1])
    for k in range(0, 2 * _ATTEMPTS, 2):
        area = height * width * (scale[0] + (scale[1] - scale[0]) * uniform[k])
        aspect = math.exp(low + (high - low) * uniform[k + 1])
        crop_width, crop_height = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < crop_width <= width and 0 < crop_height <= height:
            top = int(uniform[_TOP] * (height - crop_height + 1))
            left = int(uniform[_LEFT] * (width - crop_width + 1))
            return top, left, crop_height, crop_width
    crop_width, crop_height = width, height
    if width / height < ratio[0]:
        crop_height = max(1, round(width / ratio[0]))
    elif width / height > ratio[1]:
        crop_width = max(1, round(height * ratio[1]))
    return (height - crop_height) // 2, (width - crop_width) // 2, crop_height, crop_width


def color_matrix(
    brightness: float, contrast: float, saturation: float, hue: float, mean_gray: float
) -> Float64[np.ndarray, "3 4"]:
    """The affine map of RGB values for a color jitter, with torchvision's meaning of the factors.

    x becomes brightness * (mean_gray + contrast * (x - mean_gray)), its difference from gray is scaled by
    saturation, and its hue rotates by `hue` turns. The rotation is in the chrominance plane of YIQ, which
    keeps the luminance; torchvision's is in HSV.
    """
    angle = -2 * math.pi * hue  # hue runs from red to green, the angle in this plane from red to blue
    rotate = np.array(
        [[1, 0, 0], [0, math.cos(angle), -math.sin(angle)], [0, math.sin(angle), math.cos(angle)]]
    )
    saturate = np.diag([1.0, saturation, saturation])
    linear = _FROM_YIQ @ rotate @ saturate @ _TO_YIQ * (brightness * contrast)
    return np.column_stack([linear, np.full(3, brightness * (1 - contrast) * mean_gray)])
