"""State dicts from files: safetensors, or pickles that hold nothing but tensors."""

import json
import mmap
import pickle
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from jaxtyping import Shaped
from safetensors import SafetensorError, safe_open

from bioclip_jax.errors import UserError

__all__ = ["PICKLES", "REPLAY_FILE", "TAXA_FILE", "WEIGHTS_SUFFIXES", "StateDict", "find_weights", "read_state_dict"]

StateDict = dict[str, Shaped[np.ndarray, "..."]]

# The second projector lies beside the weights, because open_clip would refuse its key among them.
REPLAY_FILE = "replay_projector.safetensors"
# The head that predict/taxa/head.py describes, where it lies in a model's directory.
TAXA_FILE = "taxa.safetensors"
PICKLES = (".bin", ".pt", ".pth")
WEIGHTS_SUFFIXES = (".safetensors", *PICKLES)
# The order in which open_clip looks for weights in a directory.
_PREFERRED = (
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
    "open_clip_pytorch_model.bin",
    "open_clip_pytorch_model.pth",
    "model.safetensors",
    "pytorch_model.bin",
    "pytorch_model.pth",
    "model.pth",
)
# What safetensors calls the kinds of numbers that a state dict may hold.
_DTYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "BF16": ml_dtypes.bfloat16,
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "i1",
    "U8": "u1",
    "BOOL": "?",
}
# What wraps a model while it trains leaves its name before every key.
_WRAPPERS = ("module.", "_orig_mod.")
# open_clip keeps the text tower of some models apart; the tensors are the same.
_TEXT_TOWER = tuple(
    "text." + name for name in ("positional_embedding", "token_embedding.", "transformer.", "ln_final.", "text_projection")
)


def find_weights(directory: Path) -> Path:
    """The weights file that open_clip would load from a directory; UserError where there is none."""
    for name in _PREFERRED:
        if (directory / name).is_file():
            return directory / name
    others = [path for path in sorted(directory.iterdir()) if path.suffix in (".safetensors", *PICKLES)]
    others = [path for path in others if path.name not in (REPLAY_FILE, TAXA_FILE)]
    if not others:
        raise UserError(f"no weights in {directory}: it needs open_clip_model.safetensors or open_clip_pytorch_model.bin")
    return min(others, key=lambda path: path.suffix != ".safetensors")


def read_state_dict(path: Path) -> StateDict:
    """The tensors of a file under open_clip's plain keys, on the host, in the file's precision.

    A checkpoint of open_clip's trainer ({"state_dict": ...}, "module." and "_orig_mod." prefixes, a text
    tower under "text.") is unwrapped. UserError where the file is damaged, or a pickle holds code.
    """
    if not path.is_file():
        raise UserError(f"no such file: {path}")
    if path.suffix == ".safetensors":
        try:
            tensors = _map_safetensors(path)
        except (SafetensorError, OSError, KeyError, TypeError) as error:
            raise UserError(f"{path} is not a readable safetensors file ({error}): fetch it again") from error
    elif path.suffix in PICKLES:
        tensors = _read_pickle(path)
    else:
        raise UserError(f"{path} is not a weights file: give .safetensors, {', '.join(PICKLES)}")
    return {_plain_key(key): value for key, value in tensors.items()}


def _map_safetensors(path: Path) -> StateDict:
    """The tensors as read-only views of the file, which is read where they are."""
    # It checks the header against the file; its own tensors are copies.
    with safe_open(path, "np"):
        pass
    with open(path, "rb") as file:
        content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    header.pop("__metadata__", None)
    tensors = {}
    for name, about in header.items():
        first, last = about["data_offsets"]
        values = np.frombuffer(content, np.uint8, last - first, start + first)
        tensors[name] = values.view(_DTYPES[about["dtype"]]).reshape(about["shape"])
    return tensors


def _plain_key(key: str) -> str:
    while key.startswith(_WRAPPERS):
        key = key.partition(".")[2]
    return key.removeprefix("text.") if key.startswith(_TEXT_TOWER) else key


def _read_pickle(path: Path) -> StateDict:
    try:
        import torch
    except ImportError as error:
        raise UserError(f"{path} is pickled, and reading it needs torch: pip install 'bioclip-jax[peers]'") from error
    try:
        # weights_only refuses every object but tensors and plain containers, so nothing in the file runs.
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(f"{path} is damaged, or holds more than tensors and is refused: get it as safetensors") from error
    except Exception as error:  # noqa: BLE001  an unpickler meets other people's bytes with whatever exception comes
        raise UserError(f"{path} is not a readable state dict ({_first_line(error)}): get it as safetensors") from error
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    if not isinstance(content, dict):
        raise UserError(f"{path} holds a {type(content).__name__}, not a state dict: save model.state_dict()")
    return {key: _to_numpy(value) for key, value in content.items() if isinstance(value, torch.Tensor)}


def _to_numpy(tensor: Any) -> Shaped[np.ndarray, "..."]:
    import torch

    tensor = tensor.detach()
    # NumPy has no bfloat16 of torch's; float32 holds each of its values exactly.
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()


def _first_line(error: BaseException) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
