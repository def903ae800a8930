"""Exported and imported directories, loaded by open_clip and pybioclip."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from open_clip_peer import open_clip_features
from safetensors.numpy import load_file

from bioclip_jax.convert.export import export_model, import_model, write_model_directory
from bioclip_jax.convert.load import resolve
from bioclip_jax.errors import UserError
from bioclip_jax.models import get_config, init_params


def _tensors(directory: Path) -> dict[str, bytes]:
    return {
        name: value.tobytes() for name, value in load_file(directory / "open_clip_model.safetensors").items()
    }


def test_open_clip_loads_an_export_with_its_transform_and_tokenizer(
    small_bundle, model_directory, photographs
):
    import open_clip

    model, _, transform = open_clip.create_model_and_transforms(f"local-dir:{model_directory}")
    pixels = small_bundle.preprocess(photographs[0]).astype(np.float32) / 255
    expected = (pixels - np.float32(small_bundle.preprocess.mean)) / np.float32(small_bundle.preprocess.std)
    np.testing.assert_allclose(transform(photographs[0]).permute(1, 2, 0).numpy(), expected, atol=1e-6)
    tokens = open_clip.get_tokenizer(f"local-dir:{model_directory}")(["a photo of Malus domestica."])
    assert tokens.shape == (1, 77) and tokens[0, 0] == 49406

    import jax
    from flax import nnx

    from bioclip_jax.models import graphdef

    clip = nnx.merge(graphdef(small_bundle.config, replay_projector=True), small_bundle.params)
    ours = jax.jit(lambda image, tokens: (clip.encode_image(image), clip.encode_text(tokens)))(
        expected[None], tokens.numpy()
    )
    with torch.inference_mode():
        image = model.encode_image(transform(photographs[0])[None], normalize=True)
        text = model.encode_text(tokens, normalize=True)
    np.testing.assert_allclose(ours[0], image.numpy(), atol=2e-6)
    np.testing.assert_allclose(ours[1], text.numpy(), atol=2e-6)


def test_an_import_with_a_replay_projector_still_loads_in_open_clip(imported_directory, photographs):
    import open_clip

    model, _, _ = open_clip.create_model_and_transforms(f"local-dir:{imported_directory}")
    assert np.isfinite(open_clip_features(model, photographs, ["a"])[0]).all()


def test_pybioclips_command_line_predicts_with_an_export(
    model_directory, photographs, peer_environment, tmp_path
):
    photographs[0].save(tmp_path / "image.jpg")
    command = [sys.executable, "-c", "from bioclip.__main__ import main; main()", "predict"]
    command += [
        "--model",
        f"local-dir:{model_directory}",
        "--cls",
        "Malus domestica,Musa acuminata",
        str(tmp_path / "image.jpg"),
    ]
    done = subprocess.run(command, env=peer_environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert {row["classification"] for row in rows} == {"Malus domestica", "Musa acuminata"}
    assert sum(float(row["score"]) for row in rows) == pytest.approx(1, abs=1e-5)


def test_import_then_export_gives_the_same_tensors(tmp_path):
    """A pickled checkpoint of open_clip's trainer with a replay projector."""
    from open_clip.model import CLIP

    torch.manual_seed(0)
    config = get_config("ViT-Test-16")
    state_dict = CLIP(**config.to_open_clip()).state_dict()
    wrapped = {f"module.{name}": tensor for name, tensor in state_dict.items()}
    wrapped["module.visual.continual_proj"] = torch.rand(64, 32)
    torch.save({"epoch": 1, "state_dict": wrapped}, tmp_path / "epoch_1.pt")

    imported = import_model(tmp_path / "epoch_1.pt", tmp_path / "imported")
    exported = export_model(imported, tmp_path / "exported")
    again = import_model(f"local-dir:{imported}", tmp_path / "again", model="ViT-Test-16")
    expected = {name: tensor.numpy().tobytes() for name, tensor in state_dict.items()}
    for directory in (imported, exported, again):
        assert _tensors(directory) == expected, f"{directory.name} holds other tensors"
    for directory in (imported, again):
        replay = load_file(directory / "replay_projector.safetensors")["visual.continual_proj"]
        assert replay.tobytes() == wrapped["module.visual.continual_proj"].numpy().tobytes()
    assert not (exported / "replay_projector.safetensors").exists()


def test_a_logit_bias_survives_a_round_trip(tmp_path):
    """A model of the sigmoid loss from open_clip is imported, exported, and loaded there with its bias."""
    import open_clip

    torch.manual_seed(0)
    model = open_clip.CLIP(**get_config("ViT-Test-16").to_open_clip(), init_logit_bias=-10)
    model.logit_bias.data.fill_(-9.625)
    torch.save(model.state_dict(), tmp_path / "siglip.pt")
    exported = export_model(
        import_model(tmp_path / "siglip.pt", tmp_path / "imported"), tmp_path / "exported"
    )
    assert resolve(exported).params["logit_bias"] == np.float32(-9.625)
    again = open_clip.create_model(f"local-dir:{exported}").state_dict()
    assert again.keys() == model.state_dict().keys()
    for name, tensor in model.state_dict().items():
        assert torch.equal(again[name], tensor), f"{name} is changed by the round trip"


def test_a_bare_file_of_a_named_architecture(small_bundle, model_directory, tmp_path):
    source = model_directory / "open_clip_model.safetensors"
    assert resolve(import_model(source, tmp_path / "inferred")).config == small_bundle.config
    with pytest.raises(UserError, match="unknown model 'ViT-Tset-16'.*ViT-Test-16"):
        import_model(source, tmp_path / "out", model="ViT-Tset-16")
    with pytest.raises(UserError, match="tensors are missing"):
        import_model(source, tmp_path / "out", model="ViT-B-32")
    with pytest.raises(UserError, match="is ViT-Test-16, not ViT-B-32"):
        import_model(model_directory, tmp_path / "out", model="ViT-B-32")
    with pytest.raises(UserError, match="no such file"):
        import_model(tmp_path / "nowhere.pt", tmp_path / "out", model="ViT-B-32")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["inferred"], (
        "a failed import left something behind"
    )


@pytest.mark.parametrize("verb", [export_model, import_model])
def test_an_output_that_is_not_empty_is_not_changed(model_directory, tmp_path, verb):
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "thesis.txt").write_text("years of work")
    with pytest.raises(UserError, match="kept is not empty"):
        verb(model_directory, tmp_path / "kept")
    with pytest.raises(UserError, match="thesis.txt is a file"):
        verb(model_directory, tmp_path / "kept" / "thesis.txt")
    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["thesis.txt"]
    (tmp_path / "empty").mkdir()
    assert resolve(verb(model_directory, tmp_path / "empty")).name == "ViT-Test-16"


def test_a_failed_write_leaves_no_files(small_bundle, tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError("no space left on device")

    monkeypatch.setattr("bioclip_jax.convert.export.model_card", full)
    with pytest.raises(OSError, match="no space"):
        write_model_directory(small_bundle, tmp_path / "out", replay_projector=False)
    assert not list(tmp_path.iterdir())


def test_an_unknown_format_is_named(model_directory, tmp_path):
    with pytest.raises(UserError, match="'onnx'.*open_clip"):
        export_model(model_directory, tmp_path / "out", format="onnx")


def test_the_card_has_valid_front_matter(small_bundle, tmp_path):
    import dataclasses

    config = {
        "data": {"train": "shards", "val": "shards"},
        "seed": 7,
        "init_from": "hf-hub:imageomics/bioclip-2",
    }
    metrics = {"step": 40, "top1": 0.5, "top5": 0.75, "n": 12, "ranks": {"kingdom": 1.0, "family": None}}
    training = {"config": config, "step": 50, "metrics": metrics}
    bundle = dataclasses.replace(small_bundle, training=training)
    card = (
        write_model_directory(bundle, tmp_path / "finches", replay_projector=False) / "README.md"
    ).read_text()
    front = yaml.safe_load(card.split("---\n")[1])
    assert front["library_name"] == "open_clip" and front["pipeline_tag"] == "zero-shot-image-classification"
    results = front["model-index"][0]["results"][0]["metrics"]
    assert {entry["name"]: entry["value"] for entry in results} == {
        "top1": 0.5,
        "top5": 0.75,
        "top1 kingdom": 1.0,
    }
    for expected in (
        "# finches",
        "3.4 M parameters",
        "| seed | 7 |",
        "hf-hub:imageomics/bioclip-2",
        "12 images",
        "squash",
    ):
        assert expected in card, f"{expected!r} is missing from\n{card}"


def test_the_configuration_has_the_preprocessing(small_bundle, model_directory):
    written = json.loads((model_directory / "open_clip_config.json").read_text())
    assert written["preprocess_cfg"]["resize_mode"] == "squash"
    assert written["preprocess_cfg"]["mean"] == list(small_bundle.preprocess.mean)
    assert written["model_cfg"]["vision_cfg"]["head_width"] == 32


def test_files_are_readable_by_others(model_directory):
    modes = {
        path.name: oct(path.stat().st_mode & 0o044) for path in [model_directory, *model_directory.iterdir()]
    }
    assert set(modes.values()) == {oct(0o044)}, modes


def test_fresh_weights_survive_export(tmp_path, small_bundle):
    import dataclasses

    import jax

    params = jax.tree.map(np.asarray, init_params(small_bundle.config, seed=9))
    directory = write_model_directory(
        dataclasses.replace(small_bundle, params=params), tmp_path / "out", replay_projector=True
    )
    read = resolve(directory).params
    assert jax.tree.structure(read) == jax.tree.structure(params)
    assert all(map(np.array_equal, jax.tree.leaves(read), jax.tree.leaves(params)))
