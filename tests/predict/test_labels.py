"""Classifiers of labels and bins: their arithmetic, and every way to call them."""

import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import bioclip_jax
from bioclip_jax.errors import UserError
from bioclip_jax.predict.classifiers.custom_labels import (
    CustomLabelsBinningClassifier,
    CustomLabelsClassifier,
)
from bioclip_jax.predict.classifiers.labels import checked_bins, distinct_labels, read_bins, read_labels
from bioclip_jax.predict.selection import Selection
from bioclip_jax.predict.zero_shot import class_embeddings
from bioclip_jax.text import OPENAI_TEMPLATES, clean_text

LABELS = ["apple", "a ripe banana", "Solanum lycopersicum", "mushroom"]
BINS = {"apple": "fruit", "a ripe banana": "fruit", "Solanum lycopersicum": "berry", "mushroom": "fungus"}


@pytest.fixture(scope="module")
def classifier(model):
    return CustomLabelsClassifier(LABELS, model)


@pytest.fixture(scope="module")
def pictures():
    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(0, 256, (40, 60, 3), np.uint8)) for _ in range(11)]


def test_class_embeddings_are_means_over_the_templates(model):
    vectors = class_embeddings(model.encode_text, LABELS)
    for label, vector in zip(LABELS, vectors):
        mean = np.mean(
            [model.encode_text(template.format(label))[0] for template in OPENAI_TEMPLATES[::20]], axis=0
        )
        assert vector @ (mean / np.linalg.norm(mean)) > 0.9
        every = model.encode_text([template.format(label) for template in OPENAI_TEMPLATES]).mean(axis=0)
        np.testing.assert_allclose(vector, every / np.linalg.norm(every), atol=1e-6)


def test_all_ways_to_construct_are_equivalent(classifier, model, model_directory, pictures):
    expected = classifier.predict(pictures[0])
    others = {
        "pybioclip's keywords": CustomLabelsClassifier(
            cls_ary=LABELS, model_str=f"local-dir:{model_directory}"
        ),
        "a path": CustomLabelsClassifier(LABELS, model_directory, batch_size=8),
        "without the cache": CustomLabelsClassifier(LABELS, model, cache=False),
        "an iterator": CustomLabelsClassifier(iter(LABELS), model),
    }
    for name, other in others.items():
        rows = other.predict(pictures[0])
        assert [row["classification"] for row in rows] == [row["classification"] for row in expected], name
        assert all(abs(a["score"] - b["score"]) < 1e-5 for a, b in zip(rows, expected)), name
    assert others["pybioclip's keywords"].model_str == f"local-dir:{model_directory}"
    one = bioclip_jax.predict_classifications_from_list(pictures[0], LABELS, model=model)
    assert one == expected


def test_all_forms_of_images_keep_their_order(classifier, pictures, tmp_path):
    pictures[0].save(tmp_path / "a.png")
    array = np.asarray(pictures[0])
    rows = classifier.predict([str(tmp_path / "a.png"), tmp_path / "a.png", pictures[0], array], k=1)
    assert [row["file_name"] for row in rows] == [str(tmp_path / "a.png")] * 2 + ["2", "3"]
    assert len({row["score"] for row in rows}) == 1
    assert classifier.predict(np.stack([array, array]), k=1) == classifier.predict([array, array], k=1)


def test_callback_and_recorder_are_called(classifier, pictures):
    class Recorder:
        def __init__(self):
            self.heard = []

        def add_prediction(self, images, **details):
            self.heard.append((len(images), details))

    done, recorder = [], Recorder()
    classifier.set_recorder(recorder)
    rows = classifier.predict(pictures, 2, 10, lambda processed, total: done.append((processed, total)))
    classifier.set_recorder(None)
    assert done == [(8, 11), (11, 11)] and len(rows) == 22
    assert recorder.heard == [(11, {"k": 2, "batch_size": 10})]


def test_unknown_is_one_row_with_the_best_score(classifier, pictures):
    rows = classifier.predict(pictures, k=4)
    best = [row["score"] for row in rows[::4]]
    threshold = float(np.median(best)) + 1e-6
    predicted = classifier.predict(pictures, k=4, unknown=threshold)
    unknown = [row for row in predicted if row["classification"] == "unknown"]
    assert [row["score"] for row in unknown] == [score for score in best if score < threshold]
    assert len(predicted) == 4 * (len(pictures) - len(unknown)) + len(unknown)
    assert list(classifier.stream(pictures, 4, unknown=threshold)) == predicted


def test_bins_are_sums_of_their_labels(classifier, model, pictures):
    bins = CustomLabelsBinningClassifier(BINS, model=model)
    rows = bins.predict(pictures)
    scores = {(row["file_name"], row["classification"]): row["score"] for row in classifier.predict(pictures)}
    assert len(rows) == 3 * len(pictures)
    for row in rows:
        expected = sum(
            scores[row["file_name"], label] for label in BINS if BINS[label] == row["classification"]
        )
        assert row["score"] == pytest.approx(expected, abs=1e-6), row
    for start in range(0, len(rows), 3):
        ordered = [row["score"] for row in rows[start : start + 3]]
        assert ordered == sorted(ordered, reverse=True)


@pytest.mark.parametrize("bin", ["", None, float("nan"), "  "])
def test_a_label_without_a_bin_is_an_error(bin):
    with pytest.raises(UserError, match="'pear' has no bin") as caught:
        checked_bins({"apple": "fruit", " pear ": bin})
    assert isinstance(caught.value, ValueError), "pybioclip's callers catch a ValueError"


@pytest.mark.parametrize(
    "content, fragment",
    [
        ("label\napple\n", "one column"),
        ("label,bin\n", "has no label"),
        ("", "has no rows"),
        ("label,bin\napple,\n", "'apple' has no bin"),
        ("label,bin\napple\n", "'apple' has no bin"),
        ("label,bin\napple,fruit\napple,tree\n", "two bins"),
        (b"label,bin\n\x81,x\n", "UTF-8"),
        (
            "butterfly,insect\nboletus,fungus\nagaric,fungus\n",
            "first line, butterfly,insect, may be a header, or .* bin",
        ),
    ],
)
def test_invalid_tables_of_bins_are_errors(tmp_path, content, fragment):
    (tmp_path / "bins.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError, match=fragment) as caught:
        read_bins(tmp_path / "bins.csv")
    assert "bins.csv" in str(caught.value) and "\n" not in str(caught.value)
    with pytest.raises(UserError, match=r"missing\.csv"):
        read_bins(tmp_path / "missing.csv")


CELLS = st.text(st.characters(blacklist_categories=("Cs", "Cc")), max_size=12).map(clean_text).filter(bool)


@given(st.dictionaries(CELLS, CELLS, min_size=1, max_size=8))
def test_bins_round_trip_through_a_table(bins):
    import csv
    import tempfile

    with tempfile.NamedTemporaryFile("w", suffix=".csv", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerows([("label", "bin", "more"), *((label, bin, "x") for label, bin in bins.items())])
        file.flush()
        assert read_bins(file.name) == bins


@pytest.mark.parametrize("wrong", [{"k": 0}, {"k": -1}, {"unknown": 1.5}, {"unknown": -0.1}])
def test_invalid_k_and_thresholds_are_errors(classifier, pictures, wrong):
    with pytest.raises(UserError):
        classifier.predict(pictures[0], **wrong)


def test_unicode_forms_and_blanks_of_a_label_are_merged():
    nfc, nfd = (unicodedata.normalize(form, "Isoëtes lacustris") for form in ("NFC", "NFD"))
    assert distinct_labels([nfd, nfc, "Isoëtes\u00a0lacustris", " Isoëtes  lacustris\u200b"]) == [nfc]
    assert checked_bins({nfd: unicodedata.normalize("NFD", "épi"), nfc: "épi"}) == {nfc: "épi"}


def test_images_keep_the_indices_they_are_streamed_with(classifier, pictures, tmp_path):
    (tmp_path / "note.jpg").write_text("no picture")
    images = [(7, pictures[0]), (3, tmp_path / "note.jpg"), (9, pictures[1]), (1, pictures[0])]
    bad = []
    streamed = list(classifier.stream_indexed(images, Selection(k=2), lambda index, _: bad.append(index)))
    assert bad == [3] and [index for index, _ in streamed] == [7, 9, 1]
    for index, rows in streamed:
        assert [row["file_name"] for row in rows] == [str(index)] * 2
    expected = classifier.predict([pictures[0], pictures[1]], k=2)
    assert [row["classification"] for _, rows in streamed[:2] for row in rows] == [
        row["classification"] for row in expected
    ]


def test_words_for_unknown_are_ordinary_labels():
    assert distinct_labels(["apple", "unknown", "none", "NA", "-"]) == ["apple", "unknown", "none", "NA", "-"]


def test_no_label_is_an_error_before_the_model_is_loaded():
    for labels in ([], [" ", ""], None):
        with pytest.raises(UserError, match="no label"):
            CustomLabelsClassifier(labels, "no model")


def test_only_new_labels_are_encoded(model):
    CustomLabelsClassifier(["fig", "date"], model)
    encoded = []

    class Counting:
        fingerprint, precision = model.fingerprint, model.precision

        def encode_text(self, texts):
            encoded.extend(texts)
            return model.encode_text(texts)

    from bioclip_jax.predict.zero_shot import label_embeddings

    vectors = label_embeddings(Counting(), ["date", "quince", "fig"])
    assert len(encoded) == 80 and all("quince" in text for text in encoded)
    np.testing.assert_allclose(
        vectors, class_embeddings(model.encode_text, ["date", "quince", "fig"]), atol=1e-6
    )


def test_an_architecture_with_a_weights_file(model_directory, model, pictures):
    weights = model_directory / "open_clip_model.safetensors"
    loaded = bioclip_jax.load_model("ViT-Test-16", pretrained=weights)
    assert loaded.fingerprint == model.fingerprint
    with pytest.raises(UserError, match="has its own weights"):
        bioclip_jax.load_model(model_directory, pretrained=weights)


@pytest.mark.parametrize(
    "header", ["label,bin\n", "Name;Group\n", ",category\n", "species\tbin\n", "sort,Bins\n", ""]
)
def test_bins_with_and_without_a_header(tmp_path, header):
    separator = next((mark for mark in ";\t" if mark in header), ",")
    rows = ["wasp,insect", "butterfly,insect", "boletus,fungus"]
    (tmp_path / "bins.csv").write_text(header + "\n".join(rows).replace(",", separator))
    assert read_bins(tmp_path / "bins.csv") == {"wasp": "insect", "butterfly": "insect", "boletus": "fungus"}


def test_bins_equal_those_pybioclip_reads(tmp_path):
    from bioclip.commands import parse_bins_csv

    (tmp_path / "bins.csv").write_text('classes,bin\n"fig, dried",fruit\nbroccoli,vegetable\ncat,animal\n')
    assert read_bins(tmp_path / "bins.csv") == parse_bins_csv(str(tmp_path / "bins.csv"))


@pytest.mark.parametrize("wrap", ["array", "Series", "Index", "tuple", "generator"])
def test_labels_and_bins_from_any_iterable(model, wrap):
    import pandas

    wraps = {
        "array": np.array,
        "Series": pandas.Series,
        "Index": pandas.Index,
        "tuple": tuple,
        "generator": iter,
    }
    assert CustomLabelsClassifier(wraps[wrap](LABELS), model).classes == LABELS
    assert (
        CustomLabelsClassifier(cls_ary=wraps[wrap](LABELS), model=model, labels_as_given=True).classes
        == LABELS
    )
    if wrap == "Series":
        assert CustomLabelsBinningClassifier(pandas.Series(BINS), model).cls_to_bin == BINS


@pytest.mark.parametrize(
    ("labels", "fragment"),
    [
        ("apple,nut", "'apple,nut'; give a list"),
        (b"apple", "give a list"),
        (7, "give a list"),
        (["apple", None], "label 1 is None"),
        (["apple", float("nan")], "label 1 is nan"),
        ([3, "apple"], "label 0 is 3"),
    ],
)
def test_labels_that_are_not_a_list_of_texts_are_errors(labels, fragment):
    for as_given in (False, True):
        with pytest.raises(UserError, match=fragment) as caught:
            CustomLabelsClassifier(labels, "no model", labels_as_given=as_given)
        assert isinstance(caught.value, ValueError)
    if isinstance(labels, list):
        with pytest.raises(UserError, match="not text"):
            checked_bins({label: "bin" for label in labels})


@pytest.mark.parametrize("image", [None, 3, object()])
def test_values_that_are_not_images_are_errors(classifier, image):
    for call in (
        lambda: classifier.predict(image if image is None else [image]),
        lambda: list(classifier.stream([image])),
        lambda: classifier.create_image_features([image]),
    ):
        with pytest.raises(UserError, match="PIL image"):
            call()


def test_a_tensor_is_an_error():
    torch = pytest.importorskip("torch")
    from bioclip_jax.predict.classifiers.base import check_image

    with pytest.raises(UserError, match="image 0 is of type Tensor"):
        check_image(torch.zeros(3, 8, 8), 0)


@pytest.mark.parametrize(
    "path", ["labels.lst", "./nothere/labels.TXT", "photos/labels", "nothere.csv", "C:\\labels", "."]
)
def test_a_missing_file_is_not_taken_as_a_label(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="does not exist") as caught:
        read_labels(path)
    assert path in str(caught.value)


@pytest.mark.parametrize(
    "labels",
    ["M.domestica", "Malus sp.", "healthy / diseased leaf", "St. John's wort", "oak,and/or,x.txt", "No. 7"],
)
def test_labels_that_resemble_paths_are_labels(labels):
    assert read_labels(labels) == labels.split(",")


@pytest.mark.parametrize(
    ("labels", "kept", "fragment"),
    [
        ("a,b,", ["a", "b"], "dropped 1 blank of 3 labels"),
        ("a,b, a ,a", ["a", "b"], "dropped 2 repeated of 4 labels"),
        (",a,,a,b", ["a", "b"], "dropped 2 blank and 1 repeated of 5 labels"),
        ("a,b", ["a", "b"], ""),
    ],
)
def test_dropped_labels_are_counted(labels, kept, fragment, capsys):
    assert read_labels(labels) == kept
    message = capsys.readouterr().err
    assert fragment in message and bool(message) == bool(fragment)
    assert read_labels(labels, as_given=True) == [label.strip() for label in labels.split(",")]
