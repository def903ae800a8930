"""Weights files: safetensors, pickles, trainers' checkpoints, damaged and malicious ones."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from bioclip_jax.convert.weights import find_weights, read_state_dict
from bioclip_jax.errors import UserError

TENSORS = {
    "positional_embedding": torch.arange(6.0).reshape(2, 3),
    "transformer.resblocks.0.ln_1.weight": torch.ones(3),
    "visual.proj": torch.rand(3, 2),
    "logit_scale": torch.tensor(2.5),
}


def _same(tensors: dict[str, np.ndarray]) -> bool:
    return tensors.keys() == TENSORS.keys() and all(
        (tensors[key] == TENSORS[key].numpy()).all() for key in TENSORS
    )


def test_safetensors(tmp_path):
    save_file({key: tensor.numpy() for key, tensor in TENSORS.items()}, tmp_path / "model.safetensors")
    assert _same(read_state_dict(tmp_path / "model.safetensors"))


@pytest.mark.parametrize(
    "content",
    [
        TENSORS,
        {
            "epoch": 3,
            "name": "run",
            "state_dict": TENSORS,
            "optimizer": {"state": {0: {"step": torch.tensor(1.0)}}},
        },
        {"state_dict": {f"module.{key}": tensor for key, tensor in TENSORS.items()}},
        {"state_dict": {f"module._orig_mod.{key}": tensor for key, tensor in TENSORS.items()}},
        {
            f"text.{key}" if not key.startswith(("visual", "logit")) else key: tensor
            for key, tensor in TENSORS.items()
        },
        {**TENSORS, "logit_scale": torch.nn.Parameter(TENSORS["logit_scale"])},
    ],
    ids=["plain", "trainer", "data parallel", "compiled", "text apart", "parameter"],
)
@pytest.mark.parametrize("suffix", [".bin", ".pt"])
def test_wrapped_pickles(tmp_path, content, suffix):
    torch.save(content, tmp_path / f"weights{suffix}")
    assert _same(read_state_dict(tmp_path / f"weights{suffix}"))


@pytest.mark.parametrize("form", ["safetensors", "pt"])
def test_bfloat16_keeps_its_values(tmp_path, form):
    from safetensors.torch import save_file as save_torch

    tensor = torch.tensor([1.0, -2.5, 3e-20]).bfloat16()
    path = tmp_path / f"weights.{form}"
    (save_torch if form == "safetensors" else torch.save)({"visual.proj": tensor}, path)
    assert (read_state_dict(path)["visual.proj"].astype(np.float32) == tensor.float().numpy()).all()


class _Runs:
    def __reduce__(self):
        return os.mkdir, ("/tmp/should-never-be-made",)


def test_a_pickle_with_code_is_rejected(tmp_path):
    torch.save({"visual.proj": _Runs()}, tmp_path / "hostile.pt")
    with pytest.raises(UserError, match="hostile.pt.*not loaded"):
        read_state_dict(tmp_path / "hostile.pt")
    assert not Path("/tmp/should-never-be-made").exists()


@pytest.mark.parametrize("name", ["model.safetensors", "model.pt", "model.bin"])
@pytest.mark.parametrize(
    "content", [b"", b"this is a text file, and no weights at all", b"PK\x03\x04 cut off"]
)
def test_damaged_files_are_one_line(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=name) as error:
        read_state_dict(tmp_path / name)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("form", ["safetensors", "pt"])
def test_an_incomplete_download(tmp_path, form):
    path = tmp_path / f"weights.{form}"
    if form == "pt":
        torch.save(TENSORS, path)
    else:
        save_file({key: tensor.numpy() for key, tensor in TENSORS.items()}, path)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(UserError, match="weights"):
        read_state_dict(path)


def test_other_files(tmp_path):
    (tmp_path / "weights.npz").write_bytes(b"")
    with pytest.raises(UserError, match="not a weights file"):
        read_state_dict(tmp_path / "weights.npz")
    with pytest.raises(UserError, match="no such file"):
        read_state_dict(tmp_path / "nowhere.pt")
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(UserError, match="holds a list"):
        read_state_dict(tmp_path / "list.pt")


def test_the_file_that_open_clip_would_load(tmp_path):
    from open_clip.factory import _find_checkpoint_in_dir

    names = [
        "zzz.safetensors",
        "model.safetensors",
        "open_clip_pytorch_model.bin",
        "open_clip_model.safetensors",
    ]
    (tmp_path / "replay_projector.safetensors").touch()
    with pytest.raises(UserError, match="no weights"):
        find_weights(tmp_path)
    (tmp_path / "replay_projector.safetensors").unlink()
    for name in ["extra.bin", *names]:
        (tmp_path / name).touch()
        if name != "extra.bin":
            assert str(find_weights(tmp_path)) == _find_checkpoint_in_dir(tmp_path)
