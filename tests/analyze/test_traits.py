"""Correlation of species with a trait: planted and absent traits, and reference implementations."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, pearsonr
from sklearn.linear_model import Ridge

from bioclip_jax.analyze.pca import group_means, principal_components
from bioclip_jax.analyze.trait_values import _number, label_of
from bioclip_jax.analyze.traits import cross_predict, ridge, trait_axis
from bioclip_jax.errors import UserError


def plain_ridge(points, targets, new):
    """Predict `new` with the penalty of the least generalized cross-validation error, by definition."""
    centered = points - points.mean(axis=0)
    largest = np.linalg.svd(centered, compute_uv=False)[0] ** 2
    predictions = []
    for y in targets.T:
        best = (np.inf, None)
        for share in np.logspace(-4, 2, 13):
            model = Ridge(alpha=share * largest, solver="svd").fit(points, y)
            # The hat matrix column by column: the effect of each target on the predictions.
            hat = np.column_stack(
                [
                    Ridge(alpha=share * largest, solver="svd").fit(points, unit).predict(points)
                    for unit in np.eye(len(points))
                ]
            )
            error = np.sum((y - model.predict(points)) ** 2) / (len(points) - np.trace(hat)) ** 2
            if error < best[0]:
                best = (error, model.predict(new))
        predictions.append(best[1])
    return np.column_stack(predictions)


@pytest.mark.parametrize("shape", [(12, 5), (7, 20)])
def test_ridge_equals_scikit_learn_with_the_penalty_of_the_least_gcv_error(shape):
    rng = np.random.default_rng(0)
    points = rng.normal(size=shape)
    targets = np.column_stack(
        [points[:, 0] + 0.1 * rng.normal(size=len(points)), rng.normal(size=len(points))]
    )
    new = rng.normal(size=(4, shape[1]))
    coefficients, intercept = ridge(points, targets)
    np.testing.assert_allclose(new @ coefficients + intercept, plain_ridge(points, targets, new), atol=1e-6)


def test_held_out_predictions_come_from_the_other_folds_alone():
    rng = np.random.default_rng(1)
    points, targets = rng.normal(size=(13, 4)), rng.normal(size=(13, 2))
    predicted = cross_predict(points, targets, seed=5)
    order = np.random.default_rng(5).permutation(13)
    for held in np.array_split(order, 10):
        train = [row for row in range(13) if row not in held]
        expected = plain_ridge(points[train], targets[train], points[held])
        np.testing.assert_allclose(predicted[held], expected, atol=1e-6, err_msg=f"species {held} held out")


@settings(max_examples=25)
@given(st.integers(4, 20), st.integers(2, 12), st.integers(0, 2**31))
def test_correlations_with_components_equal_scipy(species, dim, seed):
    rng = np.random.default_rng(seed)
    means, values = rng.normal(size=(species, dim)) * np.arange(1, dim + 1), rng.normal(size=species)
    axis = trait_axis(means, values, permutations=19, cv_permutations=9, seed=0)
    centered = means - means.mean(axis=0)
    _, singular, vectors = np.linalg.svd(centered, full_matrices=False)
    rank = min(5, species - 1, dim)
    expected = [abs(pearsonr(centered @ vectors[row], values)[0]) for row in range(rank)]
    np.testing.assert_allclose(np.abs(axis.components), expected, atol=1e-6)
    assert axis.r == pytest.approx(max(expected), abs=1e-6) and axis.component == 1 + int(np.argmax(expected))
    assert abs(axis.r_signed) == axis.r
    np.testing.assert_allclose(
        axis.space.shares, (singular**2 / np.sum(singular**2))[: len(axis.space.shares)], atol=1e-9
    )
    assert np.linalg.norm(axis.direction) == pytest.approx(1)
    np.testing.assert_allclose(axis.fitted, centered @ axis.direction, atol=1e-9)


def test_p_estimates_the_exact_permutation_test():
    """Of five species, all 120 orders can be enumerated; random shuffles must agree, ties included."""
    rng = np.random.default_rng(3)
    means, values = rng.normal(size=(5, 6)), np.array([1.0, 1.0, 2.0, 5.0, 3.0])
    axis = trait_axis(means, values, permutations=4_000, cv_permutations=1)
    centered = means - means.mean(axis=0)
    vectors = np.linalg.svd(centered, full_matrices=False)[2][:4]
    reached = 0
    for order in itertools.permutations(values):
        r = max(abs(pearsonr(centered @ vector, order)[0]) for vector in vectors)
        reached += r >= axis.r - 1e-9
    exact = reached / 120
    assert axis.p == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / 4_000) + 1e-3)


def test_a_planted_trait_is_found_along_its_direction():
    rng = np.random.default_rng(0)
    values = rng.uniform(4, 20, 30)
    direction = np.eye(64)[7]
    means = 0.1 * rng.normal(size=(30, 64)) + 0.3 * np.outer(values, direction)
    axis = trait_axis(means, values, permutations=999, cv_permutations=199)
    assert axis.r > 0.98 and axis.component == 1, axis.components
    assert axis.p == 1 / 1000 and axis.p_cv == 1 / 200
    assert axis.r_cv > 0.9, axis.r_cv
    assert axis.direction @ direction > 0.95, "the direction must point to where the trait grows"


def test_a_trait_off_the_first_components_is_found_by_the_held_out_prediction():
    rng = np.random.default_rng(1)
    values = rng.normal(size=80)
    means = rng.normal(size=(80, 24)) * np.linspace(6, 1, 24)
    means[:, -1] = values
    axis = trait_axis(means, values, permutations=199, cv_permutations=199)
    assert axis.r < 0.5, f"no leading component holds the trait, but r is {axis.r}"
    assert axis.r_cv > 0.9 and axis.p_cv == 1 / 200, (axis.r_cv, axis.p_cv)


def test_p_values_of_noise_are_calibrated():
    rng = np.random.default_rng(11)
    number, hits = 240, {"p": 0, "p_cv": 0}
    highest = []
    for seed in range(number):
        species = int(rng.integers(5, 20))
        axis = trait_axis(
            rng.normal(size=(species, 12)),
            rng.normal(size=species),
            permutations=199,
            cv_permutations=99,
            seed=seed,
        )
        hits["p"] += axis.p <= 0.05
        hits["p_cv"] += axis.p_cv <= 0.05
        highest.append(np.mean(axis.r_cv_null))
    low, high = binom.ppf([0.001, 0.999], number, 0.05)
    for name, count in hits.items():
        assert low <= count <= high, (
            f"{count} of {number} made traits have {name} <= 0.05, not {low:g} to {high:g}"
        )
    assert np.mean(highest) < 0, "held-out predictions without skill must correlate negatively"


@pytest.mark.parametrize(
    ("means", "values", "words"),
    [
        (np.eye(3), [1, 2, 3], "only 3 species"),
        (np.eye(6), [2.5] * 6, "same value, 2.5"),
        (np.ones((5, 3)), [1, 2, 3, 4, 5], "the same vector"),
    ],
)
def test_unusable_traits_are_errors(means, values, words):
    with pytest.raises(UserError, match=words):
        trait_axis(means, np.array(values, float), permutations=9, cv_permutations=9)


@settings(max_examples=40)
@given(st.integers(1, 60), st.integers(1, 8), st.integers(0, 2**31))
def test_group_means(rows, number, seed):
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(rows, 3)).astype(np.float32)
    groups = rng.integers(-1, number, rows)
    means = group_means(vectors, groups, number)
    for group in range(number):
        members = vectors[groups == group].astype(np.float64)
        expected = members.mean(axis=0) if len(members) else np.full(3, np.nan)
        np.testing.assert_allclose(means[group], expected, atol=1e-12, err_msg=f"group {group} of {groups}")


def test_group_means_over_several_chunks():
    rng = np.random.default_rng(0)
    vectors, groups = rng.normal(size=(20_000, 2)).astype(np.float32), rng.integers(0, 3, 20_000)
    expected = [vectors[groups == group].astype(np.float64).mean(axis=0) for group in range(3)]
    np.testing.assert_allclose(group_means(vectors, groups, 3), expected, atol=1e-12)


def test_components_of_many_points_equal_the_svd():
    points = np.random.default_rng(0).normal(size=(40, 6)) * np.arange(1, 7)
    components = principal_components(points)
    centered = points - points.mean(axis=0)
    vectors = np.linalg.svd(centered, full_matrices=False)[2]
    np.testing.assert_allclose(np.abs(np.sum(components.axes * vectors, axis=1)), 1, atol=1e-9)
    np.testing.assert_allclose(components.scores @ components.axes, centered, atol=1e-9)


@pytest.mark.parametrize(
    "word", ["NA", "nan", "unknown", "n/a", "none", "null", "-", "incertae sedis", "", "<NA>", "?"]
)
def test_words_for_unknown_are_missing_numbers(word):
    assert np.isnan(_number(word))


@pytest.mark.parametrize(
    ("column", "label"),
    [
        ("beak_depth_mm", "beak depth (mm)"),
        ("mass (g)", "mass (g)"),
        ("mass_g", "mass (g)"),
        ("temperature_c", "temperature (°C)"),
        ("trait_value", "trait value"),
        ("length [cm]", "length (cm)"),
        ("g", "g"),
    ],
)
def test_labels_of_columns_show_words_and_unit(column, label):
    assert label_of(column) == label
