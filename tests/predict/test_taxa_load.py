"""The verbs `taxa build`, `taxa list` and `models` on the command line."""

from __future__ import annotations

import csv
import io
import json
import shutil

import pytest

from bioclip_jax.cli import main
from bioclip_jax.predict.taxa.embeddings import TaxonEmbeddings

NAMES = """kingdom,phylum,class,order,family,genus,species,common_name
Plantae,Tracheophyta,Magnoliopsida,Rosales,Rosaceae,Malus,domestica,apple
Animalia,Chordata,Mammalia,Carnivora,Felidae,Panthera,leo,lion
Animalia,Chordata,Aves,Passeriformes,Paridae,Parus,major,great tit
Animalia,Chordata,Mammalia,Carnivora,Felidae,Panthera,leo,lion
"""


@pytest.fixture(scope="module")
def model(model_directory, tmp_path_factory):
    """A model directory with three taxa."""
    folder = tmp_path_factory.mktemp("listing")
    shutil.copytree(model_directory, folder / "model")
    (folder / "names.csv").write_text(NAMES)
    assert main(["taxa", "build", str(folder / "names.csv"), "--model", str(folder / "model")]) == 0
    return folder / "model"


def test_build_result(model, capsys):
    arguments = ["taxa", "build", str(model.parent / "names.csv"), "--model", str(model), "--json"]
    assert main([*arguments, "--output", str(model.parent / "other.safetensors"), "--dtype", "int8"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["taxa"], result["doubles"], result["dtype"]) == (3, 1, "int8"), result
    assert 0 <= result["top1_agreement"] <= 1
    assert TaxonEmbeddings.open(result["output"]).dtype == "int8"


def test_list_has_pybioclips_columns_in_source_order(model, capsys):
    assert main(["taxa", "list", "--model", f"local-dir:{model}"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    ranks = ["kingdom", "phylum", "class", "order", "family", "genus"]
    assert list(rows[0]) == [*ranks, "species_epithet", "species", "common_name"]
    assert [row["species"] for row in rows] == ["Malus domestica", "Panthera leo", "Parus major"]


def test_list_within_a_taxon_and_into_files(model, tmp_path, capsys):
    taxa = ["--taxa", str(model / "taxa.safetensors"), "--within", "Chordata"]
    assert main(["taxa", "list", *taxa, "--output", str(tmp_path / "birds.json")]) == 0
    rows = json.loads((tmp_path / "birds.json").read_text())
    assert [row["common_name"] for row in rows] == ["lion", "great tit"]
    assert main(["taxa", "list", *taxa, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["rows"] == rows and result["taxa"] == 2 and result["about"]["format"]


def test_missing_inputs_are_one_line_errors(model, tmp_path, capsys):
    for arguments, named in (
        (["taxa", "list", "--taxa", str(tmp_path / "none")], "none"),
        (["taxa", "list", "--model", str(model), "--within", "Felidea"], "Felidae"),
        (["taxa", "build", str(tmp_path / "names.csv"), "--model", str(model)], "names.csv"),
        (["models", "--model", "ViT-B-17"], "ViT-B-16"),
    ):
        assert main(arguments) == 2, arguments
        lines = capsys.readouterr().err.strip().splitlines()
        assert len(lines) == 1 and named in lines[0], f"{arguments}: {lines}"


def test_models_are_listed(capsys):
    assert main(["models"]) == 0
    listed = capsys.readouterr().out.split()
    assert listed[:2] == ["hf-hub:imageomics/bioclip", "hf-hub:imageomics/bioclip-2"] and "ViT-L-14" in listed
    assert main(["models", "--model", "ViT-B-16"]) == 0
    assert "laion2b_s34b_b88k" in capsys.readouterr().out.split()
