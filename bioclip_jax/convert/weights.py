"""State dicts from files: safetensors, or pickles that hold nothing but tensors."""

import argparse
import json
import mmap
import pickle
import re
import zipfile
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from jaxtyping import Shaped
from safetensors import SafetensorError, safe_open

from bioclip_jax.errors import UserError

from .transformers import from_transformers, is_transformers

__all__ = [
    "PICKLES",
    "REPLAY_FILE",
    "TAXA_FILE",
    "StateDict",
    "find_weights",
    "is_weights_file",
    "read_state_dict",
]

StateDict = dict[str, Shaped[np.ndarray, "..."]]

# The second projector lies beside the weights, because open_clip would refuse its key among them.
REPLAY_FILE = "replay_projector.safetensors"
# The head that predict/taxa/head.py describes, where it lies in a model's directory.
TAXA_FILE = "taxa.safetensors"
PICKLES = (".bin", ".pt", ".pth")
WEIGHTS_SUFFIXES = (".safetensors", *PICKLES)
# Of the list that transformers writes beside the parts of a large model, NAME-00001-of-00002.safetensors.
_INDEX_SUFFIXES = (".safetensors.index.json", ".bin.index.json")
_PART = re.compile(r"(.+)-(\d+)-of-(\d+)")
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
# Under one of these names trainers keep the model's weights, beside the optimizer's.
_WRAPPED = ("state_dict", "model_state_dict", "model")
_FOREIGN = re.compile(r"(?:GLOBAL|global) ['`]?([\w.]+)")
# What wraps a model while it trains leaves its name before every key.
_WRAPPERS = ("module.", "_orig_mod.")
# open_clip keeps the text tower of some models apart; the tensors are the same.
_TEXT_TOWER = tuple(
    "text." + name
    for name in ("positional_embedding", "token_embedding.", "transformer.", "ln_final.", "text_projection")
)


def is_weights_file(path: Path) -> bool:
    """True for a name that weights have."""
    return path.suffix in WEIGHTS_SUFFIXES or path.name.endswith(_INDEX_SUFFIXES)


def find_weights(directory: Path) -> Path:
    """The weights file that open_clip would load from a directory; UserError where there is none."""
    for name in _PREFERRED:
        if (directory / name).is_file():
            return directory / name
    # A model in several files, with a list of which tensor is in which.
    indexes = [path for path in sorted(directory.iterdir()) if path.name.endswith(_INDEX_SUFFIXES)]
    if indexes:
        return min(indexes, key=lambda path: not path.name.endswith(_INDEX_SUFFIXES[0]))
    others = [path for path in sorted(directory.iterdir()) if path.suffix in WEIGHTS_SUFFIXES]
    others = [path for path in others if path.name not in (REPLAY_FILE, TAXA_FILE)]
    if not others:
        raise UserError(
            f"no weights in {directory}: it needs open_clip_model.safetensors or open_clip_pytorch_model.bin"
        )
    best = min(others, key=lambda path: path.suffix != ".safetensors")
    _refuse_part(best)
    return best


def read_state_dict(path: Path) -> StateDict:
    """The tensors of a file under open_clip's plain keys, on the host, in the file's precision.

    A checkpoint of open_clip's trainer ({"state_dict": ...}, "module." and "_orig_mod." prefixes, a text
    tower under "text.") is unwrapped, the parts that an .index.json lists are joined, and transformers' CLIP
    weights are renamed. UserError where the file is damaged, is one part of several, or is a pickle that
    holds code.
    """
    if not path.is_file():
        raise UserError(f"no such file: {path}")
    tensors = {_plain_key(key): value for key, value in _read_tensors(path).items()}
    if not is_transformers(tensors):
        return tensors
    try:
        return from_transformers(tensors)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def _read_tensors(path: Path) -> StateDict:
    if path.name.endswith(_INDEX_SUFFIXES):
        return _read_parts(path)
    _refuse_part(path)
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    if path.suffix in PICKLES:
        return _read_pickle(path)
    raise UserError(f"{path} is not a weights file: give .safetensors, {', '.join(PICKLES)}")


def _read_safetensors(path: Path) -> StateDict:
    try:
        return _map_safetensors(path)
    except (SafetensorError, OSError, KeyError, TypeError) as error:
        raise UserError(f"{path} is not a readable safetensors file ({error}): fetch it again") from error


def _read_parts(index: Path) -> StateDict:
    """The tensors of all files that an index lists; they lie beside it."""
    try:
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        # A name in a downloaded file is never a path.
        if not names or any(Path(name).name != name for name in names):
            raise ValueError("weight_map does not name files beside it")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{index} is not an index of sharded weights ({error}): fetch it again") from error
    tensors: StateDict = {}
    for name in names:
        part = index.with_name(name)
        if not part.is_file():
            raise UserError(f"{index} lists {name}, which is not beside it: fetch all {len(names)} parts")
        tensors |= _read_safetensors(part) if part.suffix == ".safetensors" else _read_pickle(part)
    return tensors


def _refuse_part(path: Path) -> None:
    """UserError for one part of a sharded model, which cannot be used by itself."""
    part = _PART.fullmatch(path.stem)
    if part is not None and int(part[3]) > 1:
        index = path.with_name(f"{part[1]}{path.suffix}.index.json")
        advice = f"give {index}" if index.is_file() else f"fetch {index.name} and the other parts beside it"
        raise UserError(f"{path} is part {int(part[2])} of {int(part[3])} of sharded weights: {advice}")


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
    if _is_torchscript(path):
        # To load one is to run a program.
        raise UserError(
            f"{path} is a TorchScript archive, a program with its weights, and is not run: "
            "take the same model's safetensors (OpenAI's: --model ViT-B-32 --pretrained openai), or save "
            "torch.jit.load(FILE).state_dict() with torch.save if you trust it"
        )
    try:
        import torch
    except ImportError as error:
        raise UserError(
            f"{path} is pickled, and reading it needs torch: pip install 'bioclip-jax[peers]'"
        ) from error
    try:
        # weights_only refuses every object but tensors and plain containers, so nothing in the file runs.
        with torch.serialization.safe_globals(_plain_globals()):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        found = _FOREIGN.search(str(error))
        what = "is damaged, or holds more than tensors"
        if found:
            what = f"holds {found[1]}, more than tensors and plain values,"
        raise UserError(
            f"{path} {what} and is refused: get it as safetensors, or save the state_dict alone where you "
            f"trust it"
        ) from error
    except Exception as error:
        raise UserError(
            f"{path} is not a readable state dict ({_first_line(error)}): get it as safetensors"
        ) from error
    for key in _WRAPPED:
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
            break
    if not isinstance(content, dict):
        raise UserError(f"{path} holds a {type(content).__name__}, not a state dict: save model.state_dict()")
    return {key: _to_numpy(value) for key, value in content.items() if isinstance(value, torch.Tensor)}


def _is_torchscript(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            # The code is in folders below the archive's own name.
            return any("/code/" in name or name.endswith("/constants.pkl") for name in archive.namelist())
    except (zipfile.BadZipFile, OSError, ValueError):
        return False


def _plain_globals() -> list[Any]:
    """Types that trainers keep beside tensors and that run no code: NumPy's numbers, and the command line's options."""
    scalar = np.float64(0).__reduce__()[0]
    dtypes = [type(np.dtype(name)) for name in "?bBhHiIlLqQefd"]
    # NumPy moved its core in version 2, and old checkpoints keep to the old name.
    names = [f"numpy.{core}.multiarray.scalar" for core in ("core", "_core")]
    return [*((scalar, name) for name in names), np.dtype, *set(dtypes), argparse.Namespace]


def _to_numpy(tensor: Any) -> Shaped[np.ndarray, "..."]:
    import torch

    tensor = tensor.detach()
    # NumPy has no bfloat16 of torch's; float32 holds each of its values exactly.
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()


def _first_line(error: BaseException) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
