"""The closed loop of `twin validate`, at a size at which it proves nothing but runs through every step."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl

from bioclip_jax.datasets.camera_trap_mini import SPECIES
from bioclip_jax.twin.validate import study_closed_loop


def _wrong_every_fifth_time(world: Path):
    """A classifier that knows the truth of a world's photographs, and errs at random in one of five."""
    truth = pl.read_csv(world / "verified.csv", infer_schema=False)
    known = dict(truth.select("filepath", "scientificName").rows())
    names = [traits.name for traits in SPECIES]
    random = np.random.default_rng(0)

    def predict(photos: Path, output: Path) -> str:
        rows = []
        for path in pl.read_parquet(photos)["filepath"]:
            folder, file = Path(path).parts[-2:]
            name = known.get(f"{folder}/{file}")
            if name not in names or random.random() < 0.2:
                name = names[random.integers(len(names))]
            genus, epithet = name.split(" ")
            rows.append(
                {"file_name": path, "genus": genus, "species_epithet": epithet, "species": name, "score": 0.8}
            )
        pl.DataFrame(rows).write_parquet(output)
        return "a classifier that knows the truth"

    return predict


def test_the_closed_loop_compares_with_the_truth(tmp_path):
    study = study_closed_loop(tmp_path, _wrong_every_fifth_time, photographed=1, drawn=1, sites=8, days=10)
    assert study["worlds"] == 2
    for quantity in ("occupancy", "relative_abundance", "density"):
        for prefix in ("", "naive_"):
            result = study[f"{prefix}{quantity}"]
            assert 8 <= result["intervals"] <= 16 and 0 <= result["coverage"] <= 1, (
                f"{prefix}{quantity}: {result}"
            )
    assert 0 < study["event_accuracy"] < 1
    assert study["occupancy"]["coverage"] > study["naive_occupancy"]["coverage"]
    json.dumps(study)
