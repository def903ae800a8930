"""`--format megadetector`: the detector's file comes out with names, and without loss."""

from __future__ import annotations

import copy
import json
from typing import Any

import numpy as np
import pytest
from memory_card import ABSENT, CARD, megadetector, speciesnet

from bioclip_jax.errors import UserError
from bioclip_jax.predict import PredictOptions, predict_files
from bioclip_jax.predict.detections import read_detections

LABELS = "an owl,a fox,a newt"
VIDEO = {
    "file": "cam1/CLIP.MP4",
    "frame_rate": 29.97,
    "frames_processed": [0, 30, 60],
    "detections": [{"category": "1", "conf": 0.8, "bbox": [0.1, 0.2, 0.3, 0.4], "frame_number": 30}],
}


def validate(content: dict[str, Any]) -> None:
    """Check the rules of https://lila.science/megadetector-output-format."""
    assert isinstance(content["info"]["format_version"], str)
    version = float(content["info"]["format_version"])
    for table in (
        "detection_categories",
        "classification_categories",
        "classification_category_descriptions",
    ):
        for identifier, name in content.get(table, {}).items():
            assert identifier.isdecimal() and isinstance(name, str) and name.strip(), (
                table,
                identifier,
                name,
            )
    assert content["detection_categories"]
    classes = content.get("classification_categories", {})
    if "classification_category_descriptions" in content:
        assert content["classification_category_descriptions"].keys() == classes.keys()
    for image in content["images"]:
        assert isinstance(image["file"], str)
        if image.get("failure") is not None:
            assert isinstance(image["failure"], str) and image["detections"] is None, image
            continue
        assert isinstance(image["detections"], list), image
        is_video = image["file"].lower().endswith(".mp4")
        if is_video and version >= 1.4:
            assert image["frame_rate"] > 0
        if is_video and version >= 1.6:
            assert all(isinstance(number, int) for number in image["frames_processed"])
        for detection in image["detections"]:
            assert detection["category"] in content["detection_categories"]
            assert isinstance(detection["conf"], float) and 0 <= detection["conf"] <= 1
            assert len(detection["bbox"]) == 4
            if is_video and version >= 1.4:
                assert isinstance(detection["frame_number"], int)
            scores = [score for _, score in detection.get("classifications", [])]
            assert scores == sorted(scores, reverse=True) and all(0 <= score <= 1 for score in scores)
            assert all(identifier in classes for identifier, _ in detection.get("classifications", []))


def without_names(content: dict[str, Any]) -> dict[str, Any]:
    """Remove what a classifier adds."""
    content = copy.deepcopy(content)
    for name in ("classifier", "classification_completion_time", "format_version"):
        content["info"].pop(name, None)
    content.pop("classification_categories", None)
    content.pop("classification_category_descriptions", None)
    for image in content["images"]:
        for detection in image["detections"] or []:
            detection.pop("classifications", None)
    return content


def write(model_directory, card, content, tmp_path, **options) -> dict[str, Any]:
    path, output = tmp_path / "in.json", tmp_path / "out.json"
    path.write_text(json.dumps(content))
    options = {"labels": LABELS, "batch_size": 8, "format": "megadetector", "output": output} | options
    predict_files([card], str(model_directory), detections=path, **options)
    return json.loads(output.read_text())


@pytest.mark.parametrize("version", ["1.0", "1.2", "1.3", "1.4", "1.5", "1.6"])
def test_file_of_each_version_without_loss(model_directory, card, tmp_path, version):
    content = megadetector(version)
    content["info"] |= {"detector_metadata": {"typical_detection_threshold": 0.2}, "own": [1, {"a": 2.5}]}
    content["images"][0] |= {"width": 96, "exif_metadata": {"Model": "Trap Ⅱ"}, "datetime": None}
    content["images"][0]["detections"][0]["track"] = "left \U0001f98a"
    content["summary"] = {"n": 10**20, "small": 1e-30}
    if version < "1.3":
        content["images"][0]["max_detection_conf"] = 0.91
    if version >= "1.4":
        content["images"].append(VIDEO)
    written = write(model_directory, card, content, tmp_path)
    validate(written)
    assert written["info"]["format_version"] == "1.6"
    assert without_names(written) == without_names(content)
    assert list(written["images"][0]) == list(content["images"][0])
    assert [image["file"] for image in written["images"]] == [image["file"] for image in content["images"]]
    before, after = (read_detections(tmp_path / name) for name in ("in.json", "out.json"))
    for name in ("files", "failed", "starts", "kinds", "confidences", "boxes", "positions"):
        np.testing.assert_array_equal(getattr(after, name), getattr(before, name), err_msg=name)


def test_version_stays_where_a_video_lacks_the_fields_of_a_later_one(model_directory, card, tmp_path):
    content = megadetector("1.4")
    content["images"].append({key: value for key, value in VIDEO.items() if key != "frames_processed"})
    written = write(model_directory, card, content, tmp_path)
    assert written["info"]["format_version"] == "1.4"
    validate(written)


def test_classifications_are_those_of_the_rows(model_directory, card, tmp_path, taxa):
    options = {"labels": None, "taxa": taxa, "k": 2}
    written = write(model_directory, card, megadetector(), tmp_path, **options)
    validate(written)
    rows = predict_files(
        [card],
        str(model_directory),
        detections=tmp_path / "in.json",
        taxa=taxa,
        k=2,
        batch_size=8,
        as_result=True,
    )["predictions"]
    expected: dict[tuple[str, float], list[tuple[str, float]]] = {}
    for row in rows:
        if row["detection"] == "animal":
            name = row["common_name"] or row["species"]
            key = "/".join(row["file_name"].split("/")[-2:]), row["detection_confidence"]
            expected.setdefault(key, []).append((name, round(row["score"], 4)))
    categories = written["classification_categories"]
    named = {
        (image["file"], detection["conf"]): [
            (categories[identifier], score) for identifier, score in detection["classifications"]
        ]
        for image in written["images"]
        for detection in image["detections"] or []
        if "classifications" in detection
    }
    assert named == expected and len(named) == 4
    descriptions = {
        name: written["classification_category_descriptions"][i] for i, name in categories.items()
    }
    known = {
        "Red Fox": "red fox;mammalia;carnivora;canidae;vulpes;vulpes;red fox",
        "Tawny Owl": "tawny owl;aves;strigiformes;strigidae;strix;aluco;tawny owl",
        "Triturus cristatus": "triturus cristatus;amphibia;caudata;salamandridae;triturus;cristatus;"
        "triturus cristatus",
    }
    assert descriptions.items() <= known.items() and len(descriptions) >= 2


def test_names_of_an_earlier_classifier_and_of_an_earlier_run(model_directory, card, tmp_path):
    content = megadetector()
    content["classification_categories"] = {"7": "fox", "0": "a fox"}
    content["images"][2]["detections"][0]["classifications"] = [["7", 0.5]]
    content["images"][0]["detections"][0]["classifications"] = [["7", 0.9]]
    first = write(model_directory, card, content, tmp_path)
    validate(first)
    # The person keeps its classification, the animal has a new one; "a fox" keeps its identifier.
    assert first["images"][2]["detections"][0]["classifications"] == [["7", 0.5]]
    identifiers = {identifier for identifier, _ in first["images"][0]["detections"][0]["classifications"]}
    assert identifiers == {"0", "8", "9"}
    assert first["classification_categories"] == {"7": "fox", "0": "a fox"} | {
        identifier: first["classification_categories"][identifier] for identifier in ("8", "9")
    }
    assert "classification_category_descriptions" not in first
    again = write(model_directory, card, first, tmp_path)
    assert again["classification_categories"] == first["classification_categories"]
    assert again["images"] == first["images"]


def test_unknown_and_shared_common_names(model, model_directory, card, tmp_path):
    from bioclip_jax.predict.taxa.build import build_taxa

    table = tmp_path / "names.csv"
    table.write_text(
        "kingdom,phylum,class,order,family,genus,species,common_name\n"
        "Animalia,Chordata,Aves,Passeriformes,Turdidae,Turdus,migratorius,Robin\n"
        "Animalia,Chordata,Aves,Passeriformes,Muscicapidae,Erithacus,rubecula,Robin\n"
    )
    build_taxa(str(table), model, tmp_path / "taxa.safetensors")
    options = {"labels": None, "taxa": tmp_path / "taxa.safetensors"}
    written = write(model_directory, card, megadetector(), tmp_path, **options)
    validate(written)
    assert set(written["classification_categories"].values()) == {
        "Robin (Turdus migratorius)",
        "Robin (Erithacus rubecula)",
    }
    unknown = write(model_directory, card, megadetector(), tmp_path, unknown=1.0, **options)
    validate(unknown)
    assert unknown["classification_categories"] == {"0": "unknown"}
    assert unknown["classification_category_descriptions"] == {"0": "unknown;;;;;;unknown"}


def test_speciesnet_becomes_megadetector(model_directory, card, tmp_path):
    content = speciesnet()
    written = write(model_directory, card, content, tmp_path)
    validate(written)
    assert written["info"]["detector"] == "SpeciesNet"
    assert [image["file"] for image in written["images"]] == [p["filepath"] for p in content["predictions"]]
    first, failed = written["images"][0], written["images"][4]
    assert first["prediction"] == "x;aves;;;;;bird" and first["model_version"] == "4.0.1a"
    assert first["detections"][0]["bbox"] == CARD["cam1/IMG_0001.JPG"][0][2]
    assert len(first["detections"][0]["classifications"]) == 3
    assert failed["failure"] == "DETECTOR, CLASSIFIER"


def test_resumed_run_writes_the_same_names(model_directory, card, tmp_path):
    first = write(model_directory, card, megadetector(), tmp_path)
    (tmp_path / "out.json").unlink()
    resumed = write(model_directory, card, megadetector(), tmp_path, resume=True)
    assert resumed["images"] == first["images"]


def test_file_that_changes_during_the_run_is_refused(model_directory, card, tmp_path):
    from bioclip_jax.predict.detections import Classifications

    path = tmp_path / "in.json"
    path.write_text(json.dumps(megadetector()))
    classifications = Classifications(read_detections(path, 0.2))
    path.write_text(json.dumps(megadetector(images=megadetector()["images"][1:])))
    with pytest.raises(UserError, match="was changed during the run"):
        classifications.write(tmp_path / "out.json", "a model")
    assert not (tmp_path / "out.json").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"output": "a.json"}, "give --detections"),
        ({"detections": "md.json"}, "--output NAME.json"),
        ({"detections": "md.json", "output": "a.csv"}, "--output NAME.json"),
    ],
)
def test_options(options, message):
    with pytest.raises(UserError, match=message):
        PredictOptions(format="megadetector", **options)


def test_images_without_an_entry_are_reported(model_directory, card, tmp_path, capsys):
    written = write(model_directory, card, megadetector(), tmp_path)
    assert ABSENT not in {image["file"] for image in written["images"]}
    assert "note: 1 images without an entry in the file get none" in capsys.readouterr().err


def test_finished_run_is_repeated_only_if_the_file_changed(model_directory, card, tmp_path, capsys):
    content = megadetector()
    first = write(model_directory, card, content, tmp_path, resume=True)
    assert write(model_directory, card, content, tmp_path, resume=True) == first
    assert "is finished already" in capsys.readouterr().err
    content["images"][1]["note"] = "seen by eye"
    assert write(model_directory, card, content, tmp_path, resume=True)["images"][1]["note"] == "seen by eye"
