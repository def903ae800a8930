"""TreeOfLifeClassifier against pybioclip's, and against sums over full probability vectors."""

from __future__ import annotations

import csv
import dataclasses
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import bioclip_jax
from bioclip_jax import Rank, TreeOfLifeClassifier
from bioclip_jax.distributed import MeshConfig, make_mesh
from bioclip_jax.errors import UserError
from bioclip_jax.predict.classifiers.explanation import RankPrediction, lowest_reaching
from bioclip_jax.predict.taxa.build import build_taxa
from bioclip_jax.predict.taxa.embeddings import TaxonEmbeddings
from bioclip_jax.predict.taxa.names import TaxaNames
from bioclip_jax.predict.taxa.score import TaxaScorer, top_k_indices
from bioclip_jax.text import Taxon

PEER = Path(__file__).resolve().parents[1] / "peers" / "tree_of_life_peer.py"


@pytest.fixture(scope="module")
def taxa(shared_data) -> list[Taxon]:
    with open(shared_data / "rare_species_taxa.csv", newline="", encoding="utf-8") as file:
        return [Taxon.from_row(row) for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def published(model, taxa, tmp_path_factory) -> Path:
    """Text embeddings of real names in pybioclip's published format, unsorted."""
    folder = tmp_path_factory.mktemp("published")
    # One prompt each, since the test does not depend on the vectors' quality.
    texts = [f"a photo of {taxon.taxonomic_name}." for taxon in taxa]
    np.save(folder / "txt_emb_species.npy", np.ascontiguousarray(model.encode_text(texts).T))
    names = [[list(taxon.lineage()), taxon.common_name] for taxon in taxa]
    (folder / "txt_emb_species.json").write_text(json.dumps(names))
    return folder


@pytest.fixture(scope="module")
def head(model, taxa, published, tmp_path_factory) -> TaxonEmbeddings:
    """The same embeddings as built by taxa build."""
    vectors = np.load(published / "txt_emb_species.npy").T
    names = TaxaNames.from_rows((*taxon.lineage(), taxon.common_name) for taxon in taxa)
    path = tmp_path_factory.mktemp("head") / "taxa.safetensors"
    rows = np.arange(len(names))
    TaxonEmbeddings.write(
        path,
        names,
        [(rows, vectors[names.source_index])],
        dim=vectors.shape[1],
        fingerprint=model.fingerprint,
    )
    return TaxonEmbeddings.open(path, model.fingerprint)


@pytest.fixture(scope="module")
def subset(taxa, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("subset") / "subset.csv"
    path.write_text("\n".join(["species", *(taxon.scientific_name for taxon in taxa[::7])]) + "\n")
    return path


def keyed(rows: list[dict]) -> dict:
    return {tuple(value for name, value in row.items() if name != "score"): row["score"] for row in rows}


@pytest.mark.shared_data
def test_scores_equal_pybioclips_at_every_rank_and_within_a_subset(
    model, model_directory, head, published, subset, photographs, peer_environment
):
    images = [str(path) for path in photographs]
    command = [sys.executable, str(PEER), str(model_directory), str(published), str(subset), *images]
    environment = peer_environment | {"TORCHDYNAMO_DISABLE": "1"}
    peer = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert peer.returncode == 0, peer.stderr[-2000:]
    theirs = json.loads(peer.stdout)

    classifier = TreeOfLifeClassifier(model, head)
    ours = {rank.get_label(): classifier.predict(images, rank) for rank in Rank}
    classifier.apply_filter(classifier.create_taxa_filter_from_csv(subset))
    ours["subset"] = classifier.predict(images, Rank.SPECIES, k=3)
    ours["subset_family"] = classifier.predict(images, Rank.FAMILY)
    assert classifier.get_label_data().to_dict("list") == theirs.pop("labels")
    for mode, expected in theirs.items():
        assert [list(row) for row in ours[mode]] == [list(row) for row in expected], (
            f"{mode}: other columns or rows"
        )
        actual, expected = keyed(ours[mode]), keyed(expected)
        assert actual.keys() == expected.keys(), f"{mode}: {actual.keys() ^ expected.keys()}"
        worst = max(expected, key=lambda key: abs(actual[key] - expected[key]))
        assert actual[worst] == pytest.approx(expected[worst], abs=1e-4), f"{mode}: {worst}"


@pytest.mark.shared_data
def test_within_a_clade_only_its_species_are_predicted(model, head, photographs):
    classifier = TreeOfLifeClassifier(model, head)
    classifier.choose(within_taxon="mammalia")
    rows = classifier.predict(str(photographs[0]), Rank.ORDER, k=1000)
    assert {row["class"] for row in rows} == {"Mammalia"}
    assert sum(row["score"] for row in rows) == pytest.approx(1, abs=1e-4)
    with pytest.raises(UserError, match="Mammalya"):
        classifier.choose(within_taxon="Mammalya")


@pytest.mark.shared_data
def test_min_confidence_backs_off_to_a_higher_rank(model, head, photographs):
    classifier = TreeOfLifeClassifier(model, head)
    images = [str(path) for path in photographs]
    best = {rank: classifier.predict(images, rank, k=1) for rank in Rank}
    for floor in (0.0, 0.05, 0.3, 0.99):
        rows = list(classifier.stream(images, min_confidence=floor))
        assert [row["file_name"] for row in rows] == images
        for index, row in enumerate(rows):
            confident = [rank for rank in Rank if best[rank][index]["score"] >= floor]
            assert row["rank"] == (confident[-1].get_label() if confident else "unknown"), (floor, row)
            if confident:
                assert row["score"] == pytest.approx(best[confident[-1]][index]["score"], abs=1e-5)
                blank = [rank.get_label() for rank in Rank if rank.value > confident[-1].value]
                assert not any(row[name] for name in blank), f"names below the predicted rank: {row}"
    [row] = classifier.stream(images[:1], unknown=1.0)
    assert row["species"] == "unknown" and row["kingdom"] == "", row
    [row] = classifier.stream(images[:1], min_confidence=0.01, unknown=1.0)
    assert row["rank"] == "unknown" and row["kingdom"] == "", row


@pytest.mark.shared_data
def test_the_explanation_has_the_scores_of_predict(model, head, photographs):
    classifier = TreeOfLifeClassifier(model, head)
    image = str(photographs[0])
    [explained] = classifier.explain(image, k=4)
    assert explained.species == classifier.predict(image, k=4)
    for prediction in explained.ranks:
        [row] = classifier.predict(image, prediction.rank, k=1)
        assert prediction.score == pytest.approx(row["score"], abs=1e-5)
        assert classifier.names.row(prediction.row, prediction.rank).items() <= row.items()
    assert (
        lowest_reaching(explained.ranks, 2.0) is None
        and lowest_reaching(explained.ranks, 0.0).rank is Rank.SPECIES
    )

    def check(node, share):
        total = sum(child["score"] for child in node["children"])
        assert total <= node["score"] + 1e-4, f"{node['name']} has {node['score']}, its children {total}"
        for child in node["children"]:
            check(child, share)

    check(explained.tree, 0.01)

    def leaves(node):
        return (
            [node] if not node["children"] else [leaf for child in node["children"] for leaf in leaves(child)]
        )

    probable = {row["species"] for row in classifier.predict(image, k=len(head)) if row["score"] >= 0.01}
    shown = {leaf["name"] for leaf in leaves(explained.tree) if leaf["rank"] == "species"}
    assert probable <= shown, f"the tree lacks {probable - shown}"
    assert explained.prediction(0.0) == lowest_reaching(explained.ranks, 0.0)


def write_head(
    path: Path, rng: np.random.Generator, taxa: int, dim: int, dtype: str = "float32", fingerprint: str = "f"
) -> TaxonEmbeddings:
    """Random vectors of taxa in a small random tree."""
    genus = rng.integers(0, max(1, taxa // 3), taxa)
    columns = {"genus": [f"G{n}" for n in genus], "species": [f"s{n}" for n in range(taxa)]}
    columns |= {
        name: [f"{name}{n % divisor}" for n in genus] for name, divisor in (("kingdom", 2), ("family", 5))
    }
    names = TaxaNames.from_columns(columns)
    vectors = rng.standard_normal((taxa, dim)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    TaxonEmbeddings.write(
        path, names, [(np.arange(taxa), vectors)], dim=dim, fingerprint=fingerprint, dtype=dtype
    )
    return TaxonEmbeddings.open(path)


@settings(max_examples=12)
@given(
    taxa=st.sampled_from([1, 2, 63, 64, 65, 200, 8192, 8193, 20000]),
    images=st.integers(1, 9),
    k=st.integers(1, 70),
    scale=st.sampled_from([1.0, 30.0, 100.0]),
    chosen=st.sampled_from(["all", "some", "run"]),
    dtype=st.sampled_from(["float32", "float16", "int8"]),
    seed=st.integers(0, 99),
)
def test_streamed_scores_equal_the_full_softmax(
    tmp_path_factory, taxa, images, k, scale, chosen, dtype, seed
):
    rng = np.random.default_rng(seed)
    head = write_head(tmp_path_factory.mktemp("head") / "taxa.safetensors", rng, taxa, 16, dtype)
    rows = None
    if chosen == "some":
        rows = np.flatnonzero(rng.random(taxa) < 0.4)
    elif chosen == "run":
        rows = np.arange(taxa // 3, max(taxa // 3 + 1, taxa - taxa // 4))
    if rows is not None and not len(rows):
        rows = np.array([0])
    features = rng.standard_normal((images, 16)).astype(np.float32)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    scorer = TaxaScorer(head, scale, make_mesh(MeshConfig(), jax.local_devices()), rows)

    logits = scale * features.astype(np.float64) @ head.rows(np.arange(taxa) if rows is None else rows).T
    full = np.exp(logits - logits.max(axis=1, keepdims=True))
    full /= full.sum(axis=1, keepdims=True)
    totals = scorer.totals(features)
    best, scores = scorer.best_species(features, totals, k)
    # Precision of float32 for a logit as large as `scale`.
    close = max(1e-5, 5e-7 * scale)
    expected = -np.sort(-full, axis=1)[:, :k]
    np.testing.assert_allclose(scores, expected, atol=close)
    np.testing.assert_allclose(np.take_along_axis(full, best, axis=1), expected, atol=close)
    assert all(len(set(row)) == len(row) for row in best.tolist()), "a species was given twice"
    kept = np.where(full > 1e-9, full, 0)
    for rank, sums in scorer.all_rank_sums(features, totals).items():
        expected = np.add.reduceat(kept, scorer.names.starts(rank), axis=1).T
        np.testing.assert_allclose(sums, expected, atol=close, err_msg=rank.get_label())
        np.testing.assert_allclose(scorer.rank_sums(features, totals, rank), expected, atol=close)


def test_a_pass_over_the_embeddings_releases_its_pages(tmp_path):
    """Embeddings may exceed free memory, so pages are released while they are read."""
    head = write_head(tmp_path / "taxa.safetensors", np.random.default_rng(0), 100_000, 256)
    scorer = TaxaScorer(head, 100.0, make_mesh(MeshConfig(), jax.local_devices()))
    features = np.random.default_rng(1).standard_normal((200, 256)).astype(np.float32)

    def check(after: str) -> None:
        mapped = 0
        for entry in Path("/proc/self/smaps").read_text().split(str(head.path))[1:]:
            mapped += int(entry.split("Rss:")[1].split()[0])
        size = os.path.getsize(head.path) >> 10
        assert mapped < 10_000, f"{mapped} kB of the head's {size} kB stay in memory after {after}"

    totals = scorer.totals(features)
    check("totals")
    scorer.best_species(features, totals, 5)
    check("best_species")
    scorer.rank_sums(features, totals, Rank.FAMILY)
    check("rank_sums")


@given(st.lists(st.integers(0, 5), min_size=1, max_size=40), st.integers(1, 50))
def test_top_k_indices_are_sorted_and_stable(values, k):
    values = np.array(values, np.float32)
    assert top_k_indices(values, k).tolist() == np.argsort(-values, kind="stable")[:k].tolist()


def test_a_nameless_rank_is_not_a_prediction():
    named = [RankPrediction(Rank.KINGDOM, 0, 0.99, "Animalia"), RankPrediction(Rank.ORDER, 0, 0.9, "")]
    assert lowest_reaching(named, 0.5).rank is Rank.KINGDOM


def test_invalid_arguments_are_errors(tmp_path, model):
    dim = model.config.embed_dim
    head = write_head(tmp_path / "other.safetensors", np.random.default_rng(0), 30, dim)
    for other in (head, head.path):
        with pytest.raises(UserError, match="belongs to the model"):
            TreeOfLifeClassifier(model, other)
    head = write_head(
        tmp_path / "taxa.safetensors", np.random.default_rng(0), 30, dim, fingerprint=model.fingerprint
    )
    with pytest.raises(UserError, match="taxa build"):
        TreeOfLifeClassifier(model)
    classifier = TreeOfLifeClassifier(model, head)
    # Callers of pybioclip catch these types.
    with pytest.raises(ValueError, match="3 values for 30 taxa"):
        classifier.apply_filter([True] * 3)
    with pytest.raises(ValueError, match="G0 t0"):
        classifier.create_taxa_filter(Rank.SPECIES, ["G0 t0"])
    with pytest.raises(UserError, match="no taxon"):
        classifier.apply_filter([False] * 30)
    with pytest.raises(UserError, match="at least 1"):
        classifier.predict(np.zeros((40, 40, 3), np.uint8), k=0)
    with pytest.raises(UserError, match="above 0"):
        TreeOfLifeClassifier(model, head, temperature=math.nan)


def test_taxa_beside_a_model_are_found(model_directory, tmp_path):
    import shutil

    folder = tmp_path / "model"
    shutil.copytree(model_directory, folder)
    table = tmp_path / "names.csv"
    table.write_text(
        "kingdom,genus,species,common_name\nAnimalia,Panthera,leo,lion\nPlantae,Malus,domestica,apple\n"
    )
    model = bioclip_jax.load_model(folder)
    build_taxa(str(table), model)
    assert (folder / "taxa.safetensors").is_file()
    image = np.full((40, 40, 3), 90, np.uint8)
    rows = TreeOfLifeClassifier(model_str=str(folder)).predict(image)
    assert {row["common_name"] for row in rows} == {"lion", "apple"} and rows[0]["file_name"] == "0"
    # It moves with the model, and is refused for other weights.
    from bioclip_jax.convert import export_model, resolve, write_model_directory

    assert TreeOfLifeClassifier(export_model(folder, tmp_path / "export")).predict(image) == rows
    bundle = resolve(folder)
    other = dataclasses.replace(bundle, params=bundle.params | {"logit_scale": np.float32(1.0)})
    written = write_model_directory(other, tmp_path / "other", replay_projector=False)
    assert not (written / "taxa.safetensors").exists(), (
        "a head went along to weights that it does not belong to"
    )
