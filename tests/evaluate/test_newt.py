"""NeWT: the search by Gram matrices equals scikit-learn's."""

import numpy as np
import pytest
from scipy.stats import loguniform
from sklearn.model_selection import RandomizedSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from bioclip_jax.errors import UserError
from bioclip_jax.evaluate.protocols.newt import NeWT
from bioclip_jax.pipeline.sources import Sample
from bioclip_jax.predict.embedding import LabeledEmbeddings

DRAWS = 12
DIM = 40
# Task: numbers of training images with label 0 and 1, and distance between the labels.
TASKS = {"plain": (20, 20, 0.35), "uneven": (26, 7, 0.5), "noise": (15, 15, 0.0), "easy": (12, 18, 4.0)}


def made(seed=0):
    """Return both splits of the tasks: unnormalized embeddings, and labels as in the publisher's table."""
    generator = np.random.default_rng(seed)
    parts = {"train": ([], []), "test": ([], [])}
    for task, (zeros, ones, apart) in TASKS.items():
        for split, counts in (("train", (zeros, ones)), ("test", (30, 30))):
            for label, count in enumerate(counts):
                vectors = generator.normal(size=(count, DIM)) + apart * label * (np.arange(DIM) < 4)
                parts[split][0].append(vectors * generator.uniform(0.5, 2, (count, 1)) + 0.3)
                about = {"task": task, "task_cluster": "easy" if task == "easy" else "hard", "label": label}
                parts[split][1].extend(Sample("", b"", {}, None, about) for _ in range(count))
    sets = {}
    for split, (vectors, samples) in parts.items():
        order = generator.permutation(len(samples))
        features = np.concatenate(vectors).astype(np.float32)[order]
        sets[split] = LabeledEmbeddings(
            features, [samples[row] for row in order], np.arange(len(samples)), {}
        )
    return sets


def plain_accuracy(sets, task, seed):
    def part(split):
        rows = [n for n, sample in enumerate(sets[split].samples) if sample.metadata["task"] == task]
        vectors = sets[split].features[rows]
        vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors, np.array([sets[split].samples[row].metadata["label"] for row in rows])

    (x, y), (x_test, y_test) = part("train"), part("test")
    mean = x.mean(axis=0, keepdims=True)
    x, x_test = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (x - mean, x_test - mean))
    space = {
        "svc__C": loguniform(1e-3, 1e1),
        "svc__kernel": ["rbf", "linear", "sigmoid", "poly"],
        "svc__gamma": loguniform(1e-4, 1e-3),
    }
    search = RandomizedSearchCV(
        make_pipeline(StandardScaler(), SVC(C=1.0)), space, n_iter=DRAWS, random_state=seed
    )
    return search.fit(x, y).predict(x_test) == y_test


def test_search_equals_scikit_learns():
    sets = made()
    score = NeWT(draws=DRAWS, seeds=(0, 3), jobs=1)(sets, None)
    plain = {task: np.stack([plain_accuracy(sets, task, seed) for seed in (0, 3)]) for task in TASKS}
    for row in score.tables["tasks"]:
        assert row["accuracy"] == pytest.approx(plain[row["task"]].mean(), abs=1e-6), (
            f"task {row['task']} differs"
        )
    together = np.concatenate(list(plain.values()), axis=1)
    np.testing.assert_allclose(score.figures["seeds"], together.mean(axis=1), atol=1e-6)
    assert score.figures["top1"] == pytest.approx(together.mean(), abs=1e-6)
    assert score.figures["clusters"]["easy"] == pytest.approx(plain["easy"].mean(), abs=1e-6)
    assert score.figures["n"] == 240 and score.figures["tasks"] == 4


def test_result_is_independent_of_processes():
    sets = made(1)
    alone = NeWT(draws=2, seeds=(0,), jobs=1)(sets, None)
    assert NeWT(draws=2, seeds=(0,), jobs=2)(sets, None).figures == alone.figures


def test_tasks_without_training_images_are_errors():
    sets = made()
    few = [
        n
        for n, s in enumerate(sets["train"].samples)
        if (s.metadata["task"], s.metadata["label"]) != ("uneven", 1)
    ]
    with pytest.raises(UserError, match="the task uneven has 26 training images of label 0 and 0 of label 1"):
        NeWT(draws=1, jobs=1)({**sets, "train": sets["train"].take(np.array(few))}, None)
    with pytest.raises(UserError, match="draws"):
        NeWT(draws=0)
