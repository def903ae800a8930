"""Server of a small model with random weights, a few taxa and an index, without network.

    python web_server.py FOLDER

Creates its files in FOLDER, then serves them at a free port. Attempts to reach other machines fail and are
logged as BLOCKED on standard error.
"""

import csv
import json
import math
import socket
import sys
from pathlib import Path

import jax
import numpy as np

from bioclip_jax.convert import ModelBundle, write_model_directory
from bioclip_jax.datasets.tree_of_life_mini.individual import Individual
from bioclip_jax.datasets.tree_of_life_mini.tree import species
from bioclip_jax.models import get_config, init_params
from bioclip_jax.pipeline.images import Preprocess
from bioclip_jax.predict import Model, load_model
from bioclip_jax.predict.learn import learn_head
from bioclip_jax.predict.search import build_index
from bioclip_jax.predict.taxa import build_taxa
from bioclip_jax.text import RANKS
from bioclip_jax.web import serve_page


def forbid_other_machines() -> None:
    connect = socket.socket.connect

    def guarded(self, address):
        if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in (
            "127.0.0.1",
            "::1",
            "localhost",
        ):
            print(f"BLOCKED {address}", file=sys.stderr, flush=True)
            raise OSError("no network in this test")
        return connect(self, address)

    socket.socket.connect = guarded
    resolve = socket.getaddrinfo

    def guarded_resolve(host, *arguments, **more):
        if host not in (None, "127.0.0.1", "::1", "localhost", b"localhost"):
            print(f"BLOCKED name {host}", file=sys.stderr, flush=True)
            raise OSError("no network in this test")
        return resolve(host, *arguments, **more)

    socket.getaddrinfo = guarded_resolve


def create_files(folder: Path) -> None:
    config = get_config("ViT-Test-16")
    params = jax.tree.map(np.array, init_params(config, seed=2))
    params["logit_scale"] = np.float32(math.log(30))
    bundle = ModelBundle(config, params, Preprocess(config.vision.image_size), "ViT-Test-16", "a test")
    write_model_directory(bundle, folder / "small", replay_projector=False)
    images = folder / "drawings"
    images.mkdir()
    rows = []
    for kind in species()[::4]:
        individual = Individual.from_seed(kind, 7100)
        (images / f"{individual.key}.jpg").write_bytes(individual.picture())
        ranks = {rank: kind.taxon.rank(rank) for rank in RANKS}
        about = {"common_name": kind.taxon.common_name, "health": individual.health}
        rows.append({"filepath": f"{individual.key}.jpg", **ranks, **about})
    with open(images / "metadata.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    model = load_model(folder / "small")
    build_taxa(images / "metadata.csv", model, templates=("a photo of {}.",))
    create_head(folder, model)
    calibration = {"temperature": 2.5, "fingerprint": model.fingerprint}
    (folder / "calibration.json").write_text(json.dumps(calibration))
    build_index([images], str(folder / "small"), folder / "index")


def create_head(folder: Path, model: Model) -> None:
    """Learn three classes from a few drawings each."""
    for kind in species()[:9:4]:
        (folder / "classes" / kind.taxon.genus).mkdir(parents=True)
        for seed in range(8):
            individual = Individual.from_seed(kind, 7200 + seed)
            (folder / "classes" / kind.taxon.genus / f"{seed}.jpg").write_bytes(individual.picture())
    learn_head(folder / "classes", model, folder / "my classes", cache=False)


if __name__ == "__main__":
    forbid_other_machines()
    folder = Path(sys.argv[1])
    create_files(folder)
    serve_page(
        folder / "small",
        index=folder / "index",
        images=folder / "drawings",
        labels="bird,flower",
        heads=[folder / "my classes"],
        port=0,
        queue=16,
    )
