"""Published text embeddings of each model, by their names in the datasets."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hub_cache import into_cache

import bioclip_jax
from bioclip_jax.convert import import_model
from bioclip_jax.errors import UserError
from bioclip_jax.predict.taxa.build import build_taxa
from bioclip_jax.predict.taxa.embeddings import TaxonEmbeddings
from bioclip_jax.predict.taxa.load import open_taxa

TAXA = """kingdom,phylum,class,order,family,genus,species,common_name
Plantae,Tracheophyta,Magnoliopsida,Rosales,Rosaceae,Malus,domestica,apple
Animalia,Chordata,Mammalia,Carnivora,Felidae,Panthera,leo,lion
Animalia,Chordata,Aves,Passeriformes,Paridae,Parus,major,great tit
"""


@pytest.fixture(scope="module")
def embeddings(model_directory, tmp_path_factory) -> tuple[Path, Path]:
    """Embeddings of three taxa by the small model, as .npy [dim, taxa] and .json."""
    folder = tmp_path_factory.mktemp("embeddings")
    (folder / "names.csv").write_text(TAXA)
    build_taxa(
        str(folder / "names.csv"), bioclip_jax.load_model(model_directory), folder / "taxa.safetensors"
    )
    built = TaxonEmbeddings.open(folder / "taxa.safetensors")
    order = np.argsort(built.names.source_index)
    np.save(folder / "e.npy", np.ascontiguousarray(built.rows(order).T))
    taxa = [built.names.taxon(row) for row in order]
    (folder / "e.json").write_text(json.dumps([[list(taxon.lineage()), taxon.common_name] for taxon in taxa]))
    return folder / "e.npy", folder / "e.json"


@pytest.fixture
def hub(tmp_path, monkeypatch) -> Path:
    """An empty cache, offline."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "hub"


def cache_model(hub: Path, name: str, directory: Path) -> None:
    files = ("open_clip_config.json", "open_clip_model.safetensors")
    into_cache(hub, "models", name, {file: directory / file for file in files})


@pytest.mark.parametrize(
    "name, dataset, stem",
    [
        ("imageomics/bioclip", "TreeOfLife-10M", "txt_emb_species"),
        ("imageomics/bioclip-2", "TreeOfLife-200M", "txt_emb_species"),
        ("imageomics/bioclip-2", "TreeOfLife-200M", "txt_emb_bioclip-2"),
        ("imageomics/bioclip-2.5-vith14", "TreeOfLife-200M", "txt_emb_bioclip-2.5-vith14"),
        ("imageomics/biocap", "TreeOfLife-10M", "txt_emb_biocap"),
    ],
)
def test_embeddings_are_found_by_the_models_name(
    hub, model_directory, embeddings, tmp_path, name, dataset, stem
):
    cache_model(hub, name, model_directory)
    named = {f"embeddings/{stem}{path.suffix}": path for path in embeddings}
    into_cache(hub, "datasets", f"imageomics/{dataset}", named)
    for model in (f"hf-hub:{name}", import_model(f"hf-hub:{name}", tmp_path / "imported")):
        taxa = open_taxa(bioclip_jax.load_model(model))
        np.testing.assert_allclose(
            taxa.rows(np.argsort(taxa.names.source_index)).T, np.load(embeddings[0]), atol=1e-6
        )


@pytest.mark.parametrize("name", ["imageomics/bioclip-2.5-vith14", "imageomics/biocap"])
def test_embeddings_of_another_model_are_not_used(hub, model_directory, embeddings, name):
    cache_model(hub, name, model_directory)
    for dataset in ("TreeOfLife-10M", "TreeOfLife-200M"):
        named = {f"embeddings/txt_emb_species{path.suffix}": path for path in embeddings}
        into_cache(hub, "datasets", f"imageomics/{dataset}", named)
    stem = f"txt_emb_{name.partition('/')[2]}"
    with pytest.raises(UserError, match=f"embeddings/{stem}.npy of imageomics/.* is not in the cache"):
        open_taxa(bioclip_jax.load_model(f"hf-hub:{name}"))


def test_all_published_names_are_listed(capsys):
    from bioclip_jax.cli import main

    assert main(["models"]) == 0
    listed = capsys.readouterr().out.splitlines()
    for name in ("bioclip", "bioclip-2", "bioclip-2.5-vith14", "biocap"):
        assert f"hf-hub:imageomics/{name}" in listed


def test_newer_embeddings_are_completed_by_their_recipe(model_directory, tmp_path):
    """TreeOfLife-toolbox's template is "an image of RANKS with common name NAME."."""
    model = bioclip_jax.load_model(model_directory)
    rows = [line.split(",") for line in TAXA.splitlines()[1:]] + [
        ["Fungi", "", "", "", "", "Amanita", "muscaria", ""]
    ]
    texts = [
        " ".join(filter(None, row[:7])) + (f" with common name {row[7]}" if row[7] else "") for row in rows
    ]
    columns = model.encode_text([f"an image of {text}." for text in texts]).T.copy()
    expected = columns.copy()
    columns[:, 1:4:2] = 0
    np.save(tmp_path / "e.npy", columns)
    (tmp_path / "e.json").write_text(json.dumps([[row[:7], row[7]] for row in rows]))
    build_taxa(str(tmp_path / "e.npy"), model, tmp_path / "taxa.safetensors", complete=True)
    taxa = TaxonEmbeddings.open(tmp_path / "taxa.safetensors")
    np.testing.assert_allclose(taxa.rows(np.argsort(taxa.names.source_index)).T, expected, atol=1e-5)
    assert taxa.about["templates"] == "an image of {}." and "with common name" in taxa.about["text_type"]
