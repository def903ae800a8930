"""Detectors' files: what they say, and files that nobody should have written."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from memory_card import CARD, megadetector, speciesnet

from bioclip_jax.cli import main
from bioclip_jax.errors import UserError
from bioclip_jax.predict.detections import KINDS, read_detections
from bioclip_jax.predict.detections.members import members


def read(tmp_path: Path, content, threshold: float = 0.0):
    path = tmp_path / "md.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return read_detections(path, threshold)


@pytest.mark.parametrize("content", [megadetector(), speciesnet()])
def test_columns(tmp_path, content):
    result = read(tmp_path, content)
    assert [name.replace("\\", "/").removeprefix("D:/survey/") for name in result.files] == list(CARD)
    assert result.failed.tolist() == [boxes is None for boxes in CARD.values()]
    expected = [box for boxes in CARD.values() for box in boxes or []]
    assert np.diff(result.starts).tolist() == [len(boxes or []) for boxes in CARD.values()]
    kinds = {"1": "animal", "2": "person", "3": "vehicle"}
    assert [KINDS[kind] for kind in result.kinds] == [kinds[category] for category, _, _ in expected]
    assert result.confidences.tolist() == [confidence for _, confidence, _ in expected]
    assert result.boxes.tolist() == [box for _, _, box in expected]
    assert result.positions.tolist() == [0, 1, 0, 1, 0, 0, 0]


def test_threshold_keeps_the_positions(tmp_path):
    result = read(tmp_path, megadetector(), 0.85)
    assert result.confidences.tolist() == [0.91, 0.95, 0.99]
    assert result.positions.tolist() == [0, 0, 0] and len(result.files) == len(CARD)


def test_categories(tmp_path):
    names = {"0": "empty", "1": "Human", "2": "deer", "7": "vehicle", "8": "animal"}
    boxes = [{"category": c, "conf": 0.5, "bbox": [0, 0, 1, 1]} for c in [*names, "99"]]
    # The table of categories may follow the images.
    content = {"images": [{"file": "a.jpg", "detections": boxes}], "detection_categories": names}
    result = read(tmp_path, content)
    assert [KINDS[kind] for kind in result.kinds] == ["person", "animal", "vehicle", "animal"]
    assert result.positions.tolist() == [1, 2, 3, 4]


BOX = '{"category": "1", "conf": 0.9, "bbox": [0.1, 0.1, 0.2, 0.2]}'
LONG = "x" * 10**6


def image(detection: str) -> str:
    return '{"images": [{"file": "a.jpg", "detections": [' + detection + "]}]}"


HOSTILE = {
    "empty": "",
    "a blank": "  \n",
    "truncated": json.dumps(megadetector())[:-40],
    "a list": json.dumps(megadetector()["images"]),
    "a text": '"images"',
    "JSON5": "{images: [{file: 'a.jpg', detections: [],}],}",
    "a trailing comma": '{"images": [{"file": "a.jpg", "detections": []},]}',
    "a comment": '{/* images */ "images": []}',
    "two documents": json.dumps(megadetector()) * 2,
    "images twice": '{"images": [], "images": []}',
    "both formats": '{"images": [], "predictions": []}',
    "images as an object": '{"images": {"a.jpg": []}}',
    "an image as a text": '{"images": ["a.jpg"]}',
    "a number as a path": '{"images": [{"file": 7, "detections": []}]}',
    "an empty path": '{"images": [{"file": " ", "detections": []}]}',
    "detections as a text": '{"images": [{"file": "a.jpg", "detections": "none"}]}',
    "a detection as a list": image('["1", 0.9]'),
    "categories as a list": '{"detection_categories": [1], ' + image(BOX)[1:],
    "no category": image('{"conf": 0.9, "bbox": [0, 0, 1, 1]}'),
    "NaN": image(BOX.replace("0.9", "NaN")),
    "NaN in a box": image(BOX.replace("[0.1", "[NaN")),
    "infinity": image(BOX.replace("0.2]", "1e999]")),
    "a huge integer": image(BOX.replace("0.9", "9" * 5000)),
    "a large integer": image(BOX.replace("0.2]", "9" * 400 + "]")),
    "percent": image(BOX.replace("0.9", "90")),
    "a confidence as a text": image(BOX.replace("0.9", '"0.9"')),
    "null": image(BOX.replace("0.9", "null")),
    "pixels": image(BOX.replace("[0.1, 0.1, 0.2, 0.2]", "[120, 80, 640, 480]")),
    "a negative width": image(BOX.replace("0.2, 0.2]", "-0.2, 0.2]")),
    "three sides": image(BOX.replace("0.1, 0.1,", "0.1,")),
    "a box as a text": image(BOX.replace("[0.1, 0.1, 0.2, 0.2]", '"0011"')),
    "a box as an object": image(BOX.replace("[0.1, 0.1, 0.2, 0.2]", '{"x": 0}')),
    "deep nesting": '{"images": ' + "[" * 10**5 + "]" * 10**5 + "}",
    "deep nesting in a box": image(BOX.replace("0.1, 0.1", "[" * 10**5 + "]" * 10**5)),
    "a long path": '{"images": [{"file": "' + LONG + '", "detections": []}]}',
    "a long text as a box": image(BOX.replace("[0.1, 0.1, 0.2, 0.2]", f'"{LONG}"')),
    "a long list as a box": image(BOX.replace("0.1, 0.1", ", ".join(["0.1"] * 10**5))),
    "a long confidence": image(BOX.replace("0.9", f'"{LONG}"')),
    "a long name": '{"' + LONG + '": 1, "' + LONG + '": 1}',
    "no images": '{"images": []}',
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_file_is_one_line(card, tmp_path, capsys, name):
    path = tmp_path / "md.json"
    path.write_text(HOSTILE[name])
    output = tmp_path / "out.csv"
    arguments = ["predict", str(card), "--cls", "a,b", "--detections", str(path), "--output", str(output)]
    assert main(arguments) == 2, name
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: "), lines
    assert str(path) in lines[0] and len(lines[0]) < 700, lines[0][:1000]
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "content",
    [json.dumps(megadetector()).encode("utf-16"), b"\x1f\x8b\x08\x00gzip", b"\xff\xd8\xff\xe0", b"\0" * 99],
)
def test_other_encodings_and_kinds_of_file(card, tmp_path, capsys, content):
    path = tmp_path / "md.json"
    path.write_bytes(content)
    assert main(["predict", str(card), "--cls", "a,b", "--detections", str(path)]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert "is not readable JSON" in line


@pytest.mark.parametrize("name", ["nothing.json", "."])
def test_missing_file_and_folder(card, tmp_path, capsys, name):
    assert main(["predict", str(card), "--cls", "a,b", "--detections", str(tmp_path / name)]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert "does not exist" in line or "cannot be read" in line


def test_byte_order_mark(tmp_path):
    path = tmp_path / "md.json"
    path.write_text(json.dumps(megadetector()), encoding="utf-8-sig")
    assert read_detections(path).files == list(CARD)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda children: (
        st.lists(children, max_size=4)
        | st.dictionaries(
            st.sampled_from(["images", "file", "detections", "category", "conf", "bbox", "failure", "info"]),
            children,
            max_size=5,
        )
    ),
    max_leaves=15,
)


@given(st.dictionaries(st.text(max_size=3) | st.just("images"), JSON, max_size=5), st.sampled_from([None, 1]))
def test_members_are_those_of_the_json_module(tmp_path_factory, content, indent):
    path = tmp_path_factory.mktemp("members") / "a.json"
    path.write_text(json.dumps(content, indent=indent))
    rebuilt = {}
    for part in members(path, ["images"], "advice"):
        if part.kind == "value":
            rebuilt[part.name] = part.value
        elif part.kind == "open":
            rebuilt[part.name] = []
        elif part.kind == "item":
            rebuilt[part.name].append(part.value)
    assert rebuilt == content and list(rebuilt) == list(content)


@given(JSON, st.data())
def test_any_json_is_read_or_refused_in_one_line(tmp_path_factory, value, data):
    content = megadetector()
    place = data.draw(st.sampled_from(["root", "images", "image", "detections", "box", "conf", "categories"]))
    image = content["images"][0]
    if place == "root":
        content = value
    elif place == "images":
        content["images"] = value
    elif place == "image":
        content["images"][0] = value
    elif place == "detections":
        image["detections"] = value
    elif place == "categories":
        content["detection_categories"] = value
    else:
        image["detections"][0][{"box": "bbox", "conf": "conf"}[place]] = value
    path = tmp_path_factory.mktemp("any") / "a.json"
    path.write_text(json.dumps(content))
    try:
        result = read_detections(path)
    except UserError as error:
        assert "\n" not in str(error) and str(path) in str(error)
    else:
        assert len(result.files) == len(result.failed) == len(result.starts) - 1
        assert result.starts[-1] == len(result.kinds) == len(result.boxes)
        assert (
            np.isfinite(result.boxes).all() and ((result.confidences >= 0) & (result.confidences <= 1)).all()
        )


def test_memory_of_many_boxes_is_small(tmp_path):
    """150,000 boxes are read in a fraction of the memory of their JSON objects, which is over 100 MB."""
    path = tmp_path / "md.json"
    boxes = [{"category": "1", "conf": 0.5, "bbox": [0.1, 0.2, 0.3, 0.4]}] * 3
    path.write_text(
        json.dumps({"images": [{"file": f"cam/{i:06d}.JPG", "detections": boxes} for i in range(50_000)]})
    )
    code = (
        "import resource, sys\n"
        "from bioclip_jax.predict.detections import read_detections\n"
        "import numpy, bioclip_jax.predict.detections.reader\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024\n"
        "before = peak()\n"
        "assert len(read_detections(sys.argv[1]).kinds) == 150_000\n"
        "print(peak() - before)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    megabytes = path.stat().st_size / 2**20
    # The text, decoded from its bytes, and the columns.
    assert float(done.stdout) < 2 * megabytes + 30, (
        f"reading {megabytes:.0f} MB took {done.stdout.strip()} MB"
    )
