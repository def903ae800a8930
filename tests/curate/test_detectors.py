"""Detectors: the worked example on photographs, invalid descriptions and models, and the image checks."""

import pickle
import sys
import textwrap
import tomllib
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from make_detector import TOML, draw_label, make_model, train_detector
from onnx import TensorProto, helper

from bioclip_jax.curate.build import detectors
from bioclip_jax.curate.build.detectors import ImageChecks, field_range, load_detector
from bioclip_jax.errors import UserError
from bioclip_jax.pipeline.images import decode


def write_detector(folder: Path, content: bytes, **entries) -> Path:
    """Write a detector with a model of 64 x 64 pixels; entries are TOML values."""
    (folder / "model.onnx").write_bytes(content)
    lines = {"name": '"bright"', "model": '"model.onnx"', "size": "64", "threshold": "0.5"} | entries
    (folder / "bright.toml").write_text(
        "\n".join(f"{key} = {value}" for key, value in lines.items() if value)
    )
    return folder / "bright.toml"


def reducing_model(output: list, axes: list[int], shape=("n", 3, 64, 64), kind=TensorProto.FLOAT) -> bytes:
    """A model that returns its input's mean over some axes."""
    nodes = [helper.make_node("ReduceMean", ["x"], ["y"], axes=axes, keepdims=0)]
    inputs = [helper.make_tensor_value_info("x", kind, list(shape))]
    graph = helper.make_graph(nodes, "g", inputs, [helper.make_tensor_value_info("y", kind, output)])
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    ).SerializeToString()


def flat(*values: int) -> list[np.ndarray]:
    return [np.full((50, 80, 3), value, np.uint8) for value in values]


@pytest.mark.shared_data
def test_worked_example_removes_labels_and_keeps_photographs(shared_data, tmp_path):
    def photographs(split: str, step: int) -> list[np.ndarray]:
        files = sorted((shared_data / "produce" / split / "images").rglob("*.jpg"))[::step]
        return [decode(file.read_bytes()) for file in files]

    rng = np.random.default_rng(0)
    training = [draw_label(rng) for _ in range(80)]
    unseen, kept = [draw_label(rng) for _ in range(60)], photographs("val", 3)
    detector = load_detector(train_detector(tmp_path, training, photographs("train", 20)))
    removed = detector.removes(detector.scores(unseen))
    wrong = detector.removes(detector.scores(kept))
    assert removed.mean() >= 0.95, f"only {removed.sum()} of {len(unseen)} labels are removed"
    assert not wrong.any(), f"{wrong.sum()} of {len(kept)} photographs are removed"
    assert detector.cause == "filter:label"


def test_scores_equal_the_models_for_images_of_any_size_and_number(tmp_path):
    detector = load_detector(write_detector(tmp_path, reducing_model(["n"], [1, 2, 3]), batch="2"))
    scores = detector.scores(flat(0, 51, 255) + [np.full((64, 64, 3), 102, np.uint8)])
    np.testing.assert_allclose(scores, [0, 0.2, 1, 0.4], atol=1e-6)
    assert detector.removes(scores).tolist() == [False, False, True, False]
    assert detector.scores([]).shape == (0,)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(detector)).scores(flat(51)), scores[1:2])


def test_normalization_activation_and_side_of_the_threshold(tmp_path):
    entries = {
        "mean": "[0.2, 0.2, 0.2]",
        "std": "[0.1, 0.1, 0.1]",
        "activation": '"sigmoid"',
        "remove": '"below"',
    }
    detector = load_detector(write_detector(tmp_path, reducing_model(["n"], [1, 2, 3]), **entries))
    scores = detector.scores(flat(0, 51, 255))
    np.testing.assert_allclose(scores, 1 / (1 + np.exp([2, 0, -8])), rtol=1e-5)
    assert detector.removes(scores).tolist() == [True, True, False]


def test_output_columns_softmax_and_maximum(tmp_path):
    image = [np.broadcast_to(np.uint8([0, 102, 255]), (64, 64, 3))]
    for entries, expected in (
        ({}, 1.0),
        ({"column": "0"}, 0.0),
        ({"column": '"max"'}, 1.0),
        ({"column": "1", "activation": '"softmax"'}, np.exp(0.4) / np.exp([0, 0.4, 1]).sum()),
    ):
        detector = load_detector(write_detector(tmp_path, reducing_model(["n", 3], [2, 3]), **entries))
        assert detector.scores(image)[0] == pytest.approx(expected, abs=1e-6), entries


def test_model_with_a_fixed_batch_and_channels_last(tmp_path):
    model = reducing_model([4], [1, 2, 3], shape=(4, 64, 64, 3))
    detector = load_detector(write_detector(tmp_path, model, layout='"NHWC"', batch="100"))
    np.testing.assert_allclose(detector.scores(flat(*range(0, 250, 50))), np.arange(5) * 50 / 255, atol=1e-4)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"treshold": "1"}, "unknown key treshold; did you mean threshold?"),
        ({"threshold": None}, "threshold is missing"),
        ({"threshold": '"high"'}, "threshold is 'high'; it must be a number"),
        ({"size": "true"}, "size is True; it must be a number of pixels"),
        ({"resize": '"crop"'}, "resize is 'crop'; it must be squash or shortest"),
        ({"std": "[1, 1]"}, r"std is \[1, 1\]; it must be three numbers above 0"),
        ({"std": "[1, 0, 1]"}, r"std is \[1, 0, 1\]; it must be three numbers above 0"),
        ({"model": '"other.onnx"'}, "other.onnx does not exist"),
        ({"model": '"bright.toml"'}, "not a model that onnxruntime reads"),
        ({"size": "32"}, r"its input is \['n', 3, 64, 64\], but NCHW with size 32 is \['batch', 3, 32, 32\]"),
        ({"layout": '"NHWC"'}, "set layout and size to fit"),
        ({"output": '"z"'}, "has no output 'z'; it has y"),
        ({"output": "1"}, "has no output 1; it has y"),
        ({"name": "]"}, "not a TOML file"),
    ],
)
def test_invalid_descriptions_are_reported(tmp_path, entries, message):
    path = write_detector(tmp_path, reducing_model(["n"], [1, 2, 3]), **entries)
    with pytest.raises(UserError, match=message) as caught:
        load_detector(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("model", "entries", "message"),
    [
        (
            reducing_model([], [0, 1, 2, 3]),
            {},
            r"output y of 2 images is \[\]; its first axis must be theirs",
        ),
        (reducing_model(["n", 3], [2, 3]), {"column": "3"}, r"output y is \[2, 3\]; it has no column 3"),
        (reducing_model(["n", 3, 64], [3]), {}, r'output y is \[2, 3, 64\]; it has no column -1, try "max"'),
    ],
)
def test_unsuitable_outputs_are_reported(tmp_path, model, entries, message):
    detector = load_detector(write_detector(tmp_path, model, **entries))
    with pytest.raises(UserError, match=message):
        detector.scores(flat(1, 2))


def test_missing_detector_is_reported(tmp_path):
    with pytest.raises(UserError, match="No such file"):
        load_detector(tmp_path / "none.toml")


def test_missing_onnxruntime_is_reported(tmp_path, monkeypatch):
    path = write_detector(tmp_path, reducing_model(["n"], [1, 2, 3]))
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(
        UserError, match=r"needs onnxruntime; install it: pip install 'bioclip-jax\[curate\]'"
    ):
        load_detector(path)


def test_input_of_another_type_is_reported(tmp_path):
    path = write_detector(tmp_path, reducing_model(["n"], [1, 2, 3], kind=TensorProto.DOUBLE))
    with pytest.raises(UserError, match=r"its inputs are x tensor\(double\); a detector has one, of floats"):
        load_detector(path)


def test_documented_example_is_the_tested_one():
    indented = [line for line in detectors.__doc__.splitlines() if line.startswith("    ")]
    documented = tomllib.loads(textwrap.dedent("\n".join(indented)))
    assert tomllib.loads(TOML).items() <= documented.items()
    onnx.checker.check_model(onnx.load_from_string(make_model(np.zeros((13, 1)), [0])))


RNG = np.random.default_rng(0)


def noisy(level: np.ndarray | float, deviation: float, height: int = 300, width: int = 400) -> np.ndarray:
    values = np.zeros((height, width, 3)) + level
    return np.clip(values + RNG.normal(0, deviation, values.shape), 0, 255).astype(np.uint8)


def specimen(radius: int) -> np.ndarray:
    return cv2.circle(noisy(250, 1, 600, 800), (300, 200), radius, (90, 80, 70), -1)


BLANK = {
    "blank": noisy(128, 0),
    "white page": noisy(254, 1),
    "covered lens": noisy(3, 4),
    "covered lens, high sensitivity": noisy(8, 10),
    "paper darker in the corners": noisy(240 - 8 * np.hypot(*np.mgrid[-1:1:300j, -1:1:400j])[..., None], 2),
}
SOUND = {
    "a small insect on white": specimen(10),
    "a specimen on white": specimen(150),
    "sky": noisy(np.linspace(120, 180, 300)[:, None, None], 2),
    "red on green of one lightness": cv2.rectangle(
        noisy([90, 130, 60], 2), (100, 100), (300, 200), (170, 92, 60), -1
    ),
}


@pytest.mark.parametrize("name", BLANK)
def test_pictures_of_nothing_are_uniform(name):
    cause, detail = ImageChecks()(BLANK[name], 400, 300) or ("kept", "")
    assert (cause, detail) == ("uniform", f"range {field_range(BLANK[name])} of 255"), name
    assert ImageChecks(min_range=0)(BLANK[name], 400, 300) is None


@pytest.mark.parametrize("name", SOUND)
def test_pictures_with_content_are_kept(name):
    assert ImageChecks()(SOUND[name], 800, 600) is None, field_range(SOUND[name])


def test_size_check_uses_the_stored_size():
    assert ImageChecks(min_side=32)(SOUND["sky"], 31, 400) == ("tiny", "31 x 400 pixels")
    assert ImageChecks(min_side=32)(SOUND["sky"][:8, :8], 32, 32) != ("tiny", "32 x 32 pixels")
    assert ImageChecks(min_side=0, min_range=0)(SOUND["sky"], 1, 1) is None


@pytest.mark.shared_data
def test_photographs_pass_the_checks(shared_data):
    files = sorted((shared_data / "produce").glob("*/images/**/*.jpg"))[::4]
    for file in files:
        pixels = decode(file.read_bytes(), 64)
        assert ImageChecks()(pixels, 256, 256) is None, file
        assert field_range(pixels) > 100, file
