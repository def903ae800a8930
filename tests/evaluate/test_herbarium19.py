"""Category discovery against loops written out: k-means++, k-means with labelled members, and the pairing by trial."""

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


def plain_kmeans(unlabelled, labelled, labels, k, seed, iterations=10, tolerance=1e-4):
    """Vaze et al.'s algorithm, a vector at a time, in float64; an empty cluster keeps its centre."""
    unlabelled, labelled = unlabelled.astype(np.float64), labelled.astype(np.float64)
    random = np.random.RandomState(seed)
    classes = sorted(set(labels.tolist()))
    centres = [np.mean([x for x, label in zip(labelled, labels) if label == c], axis=0) for c in classes]
    while len(centres) < k:
        distances = [min(((x - c) ** 2).sum() for c in centres) for x in unlabelled]
        r, reached = random.rand(), 0.0
        place = -1
        while reached < r or place < 0:
            place += 1
            reached += distances[place] / sum(distances)
        centres.append(unlabelled[place])
    fixed = [classes.index(label) for label in labels]
    best, lowest = None, np.inf
    for _ in range(iterations):
        clusters, inertia = [], 0.0
        for x in unlabelled:
            distances = [((x - c) ** 2).sum() for c in centres]
            clusters.append(int(np.argmin(distances)))
            inertia += min(distances)
        for x, cluster in zip(labelled, fixed):
            inertia += ((x - centres[cluster]) ** 2).sum()
        if inertia < lowest - 1e-12:
            best, lowest = clusters, inertia
        members = [[] for _ in range(k)]
        for x, cluster in zip([*labelled, *unlabelled], fixed + clusters):
            members[cluster].append(x)
        moved = [np.mean(group, axis=0) if group else centre for group, centre in zip(members, centres)]
        shift = sum(np.sqrt(((new - old) ** 2).sum()) for new, old in zip(moved, centres))
        centres = moved
        if shift**2 < tolerance:
            break
    return best


def images(random, n, classes, dim=5, spread=0.6):
    """Unit vectors around a mean a class."""
    y = random.integers(classes, size=n)
    x = random.normal(size=(classes, dim))[y] + spread * random.normal(size=(n, dim))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32), y


@given(
    st.integers(0, 2**32 - 1), st.integers(12, 60), st.integers(2, 8), st.integers(0, 5), st.integers(1, 12)
)
@settings(max_examples=60)
def test_kmeans_equals_the_loops(seed, n, classes, more, iterations):
    random = np.random.default_rng(seed)
    x, y = images(random, n, classes)
    # Labels with gaps, of at least one image.
    labelled = (y % 2 == 0) & (random.random(n) < 0.7)
    labelled[random.integers(n)] = True
    labels = 10 * y[labelled] + 3
    k = len(set(labels.tolist())) + more
    given = x[~labelled], x[labelled], labels
    found = semi_supervised_kmeans(*given, k, seed=seed % 1000, iterations=iterations)
    expected = plain_kmeans(*given, k, seed % 1000, iterations)
    assert found.tolist() == expected, f"{n} images, {k} clusters, seed {seed % 1000}"


def test_kmeans_stops_where_its_centres_hardly_move():
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


def test_a_cluster_that_loses_its_members_keeps_its_centre():
    # One of few draws of so few vectors in which a cluster runs empty and, at the origin, would win others.
    random = np.random.default_rng(20150)
    x, labels = random.normal(size=(24, 2)).astype(np.float32) ** 3, random.integers(4, size=12)
    k = len(set(labels.tolist())) + 3
    found = semi_supervised_kmeans(x[12:], x[:12], labels, k, seed=0).tolist()
    assert found == plain_kmeans(x[12:], x[:12], labels, k, 0)
    assert len({*found, *range(k - 3)}) < k, "every cluster has members, so that this shows nothing"


def test_kmeans_with_fewer_vectors_than_clusters_leaves_clusters_empty():
    x = np.eye(4, dtype=np.float32)[[0, 0, 1, 1, 2, 2]]
    found = semi_supervised_kmeans(x, x[:2], np.array([5, 5]), 6, seed=0)
    assert found[0] == found[1] == 0, "those at the labelled class's mean belong to it"
    assert len({found[0], found[2], found[4]}) == 3 and found[2] == found[3] and found[4] == found[5]
    assert found.max() < 6


def test_the_first_of_equally_near_centres_is_taken_and_nearly_equal_ones_are_told_apart():
    random = np.random.default_rng(0)
    centres = random.normal(size=(40, 64))
    centres[20:] = centres[:20]
    x = (centres[random.integers(20, size=500)] + 0.1 * random.normal(size=(500, 64))).astype(np.float32)
    expected = [int(np.argmin(((centres - row) ** 2).sum(axis=1).round(12))) for row in x.astype(np.float64)]
    assert nearest_center(x, centres).tolist() == expected
    # The second half is nearer by less than float32 can hold beside distances of this size.
    centres[20:] = centres[:20] * (1 + 1e-9)
    far = 10 * centres[:20].astype(np.float32)
    assert nearest_center(far, centres).tolist() == list(range(20, 40))


@given(st.integers(0, 2**32 - 1), st.integers(1, 30), st.integers(1, 5), st.integers(1, 5))
def test_pairing_of_clusters_and_classes_is_the_best_of_all(seed, n, classes, clusters):
    random = np.random.default_rng(seed)
    true, predicted = random.integers(classes, size=n) * 7 + 2, random.integers(clusters, size=n) * 3
    hits = cluster_hits(true, predicted)
    most = 0
    # A cluster's class, or None; as many as there are clusters, each class at most once.
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


def test_pairing_of_no_image_is_empty():
    assert cluster_hits(np.zeros(0, int), np.zeros(0, int)).tolist() == []


def labelled_vectors(x, rows, taxa=None):
    samples = [Sample(f"{n}.jpg", b"", {}, taxa[n] if taxa else None, row) for n, row in enumerate(rows)]
    return LabeledEmbeddings(np.asarray(x, np.float32), samples, np.arange(len(samples)), {})


def test_scores_are_those_of_the_loops():
    random = np.random.default_rng(0)
    x, y = images(random, 160, 7, spread=0.9)
    lengths = random.uniform(0.5, 20, (160, 1)).astype(np.float32)
    old = {0, 2, 4}
    data = labelled_vectors(x * lengths, [{"class_index": str(label)} for label in y])
    found = Herbarium19(old=[4, 0, 2], seeds=(0, 3))({"train": data}, None)

    rows = [row for row in range(160) if y[row] in old]
    np.random.seed(0)
    chosen = {rows[place] for place in np.random.choice(len(rows), int(0.8 * len(rows)), replace=False)}
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
    figures = found.figures
    assert figures["by_seed"] == pytest.approx(shares, abs=1e-9)
    assert figures["accuracy"] == pytest.approx(np.mean(shares), abs=1e-9)
    assert figures["std"] == pytest.approx(np.std(shares), abs=1e-9)
    assert figures["accuracy_old"] == pytest.approx(np.mean(by_part["old"]), abs=1e-9)
    assert figures["accuracy_new"] == pytest.approx(np.mean(by_part["new"]), abs=1e-9)
    assert 0.2 < figures["accuracy"] < 1, "everything is right or hardly anything, which would show little"
    low, high = figures["interval"]
    assert low < figures["accuracy"] < high
    expected = {"n": len(without), "n_labelled": len(with_label), "classes": 7, "old_classes": 3,
                "n_old": len(rows) - len(with_label)}  # fmt: skip
    assert {name: figures[name] for name in expected} == expected
    table = found.tables["classes"]
    assert [row["old"] for row in table] == [True, False, True, False, True, False, False]
    assert sum(row["images"] * row["accuracy"] for row in table) / len(without) == pytest.approx(
        figures["accuracy"]
    )


def test_data_of_old_classes_alone_have_no_new():
    x, y = images(np.random.default_rng(0), 60, 3)
    data = labelled_vectors(x, [{"class_index": int(label)} for label in y])
    figures = Herbarium19(old=(0, 1, 2), seeds=(0,))({"train": data}, None).figures
    assert figures["accuracy_new"] is None and figures["accuracy_old"] == figures["accuracy"]


def test_the_published_list_is_taken_for_683_classes():
    assert len(OLD) == 341 and len(set(OLD)) == 341 and min(OLD) == 0 and max(OLD) < 683
    assert OLD[:10] == (0, 1, 3, 6, 7, 8, 10, 12, 14, 15)
    random = np.random.default_rng(0)
    x, _ = images(random, 3 * 683, 683, dim=16)
    data = labelled_vectors(x, [{"class_index": float(label)} for label in np.repeat(np.arange(683), 3)])
    found = Herbarium19(seeds=(0,), iterations=1)({"train": data}, None)
    assert found.figures["classes"] == 683
    assert found.figures["n_labelled"] == int(0.8 * 3 * 341)
    assert found.figures["n"] - found.figures["n_old"] == 3 * 342
    told = {row["class_index"] for row in found.tables["classes"] if row["old"]}
    assert told <= set(OLD) and len(told) > 100


def test_classes_are_counted_in_the_order_of_texts_where_there_is_no_index():
    names = ["10", "9", "100", "9", "10"]
    assert read_classes(labelled_vectors(np.eye(5), [{"class": name} for name in names])).tolist() == [
        0,
        2,
        1,
        2,
        0,
    ]
    taxa = [Taxon(class_=name) for name in names]
    assert read_classes(labelled_vectors(np.eye(5), [{}] * 5, taxa)).tolist() == [0, 2, 1, 2, 0]
    both = [{"class": name, "class_index": index} for name, index in zip(names, (3, "4", "5.0", 4.0, 3))]
    assert read_classes(labelled_vectors(np.eye(5), both)).tolist() == [3, 4, 5, 4, 3]


@pytest.mark.parametrize(
    ("rows", "options", "told"),
    [
        ([{"class_index": 0}, {"class_index": 1}], {}, "the Old classes of 2 classes are unknown.* --old-classes"),
        ([{"class_index": 0}, {"class_index": 1}], {"old": (0, 2)}, "the Old class 2 has no image"),
        ([{"class_index": 0}, {"class_index": "x"}], {}, "class_index of image 1.jpg is 'x'; give a whole " "number"),
        ([{"class_index": 0}, {}], {}, "class_index of image 1.jpg is ''"),
        ([{"class_index": 0}, {"class_index": 0.5}], {}, "class_index of image 1.jpg is 0.5"),
        ([{"class": "a"}, {"class": ""}], {}, "image 1.jpg has no class"),
        ([{"class_index": 0}, {"class_index": 1}], {"old": (0,)}, "0 of 2 images would be labeled"),
        ([{"class_index": 0}] * 2, {"old": (0,), "labelled_share": 1.0}, "2 of 2 images would be labeled"),
    ],
)  # fmt: skip
def test_data_that_do_not_do_are_named(rows, options, told):
    with pytest.raises(UserError, match=told):
        Herbarium19(**options)({"train": labelled_vectors(np.eye(len(rows)), rows)}, None)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"labelled_share": 0.0}, "labelled_share"), ({"labelled_share": 1.1}, "labelled_share"),
        ({"iterations": 0}, "iterations"), ({"seeds": ()}, "seeds"), ({"seeds": (0, 0)}, "seeds"),
        ({"seeds": (2**32,)}, "seeds"),
    ],
)  # fmt: skip
def test_options_that_make_no_sense_are_named(options, told):
    with pytest.raises(UserError, match=told):
        Herbarium19(**options)
