"""The verb predict, against pybioclip's command."""

import csv
import dataclasses
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import bioclip_jax
from bioclip_jax.cli import main
from bioclip_jax.convert import write_model_directory
from bioclip_jax.files import json_text
from bioclip_jax.predict import results
from bioclip_jax.predict.classifiers.labels import read_labels
from bioclip_jax.predict.taxa.build import build_taxa

LABELS = ["apple", "a ripe banana", "Solanum lycopersicum", "mushroom"]
PEERS = Path(__file__).resolve().parents[1] / "peers"


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


@pytest.fixture
def folder(tmp_path):
    """one.png, two.png and note.jpg, which is text."""
    rng = np.random.default_rng(0)
    for name in ("one", "two"):
        Image.fromarray(rng.integers(0, 256, (40, 60, 3), np.uint8)).save(tmp_path / f"{name}.png")
    (tmp_path / "note.jpg").write_text("no picture")
    return tmp_path


@pytest.mark.shared_data
def test_scores_equal_pybioclips_command(photographs, model_directory, capsys):
    model = f"local-dir:{model_directory}"
    arguments = ["predict", *map(str, photographs), "--cls", ",".join(LABELS), "--model", model]
    environment = {**os.environ, "PYTHONPATH": str(PEERS), "TORCHDYNAMO_DISABLE": "1", "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", "bioclip", *arguments]
    theirs = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert theirs.returncode == 0, theirs.stderr
    assert main(arguments) == 0
    ours, theirs = rows_of(capsys.readouterr().out), rows_of(theirs.stdout)
    assert list(ours[0]) == list(theirs[0]) == ["file_name", "classification", "score"]
    assert len(ours) == len(photographs) * len(LABELS)
    score = {(row["file_name"], row["classification"]): float(row["score"]) for row in theirs}
    for row in ours:
        expected = score[row["file_name"], row["classification"]]
        assert abs(float(row["score"]) - expected) < 1e-4, f"pybioclip gives {expected} where we give {row}"
    assert np.ptp(list(score.values())) > 0.1, "the labels' scores are too similar for a comparison"


def test_classifier_returns_the_best_k_and_sums_to_one(model, folder):
    classifier = bioclip_jax.CustomLabelsClassifier([*LABELS, " apple ", ""], model)
    assert classifier.classes == LABELS, "blank and repeated labels are dropped"
    rows = classifier.predict(folder / "one.png")
    assert [row["file_name"] for row in rows] == [str(folder / "one.png")] * 4
    scores = [row["score"] for row in rows]
    assert scores == sorted(scores, reverse=True) and sum(scores) == pytest.approx(1, abs=1e-5)
    mixed = classifier.predict([Image.open(folder / "one.png"), folder / "two.png"], k=1)
    assert mixed[0] == rows[0] | {"file_name": "0"} and mixed[1]["file_name"] == str(folder / "two.png")
    assert len(classifier.predict(folder / "one.png", k=99)) == 4


def test_unreadable_images_are_reported_and_the_others_predicted(folder, model_directory, capsys):
    output = folder / "out.csv"
    arguments = ["predict", str(folder), "--cls", "a,b", "--model", str(model_directory), "--json"]
    assert main([*arguments, "--output", str(output)]) == 0
    captured = capsys.readouterr()
    assert [line for line in captured.err.splitlines() if "note.jpg" in line], captured.err
    predicted = {row["file_name"] for row in rows_of(output.read_text())}
    assert predicted == {str(folder / "one.png"), str(folder / "two.png")}
    result = json.loads(captured.out)
    assert result["images"] == 3 and len(result["unreadable"]) == 1 and result["output"] == str(output)


def test_a_name_that_is_not_unicode_is_printed_as_its_bytes(folder, model_directory, monkeypatch):
    name = os.fsencode(folder) + b"/odd \xff.png"
    os.link(folder / "one.png", name)
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    monkeypatch.setattr(sys, "stdout", out)
    assert main(["predict", os.fsdecode(name), "--cls", "a", "--model", str(model_directory)]) == 0
    out.flush()
    assert out.buffer.getvalue() == b"file_name,classification,score\n" + name + b",a,1.0\n"


def test_json_includes_the_rows_in_the_result(folder, model_directory, capsys):
    arguments = [
        "predict",
        str(folder / "one.png"),
        "--cls",
        "a,b",
        "--k",
        "1",
        "--model",
        str(model_directory),
    ]
    assert main([*arguments, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert [row["file_name"] for row in result["predictions"]] == [str(folder / "one.png")]


@pytest.mark.parametrize(
    "inputs, options, fragment",
    [
        (["note.jpg"], [], "note.jpg"),
        (["missing.jpg"], [], "missing.jpg"),
        (["one.png"], ["--cls", " , "], "--cls"),
        (["one.png"], ["--output", "no/folder.csv"], "no/folder.csv"),
        (["one.png"], ["--output", "one.png"], "one.png"),
        (["one.png"], ["--model", "nothing/here"], "nothing/here"),
    ],
)
def test_user_errors_are_one_line_and_exit_2(
    folder, model_directory, capsys, monkeypatch, inputs, options, fragment
):
    monkeypatch.chdir(folder)
    before = sorted(folder.rglob("*"))
    assert main(["predict", *inputs, "--cls", "a,b", "--model", str(model_directory), *options]) == 2
    captured = capsys.readouterr()
    lines = captured.err.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: ") and fragment in lines[0], captured.err
    assert captured.out == "" and sorted(folder.rglob("*")) == before, "something was left half-written"


def test_labels_from_text_and_from_a_file(tmp_path):
    (tmp_path / "labels.txt").write_text("apple, red\n\n  pear \n")
    assert read_labels("apple, red,pear,") == ["apple", "red", "pear"]
    assert read_labels(str(tmp_path / "labels.txt")) == ["apple, red", "pear"], (
        "a line of a file may hold a comma"
    )
    assert read_labels("x" * 5000) == ["x" * 5000], "a text too long for a path is a label"


def with_nan(bundle, folder, where):
    """Write a model directory with one NaN weight."""
    import jax

    params = jax.tree.map(np.array, bundle.params)
    if where == "logit_scale":
        params["logit_scale"] = np.float32(np.nan)
    else:
        tower = params["visual" if where == "image tower" else "text"]
        tower["proj" if "proj" in tower else "text_projection"][0, 0] = np.nan
    return write_model_directory(
        dataclasses.replace(bundle, params=params), folder / "nan", replay_projector=True
    )


@pytest.mark.parametrize("where", ["image tower", "text tower", "logit_scale"])
@pytest.mark.parametrize("format", ["csv", "json"])
def test_a_model_with_nan_weights_is_an_error_and_writes_nothing(
    bundle, folder, tmp_path, capsys, where, format
):
    damaged = with_nan(bundle, tmp_path, where)
    output = tmp_path / f"out.{format}"
    command = [
        "predict",
        str(folder / "one.png"),
        "--cls",
        "a,b",
        "--model",
        str(damaged),
        "--format",
        format,
    ]
    for options in ([], ["--output", str(output)], ["--json"]):
        assert main([*command, *options]) == 2
        captured = capsys.readouterr()
        assert captured.out == "" and ("NaN" in captured.err or "nan" in captured.err), captured.err
    assert not output.exists()


@pytest.mark.parametrize("verb", ["embed", "embed --text", "index build"])
def test_vectors_of_nan_weights_are_not_written(bundle, folder, tmp_path, capsys, verb):
    damaged = with_nan(bundle, tmp_path, "text tower" if "text" in verb else "image tower")
    inputs = ["a text"] if "text" in verb else [str(folder / "one.png")]
    before = sorted(tmp_path.iterdir())
    for output in ("e.json", "e.npy") if "embed" in verb else ("index",):
        assert (
            main([*verb.split(), *inputs, "--model", str(damaged), "--output", str(tmp_path / output)]) == 2
        )
        assert "NaN" in capsys.readouterr().err
        assert sorted(tmp_path.iterdir()) == before


@given(
    st.recursive(
        st.one_of(st.floats(), st.integers(), st.text()),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_json_writes_nan_and_infinity_as_null(value):
    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    def expected(item):
        if isinstance(item, dict):
            return {key: expected(value) for key, value in item.items()}
        if isinstance(item, list):
            return [expected(value) for value in item]
        return None if isinstance(item, float) and not np.isfinite(item) else item

    assert json.loads(json_text(value), parse_constant=refuse) == expected(value)
    out = io.StringIO()
    results._write_text(iter([{"score": float("nan")}]), ["score"], "json", out)
    assert json.loads(out.getvalue(), parse_constant=refuse) == [{"score": None}]


@pytest.mark.parametrize(
    ("options", "fragment"),
    [
        (["--cls", "apple"], "one label"),
        (["--cls", "apple, apple"], "one label"),
        (["--bins", "bins.csv"], "one bin"),
        (["--taxa", "taxa.safetensors", "--within", "Panthera leo"], "one species"),
        (["--taxa", "taxa.safetensors", "--rank", "kingdom", "--within", "animalia"], "one kingdom"),
        (["--cls", "apple,pear"], ""),
        (["--taxa", "taxa.safetensors"], ""),
    ],
)
def test_a_single_candidate_gives_a_warning(
    folder, taxa, model_directory, capsys, monkeypatch, options, fragment
):
    monkeypatch.chdir(folder)
    Path("bins.csv").write_text("label,bin\napple,fruit\npear,fruit\n")
    options = [str(taxa) if part == "taxa.safetensors" else part for part in options]
    assert main(["predict", "one.png", "--model", str(model_directory), "--json", *options]) == 0
    captured = capsys.readouterr()
    warned = [line for line in captured.err.splitlines() if line.startswith("warning: ")]
    assert len(warned) == bool(fragment) and all(fragment in line for line in warned), captured.err
    if fragment:
        scores = [row["score"] for row in json.loads(captured.out)["predictions"]]
        assert scores == pytest.approx([1.0] * len(scores), abs=1e-6)


@pytest.fixture(scope="module")
def taxa(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("taxa")
    rows = ("Animalia,Panthera,leo", "Animalia,Felis,catus", "Plantae,Malus,domestica")
    (folder / "names.csv").write_text("\n".join(["kingdom,genus,species", *rows]) + "\n")
    build_taxa(str(folder / "names.csv"), model, folder / "taxa.safetensors", templates=("a photo of {}.",))
    return folder / "taxa.safetensors"


@pytest.mark.parametrize("rank", ["species", "genus", "kingdom"])
def test_unknown_is_one_value_in_the_predicted_ranks_column(folder, taxa, model_directory, capsys, rank):
    command = [
        "predict",
        str(folder / "one.png"),
        "--model",
        str(model_directory),
        "--taxa",
        str(taxa),
        # Random weights may be so sure of a kingdom that its score rounds to 1, on some processors.
        "--temperature",
        "20",
        "--json",
    ]

    def row(*options):
        assert main([*command, "--rank", rank, *options]) == 0
        [prediction] = json.loads(capsys.readouterr().out)["predictions"]
        return prediction

    best = row("--k", "1")
    plain = row("--unknown", "1")
    backed_off = row("--unknown", "1", "--min-confidence", "0.01")
    no_rank = row("--min-confidence", "1")
    for prediction in (plain, backed_off, no_rank):
        assert prediction[rank] == "unknown", prediction
        assert prediction["score"] == pytest.approx(best["score"], abs=1e-5), prediction
        named = {
            key: value for key, value in prediction.items() if key not in ("file_name", "score", "rank", rank)
        }
        assert not any(named.values()), f"names beside unknown: {named}"
    assert backed_off["rank"] == no_rank["rank"] == "unknown"


def test_ranks_by_name_and_k_none(model, taxa, folder):
    classifier = bioclip_jax.TreeOfLifeClassifier(model, taxa)
    image = folder / "one.png"
    assert classifier.predict(image, "Genus") == classifier.predict(image, bioclip_jax.Rank.GENUS)
    assert (
        classifier.predict(image, k=None)
        == classifier.predict(image)
        == list(classifier.stream([image], "species", None))
    )
    assert classifier.create_taxa_filter("kingdom", ["Animalia"]).sum() == 2
    for wrong in ("tribe", None, 6):
        with pytest.raises(ValueError, match="kingdom"):
            classifier.predict(image, wrong)


@pytest.mark.parametrize(
    ("verb", "fragment"),
    [
        ("predict one.png --cls labels.lst", "labels.lst"),
        ("predict one.png --bins bins.csv", "bins.csv"),
        ("predict one.png --taxa TAXA --subset list.csv", "list.csv"),
        ("predict one.png --taxa TAXA --within list.csv", "list.csv"),
        (
            "predict one.png --taxa TAXA --temperature calibration.json",
            "calibration.json is not a number and not a file",
        ),
        ("predict one.png --taxa no.safetensors", "no.safetensors"),
        ("embed --texts texts.lst --output t.npy", "texts.lst"),
        ("index search no.index one.png", "no.index"),
        ("taxa build names.csv --output t.safetensors", "names.csv"),
    ],
)
def test_a_missing_file_is_never_taken_as_a_value(
    folder, taxa, model_directory, capsys, monkeypatch, verb, fragment
):
    monkeypatch.chdir(folder)
    before = sorted(folder.rglob("*"))
    command = [str(taxa) if part == "TAXA" else part for part in verb.split()]
    assert main([*command, "--model", str(model_directory)]) == 2
    captured = capsys.readouterr()
    assert fragment in captured.err and captured.out == "" and len(captured.err.strip().splitlines()) == 1, (
        captured.err
    )
    assert sorted(folder.rglob("*")) == before


def test_unknown_subset_names_are_skipped_on_request(folder, taxa, model_directory, capsys):
    (folder / "subset.csv").write_text("species\nFELIS catus\nPanthera leo\nPanthera onca\n")
    command = [
        "predict",
        str(folder / "one.png"),
        "--model",
        str(model_directory),
        "--taxa",
        str(taxa),
        "--json",
    ]
    assert main([*command, "--subset", str(folder / "subset.csv")]) == 2
    assert "Panthera onca" in capsys.readouterr().err
    assert main([*command, "--subset", str(folder / "subset.csv"), "--skip-unknown"]) == 0
    captured = capsys.readouterr()
    assert {row["species"] for row in json.loads(captured.out)["predictions"]} == {
        "Felis catus",
        "Panthera leo",
    }
    assert "skipped 1 unknown name: Panthera onca" in captured.err
    for flag, option in (("--skip-unknown", "--subset"), ("--labels-as-given", "--cls")):
        assert main([*command, flag]) == 2 and option in capsys.readouterr().err


@pytest.mark.parametrize("k", [2.0, "1", float("nan")])
def test_a_non_integer_k_is_an_error(model, taxa, folder, k):
    of_taxa, of_labels = (
        bioclip_jax.TreeOfLifeClassifier(model, taxa),
        bioclip_jax.CustomLabelsClassifier(["cat"], model),
    )
    for classifier in (of_taxa, of_labels):
        with pytest.raises(ValueError, match=rf"k is {k!r}; it must be a whole number"):
            classifier.predict(folder / "one.png", k=k)


def test_values_of_other_types_are_errors(model, taxa):
    torch = pytest.importorskip("torch")
    for images in (None, 5, [None], torch.zeros(2, 3, 8, 8)):
        with pytest.raises(ValueError, match="give (a path|paths)"):
            model.encode_image(images)
    for texts in (None, 5, ["cat", None], [float("nan")]):
        with pytest.raises(ValueError, match=r"text \d is .*not text"):
            model.encode_text(texts)
    for bins in (["cat", "dog"], [1, 2], "cat"):
        with pytest.raises(ValueError, match="give no label its bin"):
            bioclip_jax.CustomLabelsBinningClassifier(bins, model)
    with pytest.raises(ValueError, match="Panthera.*give a list"):
        bioclip_jax.TreeOfLifeClassifier(model, taxa).create_taxa_filter("genus", "Panthera")


def test_a_torch_device_is_accepted(model_directory):
    torch = pytest.importorskip("torch")
    assert bioclip_jax.load_model(model_directory, device=torch.device("cpu")).device == "cpu"
    with pytest.raises(bioclip_jax.errors.UserError, match="no device"):
        bioclip_jax.load_model(model_directory, device=0)
