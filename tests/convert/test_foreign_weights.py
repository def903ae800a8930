"""Foreign weights: transformers, sharded, TorchScript, trainers' checkpoints, and broken numbers."""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

import bioclip_jax
from bioclip_jax.cli import main
from bioclip_jax.convert.export import import_model
from bioclip_jax.convert.load import resolve
from bioclip_jax.convert.tensors import is_finite
from bioclip_jax.convert.weights import read_state_dict
from bioclip_jax.errors import UserError

WEIGHTS = "open_clip_model.safetensors"


@pytest.fixture(scope="module")
def tensors(model_directory: Path) -> dict[str, np.ndarray]:
    """ViT-Test-16 in open_clip's layout, with nonzero biases."""
    rng = np.random.default_rng(0)
    weights = load_file(model_directory / WEIGHTS)
    return {key: rng.normal(size=value.shape).astype(np.float32) for key, value in weights.items()}


def in_transformers(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the tensors as in CLIPModel.state_dict() of transformers 4."""
    names = {
        "token_embedding.weight": "text_model.embeddings.token_embedding.weight",
        "positional_embedding": "text_model.embeddings.position_embedding.weight",
        "visual.positional_embedding": "vision_model.embeddings.position_embedding.weight",
        "visual.class_embedding": "vision_model.embeddings.class_embedding",
        "visual.conv1.weight": "vision_model.embeddings.patch_embedding.weight",
        "logit_scale": "logit_scale",
    }
    renamed = {"text_model.embeddings.position_ids": np.arange(77)[None]}
    for key, value in tensors.items():
        if key in names:
            renamed[names[key]] = value
        elif key in ("visual.proj", "text_projection"):
            renamed["visual_projection.weight" if "visual" in key else "text_projection.weight"] = (
                value.T.copy()
            )
        else:
            tower = "vision_model" if key.startswith("visual.") else "text_model"
            key = (
                key.removeprefix("visual.")
                .replace("ln_pre", "pre_layrnorm")
                .replace("ln_post", "post_layernorm")
            )
            key = key.replace("ln_final", "final_layer_norm").replace(
                "transformer.resblocks", "encoder.layers"
            )
            key = key.replace("mlp.c_fc", "mlp.fc1").replace("mlp.c_proj", "mlp.fc2")
            key = (
                key.replace("ln_1", "layer_norm1")
                .replace("ln_2", "layer_norm2")
                .replace("attn.out", "self_attn.out")
            )
            if "in_proj" in key:
                start, kind = key.split("attn.in_proj_")
                for letter, part in zip("qkv", np.split(value, 3)):
                    renamed[f"{tower}.{start}self_attn.{letter}_proj.{kind}"] = part
            else:
                renamed[f"{tower}.{key}"] = value
    return renamed


def assert_same(actual: dict[str, np.ndarray], tensors: dict[str, np.ndarray]) -> None:
    assert actual.keys() == tensors.keys()
    for key, value in tensors.items():
        np.testing.assert_array_equal(actual[key], value, err_msg=key)


def test_transformers_weights(tensors, model_directory, tmp_path):
    save_file(in_transformers(tensors), tmp_path / "model.safetensors")
    assert_same(read_state_dict(tmp_path / "model.safetensors"), tensors)
    # Beside open_clip's configuration, by their own configuration, and as a bare file.
    beside = shutil.copytree(model_directory, tmp_path / "beside")
    shutil.copy(tmp_path / "model.safetensors", beside / WEIGHTS)
    np.testing.assert_array_equal(resolve(beside).params["visual"]["proj"], tensors["visual.proj"])
    (tmp_path / "repository").mkdir()
    torch.save(
        {key: torch.from_numpy(value) for key, value in in_transformers(tensors).items()},
        tmp_path / "repository" / "pytorch_model.bin",
    )
    (tmp_path / "repository" / "config.json").write_text('{"model_type": "clip"}')
    with pytest.raises(
        UserError, match="repository holds a transformers model.*`bioclip-jax import .*--model NAME`"
    ):
        resolve(tmp_path / "repository")
    for number, source in enumerate((tmp_path / "repository", tmp_path / "repository" / "pytorch_model.bin")):
        imported = import_model(source, tmp_path / f"imported{number}", model="ViT-Test-16")
        assert_same(load_file(imported / WEIGHTS), tensors)


def test_a_single_tower_of_transformers_is_rejected(tensors, tmp_path):
    tower = {key: value for key, value in in_transformers(tensors).items() if key.startswith("vision_model")}
    save_file(tower, tmp_path / "model.safetensors")
    with pytest.raises(UserError, match="part of a transformers CLIP model.*whole CLIPModel"):
        read_state_dict(tmp_path / "model.safetensors")
    save_file({**tower, "vision_model.head.probe": np.zeros(3)}, tmp_path / "siglip.safetensors")
    with pytest.raises(UserError, match="vision_model.head.probe"):
        read_state_dict(tmp_path / "siglip.safetensors")


@pytest.mark.parametrize("suffix", ["safetensors", "bin"])
@pytest.mark.parametrize("layout", ["open_clip", "transformers"])
def test_sharded_weights(tensors, model_directory, tmp_path, suffix, layout):
    given = tensors if layout == "open_clip" else in_transformers(tensors)
    folder = tmp_path / "sharded"
    folder.mkdir()
    shutil.copy(model_directory / "open_clip_config.json", folder)
    stem, where = ("model" if suffix == "safetensors" else "pytorch_model"), {}
    for number in (1, 2):
        part = {key: value for index, (key, value) in enumerate(given.items()) if index % 2 == number - 1}
        name = f"{stem}-{number:05d}-of-00002.{suffix}"
        where |= {key: name for key in part}
        if suffix == "safetensors":
            save_file(part, folder / name)
        else:
            torch.save({key: torch.from_numpy(value) for key, value in part.items()}, folder / name)
    index = folder / f"{stem}.{suffix}.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": where}))
    np.testing.assert_array_equal(resolve(folder).params["visual"]["proj"], tensors["visual.proj"])
    assert_same(load_file(import_model(index, tmp_path / "out", model="ViT-Test-16") / WEIGHTS), tensors)

    first = folder / f"{stem}-00001-of-00002.{suffix}"
    with pytest.raises(UserError, match=r"is shard 1 of 2: give .*index.json"):
        read_state_dict(first)
    (folder / f"{stem}-00002-of-00002.{suffix}").unlink()
    with pytest.raises(UserError, match="lists .*-00002-of-00002.*fetch all 2 shards"):
        resolve(folder)
    index.unlink()
    with pytest.raises(UserError, match="is shard 1 of 2.*fetch .*index.json"):
        resolve(folder)


@pytest.mark.parametrize(
    "content", ["{}", "no json", '{"weight_map": {"a": "../secret.safetensors"}}', '{"weight_map": []}']
)
def test_an_invalid_index(tmp_path, content):
    (tmp_path / "model.safetensors.index.json").write_text(content)
    with pytest.raises(UserError, match="index.json is not an index of sharded weights"):
        read_state_dict(tmp_path / "model.safetensors.index.json")


def test_torchscript_is_not_loaded(tmp_path, recwarn):
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), tmp_path / "ViT-B-32.pt")
    recwarn.clear()
    with pytest.raises(UserError, match="TorchScript archive.*--pretrained openai") as error:
        read_state_dict(tmp_path / "ViT-B-32.pt")
    assert "weights_only" not in str(error.value) and not recwarn.list


@pytest.mark.parametrize("key", ["state_dict", "model_state_dict", "model"])
def test_a_trainers_checkpoint_with_numpy_numbers(tensors, tmp_path, key):
    content = {
        "epoch": np.int64(3),
        "best": np.float64(0.5),
        "loss": np.float32(1.5),
        "args": argparse.Namespace(lr=1e-3, name="run"),
        key: {name: torch.from_numpy(value) for name, value in tensors.items()},
    }
    torch.save(content, tmp_path / "epoch_3.pt")
    assert_same(read_state_dict(tmp_path / "epoch_3.pt"), tensors)


class Custom:
    pass


def test_other_objects_in_a_pickle_are_named(tmp_path):
    torch.save({"state_dict": {}, "config": Custom()}, tmp_path / "x.pt")
    with pytest.raises(UserError, match=r"x.pt contains .*Custom.*not loaded"):
        read_state_dict(tmp_path / "x.pt")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("verb", ["predict", "export", "import"])
def test_non_finite_weights_are_one_line(tensors, model_directory, tmp_path, capsys, value, verb):
    broken = shutil.copytree(model_directory, tmp_path / "broken")
    proj = tensors["visual.proj"].copy()
    proj[1, :2] = value
    save_file({**tensors, "visual.proj": proj}, broken / WEIGHTS)
    (tmp_path / "x.jpg").write_bytes(b"")
    command = {"predict": ["predict", str(tmp_path / "x.jpg"), "--cls", "a,b", "--model", str(broken)]}
    assert main(command.get(verb, [verb, str(broken), str(tmp_path / "out")])) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1, captured.err
    for part in (str(broken), "2 of 2,048 numbers in visual.proj are not finite"):
        assert part in captured.err
    assert not captured.out and not (tmp_path / "out").exists()


def test_large_and_bfloat16_weights_are_finite():
    assert is_finite(np.full(100_000, 3e38, np.float32)), "an overflowing sum counts as a broken weight"
    assert is_finite(np.ones(9, ml_dtypes.bfloat16)) and not is_finite(np.full(3, np.nan, ml_dtypes.bfloat16))
    assert is_finite(np.float32(4.6)) and not is_finite(np.float32(np.nan))


def test_finite_weights_that_overflow_are_an_error(tensors, model_directory, tmp_path, capsys):
    from PIL import Image

    huge = shutil.copytree(model_directory, tmp_path / "huge")
    save_file({**tensors, "visual.proj": np.full_like(tensors["visual.proj"], 3e38)}, huge / WEIGHTS)
    Image.new("RGB", (40, 30), "green").save(tmp_path / "x.png")
    assert main(["predict", str(tmp_path / "x.png"), "--cls", "a,b", "--model", str(huge)]) == 2
    captured = capsys.readouterr()
    assert "vectors hold NaN or infinity" in captured.err.splitlines()[-1] and "nan" not in captured.out


def test_a_logit_scale_that_overflows_is_an_error(tensors, model_directory, tmp_path, capsys):
    huge = shutil.copytree(model_directory, tmp_path / "huge")
    save_file({**tensors, "logit_scale": np.array(800, np.float32)}, huge / WEIGHTS)
    with pytest.raises(UserError, match="logit_scale of .*huge is 800"):
        bioclip_jax.load_model(huge)
