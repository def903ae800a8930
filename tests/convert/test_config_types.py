"""Unusual types in open_clip_config.json: load what the real open_clip loads, and reject the rest."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bioclip_jax.convert.export import export_model
from bioclip_jax.convert.load import inherited, resolve
from bioclip_jax.errors import UserError
from bioclip_jax.predict import load_model

CASES = {
    "preprocess_cfg": [
        {"mean": 0.5, "std": 0.25},
        {"mean": [0.5], "std": [0.25]},
        {"mean": 0, "std": None},
        {"mean": [], "std": 1},
        {"mean": "0.5"},
        {"mean": [0.5, 0.5]},
        {"mean": [0.5, 0.5, "x"]},
        {"std": 0.0},
        {"size": {"height": 32}},
        {"size": 32.0},
        {"size": "32"},
        {"size": [3, 32, 32]},
        {"size": [64, 32]},
        {"interpolation": "random"},
        {"interpolation": "lanczos"},
        {"interpolation": None, "resize_mode": None},
        {"resize_mode": "crop"},
        {"resize_mode": "squash", "unknown": 1},
        {"mode": "L"},
        {"fill_color": None},
    ],
    "vision_cfg": [
        {"image_size": "32"},
        {"image_size": [32, 32]},
        {"width": "64"},
        {"width": 64.0},
        {"layers": None},
        {"layers": "2"},
        {"head_width": 32.0},
        {"mlp_ratio": None},
        {"mlp_ratio": 4},
        {"mlp_ratio": "4"},
        {"patch_dropout": 0.5},
        {"ls_init_value": "x"},
    ],
    "text_cfg": [{"heads": "2"}, {"layers": 2.0}, {"context_length": "77"}, {"vocab_size": None}],
    "model_cfg": [
        {"embed_dim": 32.0},
        {"embed_dim": "32"},
        {"vision_cfg": []},
        {"text_cfg": None},
        {"embed_dim": None},
    ],
}
EACH = [(part, change) for part, changes in CASES.items() for change in changes]


def changed(model_directory: Path, folder: Path, part: str, change: dict[str, Any]) -> Path:
    copy = shutil.copytree(model_directory, folder / "model")
    content = json.loads((copy / "open_clip_config.json").read_text())
    content["preprocess_cfg"] = {}
    section = content if part == "preprocess_cfg" else content["model_cfg"]
    if part == "model_cfg":
        section |= change
    else:
        section[part] = section[part] | change
    (copy / "open_clip_config.json").write_text(json.dumps(content))
    return copy


def theirs(directory: Path, photograph: Any) -> np.ndarray | None:
    """Return the pixels of a photograph under the real open_clip; None if it fails."""
    import open_clip

    try:
        model, _, transform = open_clip.create_model_and_transforms(f"local-dir:{directory}")
        assert model.visual.image_size in (32, (32, 32), [32, 32])
        return transform(photograph).permute(1, 2, 0).numpy()
    except Exception:
        return None


@pytest.mark.parametrize("part, change", EACH, ids=[f"{part} {json.dumps(change)}" for part, change in EACH])
def test_configurations_load_as_in_open_clip(model_directory, photographs, tmp_path, part, change):
    directory = changed(model_directory, tmp_path, part, change)
    expected = theirs(directory, photographs[0])
    if expected is None or not np.isfinite(expected).all():
        with pytest.raises(UserError, match="open_clip_config.json") as error:
            resolve(directory)
        assert "\n" not in str(error.value)
        return
    preprocess = resolve(directory).preprocess
    pixels = preprocess(photographs[0]).astype(np.float32) / 255
    normalized = (pixels - np.float32(preprocess.mean)) / np.float32(preprocess.std)
    np.testing.assert_allclose(normalized, expected, atol=1e-5)


@pytest.mark.parametrize("content", [[], None, 3, "text"])
def test_a_preprocess_cfg_that_is_not_a_mapping(model_directory, tmp_path, content):
    copy = shutil.copytree(model_directory, tmp_path / "model")
    config = json.loads((copy / "open_clip_config.json").read_text())
    (copy / "open_clip_config.json").write_text(json.dumps(config | {"preprocess_cfg": content}))
    if content:
        with pytest.raises(UserError, match="preprocess_cfg is .*group of keys"):
            resolve(copy)
    else:
        assert resolve(copy).preprocess.size == 32


@pytest.mark.parametrize("value", [False, True])
@pytest.mark.parametrize("part", ["model_cfg", "vision_cfg"])
def test_the_trainers_is_continual_is_accepted(model_directory, tmp_path, part, value):
    assert resolve(changed(model_directory, tmp_path, part, {"is_continual": value})).name == "ViT-Test-16"


def test_patch_dropout_survives_export(model_directory, tmp_path):
    """It is kept for further training, and does not change the model's identity."""
    plain, dropping = (
        resolve(model_directory),
        changed(model_directory, tmp_path, "vision_cfg", {"patch_dropout": 0.5}),
    )
    assert inherited(dropping) == ("model", 0.5) and inherited(model_directory) == ("model", 0.0)
    exported = export_model(dropping, tmp_path / "out")
    written = json.loads((exported / "open_clip_config.json").read_text())
    assert written["model_cfg"]["vision_cfg"]["patch_dropout"] == 0.5
    assert resolve(exported).config == plain.config and resolve(exported).name == plain.name
    assert load_model(exported).fingerprint == load_model(model_directory).fingerprint


def test_older_spelling_and_misspelled_names(model_directory, monkeypatch, tmp_path):
    weights = model_directory / "open_clip_model.safetensors"
    assert load_model("ViT-Test/16", pretrained=weights).config == resolve(model_directory).config
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(UserError, match="hf-hub:timm/vit_base_patch32_clip_224.openai is not in the cache"):
        load_model("ViT-B/32", pretrained="openai")
    for name, pretrained in (
        ("vit-b-32", None),
        ("vit-b-32", "openai"),
        ("vit-b/32", None),
        ("ViT-B32", "openai"),
    ):
        with pytest.raises(UserError, match=f"unknown model '{name}'; did you mean ViT-B-32\\?"):
            load_model(name, pretrained=pretrained)
    with pytest.raises(UserError, match="no such model: nowhere"):
        load_model("nowhere")
