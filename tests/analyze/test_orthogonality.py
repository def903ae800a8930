"""Orthogonality of a factor to the species' subspace, beside plain NumPy and planted directions."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bioclip_jax.analyze.embeddings import Embeddings
from bioclip_jax.analyze.factors import read_factor
from bioclip_jax.analyze.orthogonality import orthogonality, species_space
from bioclip_jax.analyze.separability import separability

DIM, SPREAD = 48, 10


def planted(direction, strength, seed, *, species=30, each=24, values=("diseased", "healthy"), noise=0.05):
    """Species that differ in the first SPREAD dimensions, and a factor along `direction`."""
    random = np.random.default_rng(seed)
    means = np.zeros((species, DIM))
    means[:, :SPREAD] = random.normal(size=(species, SPREAD))
    kind, level = np.repeat(np.arange(species), each), np.tile(np.arange(each) % len(values), species)
    vectors = means[kind] + noise * random.normal(size=(len(kind), DIM))
    vectors += strength * (level - level.mean())[:, None] * direction
    table = pa.table({"kind": [f"species {at}" for at in kind], "value": [values[at] for at in level]})
    return Embeddings(vectors.astype(np.float32), table, lambda row: None, "made data")


def measured(data, **options):
    return orthogonality(read_factor(data, "value", "kind"), data.vectors, space_of(data), **options)


def space_of(data):
    return species_space(data.vectors, data.species("kind"))


def axis(at):
    return np.eye(DIM)[at]


def test_a_factor_beside_the_species_is_orthogonal_and_one_among_them_is_not():
    beside, _ = measured(planted(axis(SPREAD + 3), 0.6, 0))
    among, _ = measured(planted(axis(2), 0.6, 0))
    assert beside["k"] == among["k"] == SPREAD
    assert beside["orthogonality"] > 0.95, beside
    assert beside["orthogonality"] > beside["orthogonality_null_range"][1]
    assert among["orthogonality"] < 0.05, among
    assert among["orthogonality"] < among["orthogonality_permuted_range"][0]
    half = np.sqrt(0.5)
    between, _ = measured(planted(half * axis(2) + half * axis(SPREAD + 3), 0.6, 0))
    assert between["orthogonality"] == pytest.approx(0.5, abs=0.03)


def test_a_planted_orthogonal_factor_is_separable_too():
    data = planted(axis(SPREAD + 3), 0.6, 1)
    figures, _ = separability(read_factor(data, "value", "kind"), data.vectors, permutations=19)
    assert figures["separability"] > 0.95, figures


def test_split_halves_remove_what_noise_adds():
    """Of few noisy images, the measured direction is mostly noise outside the subspace; halves correct it."""
    plain, halves = [], []
    for seed in range(12):
        figures, _ = measured(planted(axis(2), 0.6, seed, species=20, each=16, noise=0.5), permutations=0)
        plain.append(figures["orthogonality"])
        halves.append(figures["orthogonality_split_half"])
    assert np.mean(plain) > 0.15, f"there is little noise to take out: {plain}"
    # Sums, since the denominators of single sets vary.
    assert abs(np.mean(halves)) < 0.5 * np.mean(plain), (
        f"split halves {np.mean(halves):.3f}, plain {np.mean(plain):.3f}"
    )


def test_split_halves_of_noise_give_no_estimate():
    shares = [
        measured(planted(axis(2), 0.0, seed), permutations=99)[0]["orthogonality_split_half"]
        for seed in range(10)
    ]
    assert sum(share is not None for share in shares) <= 4, shares


def in_plain_numpy(data):
    """Return the share for every k by definition, in loops and float64."""
    kinds, values = data.species("kind"), data.texts("value")
    vectors = data.vectors.astype(np.float64)
    residuals, means = np.empty_like(vectors), []
    for kind in sorted(set(kinds)):
        mean = vectors[kinds == kind].mean(axis=0)
        means.append(mean)
        residuals[kinds == kind] = vectors[kinds == kind] - mean
    means = np.array(means) - np.mean(means, axis=0)
    variances, axes = np.linalg.eigh(means.T @ means)
    axes, variances = axes[:, ::-1], variances[::-1]
    k = next(k for k in range(1, len(axes) + 1) if variances[:k].sum() >= 0.99 * variances.sum())
    first, second = sorted(set(values))
    difference = residuals[values == first].mean(axis=0) - residuals[values == second].mean(axis=0)
    shares = []
    for at in range(min(len(means) - 1, vectors.shape[1]) + 1):
        projected = axes[:, :at] @ (axes[:, :at].T @ difference)
        shares.append(np.sum((difference - projected) ** 2) / np.sum(difference**2))
    return k, np.array(shares)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.floats(0, 1), st.integers(5, 60))
def test_shares_equal_the_definition(seed, angle, species):
    direction = np.cos(angle) * axis(1) + np.sin(angle) * axis(SPREAD)
    data = planted(direction, 0.4, seed, species=species, each=10, noise=0.3)
    figures, curve = measured(data, permutations=0, splits=0)
    k, shares = in_plain_numpy(data)
    assert figures["k"] == k
    assert np.allclose(curve.measured, shares, atol=1e-6), np.abs(curve.measured - shares).max()
    assert figures["orthogonality"] == pytest.approx(shares[k], abs=1e-6)
    assert figures["orthogonality_permuted_mean"] is None and figures["orthogonality_split_half"] is None


def test_the_distribution_of_random_directions_equals_a_simulation():
    data = planted(axis(2), 0.6, 0)
    figures, curve = measured(data, permutations=0, splits=0)
    axes = space_of(data).axes
    drawn = np.random.default_rng(0).normal(size=(20_000, DIM))
    for k in (1, 4, 10, 25):
        outside = 1 - np.sum((drawn @ axes[:k].T) ** 2, axis=1) / np.sum(drawn**2, axis=1)
        expected = [np.quantile(outside, 0.025), outside.mean(), np.quantile(outside, 0.975)]
        assert curve.random[:, k] == pytest.approx(expected, abs=0.01), f"k = {k}"
    assert curve.random[:, 0].tolist() == [1, 1, 1]
    assert figures["orthogonality_null_mean"] == pytest.approx(1 - figures["k"] / DIM)


def test_nothing_is_outside_if_the_species_span_the_space():
    random = np.random.default_rng(0)
    kinds = np.repeat(np.arange(30), 8)
    vectors = random.normal(size=(30, 6))[kinds] + 0.1 * random.normal(size=(240, 6))
    table = pa.table({"kind": [str(kind) for kind in kinds], "value": ["a", "b"] * 120})
    data = Embeddings(vectors.astype(np.float32), table, lambda row: None, "made data")
    figures, curve = measured(data, permutations=20)
    assert figures["k"] == figures["dimensions"] == 6
    assert figures["orthogonality"] == pytest.approx(0, abs=1e-6)
    assert curve.random[:, -1].tolist() == [0, 0, 0]


def test_several_levels_are_weighted_by_their_images():
    data = planted(axis(SPREAD), 0.5, 3, values=("a", "b", "c"), each=18, noise=0.3)
    figures, _ = measured(data, permutations=5)
    kinds, values = data.species("kind"), data.texts("value")
    residuals = data.vectors.astype(np.float64).copy()
    for kind in set(kinds):
        residuals[kinds == kind] -= residuals[kinds == kind].mean(axis=0)
    axes = space_of(data).axes[: figures["k"]].astype(np.float64)
    inside = whole = 0.0
    for value in "abc":
        mean = residuals[values == value].mean(axis=0)
        whole += np.sum(values == value) * mean @ mean
        inside += np.sum(values == value) * np.sum((axes @ mean) ** 2)
    assert figures["orthogonality"] == pytest.approx(1 - inside / whole, abs=1e-6)


def test_species_without_a_difference_stay_in_the_subspace():
    data = planted(axis(SPREAD), 0.5, 4)
    table = data.columns
    alone = np.array([f"species {at}" for at in range(25)])
    values = np.where(np.isin(data.species("kind"), alone), "healthy", data.texts("value"))
    table = pa.table({"kind": table["kind"], "value": values})
    fewer = Embeddings(data.vectors, table, data.picture, data.source)
    assert read_factor(fewer, "value", "kind").left_out["species_of_one_value"] == 25
    figures, curve = measured(fewer, permutations=0)
    # Five species would span four dimensions.
    assert figures["k"] == SPREAD and len(curve.measured) == 30
    assert figures["orthogonality"] > 0.9
