"""The log of predictions, as text and as JSON."""

import hashlib
import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import bioclip_jax
from bioclip_jax.errors import UserError
from bioclip_jax.predict.classifiers.recorder import (
    PredictionRecorder,
    attach_prediction_recorder,
    save_recorded_predictions,
    verify_recorder_path,
)

# The output of pybioclip 2.1.6, except for its version.
THEIR_KEYS = [
    "start",
    "end",
    "command_line",
    "model",
    "pretrained",
    "device",
    "top_level_settings",
    "predictions",
]


def recorder(**settings) -> PredictionRecorder:
    model = SimpleNamespace(
        source="a model", fingerprint="f00d", transform_note="model (squashed)", precision="fp32"
    )
    return PredictionRecorder(
        SimpleNamespace(model_str="m", pretrained_str=None, device="cpu", model=model), **settings
    )


def test_a_classifier_is_recorded_as_text_and_json(model_directory: Path, tmp_path: Path):
    Image.new("RGB", (40, 30), "green").save(tmp_path / "one.png")
    classifier = bioclip_jax.CustomLabelsClassifier(["a", "b"], model_directory)
    with pytest.raises(UserError, match="attach_prediction_recorder"):
        save_recorded_predictions(classifier, tmp_path / "log.txt")
    attach_prediction_recorder(classifier, classes="a,b")
    classifier.predict([str(tmp_path / "one.png"), Image.new("RGB", (9, 9))], k=1, batch_size=4)
    classifier.predict(str(tmp_path / "one.png"))
    for name in ("log.json", "log.txt", "log.txt"):
        save_recorded_predictions(classifier, tmp_path / name)
    log = json.loads((tmp_path / "log.json").read_text())
    assert set(THEIR_KEYS) < set(log) and log["bioclip_jax_version"] == bioclip_jax.__version__
    assert (
        log["top_level_settings"] == {"classes": "a,b"}
        and log["model_fingerprint"] == classifier.model.fingerprint
    )
    first, second = log["predictions"]
    assert first == {"images": [str(tmp_path / "one.png"), "1"], "details": {"k": 1, "batch_size": 4}}
    assert second["images"] == [str(tmp_path / "one.png")] and log["images"] == 3
    assert log["predictions"] == classifier.recorder.predictions
    text = (tmp_path / "log.txt").read_text()
    assert text.count("** Prediction Log - bioclip-jax") == 2, "text is added to what is there"
    for line in (
        "Classes: a,b",
        f"Model Fingerprint: {classifier.model.fingerprint}",
        "K: 1",
        "Batch Size: 4",
    ):
        assert line in text.splitlines(), f"{line!r} is not in the log:\n{text}"


@settings(max_examples=30)
@given(calls=st.lists(st.lists(st.text(min_size=1), max_size=4), max_size=4))
def test_json_log_equals_a_dump_with_every_name(calls: list[list[str]], tmp_path_factory):
    written = recorder(subset=None)
    for images in calls:
        written.add_prediction(images, k=5, rank="species")
    path = tmp_path_factory.mktemp("log") / "log.json"
    written.create_report(path, "a command")
    content = json.loads(path.read_text())
    assert [call["images"] for call in content["predictions"]] == calls
    assert path.read_text() == json.dumps(content, indent=4) + "\n"


def test_the_output_is_logged_with_its_digest(tmp_path: Path):
    (tmp_path / "out.csv").write_bytes(b"a,b\n")
    written = recorder()
    written.add_prediction(["x.jpg"])
    written.output = tmp_path / "out.csv"
    written.create_report(tmp_path / "log.json", None)
    about = json.loads((tmp_path / "log.json").read_text())
    assert about["output"] == {"path": str(written.output), "sha256": hashlib.sha256(b"a,b\n").hexdigest()}
    assert about["command_line"] is None and about["devices"]


def test_many_names_are_kept_on_disk(tmp_path: Path):
    written = recorder()
    written.add_prediction(f"a folder/of images/{index}.jpg" for index in range(60_000))
    assert written._names._rolled, "60,000 names are still in memory"
    written.create_report(tmp_path / "log.txt", None)
    assert (tmp_path / "log.txt").read_text().splitlines()[-2] == "a folder/of images/59999.jpg"


def test_paths_that_cannot_be_written_are_errors(tmp_path: Path):
    (tmp_path / "old.json").write_text("{}")
    assert verify_recorder_path(tmp_path / "new.json") and verify_recorder_path(tmp_path / "any.txt")
    for wrong in (tmp_path / "old.json", tmp_path / "no" / "log.txt", tmp_path):
        with pytest.raises(UserError, match=str(wrong)):
            verify_recorder_path(wrong)
    assert (tmp_path / "old.json").read_text() == "{}"


def test_a_failed_json_log_is_removed(tmp_path: Path):
    written = recorder()
    written.add_prediction(["x.jpg"], odd={1: {}.keys(), (1, 2): 3})
    with pytest.raises(TypeError):
        written.create_report(tmp_path / "log.json", None)
    assert list(tmp_path.iterdir()) == []
