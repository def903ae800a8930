"""taxa learn and predict --head with a real model, from the command line and in Python."""

from __future__ import annotations

import csv
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from scipy.special import softmax
from species_pictures import EACH, FAMILIES, SPECIES, picture

import bioclip_jax as bj
from bioclip_jax.cli import main
from bioclip_jax.files import file_sha256
from bioclip_jax.predict import predict_files
from bioclip_jax.predict.learn import open_head

NAMES = sorted(f"{genus} {epithet}" for genus, epithet in SPECIES)


def learn(data: Path, model: Path, output: Path, *options: str) -> int:
    return main(["taxa", "learn", str(data), "--model", str(model), "--output", str(output), *options])


def predict(capsys, inputs: list, model: Path, *options: str) -> list[dict[str, str]]:
    status = main(["predict", *map(str, inputs), "--model", str(model), *map(str, options)])
    printed = capsys.readouterr()
    assert status == 0, printed.err
    return list(csv.DictReader(printed.out.splitlines()))


@pytest.fixture(scope="module")
def head(labeled, model_directory, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("heads") / "species"
    assert learn(labeled, model_directory, folder) == 0
    return folder


@pytest.fixture(scope="module")
def plain(labeled, model_directory, tmp_path_factory) -> Path:
    """A head of plain labels."""
    folder = tmp_path_factory.mktemp("heads") / "colors"
    assert learn(labeled, model_directory, folder, "--label", "Color") == 0
    return folder


@pytest.fixture(scope="module")
def new_pictures(tmp_path_factory) -> list[Path]:
    """Pictures that were not learned, two of each species in the order of SPECIES."""
    folder = tmp_path_factory.mktemp("new")
    paths = [folder / f"new {number}.png" for number in range(2 * len(SPECIES))]
    for number, path in enumerate(paths):
        picture(number % len(SPECIES), 1000 + number).save(path)
    return paths


def test_a_head_is_described_and_names_new_photographs(head, model_directory, new_pictures, capsys):
    about = json.loads((head / "head.json").read_text())
    assert {path.name for path in head.iterdir()} == {
        "head.safetensors",
        "head.json",
        "report.html",
        "review.csv",
    }
    assert about["photographs"] == about["held_out"] == EACH * len(SPECIES)
    assert sorted(one["label"] for one in about["labels"]) == NAMES
    assert about["accuracy"] > 0.8 and about["interval"][0] < about["accuracy"] <= about["interval"][1]
    rows = predict(capsys, new_pictures, model_directory, "--head", head, "--k", "1")
    assert list(rows[0])[-4:] == ["species", "common_name", "score", "familiarity"]
    expected = [" ".join(SPECIES[number % len(SPECIES)]) for number in range(len(new_pictures))]
    assert [row["species"] for row in rows] == expected
    assert all(row["family"] == FAMILIES[row["genus"]] and 0 < float(row["familiarity"]) <= 1 for row in rows)


def test_a_head_is_as_readable_as_any_file(head):
    mask = os.umask(0)
    os.umask(mask)
    modes = {path.name: path.stat().st_mode & 0o777 for path in head.iterdir()}
    assert set(modes.values()) == {0o666 & ~mask}, {name: oct(mode) for name, mode in modes.items()}


def test_scores_are_the_softmax_of_the_stored_matrix(head, model, new_pictures):
    tensors, about = load_file(head / "head.safetensors"), json.loads((head / "head.json").read_text())
    vectors = model.encode_image(new_pictures)
    expected = softmax(vectors @ tensors["weights"] + tensors["bias"], axis=1)
    names = [one["label"] for one in about["labels"]]
    classifier = bj.LearnedClassifier(model, head)
    np.testing.assert_allclose(classifier.probabilities(vectors), expected, atol=1e-6)
    rows = classifier.predict(new_pictures, k=len(names))
    for number in range(len(new_pictures)):
        got = {row["species"]: row["score"] for row in rows[number * len(names) : (number + 1) * len(names)]}
        assert got == pytest.approx(dict(zip(names, expected[number].tolist())), abs=1e-6)
    families = classifier.predict(new_pictures[:1], rank="family", k=3)
    sums: dict[str, float] = {}
    for name, score in zip(names, expected[0]):
        sums[FAMILIES[name.split()[0]]] = sums.get(FAMILIES[name.split()[0]], 0) + float(score)
    assert {row["family"]: row["score"] for row in families} == pytest.approx(sums, abs=1e-6)
    assert [row["score"] for row in families] == pytest.approx(sorted(sums.values(), reverse=True), abs=1e-6)
    # Frames of an event are pooled as the mean of their vectors.
    pooled = classifier.probabilities(vectors[:2].mean(axis=0, keepdims=True))
    logs = np.log(expected[:2]).mean(axis=0)
    np.testing.assert_allclose(pooled[0], softmax(logs), atol=1e-5)


def test_min_confidence_goes_up_the_tree_and_thresholds_make_unknown(
    head, model_directory, new_pictures, capsys
):
    confident = ["--head", head, "--min-confidence", "1"]
    [row] = predict(capsys, new_pictures[:1], model_directory, *confident)
    assert row["rank"] in ("kingdom", "family", "genus") and not row["species"] and float(row["score"]) > 0.99
    [row] = predict(capsys, new_pictures[:1], model_directory, "--head", head, "--unknown", "1")
    assert row["species"] == "unknown" and row["family"] == ""
    strange = new_pictures[0].with_name("strange.png")
    shutil.copy(new_pictures[0], strange)
    stripes = np.zeros((32, 32, 3), np.uint8)
    stripes[::2] = 255
    from PIL import Image

    Image.fromarray(stripes).save(strange)
    rows = predict(capsys, [strange, new_pictures[0]], model_directory, "--head", head, "--k", "1")
    least = 1 / (EACH * len(SPECIES) + 1)
    assert float(rows[0]["familiarity"]) == pytest.approx(least) and rows[0]["species"] in NAMES
    limited = ["--head", head, "--k", "1", "--min-familiarity", "0.03"]
    rows = predict(capsys, [strange, new_pictures[0]], model_directory, *limited)
    assert rows[0]["species"] == "unknown" and rows[1]["species"] == "Vulpes vulpes", rows


def test_other_columns_are_classes_without_ranks(plain, model_directory, new_pictures, capsys):
    rows = predict(capsys, new_pictures, model_directory, "--head", plain)
    assert list(rows[0]) == ["file_name", "classification", "score", "familiarity"]
    assert len(rows) == len(new_pictures) * len(SPECIES), "all labels have a row"
    best = rows[:: len(SPECIES)]
    assert [row["classification"] for row in best] == [f"Color {n % 5}" for n in range(len(best))]
    for option in (["--rank", "family"], ["--min-confidence", "0.9"]):
        assert main(["predict", str(new_pictures[0]), "--head", str(plain), *option]) == 2
        assert f"{option[0]} applies to taxa" in capsys.readouterr().err


def test_one_folder_a_class_is_learned_and_named_by_the_taxa(
    class_folders, labeled, model, model_directory, tmp_path
):
    result = bj.learn_head(class_folders, model, tmp_path / "plain")
    assert [one["label"] for one in result["labels"]] == sorted(name.replace(" ", "_") for name in NAMES)
    assert result["rank"] is None
    from bioclip_jax.predict.taxa import build_taxa

    build_taxa(labeled / "metadata.csv", model, tmp_path / "taxa.safetensors")
    result = bj.learn_head(class_folders, model, tmp_path / "taxa", taxa=tmp_path / "taxa.safetensors")
    assert result["rank"] == "species" and sorted(one["label"] for one in result["labels"]) == NAMES
    assert all(one["family"] == FAMILIES[one["genus"]] for one in result["labels"])


def test_corrections_are_cropped_and_rejected_rows_are_skipped(labeled, model, tmp_path, capsys):
    """A crop of the left half is learned as the left half."""
    from PIL import Image

    rows = []
    for number in range(30):
        left, right = picture(number % 3, number), picture(3 + number % 2, 500 + number)
        both = Image.new("RGB", (64, 32))
        both.paste(left, (0, 0))
        both.paste(right, (32, 0))
        both.save(tmp_path / f"{number}.png")
        genus, epithet = SPECIES[number % 3]
        box = (0, 0, 0.5, 1)
        rows.append([f"{number}.png", f"{genus} {epithet}", genus, epithet, "confirmed", *box])
    rows.append(["0.png", "", "", "", "rejected", 0.5, 0, 0.5, 1])
    with open(tmp_path / "corrections.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(
            ["filepath", "label", "genus", "species", "status", "box_x", "box_y", "box_width", "box_height"]
        )
        writer.writerows(rows)
    result = bj.learn_head(tmp_path / "corrections.csv", model, tmp_path / "head")
    assert "skipped 1 rejected rows" in capsys.readouterr().err
    assert result["photographs"] == 30 and result["accuracy"] > 0.8
    classifier = bj.LearnedClassifier(model, tmp_path / "head")
    vectors = classifier.learned_head.familiarity.vectors
    expected = model.encode_image([Image.open(tmp_path / "4.png").crop((0, 0, 32, 32))])
    assert float(vectors[4] @ expected[0]) == pytest.approx(1, abs=1e-5)


def test_a_resumed_run_with_a_head_equals_an_undisturbed_one(
    head, plain, model_directory, new_pictures, tmp_path, monkeypatch, capsys
):
    from bioclip_jax.predict.classifiers.learned import LearnedClassifier

    command = ["predict", *map(str, new_pictures), "--model", str(model_directory), "--head", str(head)]
    command += ["--batch-size", "8"]
    assert main([*command, "--output", str(tmp_path / "whole.csv")]) == 0
    original, calls = LearnedClassifier._rows, []

    def stop_after_a_batch(self, features, selection):
        calls.append(len(features))
        if len(calls) > 1:
            raise KeyboardInterrupt
        return original(self, features, selection)

    monkeypatch.setattr(LearnedClassifier, "_rows", stop_after_a_batch)
    assert main([*command, "--output", str(tmp_path / "parts.csv"), "--resume"]) == 130
    monkeypatch.undo()
    other = [*command[:-4], "--head", str(plain), "--batch-size", "8"]
    assert main([*other, "--output", str(tmp_path / "parts.csv"), "--resume"]) == 2
    assert "head" in capsys.readouterr().err
    assert (
        main(
            [*command, "--output", str(tmp_path / "parts.csv"), "--resume", "--log", str(tmp_path / "l.json")]
        )
        == 0
    )
    assert (tmp_path / "parts.csv").read_text() == (tmp_path / "whole.csv").read_text()
    logged = json.loads((tmp_path / "l.json").read_text())["head"]
    assert logged["digest"] == open_head(head).digest and logged["classes"] == len(SPECIES)


def test_few_or_odd_photographs_are_one_line(labeled, model_directory, tmp_path, capsys):
    def table(rows: list[str], name: str) -> Path:
        lines = "\n".join(f"{labeled}/{index}.png,{label}" for index, label in enumerate(rows))
        (tmp_path / name).write_text(f"filepath,label\n{lines}\n")
        return tmp_path / name

    cases = {
        "one.csv": (["fox"] * 12, "are of one class, fox"),
        "few.csv": (["fox", "lynx"] * 3, "6 of 6 photographs can be held out"),
        "none.csv": (["", " "] * 6, "the column label is empty"),
    }
    for name, (rows, message) in cases.items():
        assert learn(table(rows, name), model_directory, tmp_path / "out") == 2
        error = capsys.readouterr().err.splitlines()[-1]
        assert error.startswith("error: ") and message in error, error
        assert not (tmp_path / "out").exists()
    assert learn(labeled, model_directory, tmp_path / "out", "--label", "colour") == 2
    assert "no column 'colour'; did you mean color?" in capsys.readouterr().err
    assert learn(labeled, model_directory, tmp_path / "out", "--group", "plase") == 2
    assert "no column 'plase' for --group; did you mean place?" in capsys.readouterr().err
    # A class with one photograph is learned, though nothing can be measured on it; capitals do not count.
    rows = [["Fox", "fox", "lynx", "LYNX", "lynx"][index % 5] for index in range(44)] + ["badger"]
    assert learn(table(rows, "single.csv"), model_directory, tmp_path / "out") == 0
    printed = capsys.readouterr().err
    assert "classes with one photograph, on which nothing can be measured: badger" in printed
    assert "labels that differ only in capitals count as one: Fox = fox, LYNX = lynx" in printed
    about = json.loads((tmp_path / "out" / "head.json").read_text())
    badger = next(one for one in about["labels"] if one["label"] == "badger")
    assert badger["photographs"] == 1 and "accuracy" not in badger


def test_a_folder_without_classes_says_how_to_lay_it_out(model_directory, tmp_path, capsys):
    (tmp_path / "loose.txt").write_text("notes")
    assert learn(tmp_path, model_directory, tmp_path / "mine") == 2
    message = capsys.readouterr().err
    assert message.endswith("put the photographs of each class into a folder with its name\n"), message
    assert message.count("\n") == 1 and not (tmp_path / "mine").exists()


def test_a_folder_with_other_files_is_not_replaced(labeled, head, model_directory, tmp_path, capsys):
    assert learn(labeled, model_directory, labeled) == 2
    assert "holds other files" in capsys.readouterr().err and (labeled / "0.png").exists()
    copy = shutil.copytree(head, tmp_path / "copy")
    (copy / "notes.txt").write_text("mine")
    assert learn(labeled, model_directory, copy) == 2
    assert "holds other files (notes.txt)" in capsys.readouterr().err and (copy / "notes.txt").exists()
    (copy / "notes.txt").unlink()
    assert learn(labeled, model_directory, copy, "--group", "place") == 0
    assert json.loads((copy / "head.json").read_text())["group_column"] == "place"


def about_of(folder: Path, **changes) -> None:
    about = json.loads((folder / "head.json").read_text())
    (folder / "head.json").write_text(json.dumps(about | changes))


def tensors_of(folder: Path, **changes) -> None:
    """Change tensors as someone would who also corrects their hash."""
    save_file(load_file(folder / "head.safetensors") | changes, folder / "head.safetensors")
    about_of(folder, tensors=file_sha256(folder / "head.safetensors"))


HOSTILE = {
    "no JSON": (lambda folder: (folder / "head.json").write_text("{"), "is damaged"),
    "deep JSON": (lambda folder: (folder / "head.json").write_text("[" * 200_000), "is damaged"),
    "not text": (lambda folder: (folder / "head.json").write_bytes(b"\xff\xfe\x00"), "is damaged"),
    "another format": (lambda folder: about_of(folder, format="x"), "holds no learned head"),
    "another version": (lambda folder: about_of(folder, version=9), "has version 9"),
    "a list": (lambda folder: (folder / "head.json").write_text("[]"), "holds no learned head"),
    "no classes": (lambda folder: about_of(folder, labels=[]), "lists no classes"),
    "numbers as classes": (lambda folder: about_of(folder, labels=[1, 2]), "lists no classes"),
    "equal classes": (
        lambda folder: about_of(folder, labels=[{"label": "a"}] * 5),
        "no distinct names",
    ),
    "a strange rank": (lambda folder: about_of(folder, rank="tribe"), "its rank is 'tribe'"),
    "no neighbors": (lambda folder: about_of(folder, neighbors=True), "how many neighbors"),
    "many neighbors": (lambda folder: about_of(folder, neighbors=10**9), "do not fit"),
    "no tensors": (lambda folder: (folder / "head.safetensors").unlink(), "is missing"),
    "other tensors": (
        lambda folder: (folder / "head.safetensors").write_bytes(b"\xff" * 64),
        "is not the file that head.json describes",
    ),
    "a header beyond the file": (
        lambda folder: [
            (folder / "head.safetensors").write_bytes((1 << 40).to_bytes(8, "little") + b"{}"),
            about_of(folder, tensors=file_sha256(folder / "head.safetensors")),
        ],
        "is damaged",
    ),
    "NaN": (lambda folder: tensors_of(folder, bias=np.full(5, np.nan, np.float32)), "hold NaN"),
    "another type": (lambda folder: tensors_of(folder, bias=np.zeros(5)), "no float32 bias"),
    "another shape": (lambda folder: tensors_of(folder, bias=np.zeros(4, np.float32)), "do not fit"),
    "no distances": (
        lambda folder: tensors_of(folder, distances=np.zeros(0, np.float32)),
        "do not fit",
    ),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_damaged_head_is_one_line(kind, head, new_pictures, tmp_path, capsys):
    copy = shutil.copytree(head, tmp_path / "head")
    damage, message = HOSTILE[kind]
    damage(copy)
    # No model is loaded for it.
    assert main(["predict", str(new_pictures[0]), "--model", "absent", "--head", str(copy)]) == 2
    [error] = capsys.readouterr().err.splitlines()
    assert error.startswith("error: ") and message in error, error


def test_a_head_belongs_to_one_model_and_transform(head, model_directory, new_pictures, tmp_path, capsys):
    command = ["predict", str(new_pictures[0]), "--model", str(model_directory)]
    assert main([*command, "--head", str(head), "--transform", "pybioclip"]) == 2
    assert "was learned with the transform" in capsys.readouterr().err
    copy = shutil.copytree(head, tmp_path / "head")
    about_of(copy, fingerprint="0" * 64)
    assert main([*command, "--head", str(copy)]) == 2
    assert "(00000000), not with" in capsys.readouterr().err
    for option in (["--cls", "a,b"], ["--taxa", "x"], ["--temperature", "2"], ["--within", "Felidae"]):
        assert main([*command, "--head", str(head), *option]) == 2
        assert f"drop it or {option[0]}" in capsys.readouterr().err
    assert main([*command, "--min-familiarity", "0.1"]) == 2
    assert "--min-familiarity needs --head" in capsys.readouterr().err
    assert main([*command, "--head", str(tmp_path)]) == 2
    assert "holds no learned head" in capsys.readouterr().err


def test_an_event_is_named_by_a_head_and_as_familiar_as_its_direction(
    head, model_directory, new_pictures, tmp_path
):
    """Two frames of different species, so that their mean is much shorter than 1; all computed by hand."""
    frames = new_pictures[:2]
    table = tmp_path / "frames.csv"
    rows = [f"{path},here,2026-05-01 10:00:0{second}" for second, path in enumerate(frames)]
    table.write_text("\n".join(["filepath,site,timestamp", *rows]) + "\n")
    result = predict_files([table], str(model_directory), head=head, events=60, k=9, as_result=True)
    vectors = bj.load_model(model_directory).encode_image([str(path) for path in frames])
    tensors = load_file(head / "head.safetensors")
    logs = np.log(softmax(vectors @ tensors["weights"] + tensors["bias"], axis=1)).mean(axis=0)
    labels = [one["label"] for one in json.loads((head / "head.json").read_text())["labels"]]
    events = result["predictions"]
    assert result["events"] == 1 and {row["frames"] for row in events} == {2}
    scores = {row["species"]: row["score"] for row in events}
    assert scores == pytest.approx(dict(zip(labels, softmax(logs).tolist())), abs=1e-5)
    mean = vectors.mean(axis=0)
    length = float(np.linalg.norm(mean))
    assert length < 0.999, "the frames are too similar to tell the mean from its direction"
    neighbors = json.loads((head / "head.json").read_text())["neighbors"]

    def familiarity(vector: np.ndarray) -> float:
        distance = np.sort(1 - tensors["vectors"] @ vector)[:neighbors].mean()
        return (1 + (tensors["distances"] >= distance).sum()) / (1 + len(tensors["distances"]))

    expected = [familiarity(mean / length)] * len(events)
    assert [row["familiarity"] for row in events] == pytest.approx(expected, abs=1e-6)


def test_reviewed_photographs_are_learned_with_a_caution(labeled, model_directory, tmp_path, capsys):
    with open(labeled / "metadata.csv", newline="") as file:
        rows = list(csv.DictReader(file))

    def learn_reviewed(scores: list[float], name: str) -> str:
        table = tmp_path / f"{name}.csv"
        with open(table, "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["filepath", "label", "status", "score", "reviewed_at"])
            for number, (row, score) in enumerate(zip(rows, scores)):
                label = f"{row['genus']} {row['species']}"
                time = f"2026-05-01T10:{number // 60:02}:{number % 60:02}.000Z"
                writer.writerow([labeled / row["filepath"], label, "confirmed", f"{score:.4f}", time])
        assert learn(table, model_directory, tmp_path / name) == 0
        return capsys.readouterr().err

    ascending = [number / len(rows) for number in range(len(rows))]
    assert "note: reviewed photographs are no random sample (these were reviewed unsure first), so" in (
        learn_reviewed(ascending, "unsure")
    )
    shuffled = np.random.default_rng(0).permutation(ascending).tolist()
    assert "note: reviewed photographs are no random sample unless they were drawn at random, so" in (
        learn_reviewed(shuffled, "any")
    )
    assert learn(labeled, model_directory, tmp_path / "plain") == 0
    assert "random sample" not in capsys.readouterr().err
