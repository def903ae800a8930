"""Model directories that open_clip, pybioclip and the Hub load: export and import."""

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
from bioclip_jax.files import check_folder
from bioclip_jax.models import get_config

from .card import model_card
from .fingerprint import weights_fingerprint
from .load import (
    CONFIG_FILE,
    RECORD_KEY,
    ModelBundle,
    is_bare_directory,
    resolve,
    resolve_weights_file,
)
from .open_clip import to_state_dict
from .published import Origin
from .weights import REPLAY_FILE, TAXA_FILE, find_weights, is_weights_file

__all__ = ["WEIGHTS_FILE", "export_model", "import_model", "write_model_directory"]

WEIGHTS_FILE = "open_clip_model.safetensors"
_REPLAY_KEY = "visual.continual_proj"


def export_model(model: str | Path, output: str | Path, *, format: str = "open_clip") -> Path:
    """Writes a MODEL as an open_clip directory for inference, without a replay projector. Returns its path.

    UserError where `output` is not empty, or MODEL is none.
    """
    if format != "open_clip":
        raise UserError(f"unknown export format {format!r}: choose open_clip")
    output = _free(output)
    return write_model_directory(resolve(model), output, replay_projector=False)


def import_model(source: str | Path, output: str | Path, *, model: str | None = None) -> Path:
    """Writes a MODEL of open_clip's, or a bare weights file, as our model directory. Returns its path.

    A weights file (.safetensors, .bin, .pt, .pth, or the .index.json of several) is of the architecture
    `model`, or of the one that its shapes fit; a folder of such without open_clip's configuration is of
    `model`. A replay projector is kept, beside the weights that open_clip loads. UserError as for
    `export_model`.
    """
    output = _free(output)
    path = Path(source).expanduser()
    if model is not None and is_bare_directory(path):
        path = find_weights(path)
    if is_weights_file(path) and not path.is_dir():
        return write_model_directory(resolve_weights_file(path, model), output, replay_projector=True)
    size = None if model is None else get_config(model).vision.image_size
    bundle = resolve(source, image_size=size)
    if model is not None and bundle.config != get_config(model):
        raise UserError(
            f"{source} is {bundle.name}, not {model}: leave --model out, or give that model's weights"
        )
    return write_model_directory(bundle, output, replay_projector=True)


def write_model_directory(bundle: ModelBundle, output: Path, *, replay_projector: bool) -> Path:
    """open_clip_config.json, open_clip_model.safetensors and README.md, and the replay projector's own file if asked for.

    The model's taxa head comes along where it lies beside the model and belongs to these weights. Written
    beside `output` and renamed, so that a directory is there whole or not at all.
    """
    output = _free(output)
    output.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=f".{output.name}.", suffix=".partial", dir=output.parent))
    try:
        _usual_permissions(beside, 0o777)
        state_dict = to_state_dict(bundle.params, bundle.config)
        replay = state_dict.pop(_REPLAY_KEY, None)
        _save_tensors(beside / WEIGHTS_FILE, state_dict)
        if replay_projector and replay is not None:
            _save_tensors(beside / REPLAY_FILE, {_REPLAY_KEY: replay})
        _copy_taxa(bundle, beside)
        model_cfg = bundle.config.to_open_clip()
        if "logit_bias" in state_dict:
            # Without it open_clip builds no bias, and then refuses the tensor.
            model_cfg["init_logit_bias"] = float(state_dict["logit_bias"])
        config = {"model_cfg": model_cfg, "preprocess_cfg": bundle.preprocess.to_open_clip()}
        if bundle.origin != Origin():
            config[RECORD_KEY] = bundle.origin.to_record()
        (beside / CONFIG_FILE).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        (beside / "README.md").write_text(model_card(bundle, output.name), encoding="utf-8")
        os.replace(beside, output)
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise
    return output


def _save_tensors(path: Path, tensors: Mapping[str, np.ndarray]) -> None:
    # Loaders of the Hub ask the metadata which framework's layout it is.
    save_file(dict(tensors), path, metadata={"format": "pt"})
    _usual_permissions(path, 0o666)


def _copy_taxa(bundle: ModelBundle, output: Path) -> None:
    taxa = bundle.directory / TAXA_FILE if bundle.directory else None
    if taxa is None or not taxa.is_file():
        return
    try:
        with safe_open(taxa, "numpy") as head:
            belongs = (head.metadata() or {}).get("fingerprint") == weights_fingerprint(
                bundle.params, bundle.config
            )
    except SafetensorError:
        belongs = False
    # A head of other weights, such as of another step, would only be refused.
    if belongs:
        shutil.copyfile(taxa, output / TAXA_FILE)


def _free(output: str | Path) -> Path:
    output = Path(output).expanduser().absolute()
    if output.exists() and not output.is_dir():
        raise UserError(f"{output} is a file: give a directory that does not exist or is empty")
    if output.is_dir() and any(output.iterdir()):
        raise UserError(f"{output} is not empty: give a directory that does not exist or is empty")
    check_folder(output, parents=True)
    return output


def _usual_permissions(path: Path, mode: int) -> None:
    # mkdtemp and safetensors write for the owner alone; a model directory is often for a whole group.
    mask = os.umask(0)
    os.umask(mask)
    path.chmod(mode & ~mask)
