"""Separability within species, against scikit-learn in each fold, and on noise."""

import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import binom
from sklearn.covariance import OAS
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.metrics import roc_auc_score

from bioclip_jax.analyze.embeddings import Embeddings
from bioclip_jax.analyze.factors import read_factor
from bioclip_jax.analyze.lda import oas_shrinkage
from bioclip_jax.analyze.separability import FOLDS, deal_folds, separability
from bioclip_jax.errors import UserError


def made(species, values, dim, seed, strength=0.0, per_value=None):
    """Unit vectors of noise around species means; each value adds `strength` along its own direction."""
    random = np.random.default_rng(seed)
    names, at = np.unique(species, return_inverse=True)
    vectors = 2 * random.normal(size=(len(names), dim))[at] + random.normal(size=(len(species), dim))
    kinds, level = np.unique(values, return_inverse=True)
    vectors += strength * np.linalg.qr(random.normal(size=(dim, max(len(kinds), 2))))[0].T[level]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    table = pa.table({"kind": list(species), "value": list(values)})
    return Embeddings(vectors.astype(np.float32), table, lambda row: None, "made data")


def drawn(number, each, values, shares, seed):
    random = np.random.default_rng(seed)
    species = np.repeat([f"species {at}" for at in range(number)], each)
    return species, random.choice(values, len(species), p=shares)


def factor_of(data):
    return read_factor(data, "value", "kind")


def fold_by_fold(group, vectors, fold, shrinkage):
    """Predict with scikit-learn's discriminant, with the training images' species means, in loops.

    shrinkage: the ridge as a share of the covariance within levels, from the total covariance in each fold.
    """
    vectors = vectors[group.rows].astype(np.float64)
    predicted, margin, used = np.empty(len(group), int), np.empty(len(group)), []
    along = np.empty(len(group))
    for number in range(FOLDS):
        train, test = fold != number, fold == number
        residuals = np.empty_like(vectors)
        freedom = 0
        for kind in np.unique(group.species):
            mine = group.species == kind
            base = vectors[mine & train] if (mine & train).any() else vectors[mine & test]
            residuals[mine] = vectors[mine] - base.mean(axis=0)
            freedom += max((mine & train).sum() - 1, 0)
        total = residuals[train].T @ residuals[train] / train.sum()
        within = np.zeros_like(total)
        for level in range(len(group.levels)):
            rows = residuals[train & (group.labels == level)]
            within += (rows - rows.mean(axis=0)).T @ (rows - rows.mean(axis=0)) / train.sum()
        share = shrinkage(total, freedom)
        ridge = share / (1 - share) * np.trace(total) / len(total)
        used.append(ridge / (ridge + np.trace(within) / len(total)))
        peer = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=used[-1])
        peer.fit(residuals[train], group.labels[train])
        predicted[test] = peer.predict(residuals[test])
        if len(group.levels) == 2:
            margin[test] = peer.decision_function(residuals[test])
            means = [residuals[train & (group.labels == level)].mean(axis=0) for level in (0, 1)]
            along[test] = residuals[test] @ (means[1] - means[0]) / np.linalg.norm(means[1] - means[0])
    return predicted, margin, used, along


def plain_oas(covariance, freedom):
    d = len(covariance)
    trace, squares = np.trace(covariance), np.trace(covariance @ covariance)
    share = ((1 - 2 / d) * squares + trace**2) / ((freedom + 1 - 2 / d) * (squares - trace**2 / d))
    return min(share, 0.999)


@pytest.mark.parametrize(
    ("values", "shares", "number", "each", "dim"),
    [
        (["a", "b"], [0.7, 0.3], 12, 20, 10),
        (["a", "b"], [0.5, 0.5], 5, 12, 90),
        (["a", "b", "c", "d"], [0.4, 0.3, 0.2, 0.1], 9, 30, 16),
    ],
    ids=["two levels", "more dimensions than images", "four levels"],
)
def test_predictions_equal_scikit_learn_in_each_fold(values, shares, number, each, dim):
    data = made(*drawn(number, each, values, shares, 1), dim, 2, strength=1.5)
    factor = factor_of(data)
    figures, (held,) = separability(factor, data.vectors, permutations=3, seed=7)
    group = factor.groups[0]
    # The folds are drawn first.
    fold = deal_folds(group, np.random.default_rng(7))
    predicted, margin, used, along = fold_by_fold(group, data.vectors, fold, plain_oas)
    differ = np.flatnonzero(held.predicted != predicted)
    assert not len(differ), (
        f"{len(differ)} of {len(group)} images are predicted otherwise, the first {differ[:5]}"
    )
    right = np.mean(predicted == group.labels)
    assert figures["separability"] == pytest.approx(right, abs=1e-6)
    assert figures["balanced_accuracy"] == pytest.approx(
        np.mean([np.mean(predicted[group.labels == level] == level) for level in range(len(values))]),
        abs=1e-6,
    )
    assert figures["majority"] == pytest.approx(np.bincount(group.labels).max() / len(group))
    assert figures["shrinkage"] == pytest.approx(np.mean(used), rel=1e-4)
    if len(values) == 2:
        # The margins come from float32 products.
        assert np.allclose(held.margin, margin, atol=1e-3 * np.abs(margin).max())
        assert figures["auc"] == pytest.approx(roc_auc_score(group.labels, held.margin), abs=1e-9)
        of_a, of_b = along[group.labels == 0], along[group.labels == 1]
        plain = (of_a.mean() - of_b.mean()) ** 2 / (of_a.var(ddof=1) + of_b.var(ddof=1))
        assert figures["fisher_ratio"] == pytest.approx(plain, rel=1e-4)
    else:
        assert figures["auc"] is None


@pytest.mark.parametrize("dim", [5, 40, 200])
def test_shrinkage_equals_scikit_learn(dim):
    rows = np.random.default_rng(dim).normal(size=(60, dim)) * np.linspace(0.2, 3, dim)
    rows -= rows.mean(axis=0)
    plain = OAS(assume_centered=True).fit(rows)
    covariance = rows.T @ rows / len(rows)
    # scikit-learn omits the two terms in 2 / dim.
    trace, squares = np.trace(covariance), np.sum(covariance**2)
    simple = (squares + trace**2) / (61 * (squares - trace**2 / dim))
    assert plain.shrinkage_ == pytest.approx(min(simple, 1))
    assert oas_shrinkage(covariance, 60, dim) == pytest.approx(plain_oas(covariance, 60))
    assert oas_shrinkage(covariance, 60, dim) == pytest.approx(plain.shrinkage_, rel=2.5 / dim)


def test_separability_grows_with_the_strength_of_a_planted_factor():
    species, values = drawn(20, 24, ["diseased", "healthy"], [0.4, 0.6], 3)
    results = []
    for strength in (0.0, 2.0, 6.0):
        data = made(species, values, 32, 4, strength)
        results.append(separability(factor_of(data), data.vectors, permutations=19)[0])
    low, middle, high = (figures["separability"] for figures in results)
    assert high > 0.95, f"a factor of 6 standard deviations is named right for {high:.1%} only"
    assert low < middle < high
    assert results[0]["fisher_ratio"] < results[1]["fisher_ratio"] < results[2]["fisher_ratio"]
    assert results[2]["separability_p"] == pytest.approx(1 / 20)
    low, high = results[2]["interval"]
    assert low < results[2]["separability"] <= high


def test_pairs_of_images_do_not_leak_labels():
    """With one image of each value per species, the residuals from their mean are opposite.

    A classifier trained on one would know the other.
    """
    shares = []
    for seed in range(12):
        species = np.repeat([f"species {at}" for at in range(40)], 2)
        values = np.tile(["a", "b"], 40)
        data = made(species, values, 100, seed)
        shares.append(separability(factor_of(data), data.vectors, permutations=0)[0]["separability"])
    # 960 predictions by chance.
    assert np.mean(shares) < 0.58, f"of noise, {np.mean(shares):.1%} are named right"


@pytest.mark.parametrize(
    ("kind", "sets"), [("crossed", 120), ("one species", 120), ("nested", 60)]
)  # fmt: skip
def test_p_values_of_noise_are_calibrated(kind, sets):
    p = []
    for seed in range(sets):
        if kind == "crossed":
            species, values = drawn(8, 14, ["a", "b"], [0.6, 0.4], seed)
        elif kind == "one species":
            species, values = drawn(1, 60, ["a", "b"], [0.5, 0.5], seed)
        else:
            species, values = drawn(3, 30, ["a", "b", "c"], [0.4, 0.3, 0.3], seed)
            values = [f"{name} {value}" for name, value in zip(species, values)]
        data = made(species, values, 12, 1000 + seed)
        factor = factor_of(data)
        assert factor.nested == (kind == "nested")
        p.append(separability(factor, data.vectors, permutations=39, seed=seed)[0]["separability_p"])
    significant = int(np.sum(np.array(p) <= 0.05))
    most = int(binom.ppf(0.999, sets, 0.05))
    assert significant <= most, (
        f"{significant} of {sets} sets of noise have p <= 0.05; at most {most} by chance"
    )
    assert 0.4 < np.mean(p) < 0.68, f"p of noise is {np.mean(p):.2f} on average"


def test_nested_factors_are_separated_within_each_species():
    species, values = drawn(4, 60, ["x", "y", "z"], [0.4, 0.3, 0.3], 5)
    values = np.array([f"{name} {value}" for name, value in zip(species, values)])
    # Of the last species, the cultivars differ in nothing.
    data = made(species, values, 24, 6, strength=5.0)
    noise = made(species, ["same"] * len(values), 24, 6)
    vectors = np.where((species == "species 3")[:, None], noise.vectors, data.vectors)
    data = Embeddings(vectors, data.columns, data.picture, data.source)
    figures, held_out = separability(factor_of(data), data.vectors, permutations=39)
    by_species = figures["by_species"]
    assert list(by_species) == [f"species {at}" for at in range(4)]
    for name in list(by_species)[:3]:
        assert by_species[name]["separability"] > 0.9, f"{name}: {by_species[name]}"
    assert by_species["species 3"]["separability"] < 0.6, by_species["species 3"]
    right = sum(np.sum(held.predicted == held.group.labels) for held in held_out)
    assert figures["separability"] == pytest.approx(right / len(species))
    assert figures["majority"] == pytest.approx(
        np.mean([own["majority"] for own in by_species.values()])
    )  # of equally many images
    assert figures["separability_null"]["mean"] < 0.45


def test_folds_are_stratified_by_level_and_species():
    species, values = drawn(7, 33, ["a", "b", "c"], [0.6, 0.3, 0.1], 8)
    group = factor_of(made(species, values, 4, 9)).groups[0]
    fold = deal_folds(group, np.random.default_rng(0))
    for level in range(3):
        counts = np.bincount(fold[group.labels == level], minlength=FOLDS)
        assert counts.max() - counts.min() <= 1, f"level {level} has {counts} images in the folds"
        for kind in range(7):
            counts = np.bincount(fold[(group.labels == level) & (group.species == kind)], minlength=FOLDS)
            assert counts.max() - counts.min() <= 1, f"level {level} of species {kind}: {counts}"


def test_incomparable_images_are_skipped_and_counted():
    rows = (
        [("A", "f")] * 12 + [("A", "m")] * 12 + [("B", "f")] * 9  # B has one value
        + [("A", "rare")] * 4 + [("", "f")] * 3 + [("A", "")] * 2
    )  # fmt: skip
    data = made([kind for kind, _ in rows], [value for _, value in rows], 6, 0)
    factor = factor_of(data)
    assert factor.counts == {"f": 12, "m": 12}
    assert factor.left_out == {
        "unknown": 5, "rare_values": {"rare": 4}, "species_of_one_value": 1,
        "images_of_species_of_one_value": 9,
    }  # fmt: skip
    assert factor.species == 1 and len(factor) == 24


def test_dropping_a_value_can_drop_a_species_and_then_another_value():
    # "rare" is compared nowhere; without it, B has "f" alone, and without B, "u" is rare.
    rows = [("A", "f")] * 20 + [("A", "m")] * 20 + [("B", "f")] * 9 + [("B", "rare")] * 5
    factor = factor_of(made([kind for kind, _ in rows], [value for _, value in rows], 6, 0))
    assert factor.counts == {"f": 20, "m": 20}
    assert factor.left_out["rare_values"] == {"rare": 5}
    assert factor.left_out["images_of_species_of_one_value"] == 9


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("A", "f")] * 30, r"'value' of made data is 'f' for all images"),
        ([("A", "")] * 30, r"'value' of made data is empty"),
        ([("A", "f")] * 30 + [("B", "m")] * 20, r"no species to compare two values in .*f 30, m 20"),
        ([("A", "f")] * 30 + [("A", "m")] * 9, r"f 30, m 9.*at least 10 images"),
        ([("", "f")] * 30 + [("", "m")] * 20, r"made data names no species; name the column"),
    ],
    ids=["one value", "no value", "each species its own", "too few", "no species"],
)
def test_a_factor_that_cannot_be_compared_is_an_error(rows, message):
    data = made([kind for kind, _ in rows], [value for _, value in rows], 6, 0)
    with pytest.raises(UserError, match=message):
        factor_of(data)
