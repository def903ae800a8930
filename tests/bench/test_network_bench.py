"""Benchmark of food webs: our ensemble and SciPy's LSODA solve the same equations; the report."""

from __future__ import annotations

import json

import numpy as np

from bioclip_jax.bench import network_table
from bioclip_jax.bench.twin import lsoda_peer, ours
from bioclip_jax.bench.twin.food_web import random_web


def test_ours_and_lsoda_solve_the_same_web(tmp_path):
    web = random_web(species=12, years=0.25, members=2, seed=0)
    np.savez(tmp_path / "web.npz", **web)
    ours.main("ensemble", str(tmp_path / "web.npz"), str(tmp_path / "ours.json"), "1e-6")
    lsoda_peer.main(str(tmp_path / "web.npz"), str(tmp_path / "peer.json"), "1e-6", "0", "2")
    final = [np.load(tmp_path / f"{side}.npy") for side in ("ours", "peer")]
    assert final[0].shape == final[1].shape == (2, 12)
    present = (final[0] > 1e-3) & (final[1] > 1e-3)
    assert present.sum() >= 12, "most species went extinct"
    difference = np.abs(np.log(final[0][present] / final[1][present])).max()
    assert difference < 1e-4, f"log biomasses differ by {difference}"
    figures = json.loads((tmp_path / "ours.json").read_text())
    assert figures.keys() == {"seconds", "first_call_seconds", "steps"}
    assert json.loads((tmp_path / "peer.json").read_text())["calls"] > 0


def test_table_has_ratios():
    gradient = {"forward_seconds": 0.5, "gradient_seconds": 2.0, "ratio": 4.0}
    result = {"members": 10, "species": 12, "links": 12, "years": 1.0, "cores": 2, "ours": 0.01}
    result |= {"peer_one_core": 0.5, "peer_all_cores": 0.3, "steps": 100.0, "peer_calls": 900.0}
    result |= {"first_call_seconds": 3.0, "largest_difference": 1e-5}
    table = network_table(result | {"gradient": gradient, "prepared_gradient": gradient})
    assert "50.0" in table and "30.0" in table and "= 4.00" in table, table
