"""Figures of the zero-shot protocol, against plain loops in double precision."""

import hashlib

import numpy as np
import pytest

from bioclip_jax.errors import UserError
from bioclip_jax.evaluate.class_names import Candidate
from bioclip_jax.evaluate.metrics.accuracy import rank_predictions
from bioclip_jax.evaluate.metrics.confusion import confusion_tables
from bioclip_jax.evaluate.protocols.base import ModelOutputs
from bioclip_jax.evaluate.protocols.zero_shot import ZeroShot
from bioclip_jax.pipeline.sources import Sample
from bioclip_jax.predict.embedding import LabeledEmbeddings
from bioclip_jax.text import RANKS, Taxon

DIM = 12
SCALE = 9.0


def encode_texts(texts):
    """Return a unit vector for each text that depends only on the text."""
    rows = []
    for text in texts:
        seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")
        rows.append(np.random.default_rng(seed).normal(size=DIM))
    rows = np.array(rows, np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def species(*numbers):
    """Return a taxon by its numbers from kingdom to species; None is an unknown rank."""
    path, names = "", []
    for rank, number in zip(RANKS, numbers):
        path += f"-{number}"
        names.append("" if number is None else f"{rank if rank == 'species' else rank.capitalize()}{path}")
    return Taxon(*names)


def tree(rng):
    """Return taxa that differ at any rank; one has no known genus."""
    taxa = {
        species(*(int(rng.integers(0, 2)) for _ in RANKS[:-1]), int(rng.integers(0, 3))) for _ in range(40)
    }
    return sorted(taxa, key=str) + [species(0, 0, 0, 0, 1, None, None)]


def data(rng, taxa, n):
    """Return embeddings near the text of their class; some are unlabeled."""
    samples, features = [], []
    for number in range(n):
        taxon = None if number % 50 == 7 else taxa[int(rng.integers(len(taxa)))]
        samples.append(Sample(f"image {number}", b"", {}, taxon, {}))
        towards = np.zeros(DIM) if taxon is None else encode_texts([f"a photo of {taxon.taxonomic_name}."])[0]
        features.append(rng.uniform(0.5, 20) * (towards + 0.35 * rng.normal(size=DIM)))
    return LabeledEmbeddings(
        np.array(features, np.float32), samples, np.arange(n), {"truncated": 3, "no_label": 1}
    )


def plain_loops(vectors, taxa):
    """Compute predictions and figures image by image."""
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
        for name, true_name in zip(taxa[order[0]].lineage(), truth.lineage()):
            if name != true_name:
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
    """Score, the same by plain loops, and the candidates; more images than one chunk."""
    rng = np.random.default_rng(request.param)
    taxa = tree(rng)
    vectors = data(rng, taxa, 1200)
    # One class in eight is not a candidate, so that its images count only at higher ranks.
    pool = sorted(
        (taxon for number, taxon in enumerate(taxa) if number % 8), key=lambda taxon: taxon.taxonomic_name
    )
    protocol = ZeroShot("taxon", "one", [Candidate(taxon.taxonomic_name, taxon) for taxon in pool])
    score = protocol({"test": vectors}, ModelOutputs(encode_texts, SCALE))
    return score, plain_loops(vectors, pool), pool


def test_accuracies(scored):
    score, expected, _ = scored
    figures = score.figures
    assert 0.2 < np.mean(expected["top1"]) < 0.95, "the data must have both correct and wrong predictions"
    assert figures["n"] == expected["n"] and figures["bad"] == {"truncated": 3, "no_label": 25}
    assert figures["top1"] == pytest.approx(np.mean(expected["top1"]), abs=1e-6)
    for k in ("top3", "top5"):
        assert figures[k] == pytest.approx(np.mean(expected[k]), abs=1e-6)
    for rank in RANKS:
        assert figures["ranks"][rank] == pytest.approx(np.mean(expected["rank"][rank]), abs=1e-6), rank
        assert figures["n_by_rank"][rank] == len(expected["rank"][rank])
        low, high = figures["rank_intervals"][rank]
        assert 0 <= low <= figures["ranks"][rank] <= high <= 1
    assert figures["interval"][0] < figures["top1"] < figures["interval"][1]


def test_calibration_error(scored):
    score, expected, _ = scored
    assert score.figures["ece"] == pytest.approx(
        calibration_error(expected["confidence"], expected["top1"]), abs=1e-6
    )
    for rank in RANKS:
        ece = calibration_error(expected["rank_confidence"][rank], expected["rank"][rank])
        assert score.figures["ece_by_rank"][rank] == pytest.approx(ece, abs=1e-6), rank


def test_error_distances(scored):
    score, expected, pool = scored
    distance = score.figures["hierarchical_distance"]
    errors = [ranks for ranks, right in zip(expected["distance"], expected["top1"]) if not right]
    assert distance["mean"] == pytest.approx(np.mean(expected["distance"]), abs=1e-6)
    assert distance["mean_of_errors"] == pytest.approx(np.mean(errors), abs=1e-6)
    assert distance["counts"] == {str(d): expected["distance"].count(d) for d in range(8)}
    assert distance["counts"]["0"] == sum(expected["top1"]), "distance 0 is a correct prediction"
    for rank in ("genus", "family"):
        same, chance = [], []
        for true, prediction in expected["wrong"]:
            lineage = pool[true].lineage(rank) if pool[true].rank(rank) else None
            others = [taxon for row, taxon in enumerate(pool) if row != true]
            same.append(pool[prediction].lineage(rank) == lineage)
            chance.append(np.mean([taxon.lineage(rank) == lineage for taxon in others]))
        sisters = score.figures["sister_confusion"][rank]
        assert sisters["share"] == pytest.approx(np.mean(same), abs=1e-6), rank
        assert sisters["chance"] == pytest.approx(np.mean(chance), abs=1e-6), rank


def test_tables_sum_to_the_figures(scored):
    score, expected, _ = scored
    taxa, confusions = score.tables["taxa"], score.tables["confusions"]
    assert sum(row["right"] for row in taxa) == sum(expected["top1"])
    assert sum(row["n"] for row in taxa) == len(expected["top1"])
    distance = sum(row["n"] * row["mean_rank_distance"] for row in taxa)
    assert distance == pytest.approx(sum(expected["distance"]))
    pairs = {(row["truth"], row["answer"]): row["count"] for row in confusions}
    assert pairs == expected["pairs"]
    assert [row["count"] for row in confusions] == sorted(pairs.values(), reverse=True), (
        "the most common come first"
    )
    images = {row["name"]: row["n"] for row in taxa}
    for row in confusions:
        assert row["share"] == row["count"] / images[row["truth"]]
    for row in taxa:
        wrong = {name: count for (truth, name), count in pairs.items() if truth == row["name"]}
        assert row["taken_for_n"] == max(wrong.values(), default=0)
        assert wrong.get(row["most_often_taken_for"], 0) == row["taken_for_n"]


def test_shared_rank_is_the_lowest_known_to_both():
    apple, pear = species(0, 0, 0, 0, 0, 0, 0), species(0, 0, 0, 0, 0, 1, 0)
    unknown = [species(1, 0, 0, None, None, None, 0), species(1, 0, 0, None, None, None, 1)]
    pool = [Candidate(str(number), taxon) for number, taxon in enumerate([apple, pear, *unknown])]
    # Each image is predicted as the next class.
    ranked = rank_predictions(np.eye(4)[[1, 2, 3, 0]], np.eye(4), np.arange(4), 1.0)
    rows = confusion_tables(ranked, np.arange(4), pool)["confusions"]
    shared = {(row["truth"], row["answer"]): row["shared_rank"] for row in rows}
    assert shared == {("0", "1"): "family", ("1", "2"): "", ("2", "3"): "class", ("3", "0"): ""}


def test_labels_without_ranks_have_no_rank_figures():
    samples = [Sample(str(number), b"", {}, None, {"class": "ab"[number % 2]}) for number in range(6)]
    vectors = LabeledEmbeddings(
        np.random.default_rng(0).normal(size=(6, DIM)).astype(np.float32), samples, np.arange(6), {}
    )
    score = ZeroShot("asis", "one")({"test": vectors}, ModelOutputs(encode_texts, SCALE))
    assert score.figures["classes"] == 2 and score.figures["ece"] is not None
    assert not {"ranks", "hierarchical_distance", "sister_confusion"} & set(score.figures)
    assert (
        set(score.tables["taxa"][0]) & set(RANKS) == set()
        and "shared_rank" not in score.tables["confusions"][0]
    )


def test_unlabeled_data_are_an_error():
    vectors = LabeledEmbeddings(
        np.ones((1, DIM), np.float32), [Sample("a", b"", {}, None, {})], np.arange(1), {}
    )
    for pool in (None, [Candidate("apple", species(0, 0, 0, 0, 0, 0, 0))]):
        with pytest.raises(UserError, match="--text-type taxon"):
            ZeroShot("taxon", "one", pool)({"test": vectors}, ModelOutputs(encode_texts, SCALE))
    with pytest.raises(UserError, match="no class"):
        ZeroShot(candidates=[])
