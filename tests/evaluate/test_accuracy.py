"""Top-k accuracy and accuracy by rank, against plain loops."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from bioclip_jax.evaluate.metrics.accuracy import RankScore, rank_predictions
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


def lineage(*numbers):
    """A taxon by its numbers from kingdom to species."""
    return Taxon(*(f"{rank}{numbers[: depth + 1]}" for depth, rank in enumerate(RANKS)))


def rank_scores(images, classes, scale, truths, candidates):
    unlabeled = np.full(len(images), -1)
    return rank_predictions(images, classes, unlabeled, scale, truths, candidates).rank_scores


def top_k_accuracy(images, classes, labels, k):
    return rank_predictions(images, classes, labels, 1.0).top_k_accuracy(k)


def unit(rng, *shape):
    x = rng.normal(size=shape).astype(np.float32)
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 9), st.floats(1, 100))
def test_rank_accuracy_equals_explicit_sums(seed, images, classes, scale):
    rng = np.random.default_rng(seed)
    # Few names per rank, some unknown, so that lineages share ranks and end early.
    pool = [Taxon(*(rng.choice(["", "A", "B"], p=[0.1, 0.5, 0.4]) for _ in RANKS)) for _ in range(12)]
    candidates = list({t.lineage(): t for t in rng.choice(np.array(pool, object), classes)}.values())
    truths = list(rng.choice(np.array(pool, object), images))
    x, w = unit(rng, images, 6), unit(rng, len(candidates), 6)
    scores = rank_scores(x, w, scale, truths, candidates)

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
            assert rank not in scores
            continue
        assert scores[rank].n == scored
        assert scores[rank].chance == 1 / len(known)
        if clear:
            assert scores[rank].accuracy == hits / scored, (
                f"{rank}: {scores[rank]}, expected {hits} of {scored}"
            )


def test_family_probability_is_the_sum_over_its_species():
    classes = np.eye(3, dtype=np.float32)
    image = np.log(np.array([[0.3, 0.3, 0.4]], np.float32))
    ranks = rank_scores(image, classes, 1.0, [APPLE], [APPLE, PEAR, LEMON])
    assert ranks["family"].accuracy == 1, "0.3 + 0.3 in Rosaceae must beat 0.4 in Rutaceae"
    assert ranks["species"].accuracy == 0, "the most probable species is the lemon"
    assert ranks["kingdom"] == RankScore(accuracy=1, n=1, chance=1, majority=1)


def test_species_outside_the_candidates_counts_at_its_family():
    classes = np.eye(2, dtype=np.float32)
    images = np.array([[1, 0], [1, 0], [0, 1]], np.float32)
    ranks = rank_scores(images, classes, 10.0, [PEAR, LEMON, MUSHROOM], [APPLE, MUSHROOM])
    assert ranks["family"] == RankScore(accuracy=1, n=2, chance=0.5, majority=0.5)
    assert ranks["species"].n == 1, "only the mushroom species is a candidate"
    assert ranks["kingdom"].n == 3 and ranks["kingdom"].majority == 2 / 3


@given(st.integers(0, 2**32 - 1), st.integers(1, 30), st.integers(1, 8), st.integers(1, 8))
def test_top_k_equals_sorting(seed, images, classes, k):
    rng = np.random.default_rng(seed)
    x, w = unit(rng, images, 5), unit(rng, classes, 5)
    labels = rng.integers(-1, classes, images)
    accuracy = top_k_accuracy(x, w, labels, k)
    order = np.argsort(-(x @ w.T), axis=1)[:, :k]
    hits = [label in row for label, row in zip(labels, order) if label >= 0]
    assert accuracy == (np.mean(hits) if hits else None)


def test_constant_and_nan_embeddings_get_no_credit():
    labels = np.array([0, 1, 2, 3])
    constant = np.ones((4, 2), np.float32)
    assert top_k_accuracy(constant, constant, labels, 1) == 0.25
    assert top_k_accuracy(constant * np.nan, constant, labels, 4) == 0


def test_nan_embeddings_are_wrong_predictions():
    images = np.full((3, 2), np.nan)
    taxa = [lineage(0, 0, 0, 0, 0, 0, number) for number in range(2)]
    ranked = rank_predictions(images, np.eye(2), np.array([0, 1, -1]), 1.0, [taxa[0], taxa[1], taxa[0]], taxa)
    assert ranked.top_k_accuracy(1) == 0 and ranked.top_k_accuracy(2) == 0
    assert ranked.position[2] == -1, "an image without a class has no position"
    assert (ranked.confidence == 0).all()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 30), st.integers(1, 8))
def test_ties_go_to_the_first_class(seed, n, classes):
    rng = np.random.default_rng(seed)
    # Few values, so that cosines tie.
    images = rng.integers(-1, 2, (n, 3)).astype(np.float32)
    columns = rng.integers(-1, 2, (classes, 3)).astype(np.float32)
    taxa = [lineage(*rng.integers(0, 2, 7).tolist()) for _ in range(classes)]
    truths = [lineage(*rng.integers(0, 2, 7).tolist()) for _ in range(n)]
    labels = rng.integers(-1, classes, n)
    ranked = rank_predictions(images, columns, labels, 2.0, truths, taxa)
    order = np.argsort(-(images @ columns.T), axis=1, kind="stable")
    known = labels >= 0
    for k in (1, 2, 5):
        hits = [label in row[:k] for label, row in zip(labels[known], order[known])]
        assert ranked.top_k_accuracy(k) == (np.mean(hits) if hits else None)
    assert (ranked.predicted == order[:, 0]).all()
    assert ((ranked.position == 0) == (ranked.predicted == labels))[known].all()
    assert ranked.rank_scores == rank_scores(images, columns, 2.0, truths, taxa), "labels change rank results"
