"""The default model and published taxa from the Hub's cache, without a network."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import bioclip_jax
from bioclip_jax.predict.taxa.build import build_taxa
from bioclip_jax.predict.taxa.embeddings import TaxonEmbeddings

COMMANDS = Path(__file__).with_name("offline_commands.py")
TAXA = """kingdom,phylum,class,order,family,genus,species,common_name
Plantae,Tracheophyta,Magnoliopsida,Rosales,Rosaceae,Malus,domestica,apple
Animalia,Chordata,Mammalia,Carnivora,Felidae,Panthera,leo,lion
Animalia,Chordata,Aves,Passeriformes,Paridae,Parus,major,great tit
"""


def into_cache(hub: Path, kind: str, repository: str, files: dict[str, Path]) -> None:
    """Copy files into a cache as huggingface_hub does."""
    folder = hub / f"{kind}--{repository.replace('/', '--')}"
    revision = "0" * 40
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text(revision)
    for name, path in files.items():
        target = folder / "snapshots" / revision / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)


@pytest.fixture(scope="module")
def home(model_directory, tmp_path_factory) -> Path:
    """A home directory whose Hub cache holds a small BioCLIP 2 and embeddings of three taxa."""
    home = tmp_path_factory.mktemp("home")
    (home / "names.csv").write_text(TAXA)
    model = bioclip_jax.load_model(model_directory)
    build_taxa(str(home / "names.csv"), model, home / "taxa.safetensors")
    head = TaxonEmbeddings.open(home / "taxa.safetensors")
    order = np.argsort(head.names.source_index)
    np.save(home / "txt_emb_species.npy", np.ascontiguousarray(head.rows(order).T))
    taxa = [head.names.taxon(row) for row in order]
    names = [[list(taxon.lineage()), taxon.common_name] for taxon in taxa]
    (home / "txt_emb_species.json").write_text(json.dumps(names))
    hub = home / "huggingface" / "hub"
    config, weights = "open_clip_config.json", "open_clip_model.safetensors"
    into_cache(
        hub, "models", "imageomics/bioclip-2", {name: model_directory / name for name in (config, weights)}
    )
    published = {
        f"embeddings/txt_emb_species.{suffix}": home / f"txt_emb_species.{suffix}"
        for suffix in ("npy", "json")
    }
    into_cache(hub, "datasets", "imageomics/TreeOfLife-200M", published)
    photos = home / "photos"
    photos.mkdir()
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 256, (50, 40, 3), np.uint8)
        Image.fromarray(pixels).save(photos / f"{number}.png")
    return home


def test_everything_works_without_a_network(home):
    photos = str(home / "photos")
    commands = [
        ["predict", photos, "--output", "species.csv", "--report", "report.html", "--log", "log.json"],
        ["predict", photos, "--rank", "family", "--within", "Animalia", "--output", "family.csv"],
        ["predict", photos, "--min-confidence", "0.5", "--output", "confident.csv", "--resume"],
        ["predict", photos, "--cls", "a dog,a cat", "--output", "labels.csv"],
        ["embed", photos, "--output", "vectors.parquet", "--cache"],
        ["embed", "--text", "a wasp", "--output", "text.npy"],
        ["taxa", "list", "--output", "taxa.csv"],
        ["taxa", "build", "--complete", "--output", "complete.safetensors"],
        ["index", "build", photos, "--output", "index"],
        ["index", "search", "index", f"{photos}/1.png", "--k", "2", "--output", "near.csv"],
    ]
    # Without HF_HUB_OFFLINE too: cached files are not requested again.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    environment |= {
        "HOME": str(home),
        "HF_HOME": str(home / "huggingface"),
        "XDG_CACHE_HOME": str(home / "cache"),
    }
    process = subprocess.run(
        [sys.executable, str(COMMANDS), json.dumps(commands)],
        env=environment,
        cwd=home,
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stderr[-3000:]
    statuses = json.loads(process.stderr.strip().splitlines()[-1])
    failed = [command for command, status in zip(commands, statuses) if status]
    assert not failed, f"{failed}: {process.stderr[-3000:]}"

    def rows(name: str) -> list[dict[str, str]]:
        with open(home / name, newline="") as file:
            return list(csv.DictReader(file))

    assert {row["common_name"] for row in rows("species.csv")} == {"apple", "lion", "great tit"}
    assert {row["family"] for row in rows("family.csv")} == {"Felidae", "Paridae"}
    assert [row["species"] for row in rows("taxa.csv")] == ["Malus domestica", "Panthera leo", "Parus major"]
    assert len(TaxonEmbeddings.open(home / "complete.safetensors")) == 3, (
        "the Hub's names are not the default"
    )
    near = rows("near.csv")
    assert near[0]["path"].endswith("1.png") and float(near[0]["score"]) == pytest.approx(1, abs=1e-4)
    # pybioclip squashes images for the two published models; the small model's own transform crops.
    snapshot = home / "huggingface/hub/models--imageomics--bioclip-2/snapshots" / ("0" * 40)
    own = bioclip_jax.load_model(snapshot, transform="model")
    assert own.preprocess.resize_mode == "shortest"
    import pyarrow.parquet as pq

    stored = np.stack(pq.read_table(home / "vectors.parquet")["emb"].to_numpy())
    assert np.abs(stored - own.encode_image(sorted((home / "photos").iterdir()))).max() > 1e-3, (
        "nothing was squashed"
    )
