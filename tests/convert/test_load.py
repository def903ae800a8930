"""All forms of MODEL, and errors of anything else."""

from __future__ import annotations

import dataclasses
import json
import shutil
import socket
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from PIL import Image

from bioclip_jax.checkpoint import Checkpoints, TrainingDirectory
from bioclip_jax.convert.export import export_model
from bioclip_jax.convert.load import inherited, resize_positions, resolve
from bioclip_jax.convert.locate import download_pair, model_files
from bioclip_jax.errors import UserError
from bioclip_jax.models import get_config, init_params


def _equal(a, b) -> bool:
    return jax.tree.structure(a) == jax.tree.structure(b) and all(
        map(np.array_equal, jax.tree.leaves(a), jax.tree.leaves(b))
    )


def _without_replay(params):
    return params | {
        "visual": {name: value for name, value in params["visual"].items() if name != "continual_proj"}
    }


def test_an_exported_directory(small_bundle, model_directory, monkeypatch):
    monkeypatch.chdir(model_directory.parent)
    for form in (
        model_directory,
        str(model_directory),
        f"local-dir:{model_directory}",
        "small",
        "local-dir:./small/",
    ):
        bundle = resolve(form)
        assert _equal(bundle.params, _without_replay(small_bundle.params)), form
        assert (bundle.config, bundle.preprocess, bundle.name) == (
            small_bundle.config,
            small_bundle.preprocess,
            "ViT-Test-16",
        )
        assert bundle.source == str(form) and bundle.training is None


def test_an_imported_directory_keeps_the_replay_projector(small_bundle, imported_directory):
    assert _equal(resolve(imported_directory).params, small_bundle.params)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A training directory with two checkpoints and an incomplete last line of metrics."""
    directory = TrainingDirectory(tmp_path_factory.mktemp("run"))
    directory.write_config(
        {
            "model": "ViT-Test-16",
            "data": {"train": "/secret/home/shards/train", "val": "tree_of_life_mini:validation"},
            "image": {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25], "resize_mode": "squash"},
            "caption": {"types": ["sci", "taxon_com"], "draw": "step"},
            "learning_rate": 1e-3,
            "global_batch_size": 16,
            "init_from": None,
        }
    )
    lines = [
        {
            "step": 5,
            "loss": 2.0,
            "val": {"top1": 0.25, "top5": 0.5, "n": 40, "ranks": {"kingdom": 0.75, "species": 0.25}},
        },
        {"step": 10, "loss": 1.0},
        {
            "step": 15,
            "loss": 0.5,
            "val": {"top1": 0.625, "top5": 1.0, "n": 40, "ranks": {"kingdom": 1.0, "species": 0.625}},
        },
    ]
    directory.metrics_file.write_text("\n".join(map(json.dumps, lines)) + '\n{"step": 20, "lo')
    checkpoints = Checkpoints(directory, keep=None)
    for step in (10, 20):
        checkpoints.save(
            step,
            {"params": init_params(get_config("ViT-Test-16"), seed=step), "opt_state": {"n": np.zeros(3)}},
            {},
        )
    checkpoints.wait()
    checkpoints.close()
    return directory.path


def test_a_training_directory_loads_its_newest_checkpoint(run):
    bundle = resolve(run)
    assert _equal(bundle.params, jax.tree.map(np.asarray, init_params(get_config("ViT-Test-16"), seed=20)))
    assert bundle.preprocess.resize_mode == "squash" and bundle.preprocess.mean == (0.5, 0.5, 0.5)
    assert bundle.preprocess.size == 32
    assert bundle.training["step"] == 20 and bundle.training["metrics"]["step"] == 15
    assert bundle.training["metrics"]["top1"] == 0.625


def test_a_checkpoint_in_a_training_directory(run, monkeypatch):
    expected = jax.tree.map(np.asarray, init_params(get_config("ViT-Test-16"), seed=10))
    monkeypatch.chdir(run / "checkpoints")
    for form in (run / "checkpoints" / "10", f"{run}/checkpoints/10/", "10"):
        bundle = resolve(form)
        assert _equal(bundle.params, expected), form
        assert bundle.training["step"] == 10 and bundle.training["metrics"]["step"] == 5
    with pytest.raises(UserError, match="no checkpoint 15.*10, 20"):
        resolve(run / "checkpoints" / "15")


def test_the_card_of_a_run_has_its_settings_but_no_private_path(run, tmp_path):
    card = (export_model(run, tmp_path / "out") / "README.md").read_text()
    for expected in (
        "shards/train",
        "tree_of_life_mini:validation",
        "sci, taxon_com",
        "| learning_rate | 0.001 |",
        "62.5%",
        "step 15",
    ):
        assert expected in card, f"{expected!r} is missing from\n{card}"
    assert "secret" not in card


@pytest.mark.parametrize("size", [16, 80])
def test_another_image_size(run, model_directory, size):
    for model in (run, model_directory):
        usual, bundle = resolve(model), resolve(model, image_size=size)
        assert bundle.config == dataclasses.replace(
            usual.config, vision=dataclasses.replace(usual.config.vision, image_size=size)
        )
        assert bundle.preprocess == dataclasses.replace(usual.preprocess, size=size)
        expected = resize_positions(usual.params["visual"]["positional_embedding"], size // 16)
        np.testing.assert_array_equal(bundle.params["visual"]["positional_embedding"], expected)
        np.testing.assert_array_equal(bundle.params["visual"]["proj"], usual.params["visual"]["proj"])
    with pytest.raises(UserError, match="image size 8 is smaller than one patch"):
        resolve(model_directory, image_size=8)


def test_weights_of_another_size_than_the_configuration(model_directory, tmp_path):
    """As open_clip does, the configuration wins and the positions are resampled."""
    import open_clip

    copied = shutil.copytree(model_directory, tmp_path / "model")
    config = json.loads((copied / "open_clip_config.json").read_text())
    config["model_cfg"]["vision_cfg"]["image_size"] = 48
    (copied / "open_clip_config.json").write_text(json.dumps(config))
    theirs = open_clip.create_model(f"local-dir:{copied}").visual.positional_embedding.detach().numpy()
    np.testing.assert_allclose(resolve(copied).params["visual"]["positional_embedding"], theirs, atol=1e-5)
    assert resolve(copied).preprocess.size == 48


def _cache_on_hub(
    directory: Path, cache: Path, files: dict[str, str], name: str = "imageomics/small"
) -> None:
    """Lay files out as in huggingface_hub's cache: refs, snapshots of links, blobs."""
    repository = cache / f"models--{name.replace('/', '--')}"
    commit = "0123456789abcdef0123456789abcdef01234567"
    for folder in ("refs", "blobs", f"snapshots/{commit}"):
        (repository / folder).mkdir(parents=True, exist_ok=True)
    (repository / "refs" / "main").write_text(commit)
    for number, (name, source) in enumerate(files.items()):
        shutil.copy(directory / source, repository / "blobs" / str(number))
        (repository / "snapshots" / commit / name).symlink_to(f"../../blobs/{number}")


@pytest.fixture
def hub_cache(tmp_path, monkeypatch) -> Path:
    """An empty cache, and a network that raises an error when used."""
    import socket

    def refuse(*args, **kwargs):
        raise AssertionError("the network was used")

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(socket.socket, "connect", refuse)
    return tmp_path


def test_a_cached_model_of_the_hub_needs_no_network(small_bundle, model_directory, hub_cache):
    files = {
        "open_clip_config.json": "open_clip_config.json",
        "open_clip_model.safetensors": "open_clip_model.safetensors",
    }
    _cache_on_hub(model_directory, hub_cache, files)
    bundle = resolve("hf-hub:imageomics/small")
    assert _equal(bundle.params, _without_replay(small_bundle.params))
    assert bundle.preprocess == small_bundle.preprocess and bundle.source == "hf-hub:imageomics/small"


def test_an_architecture_with_a_pretrained_tag(small_bundle, model_directory, hub_cache):
    files = {name: name for name in ("open_clip_config.json", "open_clip_model.safetensors")}
    name, tag = "laion/CLIP-ViT-B-32-256x256-DataComp-s34B-b86K", "datacomp_s34b_b86k"
    _cache_on_hub(model_directory, hub_cache, files, name)
    for model, pretrained in (
        ("ViT-B-32-256", None),
        ("ViT-B-32-256", tag),
        (f"ViT-B-32-256:{tag}", None),
        (f"ViT-B/32-256:{tag}", None),
    ):
        bundle = resolve(model, pretrained=pretrained)
        assert _equal(bundle.params, _without_replay(small_bundle.params)), model
        assert bundle.source == f"hf-hub:{name}"
    assert inherited(f"ViT-B-32-256:{tag}") == ("model", 0.0)


def test_an_architecture_with_a_weights_file(small_bundle, model_directory, tmp_path, monkeypatch):
    file = model_directory / "open_clip_model.safetensors"
    for model, pretrained in (("ViT-Test-16", file), (f"ViT-Test-16:{file}", None)):
        assert _equal(resolve(model, pretrained=pretrained).params, _without_replay(small_bundle.params))
    assert resolve(f"ViT-Test-16:{file}", image_size=48).config.vision.image_size == 48
    assert inherited(f"ViT-Test-16:{file}") == ("model", 0.0)
    with pytest.raises(UserError, match="names its weights; leave out --pretrained openai"):
        resolve(f"ViT-Test-16:{file}", pretrained="openai")
    with pytest.raises(UserError, match="has its own weights; leave out --pretrained openai"):
        resolve(model_directory, pretrained="openai")
    # A directory takes precedence over an architecture of the same name.
    monkeypatch.chdir(tmp_path)
    shutil.copytree(model_directory, tmp_path / "ViT-B-16")
    assert resolve("ViT-B-16").config == small_bundle.config


def test_model_files(run, model_directory):
    weights = set(model_files(model_directory))
    assert weights == {
        model_directory / name for name in ("open_clip_config.json", "open_clip_model.safetensors")
    }
    files = set(model_files(run))
    assert {run / "config.json", run / "metrics.jsonl"} < files and files == set(
        model_files(f"local-dir:{run}")
    )
    assert files == set(model_files(run / "checkpoints" / "10"))
    assert not list(model_files("hf-hub:imageomics/small")) and not list(model_files(None))


def test_pickled_weights_of_the_hub(small_bundle, imported_directory, model_directory, hub_cache, tmp_path):
    """The reference's own checkpoints have the replay projector among the weights."""
    import torch
    from safetensors.torch import load_file

    state_dict = load_file(model_directory / "open_clip_model.safetensors")
    state_dict |= load_file(imported_directory / "replay_projector.safetensors")
    folder = tmp_path / "pickled"
    folder.mkdir()
    torch.save(state_dict, folder / "open_clip_pytorch_model.bin")
    shutil.copy(model_directory / "open_clip_config.json", folder)
    _cache_on_hub(
        folder, hub_cache, {name: name for name in ("open_clip_config.json", "open_clip_pytorch_model.bin")}
    )
    assert _equal(resolve("hf-hub:imageomics/small").params, small_bundle.params)


def test_an_uncached_model_is_one_line_when_offline(hub_cache, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(
        UserError, match="hf-hub:imageomics/other is not in the cache and the Hub cannot be reached"
    ):
        resolve("hf-hub:imageomics/other")
    with pytest.raises(UserError, match="hf-hub:a/b/c is not a Hub name"):
        resolve("hf-hub:a/b/c")


def test_an_unreachable_hub_is_asked_once_and_the_error_names_a_remedy(hub_cache, monkeypatch, caplog):
    asked = []

    def no_network(*arguments, **options):
        asked.append(arguments)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", no_network)
    with pytest.raises(
        UserError, match="the Hub cannot be reached; connect once to fetch it, or .* --model DIR"
    ) as error:
        resolve("hf-hub:imageomics/other")
    assert len(asked) == 1, f"the Hub was asked {len(asked)} times"
    assert "\n" not in str(error.value) and not caplog.records, caplog.text
    with pytest.raises(
        UserError, match="names.npy of imageomics/other is not in the cache and the Hub cannot be reached"
    ):
        download_pair("imageomics/other", ["names"])


def test_names_that_are_not_models(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "weights.pt").write_bytes(b"")
    Image.new("RGB", (4, 4)).save(tmp_path / "image.png")
    for form, message in {
        "empty": "empty is not a model",
        "weights.pt": "bare weights file: `bioclip-jax import weights.pt OUT --model NAME`",
        "image.png": "no such model: image.png",
        "imageomics/bioclip-2": "a model of the Hub is hf-hub:imageomics/bioclip-2",
        "local-dir:/nowhere": "no such model: local-dir:/nowhere",
        "ViT-B-16": "ViT-B-16 has several pretrained weights; choose a TAG, as ViT-B-16:TAG",
        "ViT-B-16:openia": "ViT-B-16 has no pretrained tag 'openia'; choose from openai",
        "ViT-L14": "unknown model 'ViT-L14'; did you mean ViT-L-14",
    }.items():
        with pytest.raises(UserError, match=message):
            resolve(form)


@pytest.mark.parametrize("content", ["", "not json", "[]", '{"model_cfg": {"embed_dim": 4}}', '{"model": 1}'])
def test_a_damaged_configuration_is_an_error_with_its_path(model_directory, tmp_path, content):
    copied = shutil.copytree(model_directory, tmp_path / "model")
    (copied / "open_clip_config.json").write_text(content)
    with pytest.raises(UserError, match="open_clip_config.json"):
        resolve(copied)


def test_weights_that_do_not_fit_their_configuration(model_directory, tmp_path):
    copied = shutil.copytree(model_directory, tmp_path / "model")
    config = json.loads((copied / "open_clip_config.json").read_text())
    config["model_cfg"]["vision_cfg"]["layers"] = 3
    (copied / "open_clip_config.json").write_text(json.dumps(config))
    with pytest.raises(
        UserError, match="model: 12 tensors are missing, such as visual.transformer.resblocks.2"
    ):
        resolve(copied)


@pytest.mark.parametrize(
    ("old", "new"), [(7, 8), (14, 7), (16, 24), (24, 16), (14, 15), (3, 13), (13, 2), (1, 4)]
)
def test_resized_positions_equal_open_clips(old, new):
    import torch
    from open_clip.model import resize_pos_embed

    positions = np.random.default_rng(old).normal(size=(old * old + 1, 20)).astype(np.float32)
    state_dict = {"visual.positional_embedding": torch.from_numpy(positions.copy())}
    resize_pos_embed(state_dict, SimpleNamespace(visual=SimpleNamespace(grid_size=(new, new))))
    ours = resize_positions(positions, new)
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, state_dict["visual.positional_embedding"].numpy(), atol=1e-5)


def test_positions_of_the_same_size_are_returned_as_they_are():
    positions = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float16)
    assert resize_positions(positions, 7) is positions


def test_positions_that_are_not_square_are_an_error():
    with pytest.raises(UserError, match="12 patches"):
        resize_positions(np.zeros((13, 4), np.float32), 4)
