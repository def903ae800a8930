"""Heads against independent computations: densities of SciPy, scikit-learn, and brute force."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import log_softmax
from scipy.stats import multivariate_normal
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import NearestCentroid

from bioclip_jax.predict.learn.linear import (
    Discriminants,
    Linear,
    centroid_head,
    logistic_heads,
    name_head,
    weighted_sum,
)
from bioclip_jax.predict.learn.mixture import fit_weights, log_likelihoods

CLASSES, DIM = 4, 6


@pytest.fixture(scope="module")
def data() -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors of four overlapping classes of unequal size, and their labels."""
    random = np.random.default_rng(3)
    labels = np.repeat(np.arange(CLASSES), (9, 14, 25, 30))
    vectors = random.normal(size=(CLASSES, DIM))[labels] + random.normal(size=(len(labels), DIM)) * 0.9
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32), labels


@pytest.mark.parametrize("shrinkage", [0.02, 0.3, 1.0])
def test_discriminant_is_the_ratio_of_gaussian_densities(data, shrinkage):
    vectors, labels = data
    means = np.array([vectors[labels == index].mean(axis=0) for index in range(CLASSES)], np.float64)
    within = vectors - means[labels]
    covariance = within.T @ within / (len(labels) - CLASSES)
    covariance = (1 - shrinkage) * covariance + shrinkage * np.trace(covariance) / DIM * np.eye(DIM)
    densities = [multivariate_normal(mean, covariance).logpdf(vectors) for mean in means]
    expected = log_softmax(np.stack(densities, axis=1), axis=1)
    logits = Discriminants(vectors, labels, CLASSES).head(shrinkage)(vectors)
    np.testing.assert_allclose(log_softmax(logits, axis=1), expected, atol=1e-6)


def test_centroid_logits_are_squared_distances_up_to_a_constant(data):
    vectors, labels = data
    logits = centroid_head(vectors, labels, CLASSES, 20.0)(vectors)
    for row, vector in enumerate(vectors):
        means = [vectors[labels == index].mean(axis=0) for index in range(CLASSES)]
        expected = np.array([-10 * np.sum((vector - mean) ** 2) for mean in means])
        np.testing.assert_allclose(logits[row] - logits[row, 0], expected - expected[0], atol=1e-4)
    assert (logits.argmax(axis=1) == NearestCentroid().fit(vectors, labels).predict(vectors)).all()


@pytest.mark.parametrize("classes", [2, CLASSES])
def test_logistic_regression_equals_scikit_learn_on_scaled_vectors(data, classes):
    vectors, labels = data[0][data[1] < classes], data[1][data[1] < classes]
    scale = np.sqrt(vectors.var(axis=0).mean())
    own = LogisticRegression(C=0.1, class_weight="balanced", max_iter=2000, tol=1e-6)
    own.fit((vectors - vectors.mean(axis=0)) / scale, labels)
    expected = own.predict_log_proba((vectors - vectors.mean(axis=0)) / scale)
    [_, head] = logistic_heads(vectors, labels, classes, (1e-3, 0.1))
    np.testing.assert_allclose(log_softmax(head(vectors), axis=1), expected, atol=0.05)


def test_a_weighted_sum_is_one_linear_head(data):
    vectors, labels = data
    heads = [centroid_head(vectors, labels, CLASSES, 5.0), Discriminants(vectors, labels, CLASSES).head(0.3)]
    total = weighted_sum(heads, [0.7, 0.2])
    expected = 0.7 * heads[0](vectors) + 0.2 * heads[1](vectors)
    np.testing.assert_allclose(log_softmax(total(vectors), 1), log_softmax(expected, 1), atol=1e-6)
    np.testing.assert_allclose(total(vectors).sum(axis=1), 0, atol=1e-9)


def test_a_mean_of_vectors_has_the_mean_of_logits(data):
    """So pooled frames of an event equal the softmax of their mean log-probabilities."""
    vectors, labels = data
    head = weighted_sum([Discriminants(vectors, labels, CLASSES).head(0.1)], [1.0])
    mean = log_softmax(head(vectors[:5]), axis=1).mean(axis=0)
    np.testing.assert_allclose(
        log_softmax(head(vectors[:5].mean(axis=0))), mean - np.log(np.exp(mean).sum()), atol=1e-6
    )


def test_names_are_cosines_times_the_scale():
    texts = np.eye(3, DIM, dtype=np.float32)
    np.testing.assert_allclose(name_head(texts, 14.0)(np.full((1, DIM), 0.5)), [[7, 7, 7]])


def test_weights_find_the_temperature_that_made_the_labels():
    random = np.random.default_rng(0)
    logits = random.normal(size=(20_000, 5))
    labels = np.array([random.choice(5, p=p) for p in np.exp(log_softmax(0.5 * logits, axis=1))])
    noise = random.normal(size=logits.shape)
    weights = fit_weights(np.stack([logits, noise]), labels)
    assert weights[0] == pytest.approx(0.5, abs=0.03) and weights[1] < 0.05, weights


def test_weights_of_a_head_without_errors_stay_finite_and_useless_heads_get_none():
    labels = np.arange(40) % 2
    perfect = np.where(np.eye(2, dtype=bool)[labels], 1.0, -1.0)
    [weight] = fit_weights(perfect[None], labels)
    confidence = 1 / (1 + np.exp(-2 * weight))
    # One photograph in 42, smoothed over both classes.
    assert confidence == pytest.approx(1 - 1 / 42 / 2, abs=1e-3)
    assert fit_weights(np.stack([perfect, -perfect]), labels)[1] == 0


@given(seed=st.integers(0, 10_000), heads=st.integers(1, 3), classes=st.integers(2, 5))
def test_no_other_weights_are_better(seed, heads, classes):
    random = np.random.default_rng(seed)
    logits, labels = random.normal(size=(heads, 30, classes)) * 3, random.integers(classes, size=30)
    share = 1 / 32
    targets = (1 - share) * np.eye(classes)[labels] + share / classes

    def loss(weights: np.ndarray) -> float:
        return -(targets * log_softmax(np.tensordot(weights, logits, 1), axis=1)).sum(axis=1).mean()

    best = fit_weights(logits, labels)
    assert (best >= 0).all()
    for _ in range(20):
        other = np.maximum(best + random.normal(size=heads) * 0.1, 0)
        assert loss(best) <= loss(other) + 1e-4, f"{other} is better than {best}"


def test_log_likelihoods_are_scipys():
    logits = np.random.default_rng(1).normal(size=(9, 4)) * 100
    labels = np.arange(9) % 4
    expected = log_softmax(logits, axis=1)[np.arange(9), labels]
    np.testing.assert_allclose(log_likelihoods(logits, labels), expected, atol=1e-9)


def test_linear_is_a_matrix_and_a_bias():
    assert Linear(np.eye(2), np.array([1.0, 0.0]))(np.array([[3.0, 4.0]])).tolist() == [[4.0, 4.0]]
