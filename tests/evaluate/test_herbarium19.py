"""Category discovery against plain loops: k-means++, semi-supervised k-means, and matching."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bioclip_jax.errors import UserError
from bioclip_jax.evaluate.protocols.category_discovery import (
    cluster_hits,
    nearest_center,
    semi_supervised_kmeans,
)
from bioclip_jax.evaluate.protocols.herbarium19 import OLD, Herbarium19, read_classes
from bioclip_jax.pipeline.sources import Sample
from bioclip_jax.predict.embedding import LabeledEmbeddings
from bioclip_jax.text import Taxon


def plain_kmeans(unlabeled, labeled, labels, k, seed, iterations=10, tolerance=1e-4):
    """Vaze et al.'s algorithm in float64, vector by vector; an empty cluster keeps its center."""
    unlabeled, labeled = unlabeled.astype(np.float64), labeled.astype(np.float64)
    random = np.random.RandomState(seed)
    classes = sorted(set(labels.tolist()))
    centers = [np.mean([x for x, label in zip(labeled, labels) if label == c], axis=0) for c in classes]
    while len(centers) < k:
        distances = [min(((x - c) ** 2).sum() for c in centers) for x in unlabeled]
        r, reached = random.rand(), 0.0
        row = -1
        while reached < r or row < 0:
            row += 1
            reached += distances[row] / sum(distances)
        centers.append(unlabeled[row])
    fixed = [classes.index(label) for label in labels]
    best, lowest = None, np.inf
    for _ in range(iterations):
        clusters, inertia = [], 0.0
        for x in unlabeled:
            distances = [((x - c) ** 2).sum() for c in centers]
            clusters.append(int(np.argmin(distances)))
            inertia += min(distances)
        for x, cluster in zip(labeled, fixed):
            inertia += ((x - centers[cluster]) ** 2).sum()
        if inertia < lowest - 1e-12:
            best, lowest = clusters, inertia
        members = [[] for _ in range(k)]
        for x, cluster in zip([*labeled, *unlabeled], fixed + clusters):
            members[cluster].append(x)
        moved = [np.mean(group, axis=0) if group else center for group, center in zip(members, centers)]
        shift = sum(np.sqrt(((new - old) ** 2).sum()) for new, old in zip(moved, centers))
        centers = moved
        if shift**2 < tolerance:
            break
    return best


def images(random, n, classes, dim=5, spread=0.6):
    """Return unit vectors around one mean per class."""
    y = random.integers(classes, size=n)
    x = random.normal(size=(classes, dim))[y] + spread * random.normal(size=(n, dim))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32), y


@given(
    st.integers(0, 2**32 - 1), st.integers(12, 60), st.integers(2, 8), st.integers(0, 5), st.integers(1, 12)
)
@settings(max_examples=60)
def test_kmeans_equals_plain_loops(seed, n, classes, more, iterations):
    random = np.random.default_rng(seed)
    x, y = images(random, n, classes)
    # Labels with gaps, of at least one image.
    labeled = (y % 2 == 0) & (random.random(n) < 0.7)
    labeled[random.integers(n)] = True
    labels = 10 * y[labeled] + 3
    k = len(set(labels.tolist())) + more
    given = x[~labeled], x[labeled], labels
    clusters = semi_supervised_kmeans(*given, k, seed=seed % 1000, iterations=iterations)
    expected = plain_kmeans(*given, k, seed % 1000, iterations)
    assert clusters.tolist() == expected, f"{n} images, {k} clusters, seed {seed % 1000}"


def test_kmeans_stops_when_centers_converge():
    random = np.random.default_rng(0)
    x, y = images(random, 300, 6, spread=1.2)
    given = x[y > 2], x[y <= 2], y[y <= 2], 6
    results = {}
    for tolerance in (0.0, 1e-4, 0.05, 1e9):
        results[tolerance] = semi_supervised_kmeans(
            *given, seed=1, iterations=30, tolerance=tolerance
        ).tolist()
        assert results[tolerance] == plain_kmeans(*given, 1, 30, tolerance), f"tolerance {tolerance}"
    first = semi_supervised_kmeans(*given, seed=1, iterations=1).tolist()
    assert results[1e9] == first, (
        "any move is within so large a tolerance, so the first clusters should be kept"
    )
    assert results[0.0] != first, "the clusters never change, so that stopping would not matter"


def test_empty_cluster_keeps_its_center():
    # A rare draw in which a cluster becomes empty; a center at the origin would attract vectors.
    random = np.random.default_rng(20150)
    x, labels = random.normal(size=(24, 2)).astype(np.float32) ** 3, random.integers(4, size=12)
    k = len(set(labels.tolist())) + 3
    clusters = semi_supervised_kmeans(x[12:], x[:12], labels, k, seed=0).tolist()
    assert clusters == plain_kmeans(x[12:], x[:12], labels, k, 0)
    assert len({*clusters, *range(k - 3)}) < k, "no cluster is empty"


def test_kmeans_with_fewer_vectors_than_clusters():
    x = np.eye(4, dtype=np.float32)[[0, 0, 1, 1, 2, 2]]
    clusters = semi_supervised_kmeans(x, x[:2], np.array([5, 5]), 6, seed=0)
    assert clusters[0] == clusters[1] == 0, "vectors at the labeled class's mean belong to it"
    assert (
        len({clusters[0], clusters[2], clusters[4]}) == 3
        and clusters[2] == clusters[3]
        and clusters[4] == clusters[5]
    )
    assert clusters.max() < 6


def test_nearest_center_resolves_ties_and_near_ties():
    random = np.random.default_rng(0)
    centers = random.normal(size=(40, 64))
    centers[20:] = centers[:20]
    x = (centers[random.integers(20, size=500)] + 0.1 * random.normal(size=(500, 64))).astype(np.float32)
    expected = [int(np.argmin(((centers - row) ** 2).sum(axis=1).round(12))) for row in x.astype(np.float64)]
    assert nearest_center(x, centers).tolist() == expected
    # The second half is nearer by less than float32 resolves at these distances.
    centers[20:] = centers[:20] * (1 + 1e-9)
    far = 10 * centers[:20].astype(np.float32)
    assert nearest_center(far, centers).tolist() == list(range(20, 40))


@given(st.integers(0, 2**32 - 1), st.integers(1, 30), st.integers(1, 5), st.integers(1, 5))
def test_matching_of_clusters_and_classes_is_optimal(seed, n, classes, clusters):
    random = np.random.default_rng(seed)
    true, predicted = random.integers(classes, size=n) * 7 + 2, random.integers(clusters, size=n) * 3
    hits = cluster_hits(true, predicted)
    most = 0
    # One class or None for each cluster, each class at most once.
    choices = [*range(classes), *[None] * clusters]
    for chosen in set(itertools.permutations(choices, clusters)) if clusters + classes < 7 else ():
        most = max(
            most,
            sum(chosen[p // 3] is not None and 7 * chosen[p // 3] + 2 == t for t, p in zip(true, predicted)),
        )
    if clusters + classes < 7:
        assert hits.sum() == most, f"{hits.sum()} of {n} are right, but {most} can be"
    for cluster in set(predicted):
        assert len({int(t) for t, p, hit in zip(true, predicted, hits) if hit and p == cluster}) < 2
    for label in set(true):
        assert len({int(p) for t, p, hit in zip(true, predicted, hits) if hit and t == label}) < 2


def test_matching_of_no_image_is_empty():
    assert cluster_hits(np.zeros(0, int), np.zeros(0, int)).tolist() == []


def labeled_vectors(x, rows, taxa=None):
    samples = [Sample(f"{n}.jpg", b"", {}, taxa[n] if taxa else None, row) for n, row in enumerate(rows)]
    return LabeledEmbeddings(np.asarray(x, np.float32), samples, np.arange(len(samples)), {})


def test_scores_equal_plain_loops():
    random = np.random.default_rng(0)
    x, y = images(random, 160, 7, spread=0.9)
    lengths = random.uniform(0.5, 20, (160, 1)).astype(np.float32)
    old = {0, 2, 4}
    data = labeled_vectors(x * lengths, [{"class_index": str(label)} for label in y])
    score = Herbarium19(old=[4, 0, 2], seeds=(0, 3))({"train": data}, None)

    rows = [row for row in range(160) if y[row] in old]
    np.random.seed(0)
    chosen = {rows[index] for index in np.random.choice(len(rows), int(0.8 * len(rows)), replace=False)}
    with_label = [row for row in range(160) if row in chosen]
    without = [row for row in range(160) if row not in chosen]
    shares, by_part = [], {"old": [], "new": []}
    for seed in (0, 3):
        clusters = plain_kmeans(x[without], x[with_label], y[with_label], 7, seed)
        right = 0
        for part in ("old", "new"):
            members = [
                (y[row], cluster)
                for row, cluster in zip(without, clusters)
                if (y[row] in old) == (part == "old")
            ]
            most = max(
                sum(label == chosen[cluster] for label, cluster in members)
                for chosen in itertools.permutations(range(7))
            )
            right += most
            by_part[part].append(most / len(members))
        shares.append(right / len(without))
    assert shares[0] != shares[1], "both seeds score the same, so that they could be one"
    figures = score.figures
    assert figures["by_seed"] == pytest.approx(shares, abs=1e-9)
    assert figures["accuracy"] == pytest.approx(np.mean(shares), abs=1e-9)
    assert figures["std"] == pytest.approx(np.std(shares), abs=1e-9)
    assert figures["accuracy_old"] == pytest.approx(np.mean(by_part["old"]), abs=1e-9)
    assert figures["accuracy_new"] == pytest.approx(np.mean(by_part["new"]), abs=1e-9)
    assert 0.2 < figures["accuracy"] < 1, "everything is right or hardly anything, which would show little"
    low, high = figures["interval"]
    assert low < figures["accuracy"] < high
    expected = {
        "n": len(without),
        "n_labelled": len(with_label),
        "classes": 7,
        "old_classes": 3,
        "n_old": len(rows) - len(with_label),
    }
    assert {name: figures[name] for name in expected} == expected
    table = score.tables["classes"]
    assert [row["old"] for row in table] == [True, False, True, False, True, False, False]
    assert sum(row["images"] * row["accuracy"] for row in table) / len(without) == pytest.approx(
        figures["accuracy"]
    )


def test_data_without_new_classes():
    x, y = images(np.random.default_rng(0), 60, 3)
    data = labeled_vectors(x, [{"class_index": int(label)} for label in y])
    figures = Herbarium19(old=(0, 1, 2), seeds=(0,))({"train": data}, None).figures
    assert figures["accuracy_new"] is None and figures["accuracy_old"] == figures["accuracy"]


def test_published_split_of_683_classes():
    assert len(OLD) == 341 and len(set(OLD)) == 341 and min(OLD) == 0 and max(OLD) < 683
    assert OLD[:10] == (0, 1, 3, 6, 7, 8, 10, 12, 14, 15)
    random = np.random.default_rng(0)
    x, _ = images(random, 3 * 683, 683, dim=16)
    data = labeled_vectors(x, [{"class_index": float(label)} for label in np.repeat(np.arange(683), 3)])
    score = Herbarium19(seeds=(0,), iterations=1)({"train": data}, None)
    assert score.figures["classes"] == 683
    assert score.figures["n_labelled"] == int(0.8 * 3 * 341)
    assert score.figures["n"] - score.figures["n_old"] == 3 * 342
    old = {row["class_index"] for row in score.tables["classes"] if row["old"]}
    assert old <= set(OLD) and len(old) > 100


def test_classes_without_an_index_are_sorted():
    names = ["10", "9", "100", "9", "10"]
    assert read_classes(labeled_vectors(np.eye(5), [{"class": name} for name in names])).tolist() == [
        0,
        2,
        1,
        2,
        0,
    ]
    taxa = [Taxon(class_=name) for name in names]
    assert read_classes(labeled_vectors(np.eye(5), [{}] * 5, taxa)).tolist() == [0, 2, 1, 2, 0]
    both = [{"class": name, "class_index": index} for name, index in zip(names, (3, "4", "5.0", 4.0, 3))]
    assert read_classes(labeled_vectors(np.eye(5), both)).tolist() == [3, 4, 5, 4, 3]


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        (
            [{"class_index": 0}, {"class_index": 1}],
            {},
            "the Old classes of 2 classes are unknown.* --old-classes",
        ),
        ([{"class_index": 0}, {"class_index": 1}], {"old": (0, 2)}, "the Old class 2 has no image"),
        (
            [{"class_index": 0}, {"class_index": "x"}],
            {},
            "class_index of image 1.jpg is 'x'; give a whole number",
        ),
        ([{"class_index": 0}, {}], {}, "class_index of image 1.jpg is ''"),
        ([{"class_index": 0}, {"class_index": 0.5}], {}, "class_index of image 1.jpg is 0.5"),
        ([{"class": "a"}, {"class": ""}], {}, "image 1.jpg has no class"),
        ([{"class_index": 0}, {"class_index": 1}], {"old": (0,)}, "0 of 2 images would be labeled"),
        ([{"class_index": 0}] * 2, {"old": (0,), "labelled_share": 1.0}, "2 of 2 images would be labeled"),
    ],
)
def test_unsuitable_data_are_errors(rows, options, message):
    with pytest.raises(UserError, match=message):
        Herbarium19(**options)({"train": labeled_vectors(np.eye(len(rows)), rows)}, None)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"labelled_share": 0.0}, "labelled_share"),
        ({"labelled_share": 1.1}, "labelled_share"),
        ({"iterations": 0}, "iterations"),
        ({"seeds": ()}, "seeds"),
        ({"seeds": (0, 0)}, "seeds"),
        ({"seeds": (2**32,)}, "seeds"),
    ],
)
def test_invalid_options_are_errors(options, message):
    with pytest.raises(UserError, match=message):
        Herbarium19(**options)
