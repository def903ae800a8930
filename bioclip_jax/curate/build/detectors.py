"""Detectors of unsuitable images: built-in size and contrast checks, and users' own ONNX models.

A user's detector is a TOML file. This one removes pages of text and museum labels; its model, in the same
folder, takes the whole picture squashed to 64 x 64 pixels and returns one logit per image:

    name = "label"              # removed images have the decision filter:label in the catalog
    model = "label.onnx"        # relative to this file
    size = 64                   # pixels of the model's square input
    resize = "squash"           # or "shortest": resize the shorter side, crop the center
    layout = "NCHW"             # or "NHWC"
    mean = [0.5, 0.5, 0.5]      # of RGB values from 0 to 1; the model sees (value - mean) / std
    std = [0.25, 0.25, 0.25]
    output = "logit"            # a name or an index; default: the first
    column = -1                 # of an output [images, columns]; "max": over the whole output
    activation = "sigmoid"      # or "softmax" over the columns, or "none"
    threshold = 0.9
    remove = "above"            # or "below": remove images at or beyond the threshold
    batch = 32                  # images per call

Required: name, model, size, threshold. The defaults are those above, except mean and std (0 and 1), output
and column (first and last) and activation (none).
"""

from __future__ import annotations

import operator
import tomllib
from collections.abc import Sequence
from dataclasses import MISSING, dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from jaxtyping import Bool, Float32, UInt8
from PIL import Image

from bioclip_jax.errors import UserError, did_you_mean, first_line
from bioclip_jax.pipeline.images import Preprocess

TINY = "tiny"
UNIFORM = "uniform"
# Prefix of a detector's name in the catalog.
FILTER = "filter:"

# Averaged to 32 x 32 fields, an organism a thirtieth of the side wide still shows; sensor noise hardly does.
_FIELDS = 32

_CHOICES = {
    "resize": ("squash", "shortest"),
    "layout": ("NCHW", "NHWC"),
    "activation": ("none", "sigmoid", "softmax"),
    "remove": ("above", "below"),
}
_TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16}

Pixels = UInt8[np.ndarray, "height width 3"]


@dataclass(frozen=True)
class ImageChecks:
    """Minimum size and contrast of a useful image; 0 turns a check off.

    min_side: stored pixels of the shorter side. min_range: difference between the brightest and the darkest
    of 32 x 32 fields, in the color channel where it is largest, of 255. The flattest of 1,972 photographs of
    produce has 146; a blank page, a covered lens with noise or an overexposed sky has less than 16.
    """

    min_side: int = 32
    min_range: int = 16

    def __call__(
        self, pixels: UInt8[np.ndarray, "height width 3"], width: int, height: int
    ) -> tuple[str, str] | None:
        """Return the cause, TINY or UNIFORM, and the measured value; None for a sound image.

        pixels: RGB, possibly decoded smaller than the stored `width` x `height`.
        """
        if min(width, height) < self.min_side:
            return TINY, f"{width} x {height} pixels"
        if (contrast := field_range(pixels)) < self.min_range:
            return UNIFORM, f"range {contrast} of 255"
        return None


def field_range(pixels: UInt8[np.ndarray, "height width 3"]) -> int:
    """Maximum over channels of the range of 32 x 32 field averages, 0 to 255."""
    fields = cv2.resize(pixels, (_FIELDS, _FIELDS), interpolation=cv2.INTER_AREA).reshape(-1, 3).astype(int)
    return int((fields.max(axis=0) - fields.min(axis=0)).max())


@dataclass(frozen=True)
class Detector:
    """An ONNX image scorer as its TOML file describes it; pickles without the open session."""

    name: str
    model: Path
    size: int
    threshold: float
    resize: Literal["squash", "shortest"] = "squash"
    layout: Literal["NCHW", "NHWC"] = "NCHW"
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    output: str | int = 0
    column: int | Literal["max"] = -1
    activation: Literal["none", "sigmoid", "softmax"] = "none"
    remove: Literal["above", "below"] = "above"
    batch: int = 32
    _opened: list[Any] = field(default_factory=list, init=False, repr=False, compare=False)

    @property
    def cause(self) -> str:
        """Decision in the catalog for images that this detector removes."""
        return FILTER + self.name

    def scores(self, images: Sequence[Pixels]) -> Float32[np.ndarray, " images"]:
        """Score RGB images of any size. Raises UserError if the model does not match its description."""
        session = self._session()
        model_input = session.get_inputs()[0]
        transform = Preprocess(self.size, self.mean, self.std, "bilinear", self.resize)
        # A model exported with a fixed batch size needs its last batch padded.
        shape = model_input.shape
        fixed = shape[0] if shape and isinstance(shape[0], int) else None
        batch = fixed or self.batch
        scores = [np.zeros(0, np.float32)]
        for first in range(0, len(images), batch):
            part = [transform(Image.fromarray(image)) for image in images[first : first + batch]]
            pixels = np.stack(part + part[-1:] * ((fixed or 0) - len(part)))
            values = (pixels / np.float32(255) - np.float32(self.mean)) / np.float32(self.std)
            values = values.transpose(0, 3, 1, 2) if self.layout == "NCHW" else values
            values = values.astype(_TYPES[model_input.type])
            scores.append(self._score(session, model_input, values)[: len(part)])
        return np.concatenate(scores)

    def removes(self, scores: Float32[np.ndarray, " images"]) -> Bool[np.ndarray, " images"]:
        """Mask of the images to remove, by their scores."""
        return scores >= self.threshold if self.remove == "above" else scores <= self.threshold

    def _session(self) -> Any:
        if not self._opened:
            try:
                import onnxruntime
            except ImportError:
                install = "pip install 'bioclip-jax[curate]'"
                raise UserError(f"detector {self.name} needs onnxruntime; install it: {install}") from None
            options = onnxruntime.SessionOptions()
            # The worker processes already use all cores.
            options.intra_op_num_threads = options.inter_op_num_threads = 1
            options.log_severity_level = 3
            try:
                session = onnxruntime.InferenceSession(
                    str(self.model), options, providers=["CPUExecutionProvider"]
                )
            except Exception as error:  # onnxruntime's errors have no common class
                reason = first_line(error)
                raise UserError(
                    f"{self.model} is not a model that onnxruntime reads ({reason}); export it again"
                ) from None
            self._check(session)
            self._opened.append(session)
        return self._opened[0]

    def _check(self, session: Any) -> None:
        inputs, outputs = session.get_inputs(), [output.name for output in session.get_outputs()]
        if len(inputs) != 1 or inputs[0].type not in _TYPES:
            listed = ", ".join(f"{item.name} {item.type}" for item in inputs) or "none"
            raise UserError(f"{self.model}: its inputs are {listed}; a detector has one, of floats")
        expected = (
            [None, 3, self.size, self.size] if self.layout == "NCHW" else [None, self.size, self.size, 3]
        )
        shape = inputs[0].shape
        pairs = zip(expected, shape)
        if len(shape) != 4 or any(isinstance(have, int) and want not in (None, have) for want, have in pairs):
            described = f"{self.layout} with size {self.size} is {['batch', *expected[1:]]}"
            raise UserError(
                f"{self.model}: its input is {shape}, but {described}; set layout and size to fit"
            )
        known = (
            self.output in outputs
            if isinstance(self.output, str)
            else -len(outputs) <= self.output < len(outputs)
        )
        if not known:
            raise UserError(f"{self.model} has no output {self.output!r}; it has {', '.join(outputs)}")

    def _score(self, session: Any, model_input: Any, values: np.ndarray) -> Float32[np.ndarray, " images"]:
        outputs = [output.name for output in session.get_outputs()]
        name = self.output if isinstance(self.output, str) else outputs[self.output]
        try:
            result = np.asarray(session.run([name], {model_input.name: values})[0], np.float32)
        except Exception as error:  # likewise
            shape, reason = list(values.shape), first_line(error)
            raise UserError(f"{self.model} does not run on {shape} ({reason}); export it again") from None
        if result.ndim == 0 or len(result) != len(values):
            shape = list(result.shape)
            raise UserError(
                f"{self.model}: output {name} of {len(values)} images is {shape}; "
                "its first axis must be theirs"
            )
        result = _activate(result, self.activation)
        if self.column == "max":
            scores = result.reshape(len(result), -1).max(axis=1, initial=-np.inf)
        else:
            columns = result if result.ndim == 2 else result[:, None]
            if columns.ndim != 2 or not -columns.shape[1] <= self.column < columns.shape[1]:
                shape = list(result.shape)
                raise UserError(
                    f'{self.model}: output {name} is {shape}; it has no column {self.column}, try "max"'
                )
            scores = columns[:, self.column]
        if np.isnan(scores).any():
            raise UserError(f"{self.model} returns NaN; check mean and std, or export it in float32")
        return scores

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_opened": []}


def load_detector(path: str | Path) -> Detector:
    """Load a detector from a TOML file and open its model once. Raises UserError if either is invalid."""
    path = Path(path).expanduser()
    try:
        entries = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}; give a detector's TOML file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not a TOML file: {first_line(error)}") from None
    known = {item.name: item for item in fields(Detector) if not item.name.startswith("_")}
    for key in entries:
        if key not in known:
            hint = did_you_mean(key, known, f"a detector has {', '.join(known)}")
            raise UserError(f"{path}: unknown key {key}{hint}")
    missing = [name for name, item in known.items() if name not in entries and item.default is MISSING]
    if missing:
        raise UserError(
            f"{path}: {', '.join(missing)} is missing; a detector needs name, model, size and threshold"
        )
    _check_entries(path, entries)
    entries |= {name: tuple(entries[name]) for name in ("mean", "std") if name in entries}
    entries["model"] = path.parent / entries["model"]
    if not entries["model"].is_file():
        raise UserError(f"{path}: its model {entries['model']} does not exist; put it there or change model")
    detector = Detector(**entries)
    detector._session()
    return detector


def _check_entries(path: Path, entries: dict[str, Any]) -> None:
    def number(value: Any) -> bool:
        return isinstance(value, (int, float)) and not isinstance(value, bool)

    def integer(value: Any) -> bool:
        return isinstance(value, int) and not isinstance(value, bool)

    def three(value: Any) -> bool:
        return isinstance(value, list) and len(value) == 3 and all(map(number, value))

    rules = {
        "name": (lambda value: isinstance(value, str) and value.strip() != "", "a word"),
        "model": (lambda value: isinstance(value, str) and value != "", "a file's name"),
        "size": (lambda value: integer(value) and value > 0, "a number of pixels"),
        "batch": (lambda value: integer(value) and value > 0, "a number of images"),
        "threshold": (number, "a number"),
        "mean": (three, "three numbers"),
        "std": (lambda value: three(value) and min(value) > 0, "three numbers above 0"),
        "output": (lambda value: integer(value) or isinstance(value, str), "an output's name or number"),
        "column": (lambda value: integer(value) or value == "max", 'a number or "max"'),
    }
    for name, choices in _CHOICES.items():
        rules[name] = (partial(operator.contains, choices), " or ".join(choices))
    for name, value in entries.items():
        allowed, expected = rules[name]
        if not allowed(value):
            raise UserError(f"{path}: {name} is {value!r}; it must be {expected}")


def _activate(
    values: Float32[np.ndarray, "images ..."], activation: str
) -> Float32[np.ndarray, "images ..."]:
    if activation == "sigmoid":
        # Exponentials of negative numbers only, which cannot overflow.
        small = np.exp(-np.abs(values))
        return np.where(values >= 0, 1, small) / (1 + small)
    if activation == "softmax":
        powers = np.exp(values - values.max(axis=-1, keepdims=True))
        return powers / powers.sum(axis=-1, keepdims=True)
    return values
