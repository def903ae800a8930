"""Accuracy by rank, against the sums written out one by one."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bioclip_jax.evaluate.accuracy import RankScore, rank_accuracy, top_k_accuracy
from bioclip_jax.text import RANKS, Taxon

APPLE = Taxon(
    "Plantae", "Tracheophyta", "Magnoliopsida", "Rosales", "Rosaceae", "Malus", "domestica", "apple"
)
PEAR = Taxon("Plantae", "Tracheophyta", "Magnoliopsida", "Rosales", "Rosaceae", "Pyrus", "communis", "pear")
LEMON = Taxon(
    "Plantae", "Tracheophyta", "Magnoliopsida", "Sapindales", "Rutaceae", "Citrus", "limon", "lemon"
)
MUSHROOM = Taxon(
    "Fungi", "Basidiomycota", "Agaricomycetes", "Agaricales", "Agaricaceae", "Agaricus", "bisporus"
)


def unit(rng, *shape):
    x = rng.normal(size=shape).astype(np.float32)
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 9), st.floats(1, 100))
def test_equals_the_sums_one_by_one(seed, images, classes, scale):
    rng = np.random.default_rng(seed)
    # Few names at each rank, and some unknown, so that lineages meet, part and end early.
    pool = [Taxon(*(rng.choice(["", "A", "B"], p=[0.1, 0.5, 0.4]) for _ in RANKS)) for _ in range(12)]
    candidates = list({t.lineage(): t for t in rng.choice(np.array(pool, object), classes)}.values())
    truths = list(rng.choice(np.array(pool, object), images))
    x, w = unit(rng, images, 6), unit(rng, len(candidates), 6)
    found = rank_accuracy(x, w, scale, truths, candidates)

    logits = scale * (x @ w.T).astype(np.float64)
    probabilities = np.exp(logits - logits.max(1, keepdims=True))
    probabilities /= probabilities.sum(1, keepdims=True)
    for rank in RANKS:
        known = {c.lineage(rank) for c in candidates}
        scored, hits, clear = 0, 0, True
        for truth, row in zip(truths, probabilities):
            if not truth.rank(rank) or truth.lineage(rank) not in known:
                continue
            sums = {}
            for candidate, p in zip(candidates, row):
                sums[candidate.lineage(rank)] = sums.get(candidate.lineage(rank), 0) + p
            best = sorted(sums.values())
            clear = clear and (len(best) < 2 or best[-1] - best[-2] > 1e-5)
            scored += 1
            hits += max(sums, key=sums.get) == truth.lineage(rank)
        if not scored:
            assert rank not in found
            continue
        assert found[rank].n == scored
        assert found[rank].chance == 1 / len(known)
        if clear:
            assert found[rank].accuracy == hits / scored, f"{rank}: {found[rank]}, {hits} of {scored} by hand"


def test_two_likely_relatives_outweigh_one_likelier_stranger():
    classes = np.eye(3, dtype=np.float32)
    image = np.log(np.array([[0.3, 0.3, 0.4]], np.float32))
    ranks = rank_accuracy(image, classes, 1.0, [APPLE], [APPLE, PEAR, LEMON])
    assert ranks["family"].accuracy == 1, "0.3 + 0.3 in Rosaceae must beat 0.4 in Rutaceae"
    assert ranks["species"].accuracy == 0, "the likeliest single species is the lemon"
    assert ranks["kingdom"] == RankScore(accuracy=1, n=1, chance=1, majority=1)


def test_unseen_species_counts_where_its_family_is_among_the_candidates():
    classes = np.eye(2, dtype=np.float32)
    images = np.array([[1, 0], [1, 0], [0, 1]], np.float32)
    ranks = rank_accuracy(images, classes, 10.0, [PEAR, LEMON, MUSHROOM], [APPLE, MUSHROOM])
    assert ranks["family"] == RankScore(accuracy=1, n=2, chance=0.5, majority=0.5)
    assert ranks["species"].n == 1, "only the mushroom's own species is a candidate"
    assert ranks["kingdom"].n == 3 and ranks["kingdom"].majority == 2 / 3


@given(st.integers(0, 2**32 - 1), st.integers(1, 30), st.integers(1, 8), st.integers(1, 8))
def test_top_k_equals_sorting(seed, images, classes, k):
    rng = np.random.default_rng(seed)
    x, w = unit(rng, images, 5), unit(rng, classes, 5)
    labels = rng.integers(-1, classes, images)
    found = top_k_accuracy(x, w, labels, k)
    order = np.argsort(-(x @ w.T), axis=1)[:, :k]
    hits = [label in row for label, row in zip(labels, order) if label >= 0]
    assert found == (np.mean(hits) if hits else None)


def test_a_model_that_says_always_the_same_or_nothing_gets_no_credit():
    labels = np.array([0, 1, 2, 3])
    constant = np.ones((4, 2), np.float32)
    assert top_k_accuracy(constant, constant, labels, 1) == 0.25
    assert top_k_accuracy(constant * np.nan, constant, labels, 4) == 0
