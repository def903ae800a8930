"""Few-shot and PlantDoc against the protocols in plain loops."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neighbors import NearestCentroid

from bioclip_jax.errors import UserError
from bioclip_jax.evaluate.protocols.few_shot import FewShot, draw_fold, nearest_centroids
from bioclip_jax.evaluate.protocols.plantdoc import PlantDoc
from bioclip_jax.pipeline.sources import Sample
from bioclip_jax.predict.embedding import LabeledEmbeddings

DIM = 12


def labeled(classes, seed=0, spread=1.2):
    """Return one unnormalized embedding per label, around the center of its class."""
    generator = np.random.default_rng(seed)
    centers = {name: generator.normal(size=DIM) for name in sorted(set(classes))}
    features = np.array([centers[name] + spread * generator.normal(size=DIM) for name in classes])
    features *= generator.uniform(0.5, 3, (len(classes), 1))
    samples = [Sample(f"image {n}", b"", {}, None, {"class": name}) for n, name in enumerate(classes)]
    return LabeledEmbeddings(features.astype(np.float32), samples, np.arange(len(classes)), {})


def plain_few_shot(vectors, shots, fold):
    """Score one fold of the paper's protocol, in loops and with Python's global generator."""
    of_class = {}
    for vector, sample in zip(vectors.features, vectors.samples):
        of_class.setdefault(sample.metadata["class"], []).append(vector / np.sqrt(np.sum(vector**2)))
    random.seed(fold)
    train, test = {}, []
    for name, members in of_class.items():
        members = list(members)
        random.shuffle(members)
        train[name] = members[:shots]
        test += [(name, vector) for vector in members[shots:]]
    mean = np.mean([vector for members in train.values() for vector in members], axis=0)

    def centered(vector):
        return (vector - mean) / np.linalg.norm(vector - mean)

    centroids = {
        name: np.mean([centered(vector) for vector in members], axis=0) for name, members in train.items()
    }
    right = 0
    for name, vector in test:
        distances = {
            other: np.linalg.norm(centroid - centered(vector)) for other, centroid in centroids.items()
        }
        right += min(distances, key=distances.get) == name
    return right / len(test)


@pytest.mark.parametrize("shots", [1, 5])
def test_few_shot_equals_the_protocol(shots):
    names = ["oak", "elm", "ash", "fir", "yew", "box"]
    order = (
        np.random.default_rng(1)
        .permutation([name for name in names for _ in range(9)] + ["oak"] * 4)
        .tolist()
    )
    vectors = labeled(order)
    score = FewShot(shots=(shots,), folds=5, text_type="asis")({"test": vectors}, None)
    plain = [plain_few_shot(vectors, shots, fold) for fold in range(5)]
    figures = score.figures["few_shot"][str(shots)]
    np.testing.assert_allclose(figures["folds"], plain, atol=1e-6)
    assert figures["mean"] == pytest.approx(np.mean(plain), abs=1e-6)
    assert figures["std"] == pytest.approx(np.std(plain), abs=1e-6)
    assert 0.2 < figures["mean"] < 0.99, "the data must be neither random nor trivial"
    tested = {row["class"]: row["images"] - shots for row in score.tables["classes"]}
    pooled = sum(row[f"accuracy_{shots}"] * tested[row["class"]] for row in score.tables["classes"])
    assert pooled / sum(tested.values()) == pytest.approx(np.mean(plain), abs=1e-6)


def test_first_shots_are_the_headline_and_folds_start_from_the_source_order():
    vectors = labeled(["a", "b", "c"] * 8)
    both = FewShot(shots=(1, 5), text_type="asis")({"test": vectors}, None).figures
    five = FewShot(shots=(5,), text_type="asis")({"test": vectors}, None).figures
    assert both["top1"] == both["few_shot"]["1"]["mean"] and both["few_shot"]["5"] == five["few_shot"]["5"]
    members = [np.array([3, 1, 4, 15, 9]), np.array([2, 6, 5])]
    assert draw_fold(members, 2, 3) == draw_fold(members, 2, 3)
    train, test = draw_fold(members, 2, 3)
    assert [sorted(a + b) for a, b in zip(train, test)] == [[1, 3, 4, 9, 15], [2, 5, 6]]


def test_small_classes_are_an_error_or_skipped():
    vectors = labeled(["oak"] * 8 + ["elm"] * 3 + ["ash"] * 8 + ["fir"] * 2)
    with pytest.raises(UserError, match=r"2 of the 4 classes have fewer than 5 images: elm \(3\), fir \(2\)"):
        FewShot(shots=(1, 5), text_type="asis")({"test": vectors}, None)
    score = FewShot(shots=(5,), text_type="asis", skip_small=True)({"test": vectors}, None)
    assert score.figures["few_shot"]["5"]["small_classes"] == 2
    alone = labeled(["oak"] * 8 + ["elm"] * 3 + ["ash"] * 8 + ["fir"] * 2).take(np.r_[0:8, 11:19])
    others = FewShot(shots=(5,), text_type="asis")({"test": alone}, None)
    assert score.figures["few_shot"]["5"]["folds"] == others.figures["few_shot"]["5"]["folds"]
    with pytest.raises(UserError, match="no class has more than 8 images"):
        FewShot(shots=(8,), text_type="asis", skip_small=True)({"test": vectors}, None)
    with pytest.raises(UserError, match="no sample has a taxon"):
        FewShot(shots=(1,))({"test": vectors}, None)


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 6), st.integers(1, 3), st.integers(0, 2**31))
def test_nearest_centroids_equal_scikit_learns(classes, shots, seed):
    generator = np.random.default_rng(seed)
    own = np.repeat(np.arange(classes), shots)
    train = generator.normal(size=(len(own), DIM)).astype(np.float32)
    test = generator.normal(size=(30, DIM)).astype(np.float32)
    mean = train.mean(axis=0)

    def centered(vectors):
        return (vectors - mean) / np.linalg.norm(vectors - mean, axis=1, keepdims=True)

    theirs = NearestCentroid().fit(centered(train), own).predict(centered(test))
    ours = nearest_centroids(train, own, test, classes)
    assert (ours == theirs).mean() >= 29 / 30, f"{ours} instead of {theirs}"


def test_plantdoc_equals_the_protocol():
    train = labeled([name for name in ("rust", "scab", "leaf") for _ in range(6)], seed=2)
    test = labeled([name for name in ("leaf", "rust", "scab") for _ in range(15)], seed=2)
    score = PlantDoc(repeats=4)({"train": train, "test": test}, None)
    names = sorted({"rust", "scab", "leaf"})
    of_train = np.array([names.index(sample.metadata["class"]) for sample in train.samples])
    of_test = np.array([names.index(sample.metadata["class"]) for sample in test.samples])
    plain = []
    for repeat in range(4):
        generator = np.random.RandomState(repeat)
        rows = []
        for number in range(3):
            members = np.where(of_train == number)[0]
            generator.shuffle(members)
            rows.append(members[0])
        x, mean = train.unit[rows], train.unit[rows].mean(axis=0)
        x = (x - mean) / np.linalg.norm(x - mean, axis=1, keepdims=True)
        y = (test.unit - mean) / np.linalg.norm(test.unit - mean, axis=1, keepdims=True)
        predicted = [int(np.argmin([np.linalg.norm(one - centroid) for centroid in x])) for one in y]
        plain.append(np.mean(np.array(predicted) == of_test[:]))
    np.testing.assert_allclose(score.figures["repeats"], plain, atol=1e-6)
    assert (
        score.figures["top1"] == pytest.approx(np.mean(plain), abs=1e-6) and len(score.tables["classes"]) == 3
    )
    with pytest.raises(UserError, match="the test class 'mold' has no training images"):
        PlantDoc()({"train": train, "test": labeled(["mold", "rust"])}, None)
    with pytest.raises(UserError, match="the class 'leaf' has fewer than 7 training images"):
        PlantDoc(shots=7)({"train": train, "test": test}, None)
