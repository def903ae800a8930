"""A server in a process of its own: a small model with fresh weights, a few taxa, an index, and no network.

    python web_server.py FOLDER

Makes all of it in FOLDER, then serves it at a free port. An attempt to reach another machine is told on
standard error and fails.
"""

import csv
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
from bioclip_jax.predict import load_model
from bioclip_jax.predict.search import build_index
from bioclip_jax.predict.taxa import build_taxa
from bioclip_jax.text import RANKS
from bioclip_jax.web.serve import serve_page


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
    found = socket.getaddrinfo

    def looked_up(host, *arguments, **more):
        if host not in (None, "127.0.0.1", "::1", "localhost", b"localhost"):
            print(f"BLOCKED name {host}", file=sys.stderr, flush=True)
            raise OSError("no network in this test")
        return found(host, *arguments, **more)

    socket.getaddrinfo = looked_up


def make_all(folder: Path) -> None:
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
    build_index([images], str(folder / "small"), folder / "index")


if __name__ == "__main__":
    forbid_other_machines()
    at = Path(sys.argv[1])
    make_all(at)
    serve_page(
        at / "small", index=at / "index", images=at / "drawings", labels="bird,flower", port=0, queue=16
    )
