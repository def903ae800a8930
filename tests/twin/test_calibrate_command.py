"""The command twin calibrate from a twin's folder and a table of counts to a posterior that a run takes."""

from __future__ import annotations

import json

import jax
import numpy as np
import small_web

from bioclip_jax.cli import main
from bioclip_jax.twin.calibrate import ParameterDraws
from bioclip_jax.twin.community import blueprint_of
from bioclip_jax.twin.world import write_twin


def write_world(folder):
    twin = small_web.small_twin(1)
    (folder / "twin").mkdir()
    write_twin(folder / "twin", twin)
    rng = np.random.default_rng(0)
    rows = [
        f"2020-{month:02},{name},{rng.poisson(mean)},300"
        for month in (1, 2, 3)
        for name, mean in (("Equus quagga", 100), ("Panthera leo", 2))
    ]
    (folder / "counts.csv").write_text("date,species,count,effort_days\n" + "\n".join(rows) + "\n")
    return twin


def test_calibrate_from_files_to_draws(tmp_path, capsys):
    twin = write_world(tmp_path)
    paths = [str(tmp_path / name) for name in ("twin", "counts.csv", "out")]
    assert main(["twin", "calibrate", *paths, "--draws", "60", "--json"]) == 0
    captured = capsys.readouterr()
    result = json.loads(captured.out)
    assert set(result["identified"]) | set(result["not_identified"]) == set(result["parameters"])
    assert "equilibrium: Panthera leo" in result["not_identified"]
    assert {row["kind"] for row in result["priors"]} >= {"equilibrium", "detectability", "dispersion"}
    assert all(row["reason"] and row["unit"] for row in result["priors"]), "every prior says why"
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"posterior.json", "draws.npz", "predictive.png", "pit.png", "prior_posterior.png"}
    draws = ParameterDraws.load(tmp_path / "out")
    assert len(draws) == 60 and draws.summary["twin"] == "small"
    with jax.enable_x64(True):
        community, biomass = draws.apply(blueprint_of(twin), 0)
    assert community.names == small_web.NAMES and biomass.shape == (1, 4)


def test_mistakes_are_one_line_and_write_nothing(tmp_path, capsys):
    write_world(tmp_path)
    twin, counts, out = (str(tmp_path / name) for name in ("twin", "counts.csv", "out"))
    for arguments, message in (
        ([twin, str(tmp_path / "none.csv"), out], "none.csv does not exist"),
        ([str(tmp_path), counts, out], "is not a twin"),
        ([twin, counts, out, "--reliability", counts], "--reliability applies to a Camtrap DP"),
        ([twin, counts, out, "--movement", counts], "no column scientificName"),
        ([twin, counts, str(tmp_path / "counts.csv")], "counts.csv"),
    ):
        assert main(["twin", "calibrate", *arguments]) == 2, arguments
        error = capsys.readouterr().err.strip()
        assert message in error and "\n" not in error, error
    assert not (tmp_path / "out").exists()
