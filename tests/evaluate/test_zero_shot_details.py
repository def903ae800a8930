"""The figures of the zero-shot protocol against plain loops in double precision."""

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bioclip_jax.errors import UserError
from bioclip_jax.evaluate.accuracy import judge, rank_accuracy, top_k_accuracy
from bioclip_jax.evaluate.class_names import Candidate
from bioclip_jax.evaluate.details import tables
from bioclip_jax.evaluate.protocol import Towers
from bioclip_jax.evaluate.zero_shot import ZeroShot
from bioclip_jax.pipeline.sources import Sample
from bioclip_jax.predict.embedding import LabeledEmbeddings
from bioclip_jax.text import RANKS, Taxon

DIM = 12
SCALE = 9.0


def encode_texts(texts):
    """A direction for each text, which depends on it alone."""
    rows = []
    for text in texts:
        seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")
        rows.append(np.random.default_rng(seed).normal(size=DIM))
    rows = np.array(rows, np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def species(*numbers):
    """A taxon by its place in a tree, "" where the number is None."""
    path, names = "", []
    for rank, number in zip(RANKS, numbers):
        path += f"-{number}"
        names.append("" if number is None else f"{rank if rank == 'species' else rank.capitalize()}{path}")
    return Taxon(*names)


def tree(rng):
    """Taxa that part at any rank; one of them is not known to its genus."""
    taxa = {
        species(*(int(rng.integers(0, 2)) for _ in RANKS[:-1]), int(rng.integers(0, 3))) for _ in range(40)
    }
    return sorted(taxa, key=str) + [species(0, 0, 0, 0, 1, None, None)]


def data(rng, taxa, n):
    """Images near the names of their classes; some are of no known class."""
    samples, features = [], []
    for number in range(n):
        taxon = None if number % 50 == 7 else taxa[int(rng.integers(len(taxa)))]
        samples.append(Sample(f"image {number}", b"", {}, taxon, {}))
        towards = np.zeros(DIM) if taxon is None else encode_texts([f"a photo of {taxon.taxonomic_name}."])[0]
        features.append(rng.uniform(0.5, 20) * (towards + 0.35 * rng.normal(size=DIM)))
    return LabeledEmbeddings(
        np.array(features, np.float32), samples, np.arange(n), {"truncated": 3, "no_label": 1}
    )


def by_hand(vectors, taxa):
    """What each image's answer is, and everything that follows, one image after the other."""
    names = [taxon.taxonomic_name for taxon in taxa]
    classes = encode_texts([f"a photo of {name}." for name in names]).astype(np.float64)
    out = {"top1": [], "top3": [], "top5": [], "confidence": [], "distance": [], "wrong": [], "pairs": {}}
    out |= {"rank": {rank: [] for rank in RANKS}, "rank_confidence": {rank: [] for rank in RANKS}}
    known = {rank: {taxon.lineage(rank) for taxon in taxa} for rank in RANKS}
    out["n"] = 0
    for feature, sample in zip(vectors.features.astype(np.float64), vectors.samples):
        truth = sample.taxon
        if truth is None:
            continue
        out["n"] += 1
        cosine = classes @ (feature / np.sqrt(np.sum(feature**2)))
        probability = np.exp(SCALE * cosine)
        probability /= probability.sum()
        for rank in RANKS:
            if not truth.rank(rank) or truth.lineage(rank) not in known[rank]:
                continue
            sums = {}
            for taxon, p in zip(taxa, probability):
                sums[taxon.lineage(rank)] = sums.get(taxon.lineage(rank), 0) + p
            best = max(sums, key=sums.get)
            out["rank"][rank].append(best == truth.lineage(rank))
            out["rank_confidence"][rank].append(sums[best])
        if truth.lineage() not in known["species"]:
            continue
        order = sorted(range(len(taxa)), key=lambda row: (-cosine[row], row))
        true = next(row for row, taxon in enumerate(taxa) if taxon.lineage() == truth.lineage())
        out["top1"].append(order[0] == true)
        out["top3"].append(true in order[:3])
        out["top5"].append(true in order[:5])
        out["confidence"].append(probability[order[0]])
        shared = 0
        for here, there in zip(taxa[order[0]].lineage(), truth.lineage()):
            if here != there:
                break
            shared += 1
        out["distance"].append(7 - shared)
        if order[0] != true:
            out["wrong"].append((true, order[0]))
            out["pairs"][names[true], names[order[0]]] = (
                out["pairs"].get((names[true], names[order[0]]), 0) + 1
            )
    return out


def calibration_error(confidence, right):
    total = 0.0
    for number in range(15):
        inside = [i for i, c in enumerate(confidence) if number == min(int(c * 15), 14)]
        if inside:
            gap = np.mean([right[i] for i in inside]) - np.mean([confidence[i] for i in inside])
            total += len(inside) * abs(gap)
    return total / len(confidence)


@pytest.fixture(scope="module", params=[1, 2])
def scored(request):
    """Figures and tables, and what comes out by hand; more images than go through the sums at once."""
    rng = np.random.default_rng(request.param)
    taxa = tree(rng)
    vectors = data(rng, taxa, 1200)
    # One class in eight is no candidate, so that its images have a truth at the higher ranks alone.
    pool = sorted(
        (taxon for number, taxon in enumerate(taxa) if number % 8), key=lambda taxon: taxon.taxonomic_name
    )
    protocol = ZeroShot("taxon", "one", [Candidate(taxon.taxonomic_name, taxon) for taxon in pool])
    score = protocol({"test": vectors}, Towers(encode_texts, SCALE))
    return score, by_hand(vectors, pool), pool


def test_accuracies_are_those_by_hand(scored):
    score, hand, _ = scored
    figures = score.figures
    assert 0.2 < np.mean(hand["top1"]) < 0.95, "the data must have both right and wrong answers"
    assert figures["n"] == hand["n"] and figures["bad"] == {"truncated": 3, "no_label": 25}
    assert figures["top1"] == pytest.approx(np.mean(hand["top1"]), abs=1e-6)
    for k in ("top3", "top5"):
        assert figures[k] == pytest.approx(np.mean(hand[k]), abs=1e-6)
    for rank in RANKS:
        assert figures["ranks"][rank] == pytest.approx(np.mean(hand["rank"][rank]), abs=1e-6), rank
        assert figures["n_by_rank"][rank] == len(hand["rank"][rank])
        low, high = figures["rank_intervals"][rank]
        assert 0 <= low <= figures["ranks"][rank] <= high <= 1
    assert figures["interval"][0] < figures["top1"] < figures["interval"][1]


def test_calibration_is_that_by_hand(scored):
    score, hand, _ = scored
    assert score.figures["ece"] == pytest.approx(
        calibration_error(hand["confidence"], hand["top1"]), abs=1e-6
    )
    for rank in RANKS:
        expected = calibration_error(hand["rank_confidence"][rank], hand["rank"][rank])
        assert score.figures["ece_by_rank"][rank] == pytest.approx(expected, abs=1e-6), rank


def test_mistakes_are_those_by_hand(scored):
    score, hand, pool = scored
    found = score.figures["hierarchical_distance"]
    errors = [distance for distance, right in zip(hand["distance"], hand["top1"]) if not right]
    assert found["mean"] == pytest.approx(np.mean(hand["distance"]), abs=1e-6)
    assert found["mean_of_errors"] == pytest.approx(np.mean(errors), abs=1e-6)
    assert found["counts"] == {str(d): hand["distance"].count(d) for d in range(8)}
    assert found["counts"]["0"] == sum(hand["top1"]), "distance 0 is the right answer"
    for rank in ("genus", "family"):
        same, chance = [], []
        for true, answer in hand["wrong"]:
            lineage = pool[true].lineage(rank) if pool[true].rank(rank) else None
            others = [taxon for row, taxon in enumerate(pool) if row != true]
            same.append(pool[answer].lineage(rank) == lineage)
            chance.append(np.mean([taxon.lineage(rank) == lineage for taxon in others]))
        sisters = score.figures["sister_confusion"][rank]
        assert sisters["share"] == pytest.approx(np.mean(same), abs=1e-6), rank
        assert sisters["chance"] == pytest.approx(np.mean(chance), abs=1e-6), rank


def test_tables_add_up_to_the_figures(scored):
    score, hand, _ = scored
    taxa, confusions = score.tables["taxa"], score.tables["confusions"]
    assert sum(row["right"] for row in taxa) == sum(hand["top1"])
    assert sum(row["n"] for row in taxa) == len(hand["top1"])
    distance = sum(row["n"] * row["mean_rank_distance"] for row in taxa)
    assert distance == pytest.approx(sum(hand["distance"]))
    pairs = {(row["truth"], row["answer"]): row["count"] for row in confusions}
    assert pairs == hand["pairs"]
    assert [row["count"] for row in confusions] == sorted(pairs.values(), reverse=True), (
        "the commonest come first"
    )
    images = {row["name"]: row["n"] for row in taxa}
    for row in confusions:
        assert row["share"] == row["count"] / images[row["truth"]]
    for row in taxa:
        wrong = {answer: count for (truth, answer), count in pairs.items() if truth == row["name"]}
        assert row["taken_for_n"] == max(wrong.values(), default=0)
        assert wrong.get(row["most_often_taken_for"], 0) == row["taken_for_n"]


def test_shared_rank_is_the_lowest_known_to_both():
    apple, pear = species(0, 0, 0, 0, 0, 0, 0), species(0, 0, 0, 0, 0, 1, 0)
    unknown = [species(1, 0, 0, None, None, None, 0), species(1, 0, 0, None, None, None, 1)]
    pool = [Candidate(str(number), taxon) for number, taxon in enumerate([apple, pear, *unknown])]
    # Each image is taken for the class that comes next.
    judged = judge(np.eye(4)[[1, 2, 3, 0]], np.eye(4), np.arange(4), 1.0)
    rows = tables(judged, np.arange(4), pool)["confusions"]
    shared = {(row["truth"], row["answer"]): row["shared_rank"] for row in rows}
    assert shared == {("0", "1"): "family", ("1", "2"): "", ("2", "3"): "class", ("3", "0"): ""}


def test_labels_without_ranks_have_no_figures_of_ranks():
    samples = [Sample(str(number), b"", {}, None, {"class": "ab"[number % 2]}) for number in range(6)]
    vectors = LabeledEmbeddings(
        np.random.default_rng(0).normal(size=(6, DIM)).astype(np.float32), samples, np.arange(6), {}
    )
    score = ZeroShot("asis", "one")({"test": vectors}, Towers(encode_texts, SCALE))
    assert score.figures["classes"] == 2 and score.figures["ece"] is not None
    assert not {"ranks", "hierarchical_distance", "sister_confusion"} & set(score.figures)
    assert (
        set(score.tables["taxa"][0]) & set(RANKS) == set()
        and "shared_rank" not in score.tables["confusions"][0]
    )


def test_no_label_at_all_is_told():
    vectors = LabeledEmbeddings(
        np.ones((1, DIM), np.float32), [Sample("a", b"", {}, None, {})], np.arange(1), {}
    )
    for pool in (None, [Candidate("apple", species(0, 0, 0, 0, 0, 0, 0))]):
        with pytest.raises(UserError, match="--text-type taxon"):
            ZeroShot("taxon", "one", pool)({"test": vectors}, Towers(encode_texts, SCALE))
    with pytest.raises(UserError, match="no class"):
        ZeroShot(candidates=[])


def test_vectors_that_are_no_numbers_are_wrong_answers():
    images = np.full((3, 2), np.nan)
    truths = [species(0, 0, 0, 0, 0, 0, number) for number in range(2)]
    judged = judge(images, np.eye(2), np.array([0, 1, -1]), 1.0, [truths[0], truths[1], truths[0]], truths)
    assert judged.top(1) == 0 and judged.top(2) == 0
    assert judged.place[2] == -1, "an image without a class has no place"
    assert (judged.confidence == 0).all()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 30), st.integers(1, 8))
def test_one_pass_says_what_the_parts_say(seed, n, classes):
    rng = np.random.default_rng(seed)
    # Few values, so that cosines tie.
    images, columns = (
        rng.integers(-1, 2, (n, 3)).astype(np.float32),
        rng.integers(-1, 2, (classes, 3)).astype(np.float32),
    )
    taxa = [species(*rng.integers(0, 2, 7).tolist()) for _ in range(classes)]
    truth = [species(*rng.integers(0, 2, 7).tolist()) for _ in range(n)]
    rows = rng.integers(-1, classes, n)
    judged = judge(images, columns, rows, 2.0, truth, taxa)
    for k in (1, 2, 5):
        assert judged.top(k) == top_k_accuracy(images, columns, rows, k)
    assert judged.ranks == rank_accuracy(images, columns, 2.0, truth, taxa)
    known = rows >= 0
    assert ((judged.place == 0) == (judged.answer == rows))[known].all(), (
        "place 0 must be the answer, in ties too"
    )
