"""Stages: the inputs that are read, their names, and their positions."""

import shutil

import jax
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from bioclip_jax.analyze.checkpoint_series import open_stages
from bioclip_jax.checkpoint import Checkpoints, TrainingDirectory
from bioclip_jax.convert import ModelBundle, write_model_directory
from bioclip_jax.errors import UserError
from bioclip_jax.models import get_config, init_params
from bioclip_jax.pipeline.images import Preprocess
from bioclip_jax.predict import load_model

CONFIG = get_config("ViT-Test-16")


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def write(file, rows=3, **columns):
    file.parent.mkdir(exist_ok=True)
    pq.write_table(pa.table({"emb": np.eye(rows, 4, dtype=np.float32).tolist(), **columns}), file)
    return file


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photographs")
    random = np.random.default_rng(0)
    for name in "abc":
        Image.fromarray(random.integers(0, 255, (30, 40, 3), np.uint8)).save(folder / f"{name}.png")
    (folder / "metadata.csv").write_text(
        "filepath,family,genus,species,sex\na.png,Corvidae,Corvus,corax,m\nb.png,Paridae,Parus,major,f\n"
        "c.png,Corvidae,Corvus,corone,\n"
    )
    return folder


@pytest.fixture(scope="module")
def model_directory(tmp_path_factory):
    params = jax.tree.map(np.array, init_params(CONFIG, seed=2))
    bundle = ModelBundle(CONFIG, params, Preprocess(CONFIG.vision.image_size), "ViT-Test-16", "a test")
    return write_model_directory(bundle, tmp_path_factory.mktemp("models") / "small", replay_projector=False)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    directory = TrainingDirectory(tmp_path_factory.mktemp("runs") / "run")
    directory.write_config({"model": "ViT-Test-16"})
    checkpoints = Checkpoints(directory, keep=None)
    for step in (1000, 20):
        checkpoints.save(step, {"params": init_params(CONFIG, seed=step)}, {})
    checkpoints.wait()
    checkpoints.close()
    return directory


def test_files_are_stages_in_the_order_given(tmp_path):
    files = [write(tmp_path / f"{name}.parquet", rows) for name, rows in (("trained", 3), ("fresh", 2))]
    stages = open_stages(embeddings=files)
    assert [(stage.name, stage.position, len(stage.embeddings)) for stage in stages] == [
        ("trained", 0.0, 3),
        ("fresh", 1.0, 2),
    ]


def test_files_of_one_name_are_distinguished_by_their_folders(tmp_path):
    files = [write(tmp_path / folder / "emb.parquet") for folder in ("one", "two")]
    assert [stage.name for stage in open_stages(embeddings=files)] == ["one/emb", "two/emb"]
    assert [stage.name for stage in open_stages(embeddings=files[:1] * 2)] == ["emb (1)", "emb (2)"]


@pytest.mark.parametrize(
    ("names", "positions"),
    [
        (["25 %", "100%"], [25, 100]),
        (["1,776 images", "28 images"], [1776, 28]),
        (["0.5 epochs", "-2", "1e3"], [0.5, -2, 1000]),
        (["400k", "10M", "0.2 B images"], [4e5, 1e7, 2e8]),
        (["ViT-B-16", "ViT-L-14"], [0, 1]),
        (["25 %", "all"], [0, 1]),
        (["3 birds", "3 plants"], [0, 1]),
        (["2nd", "1st"], [0, 1]),
        (["2024.11.03", "2023.01.01"], [0, 1]),
    ],
)
def test_the_number_at_the_beginning_of_a_name_is_its_position(tmp_path, names, positions):
    files = [write(tmp_path / "a.parquet")] * len(names)
    stages = open_stages(embeddings=files, names=names)
    assert [stage.name for stage in stages] == names
    assert [stage.position for stage in stages] == positions


def test_where_keeps_rows_that_match_all_filters(tmp_path):
    file = write(
        tmp_path / "a.parquet", 4, family=["A", "A", "B", "A"], note=["x=1", "", "x=1", "x=1"], n=[0, 1, 2, 3]
    )
    (stage,) = open_stages(embeddings=[file], where=["family=A", "note=x=1"])
    assert stage.embeddings.numbers("n").tolist() == [0, 3]
    for where, problem in (
        (["famly=A"], r"no column 'famly' \(did you mean family\?\)"),
        (["family=C"], "has family 'C'; it has A, B"),
        (["family"], "--where family is not COLUMN=VALUE"),
        (["family=B", "n=0"], "no row of .* has n '0'; it has 2"),
    ):
        with pytest.raises(UserError, match=problem):
            open_stages(embeddings=[file], where=where)


def test_models_encode_the_images_of_a_folder(photographs, model_directory, run, tmp_path):
    paths = [photographs / f"{name}.png" for name in "abc"]
    stages = open_stages(models=[str(model_directory), str(run.path)], data=str(photographs), batch_size=8)
    assert [(stage.name, stage.position) for stage in stages] == [("small", 0), ("run", 1)]
    for stage, model in zip(stages, (model_directory, run.path)):
        direct = load_model(model, batch_size=8).encode_image(paths)
        np.testing.assert_allclose(stage.embeddings.vectors, direct, atol=1e-5)
        assert stage.embeddings.species().tolist() == ["Corvus corax", "Parus major", "Corvus corone"]
        assert stage.embeddings.texts("sex").tolist() == ["m", "f", ""]
        assert stage.embeddings.picture(1) == paths[1].read_bytes()
    assert np.abs(stages[0].embeddings.vectors - stages[1].embeddings.vectors).max() > 1e-2, (
        "one model made both"
    )
    shutil.copy(photographs / "metadata.csv", tmp_path / "labels.csv")
    (labelled,) = open_stages(
        models=[str(model_directory)], images=photographs, labels=tmp_path / "labels.csv", batch_size=8,
        where=["family=Corvidae"],
    )  # fmt: skip
    np.testing.assert_allclose(labelled.embeddings.vectors, stages[0].embeddings.vectors[[0, 2]], atol=1e-6)
    assert labelled.embeddings.picture(1) == paths[2].read_bytes()


def test_checkpoints_are_stages_at_their_steps(photographs, run):
    stages = open_stages(models=[str(run.path)], data=str(photographs), all_checkpoints=True, batch_size=8)
    assert [(stage.name, stage.position) for stage in stages] == [("step 20", 20), ("step 1,000", 1000)]
    (newest,) = open_stages(models=[str(run.checkpoints / "1000")], data=str(photographs), batch_size=8)
    assert newest.name == "1000"
    np.testing.assert_array_equal(stages[1].embeddings.vectors, newest.embeddings.vectors)
    named = open_stages(
        models=[f"local-dir:{run.path}"],
        data=str(photographs),
        all_checkpoints=True,
        names=["early", "late"],
        batch_size=8,
    )
    assert [(stage.name, stage.position) for stage in named] == [("early", 20), ("late", 1000)]


def test_contradictory_inputs_are_an_error_before_anything_is_read(tmp_path, photographs):
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    (tmp_path / "run" / "config.json").write_text("{}")
    file, data, new = tmp_path / "missing.parquet", str(photographs), str(tmp_path / "run")
    for options, problem in (
        ({}, "it is not clear what to analyze; give --embeddings, or --model with --data"),
        ({"embeddings": [file], "models": ["m"]}, "it is not clear what to analyze"),
        ({"embeddings": [file], "data": data}, "files of --embeddings need no data"),
        (
            {"embeddings": [file], "all_checkpoints": True},
            "files of --embeddings need no data and have no checkpoints",
        ),
        ({"embeddings": [file], "names": ["a", "b"]}, "there are 2 --names for 1 stages; give one for each"),
        ({"models": ["m"]}, "the images to encode are not clear; give --data, or --images with --labels"),
        ({"models": ["m"], "images": photographs}, "the images to encode are not clear"),
        ({"models": ["m"], "data": data, "images": photographs}, "the images to encode are not clear"),
        ({"models": ["m"], "data": data, "labels": photographs}, "the images to encode are not clear"),
        (
            {"models": ["m", "n"], "data": data, "all_checkpoints": True},
            "takes one training directory, not 2",
        ),
        ({"models": [data], "data": data, "all_checkpoints": True}, "is not a training directory"),
        (
            {"models": [new], "data": data, "all_checkpoints": True},
            "has no checkpoint yet; wait for the first",
        ),
        ({"embeddings": [file]}, "missing.parquet does not exist"),
    ):
        with pytest.raises(UserError, match=problem):
            open_stages(**options)
