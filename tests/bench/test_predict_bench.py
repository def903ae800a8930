"""Benchmark of predictions: the synthetic tree, the measurement beside pybioclip, and errors."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bioclip_jax.bench.peer import PeerProcess
from bioclip_jax.bench.predict import (
    PARTS,
    inference_table,
    measure_inference,
    measure_prediction,
    prediction_table,
)
from bioclip_jax.bench.predict.cases import OURS, PEER
from bioclip_jax.bench.predict.inference import top1_agreement
from bioclip_jax.bench.predict.results import difference
from bioclip_jax.bench.predict.synthetic import SyntheticTaxa, many_names
from bioclip_jax.errors import UserError
from bioclip_jax.predict.taxa.published import map_embeddings, read_names


@settings(max_examples=20)
@given(count=st.integers(10, 400), seed=st.integers(0, 9))
def test_synthetic_taxa_form_a_tree(count, seed):
    taxa = SyntheticTaxa(count, 16, seed=seed)
    names = [ranks for ranks, _ in taxa.names()]
    assert len({tuple(ranks) for ranks in names}) == count, "two taxa have the same names"
    for rank in range(1, 6):
        parents = {ranks[rank]: ranks[rank - 1] for ranks in names}
        assert all(parents[ranks[rank]] == ranks[rank - 1] for ranks in names), (
            f"a taxon of rank {rank} has two parents"
        )
    assert np.allclose(np.linalg.norm(taxa.vectors, axis=1), 1, atol=1e-5)


def test_related_taxa_are_similar_and_images_have_the_requested_cosine():
    taxa = SyntheticTaxa(3_000, 512)
    cosines = taxa.vectors @ taxa.vectors.T
    np.fill_diagonal(cosines, np.nan)
    genus, kingdom = taxa.ancestors[5], taxa.ancestors[0]
    assert np.nanmean(cosines[genus[:, None] == genus]) == pytest.approx(0.85, abs=0.03)
    assert np.nanmean(cosines[kingdom[:, None] != kingdom]) == pytest.approx(0.2, abs=0.05)
    images = taxa.images(20, cosine=0.3)
    assert np.allclose(np.linalg.norm(images, axis=1), 1, atol=1e-5)
    assert (images @ taxa.vectors.T).max(axis=1) == pytest.approx(0.3, abs=0.02)


def test_synthetic_files_read_like_the_published_ones(tmp_path):
    taxa = SyntheticTaxa(50, 8)
    taxa.write(tmp_path)
    names = read_names(tmp_path / "txt_emb_species.json")
    columns = map_embeddings(tmp_path / "txt_emb_species.npy", names, 8)
    assert columns.dtype == np.float32 and np.array_equal(columns.T, taxa.vectors)


def test_difference_is_the_largest_over_all_predictions():
    def rows(**scores):
        return [{"file_name": "a", "classification": name, "score": score} for name, score in scores.items()]

    assert difference(rows(oak=0.5, fox=0.2), rows(fox=0.2, oak=0.5)) == 0
    assert difference(rows(oak=0.5, fox=0.2), rows(oak=0.4, fox=0.2)) == pytest.approx(0.1)
    # A prediction that the peer lacks scores at most its lowest one.
    assert difference(rows(oak=0.5, fox=0.2), rows(oak=0.5, elk=0.1)) == pytest.approx(0.1)
    with pytest.raises(UserError, match="different images"):
        difference(rows(oak=1.0), [])


@pytest.fixture(scope="module")
def measured() -> dict:
    # The peer compiles, which is slow, only over photographs, where the benchmark compares both ways.
    few = {"taxa_count": 200, "many_labels": 16, "photographs": 8, "memory_images": (10, 20)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TORCHDYNAMO_DISABLE", "1")
        return measure_prediction("ViT-Test-16", peer=True, **few)


def test_measures_both_sides(measured):
    json.dumps(measured)
    for name in (
        "labels_8_cold",
        "labels_8_process",
        "labels_8_second",
        "load",
        "head_open",
        "species",
        "family",
        "subset",
    ):
        ours, peer = measured[f"{name}_seconds"], measured[f"peer_{name}_seconds"]
        assert ours > 0 and peer > 0
        assert measured[f"{name}_ratio"] == pytest.approx(peer / ours, rel=0.01), name
    assert measured["labels_8_process_seconds"] > measured["labels_8_cold_seconds"]
    assert "labels_16_cold_seconds" in measured and "peer_labels_16_cold_seconds" not in measured
    cold = measured["peer_labels_8_cold_seconds"]
    assert cold < measured["peer_labels_16_estimated_seconds"] < 2 * cold, (
        "the estimate must not load the model once per label"
    )
    for rank in ("species", "family"):
        few, peer = measured[f"{rank}_at_10_seconds"], measured[f"peer_{rank}_seconds"]
        assert measured[f"{rank}_at_10_ratio"] == pytest.approx(peer / few, rel=0.01), rank
    assert measured["images_at_once"] == {
        "species": {"ours": 256, "peer": 10},
        "family": {"ours": 256, "peer": 2},
    }
    assert measured["device"] == measured["peer_device"] == "cpu"
    assert measured["peak_memory_bytes"] > 1e8 and measured["peer_peak_memory_bytes"] > 1e8
    assert measured["widths"]["species"] == 200 and 0 < measured["share_above_1e-9"] <= 1
    assert measured["images_per_second"] > 0 and measured["peer_how"] in measured["peer_tried"]
    assert list(measured["memory_after"]) == ["10", "20"]


def test_both_sides_predict_the_same_scores(measured):
    differences = measured["score_difference"]
    assert set(differences) == {"labels", "species", "family", "subset_species", "subset_family"}
    assert max(differences.values()) < 1e-4, differences


def test_table_shows_every_time_with_its_ratio(measured):
    lines = {
        line.split("|")[1].strip(): line
        for line in prediction_table(measured).splitlines()
        if line.startswith("|")
    }
    assert f"{measured['family_ratio']:.3g} x" in lines["family"]
    assert lines["photographs"].count("/s") == 2 and lines["peak memory"].count("GB") == 2
    assert (
        lines["labels 16 cold"].count("(estimated)") == 1
        and prediction_table(measured).count("estimated") == 1
    )
    assert (
        " - " not in lines["labels 8 cold"]
        and f"{measured['family_at_10_ratio']:.3g} x" in lines["family at 10"]
    )
    assert "On cpu, pybioclip on cpu." in prediction_table(measured)
    assert "At family, 256 images at once, 2 by pybioclip." in prediction_table(measured)


def test_invalid_arguments_are_rejected_before_measuring(tmp_path):
    with pytest.raises(UserError, match=rf"unknown part heads; choose from {', '.join(PARTS)}, precision"):
        measure_prediction(parts=["heads"])
    with pytest.raises(UserError, match="3 taxa are too few"):
        measure_prediction(taxa_count=3)
    with pytest.raises(UserError, match="holds no image"):
        measure_prediction(images=str(tmp_path))
    (tmp_path / "a.jpg").write_text("no picture")
    with pytest.raises(UserError, match="a.jpg cannot be read"):
        measure_prediction(images=str(tmp_path))
    for cosine in (0, 1, float("nan")):
        with pytest.raises(UserError, match=f"image cosine is {cosine}"):
            measure_prediction(image_cosine=cosine)
    with pytest.raises(UserError, match="100000 labels are too many"):
        measure_prediction(many_labels=100_000)
    assert len(set(many_names(2_000))) == 2_000


def test_missing_package_failed_task_and_killed_process_are_reported(tmp_path):
    (tmp_path / "bioclip.py").write_text("raise ImportError('as if it were not there', name='bioclip')\n")
    with (
        PeerProcess(PEER, environment={"PYTHONPATH": str(tmp_path)}) as process,
        pytest.raises(UserError, match="--peer needs bioclip"),
    ):
        process.call("memory")
    with PeerProcess(OURS, ours=True) as process:
        with pytest.raises(UserError, match=r"failed at load_labels: .*no_model") as caught:
            process.call("load_labels", model=str(tmp_path / "no_model"), labels=["oak"])
        assert "less at once" not in str(caught.value) and "--peer" not in str(caught.value)
        process._process.kill()
        with pytest.raises(UserError, match=r"failed at memory: it was killed.*; give less at once$"):
            process.call("memory")


def test_inference_of_a_precision_is_measured_from_files_and_from_pixels():
    result = measure_inference("ViT-Test-16", "bf16", photographs=40, batch_size=16, turns=1)
    json.dumps(result)
    assert (result["model"], result["precision"], result["photographs"]) == ("ViT-Test-16", "bf16", 40)
    for name in ("images", "tower_images", "decode_images"):
        assert result[f"{name}_per_second"] > 0
    assert result["batch_size"] == 16 and result["peak_memory_bytes"] is None, "a CPU reports no memory"
    assert result["programs"] == 2, "a cold classifier and its first image take more than one program each"
    assert result["labels_8_cold_seconds"] > result["labels_8_second_seconds"] > 0
    table = inference_table([result, result | {"precision": "fp32"}])
    assert "ViT-Test-16 bf16 | ViT-Test-16 fp32" in table and "images/s, JPEG files to vectors" in table


def test_top1_agreement_compares_each_image_s_best_label():
    def rows(**best):
        return [
            {"file_name": image, "classification": label, "score": 0.5}
            for image, first in best.items()
            for label in (first, "last")
        ]

    assert top1_agreement(rows(a="oak", b="fox"), rows(b="fox", a="oak")) == 1
    assert top1_agreement(rows(a="oak", b="fox"), rows(a="oak", b="elk")) == 0.5
