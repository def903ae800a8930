"""Folds, groups of near-identical photographs, and the familiarity of new ones."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bioclip_jax.predict.learn.familiarity import fit_familiarity, neighbor_distances
from bioclip_jax.predict.learn.folds import FOLDS, NEVER, assign_folds, near_identical, photograph_groups


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 25)), min_size=2, max_size=80),
    st.integers(0, 100),
)
def test_groups_stay_together_and_every_class_can_be_learned(pairs, seed):
    labels, groups = (np.array(column) for column in zip(*pairs))
    labels = np.unique(labels, return_inverse=True)[1]
    folds = assign_folds(labels, groups, seed=seed)
    for group in np.unique(groups):
        assert len({fold for fold in folds[groups == group].tolist() if fold != NEVER}) <= 1
    for fold in range(FOLDS):
        missing = set(labels[folds == fold].tolist()) - set(labels[folds != fold].tolist())
        assert not missing, f"without fold {fold} the classes {missing} have no photograph"
    for index in np.unique(labels):
        alone = len(np.unique(groups[labels == index])) == 1
        assert not alone or (folds[labels == index] == NEVER).all()


def test_folds_have_their_share_of_every_class():
    labels = np.repeat(np.arange(7), 20)
    folds = assign_folds(labels, np.arange(len(labels)))
    for index in range(7):
        assert np.bincount(folds[labels == index], minlength=FOLDS).tolist() == [4] * FOLDS


def test_bursts_are_found_and_independent_photographs_are_not():
    random = np.random.default_rng(0)
    labels = np.repeat([0, 1], 60)
    means = random.normal(size=(2, 64)) * 2
    scenes = means[labels] + random.normal(size=(120, 64))
    # Frames 10 to 14 are one scene with a little noise.
    scenes[10:15] = scenes[10] + 0.05 * random.normal(size=(5, 64))
    vectors = unit(scenes)
    rows, columns = near_identical(vectors, labels)
    found = set(zip(rows.tolist(), columns.tolist()))
    assert found == {(one, other) for one in range(10, 15) for other in range(one + 1, 15)}
    groups = photograph_groups(vectors, labels)
    assert len(set(groups[10:15].tolist())) == 1 and len(np.unique(groups)) == 116


def test_photographs_of_a_place_are_one_group_and_those_without_a_place_are_not():
    random = np.random.default_rng(1)
    vectors, labels = unit(random.normal(size=(8, 32))), np.zeros(8, np.int64)
    groups = photograph_groups(vectors, labels, ["a", "b", "a", "", "", "b", "c", "a"])
    assert groups[0] == groups[2] == groups[7] and groups[1] == groups[5]
    assert len(np.unique(groups)) == 5


def test_familiarity_is_calibrated_and_low_for_strangers():
    """Expected shares follow from exchangeability, whatever the distribution (Vovk et al. 2005)."""
    random = np.random.default_rng(2)
    means = random.normal(size=(12, 48)) * 1.5
    scenes = means[random.integers(12, size=3000)] + random.normal(size=(3000, 48))
    vectors = unit(scenes)
    familiarity, _, _ = fit_familiarity(vectors[:1000], np.arange(1000))
    of_new = familiarity(vectors[1000:])
    assert (of_new > 0).all() and (of_new <= 1).all()
    for level in (0.05, 0.1, 0.5):
        share = float((of_new < level).mean())
        spread = 3 * np.sqrt(level * (1 - level) * (1 / 1000 + 1 / 2000))
        assert abs(share - level) < spread + 0.01, f"{share} of new photographs are below {level}"
    strangers = unit(random.normal(size=(200, 48)))
    assert np.median(familiarity(strangers)) < 0.01, np.median(familiarity(strangers))


def test_bursts_do_not_make_new_photographs_look_strange():
    random = np.random.default_rng(3)
    scenes = random.normal(size=(300, 32)) + 1
    frames = np.repeat(scenes[:150], 4, axis=0) + 0.01 * random.normal(size=(600, 32))
    familiarity, _, _ = fit_familiarity(unit(frames), np.repeat(np.arange(150), 4))
    of_new = familiarity(unit(scenes[150:]))
    assert 0.02 < (of_new < 0.1).mean() < 0.25, (of_new < 0.1).mean()


def test_distances_are_means_over_the_nearest():
    random = np.random.default_rng(4)
    vectors, new = unit(random.normal(size=(700, 8))), unit(random.normal(size=(3, 8)))
    expected = np.sort(1 - new @ vectors.T, axis=1)[:, :3].mean(axis=1)
    np.testing.assert_allclose(neighbor_distances(new, vectors, 3), expected, atol=1e-6)
