"""Every protocol on the command line, with a synthetic copy of the publisher's layout, and its errors."""

import json
import math

import jax
import numpy as np
import pytest
from made_layouts import picture, put, write_lines, write_table

from bioclip_jax.cli import main
from bioclip_jax.convert import ModelBundle, write_model_directory
from bioclip_jax.models import get_config, init_params
from bioclip_jax.pipeline.images import Preprocess

HABITATS = ("Tropical", "Temperate", "Subtropical", "Boreal", "Polar", "freshwater", "saltwater", "brackish")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """An exported ViT-Test-16 with random weights, and an own cache."""
    config = get_config("ViT-Test-16")
    params = jax.tree.map(np.array, init_params(config, seed=5))
    params["logit_scale"] = np.float32(math.log(50))
    bundle = ModelBundle(config, params, Preprocess(config.vision.image_size), "ViT-Test-16", "a test")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield str(
            write_model_directory(bundle, tmp_path_factory.mktemp("models") / "small", replay_projector=False)
        )


def newt(folder):
    rows = []
    for task in ("ml_age", "ml_hawk"):
        for number in range(30):
            split, name = ("train" if number < 20 else "test"), f"{task}{number}"
            rows.append((name, "age", "", task, number % 2, f"class {number % 2}", split, 16, 24))
            put(folder / "newt2021_images" / f"{name}.jpg", number % 2 * 100 + number)
    columns = "id,task_cluster,task_subcluster,task,label,text_label,split,height,width".split(",")
    write_table(folder / "newt2021_labels.csv", columns, rows)


def fishnet(folder):
    columns = ("species", "image", "Genus", "Family", "Order", "Class", "Folder", "FeedingPath", *HABITATS)
    for split, count in (("train", 40), ("test", 12)):
        rows = []
        for number in range(count):
            name = f"{split}{number}.jpg"
            put(folder / "Image_Library" / "Cottidae" / name, number)
            feeding = "pelagic" if number % 2 else "benthic"
            habitats = ["" if number == 3 else number // 2**bit % 2 for bit in range(8)]
            taxon = (
                "Myoxocephalus scorpius",
                name,
                "Myoxocephalus",
                "Cottidae",
                "Scorpaeniformes",
                "Actinopterygii",
            )
            rows.append((*taxon, "Cottidae", feeding, *habitats))
        write_table(folder / "anns" / f"{split}.csv", columns, rows)


def awa2(folder):
    classes = {"antelope": "1 0 1", "grizzly+bear": "0 1 1", "dolphin": "0 0 1", "seal": "1 0 0"}
    for index, name in enumerate(classes):
        for number in range(8):
            put(folder / "JPEGImages" / name / f"{name}_{number}.jpg", index * 40 + number)
    write_lines(folder / "classes.txt", *(f"{n + 1}\t{name}" for n, name in enumerate(classes)))
    write_lines(folder / "predicates.txt", "1 black", "2 white", "3 big")
    write_lines(folder / "predicate-matrix-binary.txt", *classes.values())
    write_lines(folder / "trainclasses.txt", "antelope", "grizzly+bear")
    write_lines(folder / "testclasses.txt", "dolphin", "seal")


def herbarium19(folder):
    for category in range(6):
        for number in range(10):
            put(folder / "small-train" / str(category) / f"{number}.jpg", category * 30 + number)
            put(folder / "small-validation" / str(category) / f"v{number}.jpg", category * 30 + number + 200)


def plantdoc(folder):
    for split, count in (("train", 4), ("test", 3)):
        for index, name in enumerate(("Apple leaf", "Apple rust leaf", "Corn leaf blight")):
            for number in range(count):
                put(folder / split / name / f"{number}.jpg", index * 60 + number + 20 * (split == "test"))


def table(folder):
    """A folder of images with the reference's table: index column, ranks with cls, label in class."""
    ranks = ("kingdom", "phylum", "cls", "order", "family", "genus", "species")
    rows = []
    for index, (genus, species) in enumerate(
        (("Malus", "domestica"), ("Pyrus", "communis"), ("Malus", "sylvestris"))
    ):
        for number in range(7):
            put(folder / f"{genus}{species}{number}.jpg", index * 60 + number)
            lineage = ("Plantae", "Tracheophyta", "Magnoliopsida", "Rosales", "Rosaceae", genus, species)
            rows.append((len(rows), f"{genus}{species}{number}.jpg", f"{genus} {species}", *lineage, ""))
    write_table(folder / "labels.csv", ("", "filepath", "class", *ranks, "common_name"), rows)


LAYOUTS = {"newt": newt, "fishnet": fishnet, "awa2": awa2, "herbarium19": herbarium19, "plantdoc": plantdoc}
OPTIONS = {
    "newt": ("--draws", "3", "--seeds", "0", "--jobs", "1"),
    "fishnet": ("--seeds", "0"),
    "awa2": ("--seeds", "0"),
    "herbarium19": ("--old-classes", "0", "2", "4"),
}


def score(model, capsys, *arguments):
    status = main(["eval", *map(str, arguments), "--model", model, "--json"])
    out = capsys.readouterr()
    assert status == 0, out.err
    return json.loads(out.out)


def error_line(model, capsys, *arguments):
    assert main(["eval", *map(str, arguments), "--model", model, "--json"]) == 2
    out = capsys.readouterr()
    *earlier, last = out.err.splitlines()
    assert last.startswith("error: ") and out.out == "", out.err
    assert not [line for line in earlier if line.startswith("Traceback")], out.err
    return last


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_publishers_layout_is_scored(model, tmp_path, capsys, name):
    LAYOUTS[name](tmp_path / name)
    options = OPTIONS.get(name, ())
    result = score(model, capsys, name, "--data", tmp_path / name, "--output", tmp_path / "out", *options)
    assert result["protocol"] == name and 0 <= result["interval"][0] <= result["interval"][1] <= 1
    written = json.loads((tmp_path / "out" / "results.json").read_text())
    assert {key: written[key] for key in result} == result
    # The same set by name under --data-root, with features from the cache.
    again = score(model, capsys, name, "--data", name, "--data-root", tmp_path, *options)
    assert {**again, "data": 0, "seconds": 0} == {**result, "data": 0, "seconds": 0}


@pytest.mark.parametrize("name", ["zero-shot", "few-shot"])
def test_the_references_table_is_scored(model, tmp_path, capsys, name):
    table(tmp_path)
    where = ("--images", tmp_path, "--labels", tmp_path / "labels.csv")
    by_taxon = score(model, capsys, name, *where)
    as_is = score(model, capsys, name, *where, "--text-type", "asis")
    assert by_taxon["n"] == as_is["n"] == 21 and by_taxon["classes"] == as_is["classes"] == 3
    if name == "few-shot":
        assert by_taxon["few_shot"] == as_is["few_shot"], (
            "few-shot accuracy must not depend on the class names"
        )
        assert list(by_taxon["few_shot"]) == ["1", "5"]


def test_unreadable_and_missing_images_are_skipped_and_reported(model, tmp_path, capsys):
    table(tmp_path)
    (tmp_path / "Malusdomestica0.jpg").unlink()
    (tmp_path / "Pyruscommunis1.jpg").write_bytes(picture(1)[:40])
    arguments = ["eval", "zero-shot", "--images", str(tmp_path), "--labels", str(tmp_path / "labels.csv")]
    assert main([*arguments, "--model", model, "--json"]) == 0
    out = capsys.readouterr()
    assert json.loads(out.out)["n"] == 19
    skipped = [line for line in out.err.splitlines() if line.startswith("skipped: ")]
    assert len(skipped) == 2 and "Malusdomestica0.jpg" in skipped[0] and "Pyruscommunis1.jpg" in skipped[1], (
        out.err
    )


def test_errors_are_one_line(model, tmp_path, capsys):
    table(tmp_path)
    where = ("--images", tmp_path, "--labels", tmp_path / "labels.csv")
    message = error_line(model, capsys, "few-shot", *where, "--shots", "1", "8")
    assert "Malus" in message and "7" in message and "8" in message and "--skip-small-classes" in message
    message = error_line(model, capsys, "newt", *where)
    assert "no column 'split'" in message and "labels.csv" in message
    message = error_line(model, capsys, "zero-shot", "--images", tmp_path, "--labels", tmp_path / "gone.csv")
    assert "gone.csv does not exist" in message
    message = error_line(model, capsys, "awa2", "--data", "awa2", "--data-root", tmp_path)
    assert "predicate-matrix-binary.txt" in message and str(tmp_path / "awa2") in message
    message = error_line(model, capsys, "zero-shot", "--images", tmp_path)
    assert "--data, or --images with --labels" in message
    fishnet(tmp_path / "fishnet")
    next((tmp_path / "fishnet" / "Image_Library" / "Cottidae").glob("test*.jpg")).unlink()
    message = error_line(model, capsys, "fishnet", "--data", tmp_path / "fishnet")
    assert "1 of the 12 images for test are missing" in message and "complete the download" in message
    herbarium19(tmp_path / "herbarium19")
    assert "--old-classes" in error_line(model, capsys, "herbarium19", "--data", tmp_path / "herbarium19")


def test_a_suite_scores_existing_data_and_reports_skipped_entries(model, tmp_path, capsys):
    table(tmp_path / "trees")
    plantdoc(tmp_path / "plantdoc")
    (tmp_path / "suite.yaml").write_text(
        """
entries:
  trees: {protocol: zero-shot, images: trees, labels: trees/labels.csv, text_type: asis}
  trees-few: {protocol: few-shot, images: trees, labels: trees/labels.csv, shots: [1]}
  plantdoc: {protocol: plantdoc, data: plantdoc}
  newt: {protocol: newt, data: newt}
"""
    )
    status = main(
        ["eval", str(tmp_path / "suite.yaml"), "--model", model, "--output", str(tmp_path / "out"), "--json"]
    )
    out = capsys.readouterr()
    assert status == 0, out.err
    result = json.loads(out.out)
    assert list(result["entries"]) == ["trees", "trees-few", "plantdoc"] and list(result["skipped"]) == [
        "newt"
    ]
    assert "newt: skipped" in out.err and "newt2021_labels.csv" in result["skipped"]["newt"]
    for name in ("results.json", "results.md", "results.png"):
        assert (tmp_path / "out" / name).stat().st_size > 0, f"{name} was not written"
