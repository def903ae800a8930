"""The transform of published models and their copies, against pybioclip."""

from __future__ import annotations

import csv
import hashlib
import json
import math
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
from hub_cache import into_cache
from PIL import Image

import bioclip_jax
from bioclip_jax.cli import main
from bioclip_jax.convert import (
    ModelBundle,
    export_model,
    import_model,
    published,
    resolve,
    write_model_directory,
)
from bioclip_jax.models import CLIPConfig, TextConfig, VisionConfig, init_params
from bioclip_jax.pipeline.images import Preprocess
from bioclip_jax.predict.preprocess import choose_preprocess

LABELS = ["Malus domestica", "Musa acuminata", "Solanum lycopersicum"]
SQUASHED = ("imageomics/bioclip", "imageomics/bioclip-2")
OWN = ("imageomics/bioclip-2.5-vith14", "imageomics/biocap")
# pybioclip resizes to 224 pixels, regardless of the model's size.
SMALL = CLIPConfig(
    embed_dim=32,
    vision=VisionConfig(image_size=224, patch_size=56, width=64, layers=2, head_width=32),
    text=TextConfig(width=64, heads=2, layers=2),
)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights in the Hub's format, without our record of the origin."""
    params = jax.tree.map(np.array, init_params(SMALL, seed=3))
    # With freshly initialized patch embeddings, the scores of images would hardly differ.
    params["visual"]["patch_embedding"]["kernel"] *= 30
    params["logit_scale"] = np.float32(math.log(8))
    bundle = ModelBundle(SMALL, params, Preprocess(224), "custom", "random weights")
    folder = write_model_directory(
        bundle, tmp_path_factory.mktemp("stand-in") / "model", replay_projector=False
    )
    assert "bioclip_jax" not in json.loads((folder / "open_clip_config.json").read_text())
    return folder


@pytest.fixture(scope="module")
def hub(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Snapshots of the published models in an offline Hub cache."""
    cache = tmp_path_factory.mktemp("hub")
    files = {name: weights / name for name in ("open_clip_config.json", "open_clip_model.safetensors")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
        patch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        yield {name: into_cache(cache, "models", name, files) for name in (*SQUASHED, *OWN)}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Wide and tall drawings whose sides differ from their center."""
    folder = tmp_path_factory.mktemp("pictures")
    paths = []
    for name, (width, height) in {"wide": (390, 240), "tall": (200, 330)}.items():
        y, x = np.mgrid[:height, :width]
        waves = [np.sin(x / 19), np.cos(y / 31 + x / 50), (x - width / 2) / width * 2]
        picture = Image.fromarray(np.uint8(127.5 + 127.5 * np.stack(waves, -1)))
        picture.save(folder / f"{name}.png")
        paths.append(str(folder / f"{name}.png"))
    return paths


def scores(capsys, pictures: list[str], model: str | Path, *options: str) -> np.ndarray:
    """Return the command's scores [image, label]."""
    command = ["predict", *pictures, "--model", str(model), "--cls", ",".join(LABELS), *options]
    assert main([*command, "--format", "csv"]) == 0
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    by_label = {(row["file_name"], row["classification"]): float(row["score"]) for row in rows}
    return np.array([[by_label[path, label] for label in LABELS] for path in pictures])


def pybioclip_scores(monkeypatch: pytest.MonkeyPatch, pictures: list[str], model: str) -> np.ndarray:
    """Return pybioclip's scores [image, label]."""
    import bioclip.predict
    import torch

    # Compiling takes a minute and does not change the scores.
    monkeypatch.setattr(torch, "compile", lambda model: model)
    rows = bioclip.predict.CustomLabelsClassifier(LABELS, model_str=model).predict(pictures)
    by_label = {(row["file_name"], row["classification"]): row["score"] for row in rows}
    return np.array([[by_label[path, label] for label in LABELS] for path in pictures])


@pytest.mark.parametrize("name", [*SQUASHED, *OWN])
def test_published_names_score_as_in_pybioclip(hub, pictures, capsys, monkeypatch, name):
    expected = pybioclip_scores(monkeypatch, pictures, f"hf-hub:{name}")
    actual = scores(capsys, pictures, f"hf-hub:{name}")
    np.testing.assert_allclose(actual, expected, atol=1e-4)
    other = scores(
        capsys, pictures, f"hf-hub:{name}", "--transform", "model" if name in SQUASHED else "pybioclip"
    )
    assert np.abs(other - expected).max() > 0.01, (
        "the two transforms give the same scores: the test shows nothing"
    )


@pytest.mark.shared_data
@pytest.mark.parametrize("name", SQUASHED)
def test_photographs_that_are_not_square_score_as_in_pybioclip(hub, shared_data, capsys, monkeypatch, name):
    # The images of val are all square.
    files = sorted((shared_data / "produce" / "train" / "images").rglob("*.jpg"))[::40]
    photographs = [str(file) for file in files if np.ptp(Image.open(file).size) > 20][:6]
    assert len(photographs) == 6, f"only {len(photographs)} photographs are not square"
    expected = pybioclip_scores(monkeypatch, photographs, f"hf-hub:{name}")
    np.testing.assert_allclose(scores(capsys, photographs, f"hf-hub:{name}"), expected, atol=1e-4)


@pytest.fixture(scope="module")
def copies(hub, weights, tmp_path_factory) -> dict[str, dict[str, Path]]:
    """Offline copies of each published model, by how they were created."""
    folders: dict[str, dict[str, Path]] = {}
    for name, snapshot in hub.items():
        folder = tmp_path_factory.mktemp(name.replace("/", "-"))
        imported = import_model(f"hf-hub:{name}", folder / "imported")
        (folder / "link").symlink_to(snapshot)
        folders[name] = {
            "import": imported,
            "import of a snapshot": import_model(snapshot, folder / "of-snapshot"),
            "export": export_model(f"hf-hub:{name}", folder / "exported"),
            "export of an import": export_model(imported, folder / "exported-import"),
            "import of an export of an import": import_model(folder / "exported-import", folder / "again"),
            "snapshot": snapshot,
            "link to a snapshot": folder / "link",
        }
    return folders


@pytest.mark.parametrize("name", ["imageomics/bioclip", "imageomics/bioclip-2", "imageomics/biocap"])
def test_offline_copies_score_as_the_published_name(copies, pictures, capsys, name):
    expected = scores(capsys, pictures, f"hf-hub:{name}")
    preprocess = choose_preprocess(resolve(f"hf-hub:{name}"))
    for way, path in copies[name].items():
        bundle = resolve(path)
        assert choose_preprocess(bundle) == preprocess, f"{way} is shown images otherwise"
        assert bundle.origin.published == f"hf-hub:{name}", f"{way}: its text embeddings will not be found"
    for way in ("import", "export", "snapshot"):
        actual = scores(capsys, pictures, f"local-dir:{copies[name][way]}")
        np.testing.assert_allclose(actual, expected, atol=1e-5, err_msg=way)


def test_an_unknown_copy_is_cropped_by_default(weights, hub, pictures, capsys):
    squashed = scores(capsys, pictures, "hf-hub:imageomics/bioclip-2")
    own = scores(capsys, pictures, weights)
    np.testing.assert_allclose(
        scores(capsys, pictures, weights, "--transform", "pybioclip"), squashed, atol=1e-5
    )
    np.testing.assert_allclose(
        scores(capsys, pictures, "hf-hub:imageomics/bioclip-2", "--transform", "model"), own, atol=1e-5
    )
    assert np.abs(squashed - own).max() > 0.01


@pytest.mark.parametrize("way", ["folder", "bare file"])
def test_an_unnamed_copy_is_recognized_by_its_checksum(model_directory, tmp_path, monkeypatch, way):
    file = model_directory / "open_clip_model.safetensors"
    name = "hf-hub:imageomics/bioclip-2"
    checksums = {file.stat().st_size: hashlib.sha256(file.read_bytes()).hexdigest()}
    known = published.PublishedModel("x/y", (), "pybioclip", checksums)
    monkeypatch.setitem(published.PUBLISHED, name, known)
    copy = shutil.copytree(model_directory, tmp_path / "copy")
    bundle = resolve(copy) if way == "folder" else resolve("ViT-Test-16", pretrained=copy / file.name)
    assert bundle.origin == published.Origin(name, "pybioclip")
    other = bytearray(file.read_bytes())
    other[-1] ^= 1
    (tmp_path / "other.safetensors").write_bytes(other)
    assert published.recognize("x", tmp_path / "other.safetensors") == published.Origin(), (
        "a file of the same size is taken for it"
    )


@pytest.mark.parametrize("transform", ["pybioclip", "model"])
def test_a_hub_repository_of_another_name_follows_its_record(
    model_directory, tmp_path, monkeypatch, transform
):
    folder = shutil.copytree(model_directory, tmp_path / "trained")
    config = json.loads((folder / "open_clip_config.json").read_text())
    config["bioclip_jax"] = {"published": None, "transform": transform}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    files = {name: folder / name for name in ("open_clip_config.json", "open_clip_model.safetensors")}
    snapshot = into_cache(tmp_path / "hub", "models", "someone/trained-from-bioclip-2", files)
    for source in ("hf-hub:someone/trained-from-bioclip-2", snapshot):
        assert resolve(source).origin == published.Origin(None, transform), f"{source} has another transform"


def test_checksums_are_sha256_and_biocap_alone_has_none():
    without = [name for name, model in published.PUBLISHED.items() if not model.checksums]
    assert without == ["hf-hub:imageomics/biocap"]
    for model in published.PUBLISHED.values():
        for size, checksum in model.checksums.items():
            assert size > 5e8 and len(bytes.fromhex(checksum)) == 32


def test_open_clip_loads_a_directory_with_the_record(copies):
    import open_clip

    model, _, preprocess = open_clip.create_model_and_transforms(
        f"local-dir:{copies['imageomics/bioclip-2']['import']}"
    )
    assert model.visual.image_size in (224, (224, 224))
    # open_clip and pybioclip treat a local directory as before.
    assert "CenterCrop" in str(preprocess)


def test_predict_and_its_log_report_the_transform(copies, pictures, tmp_path, capsys):
    model = str(copies["imageomics/bioclip"]["import"])
    command = ["predict", *pictures, "--model", model, "--cls", "a,b", "--json"]
    assert main([*command, "--output", str(tmp_path / "x.csv"), "--log", str(tmp_path / "log.json")]) == 0
    captured = capsys.readouterr()
    note = "pybioclip (squashed to 224 x 224, bilinear, antialiased, not rounded)"
    assert json.loads(captured.out)["transform"] == "pybioclip"
    assert f"transform: {note}" in captured.err
    assert json.loads((tmp_path / "log.json").read_text())["transform"] == note
    assert main([*command, "--transform", "model", "--log", str(tmp_path / "log.txt")]) == 0
    assert (
        "Transform: model (shorter side to 224, center crop, bicubic)" in (tmp_path / "log.txt").read_text()
    )


def test_eval_uses_the_models_own_transform_and_reports_it(copies, pictures, tmp_path, capsys):
    lines = [f"{Path(path).name},{label}" for path, label in zip(pictures, LABELS)]
    (tmp_path / "labels.csv").write_text("\n".join(["filepath,class", *lines]) + "\n")
    command = [
        "eval",
        "zero-shot",
        "--model",
        str(copies["imageomics/bioclip"]["import"]),
        "--text-type",
        "asis",
        "--json",
    ]
    command += [
        "--images",
        str(Path(pictures[0]).parent),
        "--labels",
        str(tmp_path / "labels.csv"),
        "--no-cache",
    ]
    for options, note in (
        ([], "model (shorter side to 224, center crop, bicubic)"),
        (
            ["--transform", "pybioclip"],
            "pybioclip (squashed to 224 x 224, bilinear, antialiased, not rounded)",
        ),
    ):
        assert main([*command, *options]) == 0
        captured = capsys.readouterr()
        assert json.loads(captured.out)["transform"] == note and f"transform: {note}" in captured.err


def test_a_resumed_run_does_not_mix_transforms(copies, pictures, tmp_path, capsys):
    command = [
        "predict",
        *pictures,
        "--model",
        str(copies["imageomics/bioclip"]["import"]),
        "--cls",
        ",".join(LABELS),
    ]
    command += ["--output", str(tmp_path / "x.csv"), "--resume"]
    assert main(command) == 0
    squashed = (tmp_path / "x.csv").read_text()
    assert main([*command, "--transform", "model"]) == 2, "predictions of another transform were reused"
    assert (tmp_path / "x.csv").read_text() == squashed


def test_an_index_keeps_its_transform(copies, pictures, tmp_path, capsys):
    model = str(copies["imageomics/bioclip"]["import"])
    index = str(tmp_path / "index")
    assert (
        main(["index", "build", *pictures, "--model", model, "--transform", "model", "--output", index]) == 0
    )
    assert json.loads((tmp_path / "index" / "index.json").read_text())["transform"] == "model"
    capsys.readouterr()
    assert main(["index", "search", index, pictures[0], "--k", "1", "--json"]) == 0
    best = json.loads(capsys.readouterr().out)["neighbours"][0]
    assert best["path"].endswith("wide.png") and best["score"] == pytest.approx(1, abs=1e-4)
    for verb in (["search", index, pictures[0]], ["build", pictures[0], "--output", index]):
        assert main(["index", *verb, "--model", model, "--transform", "pybioclip"]) == 2
        assert "--transform model" in capsys.readouterr().err


def test_embed_records_the_transform_in_its_file(copies, pictures, tmp_path):
    model = str(copies["imageomics/bioclip"]["import"])
    for name, options in {"pybioclip": [], "model": ["--transform", "model"]}.items():
        assert (
            main(["embed", *pictures, "--model", model, "--output", str(tmp_path / f"{name}.json"), *options])
            == 0
        )
        assert json.loads((tmp_path / f"{name}.json").read_text())["transform"] == name


def test_an_unknown_transform_is_an_error(weights, capsys):
    with pytest.raises(
        bioclip_jax.errors.UserError, match="'squash' does not exist; choose from model, pybioclip"
    ):
        bioclip_jax.load_model(weights, transform="squash")
    with pytest.raises(SystemExit):
        main(["predict", "x.jpg", "--transform", "squash"])
    assert "--transform" in capsys.readouterr().err
