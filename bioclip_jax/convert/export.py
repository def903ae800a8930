"""Export and import of model directories, as open_clip, pybioclip and the Hub load them."""

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from bioclip_jax.errors import UserError
from bioclip_jax.files import apply_umask, check_folder
from bioclip_jax.models import get_config

from .card import model_card
from .load import ModelBundle, resolve, resolve_weights_file
from .locate import CONFIG_FILE, RECORD_KEY, is_bare_directory
from .open_clip import to_state_dict
from .published import Origin
from .tensors import weights_fingerprint
from .weights import REPLAY_FILE, TAXA_FILE, find_weights, is_weights_file

__all__ = ["WEIGHTS_FILE", "export_model", "import_model", "write_model_directory"]

WEIGHTS_FILE = "open_clip_model.safetensors"
_REPLAY_KEY = "visual.continual_proj"


def export_model(model: str | Path, output: str | Path, *, format: str = "open_clip") -> Path:
    """Write a MODEL as an open_clip directory for inference, without replay projector, and return its path.

    Raises UserError if `output` is not empty, or as `resolve`.
    """
    if format != "open_clip":
        raise UserError(f"unknown export format {format!r}: choose open_clip")
    output = _check_empty(output)
    return write_model_directory(resolve(model), output, replay_projector=False)


def import_model(source: str | Path, output: str | Path, *, model: str | None = None) -> Path:
    """Write a MODEL or a bare weights file as a model directory with replay projector; return its path.

    model: architecture of a weights file (.safetensors, .bin, .pt, .pth, or the .index.json of several) or a
    folder of such without open_clip's configuration; None for the one that a file's shapes fit.
    Raises UserError as `export_model`.
    """
    output = _check_empty(output)
    path = Path(source).expanduser()
    if model is not None and is_bare_directory(path):
        path = find_weights(path)
    if is_weights_file(path) and not path.is_dir():
        return write_model_directory(resolve_weights_file(path, model), output, replay_projector=True)
    size = None if model is None else get_config(model).vision.image_size
    bundle = resolve(source, image_size=size)
    if model is not None and bundle.config != get_config(model):
        raise UserError(
            f"{source} is {bundle.name}, not {model}: leave out --model, or give that model's weights"
        )
    return write_model_directory(bundle, output, replay_projector=True)


def write_model_directory(bundle: ModelBundle, output: Path, *, replay_projector: bool) -> Path:
    """Write open_clip's configuration and weights, README.md and optionally the replay projector.

    Copies the model's taxa too, if its directory has them for the same weights. Written to a temporary
    directory and renamed, so that the output is never partial.
    """
    output = _check_empty(output)
    output.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{output.name}.", suffix=".partial", dir=output.parent))
    try:
        apply_umask(partial, 0o777)
        state_dict = to_state_dict(bundle.params, bundle.config)
        replay = state_dict.pop(_REPLAY_KEY, None)
        _save_tensors(partial / WEIGHTS_FILE, state_dict)
        if replay_projector and replay is not None:
            _save_tensors(partial / REPLAY_FILE, {_REPLAY_KEY: replay})
        _copy_taxa(bundle, partial)
        model_cfg = bundle.config.to_open_clip()
        if "logit_bias" in state_dict:
            # Without this entry open_clip creates no bias, and rejects the tensor.
            model_cfg["init_logit_bias"] = float(state_dict["logit_bias"])
        config = {"model_cfg": model_cfg, "preprocess_cfg": bundle.preprocess.to_open_clip()}
        if bundle.origin != Origin():
            config[RECORD_KEY] = bundle.origin.to_record()
        (partial / CONFIG_FILE).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        (partial / "README.md").write_text(model_card(bundle, output.name), encoding="utf-8")
        os.replace(partial, output)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return output


def _save_tensors(path: Path, tensors: Mapping[str, np.ndarray]) -> None:
    # Loaders of the Hub read the framework of the layout from the metadata.
    save_file(dict(tensors), path, metadata={"format": "pt"})
    apply_umask(path, 0o666)


def _copy_taxa(bundle: ModelBundle, output: Path) -> None:
    taxa = bundle.directory / TAXA_FILE if bundle.directory else None
    if taxa is None or not taxa.is_file():
        return
    try:
        with safe_open(taxa, "numpy") as file:
            matches = (file.metadata() or {}).get("fingerprint") == weights_fingerprint(
                bundle.params, bundle.config
            )
    except SafetensorError:
        matches = False
    # Taxa of other weights, such as those of another step, would be rejected.
    if matches:
        shutil.copyfile(taxa, output / TAXA_FILE)


def _check_empty(output: str | Path) -> Path:
    output = Path(output).expanduser().absolute()
    if output.exists() and not output.is_dir():
        raise UserError(f"{output} is a file: give a directory that does not exist or is empty")
    if output.is_dir() and any(output.iterdir()):
        raise UserError(f"{output} is not empty: give a directory that does not exist or is empty")
    check_folder(output, parents=True)
    return output
