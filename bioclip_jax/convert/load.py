"""A MODEL, in any of its forms, made into configuration, parameters and preprocessing."""

import dataclasses
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Shaped
from safetensors import SafetensorError
from safetensors.numpy import load_file

from bioclip_jax.checkpoint import TrainingDirectory, build
from bioclip_jax.errors import UserError
from bioclip_jax.files import files_below
from bioclip_jax.models import CLIPConfig, get_config
from bioclip_jax.pipeline.images import ImageConfig, Preprocess

from .finite import check_finite
from .infer import architecture_name, infer_architecture
from .open_clip import from_state_dict
from .positions import resize_positions
from .published import PUBLISHED, Origin, Transform, recognize
from .weights import REPLAY_FILE, TAXA_FILE, find_weights, is_weights_file, read_state_dict

__all__ = [
    "CONFIG_FILE",
    "RECORD_KEY",
    "REPLAY_FILE",
    "ModelBundle",
    "inherited",
    "is_bare_directory",
    "model_files",
    "resolve",
    "resolve_weights_file",
]

CONFIG_FILE = "open_clip_config.json"
# Key of CONFIG_FILE under which export and import record an Origin; open_clip reads model_cfg and
# preprocess_cfg only.
RECORD_KEY = "bioclip_jax"
# What else is read of a model's directory: open_clip's tokenizer, and what a training run says of itself.
_MODEL_NAMES = (
    CONFIG_FILE,
    "config.json",
    "metrics.jsonl",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.json",
)

_FORMS = (
    "a training directory, a checkpoint in it, an exported or imported directory, local-dir:PATH or "
    "hf-hub:ORG/NAME"
)


@dataclasses.dataclass(frozen=True)
class ModelBundle:
    """A model ready to run.

    params: nested dict of float32 arrays, as `CLIP`'s. name: the architecture's, or "custom". source: where
    it came from, for a person. directory: where it lies, None for one of the Hub or a bare file. training:
    {"config", "step", "metrics"} of the run behind it (metrics: the last evaluation up to that step, with its
    own "step", or None), where MODEL is a training directory. origin: whose weights they are.
    """

    config: CLIPConfig
    params: dict[str, Any]
    preprocess: Preprocess
    name: str
    source: str
    training: dict[str, Any] | None = None
    directory: Path | None = None
    origin: Origin = Origin()


def resolve(model: str | Path, *, image_size: int | None = None) -> ModelBundle:
    """Loads a MODEL: a directory of training, export or import, local-dir:PATH, or hf-hub:ORG/NAME.

    image_size (pixels) overrides the model's own; its position embeddings are then resampled. A model of
    the Hub is taken from the cache where it is there, without a connection. UserError says what is wrong.
    """
    place = _locate(model)
    if isinstance(place, _Run):
        return _from_training(place, image_size)
    content = _read_content(place.config_file)
    config, preprocess = _read_config(place.config_file, content)
    state_dict = read_state_dict(place.weights)
    replay = None if place.directory is None else place.directory / REPLAY_FILE
    if replay is not None and replay.is_file():
        try:
            state_dict |= load_file(replay)
        except SafetensorError as error:
            raise UserError(
                f"{replay} is not a readable safetensors file ({error}): import the model again"
            ) from error
    bundle = _bundle(config, preprocess, state_dict, source=place.source, image_size=image_size)
    return dataclasses.replace(bundle, directory=place.directory, origin=place.origin(content))


def model_files(model: str | Path | None, *, taxa: bool = True) -> Iterator[Path]:
    """The files of a local MODEL: configuration, weights and checkpoints, and with `taxa` its head of taxa.

    None of them for a name of the Hub's, and where there is no model.
    """
    path = Path(str(model or "").removeprefix("local-dir:")).expanduser()
    if model is None or not path.is_dir():
        yield from [path] if model is not None and path.is_file() else ()
        return
    yield from files_below(path / "checkpoints")
    for file in path.iterdir():
        if is_weights_file(file) and (taxa or file.name != TAXA_FILE) or file.name in _MODEL_NAMES:
            yield file


def resolve_weights_file(path: Path, model: str | None) -> ModelBundle:
    """Loads a bare state dict of the architecture `model`, or of the one that its shapes fit.

    The file does not say how images are prepared, so that is open_clip's default.
    """
    # A misspelt name is told at once, not after gigabytes were read.
    config = None if model is None else get_config(model)
    state_dict = read_state_dict(path)
    config = config or get_config(infer_architecture(state_dict))
    preprocess = Preprocess(size=config.vision.image_size)
    bundle = _bundle(config, preprocess, state_dict, source=path.name, image_size=None)
    return dataclasses.replace(bundle, origin=recognize(path.name, path))


def is_bare_directory(path: Path) -> bool:
    """True for a folder with weights that no configuration of open_clip's, and no training directory, goes with."""
    if not path.is_dir() or (path / CONFIG_FILE).is_file() or TrainingDirectory.is_one(path):
        return False
    return any(is_weights_file(file) for file in path.iterdir())


def inherited(model: str | Path) -> tuple[Transform, float]:
    """Transform of predictions, and patch dropout, that a run trained from MODEL goes on with.

    Neither needs its weights read, only what is written beside them. UserError as `resolve`.
    """
    place = _locate(model)
    if isinstance(place, _Run):
        settings = TrainingDirectory(place.path).read_config()
        return _transform_of_run(settings), 0.0
    content = _read_content(place.config_file)
    config, _ = _read_config(place.config_file, content)
    return place.origin(content).transform, config.vision.patch_dropout


class _Run(NamedTuple):
    """A training directory, and the step of the checkpoint asked for; None for the newest."""

    path: Path
    step: int | None


class _Files(NamedTuple):
    """Files of a model in open_clip's layout, in `directory` where they are no Hub name's."""

    source: str
    config_file: Path
    weights: Path
    directory: Path | None

    def origin(self, content: Mapping[str, Any]) -> Origin:
        """The model's, by what `config_file` holds and what else tells it."""
        return recognize(self.source, self.weights, content.get(RECORD_KEY))


def _locate(model: str | Path) -> _Run | _Files:
    text = str(model)
    if text.startswith("hf-hub:"):
        from .hub_files import download

        return _Files(text, *download(text.removeprefix("hf-hub:"), CONFIG_FILE), None)
    path = Path(text.removeprefix("local-dir:")).expanduser().absolute()
    if path.is_dir() and TrainingDirectory.is_one(path):
        return _Run(path, None)
    if (
        path.name.isdecimal()
        and path.parent.name == "checkpoints"
        and TrainingDirectory.is_one(path.parents[1])
    ):
        return _Run(path.parents[1], int(path.name))
    if (path / CONFIG_FILE).is_file():
        return _Files(text, path / CONFIG_FILE, find_weights(path), path)
    raise UserError(_what_is_wrong(text, path))


def _from_training(place: _Run, image_size: int | None) -> ModelBundle:
    # Orbax takes half a second to import, the Hub's library a quarter.
    from bioclip_jax.checkpoint import restore_params

    directory = TrainingDirectory(place.path)
    settings = directory.read_config()
    if not isinstance(settings.get("model"), str):
        raise UserError(f"{directory.config_file} names no model: is it a training directory?")
    config = get_config(settings["model"])
    step, params = restore_params(place.path, place.step)
    source = f"{place.path} step {step}"
    check_finite(params, source, "the training diverged; give an earlier checkpoint as RUN/checkpoints/STEP")
    preprocess = _image_config(settings).preprocess(config.vision.image_size)
    config, params["visual"]["positional_embedding"], preprocess = _at_image_size(
        config, params["visual"]["positional_embedding"], preprocess, image_size
    )
    training = {"config": settings, "step": step, "metrics": _last_evaluation(directory, step)}
    origin = Origin(None, _transform_of_run(settings))
    return ModelBundle(config, params, preprocess, settings["model"], source, training, place.path, origin)


def _image_config(settings: Mapping[str, Any]) -> ImageConfig:
    return build(ImageConfig, settings.get("image", {}), where="config.image")


def _transform_of_run(settings: Mapping[str, Any]) -> Transform:
    image = _image_config(settings)
    if image.transform is not None:
        return image.transform
    # A run that is older than the key: only a name of the Hub tells what it started from.
    published = PUBLISHED.get(settings.get("init_from"))
    return published.transform if published and image.resize_mode == "squash" else "model"


def _last_evaluation(directory: TrainingDirectory, step: int) -> dict[str, Any] | None:
    found = None
    for record in directory.read_metrics():
        if record["step"] <= step and record.get("val") is not None:
            found = {"step": record["step"], **record["val"]}
    return found


def _read_content(path: Path) -> Mapping[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(content, Mapping) and isinstance(content.get("model_cfg"), Mapping):
            return content
        problem = "it needs model_cfg and preprocess_cfg"
    except (OSError, ValueError) as error:
        problem = str(error)
    raise UserError(
        f"{path} is not an open_clip configuration ({problem}): fetch it again, or export the model anew"
    )


def _read_config(path: Path, content: Mapping[str, Any]) -> tuple[CLIPConfig, Preprocess]:
    try:
        config = CLIPConfig.from_open_clip(content["model_cfg"])
        # open_clip resizes to the tower's own size, whatever the preprocess_cfg says.
        preprocess = Preprocess.from_open_clip(
            content.get("preprocess_cfg") or {}, size=config.vision.image_size
        )
        return config, preprocess
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def _bundle(
    config: CLIPConfig,
    preprocess: Preprocess,
    state_dict: Mapping[str, Shaped[np.ndarray, "..."]],
    *,
    source: str,
    image_size: int | None,
) -> ModelBundle:
    positions = state_dict.get("visual.positional_embedding")
    if positions is not None:
        # The file may hold another size than its configuration names; open_clip resamples that, too.
        config, positions, preprocess = _at_image_size(
            config, positions, preprocess, image_size or config.vision.image_size
        )
        state_dict = {**state_dict, "visual.positional_embedding": positions}
    try:
        params = from_state_dict(state_dict, config)
    except UserError as error:
        raise UserError(f"{source}: {error}") from error
    check_finite(params, source, "the file is damaged, or the training behind it diverged; get another")
    return ModelBundle(config, params, preprocess, architecture_name(config) or "custom", source)


def _at_image_size(
    config: CLIPConfig,
    positions: Shaped[np.ndarray, "tokens width"],
    preprocess: Preprocess,
    image_size: int | None,
) -> tuple[CLIPConfig, Shaped[np.ndarray, "new_tokens width"], Preprocess]:
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


def _what_is_wrong(text: str, path: Path) -> str:
    advice = f"`bioclip-jax import {text} OUT --model NAME` makes a model directory of it"
    advice = f"`bioclip-jax import {text} OUT --model NAME` makes a model directory of it"
    if path.is_file() and is_weights_file(path):
        return f"{text} is a bare weights file: {advice}"
    if is_bare_directory(path):
        kind = "a transformers model" if (path / "config.json").is_file() else "weights alone"
        return f"{text} holds {kind}, without {CONFIG_FILE}: {advice}"
    if path.is_dir():
        return (
            f"{text} is not a model: it holds neither {CONFIG_FILE} nor config.json with checkpoints/; "
            f"give {_FORMS}"
        )
    if not text.startswith("local-dir:") and text.count("/") == 1 and not text.startswith((".", "/", "~")):
        return f"no such directory: {text}; a model of the Hub is hf-hub:{text}"
    return f"no such model: {text}; give {_FORMS}"
