"""State dicts from safetensors files, or from pickles that contain only tensors."""

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

from bioclip_jax.errors import UserError, first_line

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

# The replay projector has its own file beside the weights, where open_clip would reject its key.
REPLAY_FILE = "replay_projector.safetensors"
# Text embeddings of a model's taxa, in its directory (bioclip_jax.predict.taxa).
TAXA_FILE = "taxa.safetensors"
PICKLES = (".bin", ".pt", ".pth")
WEIGHTS_SUFFIXES = (".safetensors", *PICKLES)
# Of the index that transformers writes with the shards of a large model, NAME-00001-of-00002.safetensors.
_INDEX_SUFFIXES = (".safetensors.index.json", ".bin.index.json")
_SHARD = re.compile(r"(.+)-(\d+)-of-(\d+)")
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
# NumPy dtypes by their names in safetensors.
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
# Keys of a trainer's checkpoint that hold the model's weights.
_WRAPPED = ("state_dict", "model_state_dict", "model")
_FOREIGN = re.compile(r"(?:GLOBAL|global) ['`]?([\w.]+)")
# Wrappers of a model in training prefix every key.
_WRAPPERS = ("module.", "_orig_mod.")
# open_clip prefixes the text tower of some models; the tensors are the same.
_TEXT_TOWER = tuple(
    "text." + name
    for name in ("positional_embedding", "token_embedding.", "transformer.", "ln_final.", "text_projection")
)


def is_weights_file(path: Path) -> bool:
    """Return True if the file name is that of weights."""
    return path.suffix in WEIGHTS_SUFFIXES or path.name.endswith(_INDEX_SUFFIXES)


def find_weights(directory: Path) -> Path:
    """Return the weights file that open_clip would load. Raises UserError if the directory has none."""
    for name in _PREFERRED:
        if (directory / name).is_file():
            return directory / name
    # A sharded model, with an index of the file of each tensor.
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
    _reject_shard(best)
    return best


def read_state_dict(path: Path) -> StateDict:
    """Read the tensors of a file by open_clip's plain keys, on the host, in the file's precision.

    Checkpoints of open_clip's trainer ({"state_dict": ...}, "module." and "_orig_mod." prefixes, a text tower
    under "text.") are unwrapped, the shards of an .index.json are merged, and transformers' CLIP weights are
    renamed. Raises UserError if the file is damaged, is one shard of several, or is a pickle with code.
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
        return _read_shards(path)
    _reject_shard(path)
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


def _read_shards(index: Path) -> StateDict:
    """Read the tensors of all files listed by an index, in its folder."""
    try:
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        # Names in a downloaded file must not be paths.
        if not names or any(Path(name).name != name for name in names):
            raise ValueError("weight_map does not name files beside it")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{index} is not an index of sharded weights ({error}): fetch it again") from error
    tensors: StateDict = {}
    for name in names:
        shard = index.with_name(name)
        if not shard.is_file():
            raise UserError(f"{index} lists {name}, which is not beside it: fetch all {len(names)} shards")
        tensors |= _read_safetensors(shard) if shard.suffix == ".safetensors" else _read_pickle(shard)
    return tensors


def _reject_shard(path: Path) -> None:
    """Raise UserError for one shard of a model, which cannot be used by itself."""
    shard = _SHARD.fullmatch(path.stem)
    if shard is not None and int(shard[3]) > 1:
        index = path.with_name(f"{shard[1]}{path.suffix}.index.json")
        advice = f"give {index}" if index.is_file() else f"fetch {index.name} and the other shards beside it"
        raise UserError(f"{path} is shard {int(shard[2])} of {int(shard[3])}: {advice}")


def _map_safetensors(path: Path) -> StateDict:
    """Return the tensors as read-only views of the memory-mapped file."""
    # safe_open validates the header, but its tensors would be copies.
    with safe_open(path, "np"):
        pass
    with open(path, "rb") as file:
        content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        first, last = entry["data_offsets"]
        values = np.frombuffer(content, np.uint8, last - first, start + first)
        tensors[name] = values.view(_DTYPES[entry["dtype"]]).reshape(entry["shape"])
    return tensors


def _plain_key(key: str) -> str:
    while key.startswith(_WRAPPERS):
        key = key.partition(".")[2]
    return key.removeprefix("text.") if key.startswith(_TEXT_TOWER) else key


def _read_pickle(path: Path) -> StateDict:
    if _is_torchscript(path):
        # Loading one would run its code.
        raise UserError(
            f"{path} is a TorchScript archive, which contains code and is not loaded: "
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
        # weights_only rejects all objects but tensors and plain containers, so no code in the file runs.
        with torch.serialization.safe_globals(_safe_globals()):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        foreign = _FOREIGN.search(str(error))
        problem = "is damaged, or contains more than tensors"
        if foreign:
            problem = f"contains {foreign[1]}, more than tensors and plain values,"
        raise UserError(
            f"{path} {problem} and is not loaded: get it as safetensors, or save only the state_dict if you "
            f"trust it"
        ) from error
    except Exception as error:
        raise UserError(
            f"{path} is not a readable state dict ({first_line(error)}): get it as safetensors"
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
            # Code is in folders of the archive's name.
            return any("/code/" in name or name.endswith("/constants.pkl") for name in archive.namelist())
    except (zipfile.BadZipFile, OSError, ValueError):
        return False


def _safe_globals() -> list[Any]:
    """Harmless types that trainers save along with tensors: NumPy's numbers and command-line options."""
    scalar = np.float64(0).__reduce__()[0]
    dtypes = [type(np.dtype(name)) for name in "?bBhHiIlLqQefd"]
    # NumPy 2 renamed its core; older checkpoints have the old name.
    names = [f"numpy.{core}.multiarray.scalar" for core in ("core", "_core")]
    return [*((scalar, name) for name in names), np.dtype, *set(dtypes), argparse.Namespace]


def _to_numpy(tensor: Any) -> Shaped[np.ndarray, "..."]:
    import torch

    tensor = tensor.detach()
    # NumPy has no bfloat16; float32 represents its values exactly.
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()
