"""Lineages and the tree of one image against plain sums over all species."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bioclip_jax import Rank, TreeOfLifeClassifier
from bioclip_jax.predict.classifiers.explanation import RankPrediction, build_tree, lineage_through
from bioclip_jax.predict.taxa.names import COLUMNS, TaxaNames
from bioclip_jax.text import RANKS

FINCHES = {
    "Geospiza fortis": 0.21,
    "Geospiza fuliginosa": 0.2,
    "Geospiza magnirostris": 0.19,
    "Certhidea olivacea": 0.35,
    "Camarhynchus parvulus": 0.044,
    "Camarhynchus pallidus": 0.006,
}


def of_names(species: dict[str, float]) -> tuple[TaxaNames, np.ndarray]:
    """Return names of finches and their probabilities in row order."""
    pairs = [name.split() for name in species]
    columns = {
        "family": ["Thraupidae"] * len(pairs),
        "genus": [a for a, _ in pairs],
        "species": [b for _, b in pairs],
    }
    names = TaxaNames.from_columns(columns)
    scores = [species[names.row(row)["species"]] for row in range(len(names))]
    return names, np.array(scores, np.float32)


def sums_of(names: TaxaNames, scores: np.ndarray) -> dict[Rank, np.ndarray]:
    return {rank: np.add.reduceat(scores, names.starts(rank)) for rank in list(Rank)[:-1]}


def lineage_of(names: TaxaNames, scores: np.ndarray, rank: Rank) -> list[RankPrediction]:
    """Return the lineage of the best taxon of `rank`."""
    sums = sums_of(names, scores) | {Rank.SPECIES: scores}
    best = int(sums[rank].argmax())
    row = best if rank is Rank.SPECIES else int(names.starts(rank)[best])
    prediction = RankPrediction(rank, row, float(sums[rank][best]), names.row(row, rank)[rank.get_label()])
    return lineage_through(names, sums, prediction, lambda rows: scores[rows])


def flat(node: dict, above: tuple[str, ...] = ()) -> dict[tuple[str, ...], float]:
    """Return the score of every taxon of a tree by its path."""
    scores = {}
    for child in node["children"]:
        path = (*above, child["name"])
        scores |= {path: child["score"]} | flat(child, path)
    return scores


def test_a_lineage_is_consistent_below_its_rank():
    names, scores = of_names(FINCHES)
    genus, species = lineage_of(names, scores, Rank.GENUS)[-2:]
    assert (genus.name, species.name) == ("Geospiza", "Geospiza fortis")
    assert species.score == pytest.approx(0.21)
    # The most probable species of all has another genus, and that one is above it.
    genus, species = lineage_of(names, scores, Rank.SPECIES)[-2:]
    assert (genus.name, species.name) == ("Certhidea", "Certhidea olivacea")


def test_the_tree_has_no_taxon_below_the_share():
    names, scores = of_names(FINCHES)
    order = np.argsort(-scores)
    shown = {path[-1] for path in flat(build_tree(names, sums_of(names, scores), order, scores[order], 0.05))}
    assert "Camarhynchus parvulus" not in shown and "Camarhynchus pallidus" not in shown
    assert {"Camarhynchus", "Certhidea olivacea"} <= shown
    nothing = np.full(len(names), 1e-4, np.float32)
    assert flat(build_tree(names, sums_of(names, nothing), order, nothing[order], 0.01)) == {}


@settings(max_examples=30)
@given(st.integers(0, 10_000), st.integers(1, 60), st.sampled_from([0.001, 0.01, 0.1]))
def test_lineages_and_tree_of_random_taxa(seed: int, n: int, share: float):
    rng = np.random.default_rng(seed)
    ranks = {name: [f"{name}{value}" for value in rng.integers(0, 3, n)] for name in COLUMNS[:6]}
    names = TaxaNames.from_columns(ranks | {"species": [f"s{number}" for number in range(n)]})
    scores = rng.dirichlet(np.full(n, 0.1)).astype(np.float32)
    sums = sums_of(names, scores)
    paths = [tuple(names.row(row)[rank] for rank in RANKS) for row in range(n)]

    plain = {}
    for path, score in zip(paths, scores.tolist()):
        for rank in range(7):
            plain[path[: rank + 1]] = plain.get(path[: rank + 1], 0.0) + score
    order = np.argsort(-scores)[: max(5, int(1 / share))]
    tree = flat(build_tree(names, sums, order, scores[order], share))
    clear = {path for path, score in plain.items() if score > share * 1.0001}
    assert clear <= set(tree) <= {path for path, score in plain.items() if score > share * 0.9999}
    for path, score in tree.items():
        assert score == pytest.approx(plain[path], abs=1e-5)

    for rank in Rank:
        lineage = lineage_of(names, scores, rank)
        assert [step.rank for step in lineage] == list(Rank)
        path = tuple(step.name for step in lineage)
        assert path in paths, f"the lineage {path} is none of the taxa"
        for depth, step in enumerate(lineage):
            assert step.score == pytest.approx(plain[path[: depth + 1]], abs=1e-5)
            if depth > rank.value:
                siblings = [
                    other for other in plain if len(other) == depth + 1 and other[:depth] == path[:depth]
                ]
                beside = [plain[other] for other in siblings]
                assert step.score == pytest.approx(max(beside), abs=1e-5), (
                    f"{step.name} is not the best of its parent"
                )


def test_explain_returns_lineages_and_a_tree(model_directory, tmp_path):
    from bioclip_jax import load_model
    from bioclip_jax.predict.taxa.build import build_taxa

    model = load_model(model_directory)
    table = tmp_path / "names.csv"
    table.write_text(
        "family,genus,species\n" + "".join(f"Thraupidae,{name.replace(' ', ',')}\n" for name in FINCHES)
    )
    build_taxa(str(table), model, tmp_path / "taxa.safetensors")
    classifier = TreeOfLifeClassifier(model, tmp_path / "taxa.safetensors")
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (40, 40, 3), np.uint8) for _ in range(3)]
    every = {row["species"]: row["score"] for row in classifier.predict(images[1], k=len(FINCHES))}
    explained = classifier.explain(images, share=0.15)[1]
    assert all(score >= 0.15 for score in flat(explained.tree).values())
    for best in explained.ranks:
        lineage = explained.lineages[best.rank]
        assert lineage[best.rank.value] == best
        genus, species = lineage[-2:]
        assert species.name.split()[0] == genus.name
        assert species.score == pytest.approx(every[species.name], abs=1e-5)
    assert explained.lineage(0.0) == explained.lineages[Rank.SPECIES]
    assert explained.lineage(2.0) == explained.lineages[Rank.KINGDOM]
