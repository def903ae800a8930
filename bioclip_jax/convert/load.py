"""Load a MODEL: configuration, parameters and preprocessing."""

import dataclasses
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped
from safetensors import SafetensorError
from safetensors.numpy import load_file

from bioclip_jax.checkpoint import TrainingDirectory, build
from bioclip_jax.errors import UserError
from bioclip_jax.models import CLIPConfig, get_config
from bioclip_jax.pipeline.images import ImageConfig, Preprocess

from .infer import architecture_name, infer_architecture
from .locate import Run, WeightsFile, locate
from .open_clip import from_state_dict
from .published import PUBLISHED, Origin, Transform, recognize
from .tensors import check_finite
from .weights import REPLAY_FILE, read_state_dict

__all__ = ["ModelBundle", "inherited", "resolve", "resolve_weights_file"]


@dataclasses.dataclass(frozen=True)
class ModelBundle:
    """A model ready to run.

    params: nested dict of float32 arrays, as `CLIP`'s. name: of the architecture, or "custom". source: of the
    weights, for messages. directory: None for a model of the Hub or a bare file. training: {"config", "step",
    "metrics"} of the run, if MODEL is one (metrics: the last evaluation up to that step, with its own "step",
    or None). origin: the published model that the weights are or descend from.
    """

    config: CLIPConfig
    params: dict[str, Any]
    preprocess: Preprocess
    name: str
    source: str
    training: dict[str, Any] | None = None
    directory: Path | None = None
    origin: Origin = Origin()


def resolve(
    model: str | Path, *, pretrained: str | Path | None = None, image_size: int | None = None
) -> ModelBundle:
    """Load a MODEL in any of its forms (pretrained.MODEL_FORMS).

    pretrained: weights of an architecture, as in `locate`. image_size: replaces the model's own, in pixels,
    by resampling its position embeddings. Raises UserError for an unknown, damaged or unsupported model.
    """
    files = locate(model, pretrained)
    if isinstance(files, Run):
        return _load_run(files, image_size)
    if isinstance(files, WeightsFile):
        return resolve_weights_file(files.path, files.architecture, image_size=image_size)
    content = _read_content(files.config_file)
    config, preprocess = _parse_content(files.config_file, content)
    state_dict = read_state_dict(files.weights)
    replay = None if files.directory is None else files.directory / REPLAY_FILE
    if replay is not None and replay.is_file():
        try:
            state_dict |= load_file(replay)
        except SafetensorError as error:
            raise UserError(
                f"{replay} is not a readable safetensors file ({error}): import the model again"
            ) from error
    bundle = _make_bundle(config, preprocess, state_dict, source=files.source, image_size=image_size)
    return dataclasses.replace(bundle, directory=files.directory, origin=files.origin(content))


def resolve_weights_file(path: Path, model: str | None, *, image_size: int | None = None) -> ModelBundle:
    """Load a bare state dict of the architecture `model`, or of the one that its shapes fit.

    The preprocessing is open_clip's default, because the file does not contain it.
    """
    # A misspelled name fails at once, not after gigabytes were read.
    config = None if model is None else get_config(model)
    state_dict = read_state_dict(path)
    config = config or get_config(infer_architecture(state_dict))
    preprocess = Preprocess(size=config.vision.image_size)
    bundle = _make_bundle(config, preprocess, state_dict, source=path.name, image_size=image_size)
    return dataclasses.replace(bundle, origin=recognize(path.name, path))


def inherited(model: str | Path) -> tuple[Transform, float]:
    """Return the transform of predictions and the patch dropout that a run started from MODEL inherits.

    Reads no weights. Raises UserError as `resolve`.
    """
    files = locate(model)
    if isinstance(files, Run):
        return _transform_of_run(TrainingDirectory(files.path).read_config()), 0.0
    if isinstance(files, WeightsFile):
        return recognize(files.path.name, files.path).transform, 0.0
    content = _read_content(files.config_file)
    config, _ = _parse_content(files.config_file, content)
    return files.origin(content).transform, config.vision.patch_dropout


def _load_run(run: Run, image_size: int | None) -> ModelBundle:
    # Orbax takes half a second to import.
    from bioclip_jax.checkpoint import restore_params

    directory = TrainingDirectory(run.path)
    settings = directory.read_config()
    if not isinstance(settings.get("model"), str):
        raise UserError(f"{directory.config_file} names no model: is it a training directory?")
    config = get_config(settings["model"])
    step, params = restore_params(run.path, run.step)
    source = f"{run.path} step {step}"
    check_finite(params, source, "the training diverged; give an earlier checkpoint as RUN/checkpoints/STEP")
    preprocess = _image_config(settings).preprocess(config.vision.image_size)
    config, params["visual"]["positional_embedding"], preprocess = _resize(
        config, params["visual"]["positional_embedding"], preprocess, image_size
    )
    training = {"config": settings, "step": step, "metrics": _last_evaluation(directory, step)}
    origin = Origin(None, _transform_of_run(settings))
    return ModelBundle(config, params, preprocess, settings["model"], source, training, run.path, origin)


def _image_config(settings: Mapping[str, Any]) -> ImageConfig:
    return build(ImageConfig, settings.get("image", {}), where="config.image")


def _transform_of_run(settings: Mapping[str, Any]) -> Transform:
    image = _image_config(settings)
    if image.transform is not None:
        return image.transform
    # A run older than this key: only a published model in init_from implies its transform.
    published = PUBLISHED.get(settings.get("init_from"))
    return published.transform if published and image.resize_mode == "squash" else "model"


def _last_evaluation(directory: TrainingDirectory, step: int) -> dict[str, Any] | None:
    evaluation = None
    for record in directory.read_metrics():
        if record["step"] <= step and record.get("val") is not None:
            evaluation = {"step": record["step"], **record["val"]}
    return evaluation


def _read_content(path: Path) -> Mapping[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(content, Mapping) and isinstance(content.get("model_cfg"), Mapping):
            return content
        problem = "it needs model_cfg and preprocess_cfg"
    except (OSError, ValueError) as error:
        problem = str(error)
    raise UserError(
        f"{path} is not an open_clip configuration ({problem}): fetch it again, or export the model again"
    )


def _parse_content(path: Path, content: Mapping[str, Any]) -> tuple[CLIPConfig, Preprocess]:
    try:
        config = CLIPConfig.from_open_clip(content["model_cfg"])
        # open_clip resizes to the tower's own size and ignores that of preprocess_cfg.
        preprocess = Preprocess.from_open_clip(
            content.get("preprocess_cfg") or {}, size=config.vision.image_size
        )
        return config, preprocess
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def _make_bundle(
    config: CLIPConfig,
    preprocess: Preprocess,
    state_dict: Mapping[str, Shaped[np.ndarray, "..."]],
    *,
    source: str,
    image_size: int | None,
) -> ModelBundle:
    positions = state_dict.get("visual.positional_embedding")
    if positions is not None:
        # The file may hold another size than its configuration; open_clip resamples that, too.
        config, positions, preprocess = _resize(
            config, positions, preprocess, image_size or config.vision.image_size
        )
        state_dict = {**state_dict, "visual.positional_embedding": positions}
    try:
        params = from_state_dict(state_dict, config)
    except UserError as error:
        raise UserError(f"{source}: {error}") from error
    check_finite(params, source, "the file is damaged, or its training diverged; get another")
    return ModelBundle(config, params, preprocess, architecture_name(config) or "custom", source)


def _resize(
    config: CLIPConfig,
    positions: Shaped[np.ndarray, "tokens width"],
    preprocess: Preprocess,
    image_size: int | None,
) -> tuple[CLIPConfig, Shaped[np.ndarray, "new_tokens width"], Preprocess]:
    """Change the image size of configuration, position embeddings and preprocessing; None keeps it."""
    if image_size is None:
        return config, positions, preprocess
    if image_size < config.vision.patch_size:
        raise UserError(
            f"image size {image_size} is smaller than one patch of {config.vision.patch_size} pixels: "
            f"choose a larger one"
        )
    vision = dataclasses.replace(config.vision, image_size=image_size)
    positions = resize_positions(np.asarray(positions), vision.grid)
    return (
        dataclasses.replace(config, vision=vision),
        positions,
        dataclasses.replace(preprocess, size=image_size),
    )


def resize_positions(
    positions: Float[np.ndarray, "old_tokens width"], grid: int
) -> Float[np.ndarray, "new_tokens width"]:
    """Resample the square grid of position embeddings to grid x grid; the class token's is kept.

    Bicubic with antialiasing, as open_clip's resize_pos_embed; bit-identical if the size does not change.
    Raises UserError if the old grid is not square.
    """
    class_token, patches = positions[:1], positions[1:]
    old = math.isqrt(len(patches))
    if old * old != len(patches):
        raise UserError(
            f"visual.positional_embedding has {len(patches)} patches, not a square: only square images are "
            f"supported"
        )
    if old == grid:
        return positions
    weights = _bicubic(old, grid)
    patches = patches.astype(np.float64).reshape(old, old, -1)
    patches = np.einsum("yi,xj,ijc->yxc", weights, weights, patches, optimize=True)
    return np.concatenate([class_token, patches.reshape(grid * grid, -1).astype(positions.dtype)])


def _bicubic(old: int, new: int) -> Float[np.ndarray, "new old"]:
    """Weights of the old samples in each new sample: Keys' kernel with a = -1/2, widened for shrinking."""
    ratio = old / new
    centers = (np.arange(new) + 0.5) * ratio - 0.5
    distance = np.abs(centers[:, None] - np.arange(old)[None, :]) / max(ratio, 1.0)
    near = (1.5 * distance - 2.5) * distance**2 + 1
    far = ((-0.5 * distance + 2.5) * distance - 4) * distance + 2
    weights = np.where(distance < 1, near, np.where(distance < 2, far, 0.0))
    return weights / weights.sum(1, keepdims=True)
