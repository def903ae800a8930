"""Benchmark of individuals: the same models on all sides, the command, and its errors."""

from __future__ import annotations

import dataclasses
import json
import sys

import numpy as np
import pytest

from bioclip_jax.bench import individuals_table
from bioclip_jax.bench.twin import abmax_peer, flocking, individual_side, wolf_sheep
from bioclip_jax.bench.twin.cases import Flocking, HourClock, WolfSheep
from bioclip_jax.bench.twin.hour_clock import create_population
from bioclip_jax.bench.twin.mesa_peer import MesaFlocking, MesaWolfSheep
from bioclip_jax.cli import main

# So dense that wolves compete for sheep, and sheep for grass.
DENSE = WolfSheep(side=12, sheep=120, wolves=50, sheep_birth=0.1, wolf_gain=8.0, regrowth=6, steps=12, room=6)


def _ours(state: dict[str, np.ndarray], seed: int) -> np.ndarray:
    end, counts = wolf_sheep.run(DENSE, wolf_sheep.create_ecosystem(DENSE, state, seed))
    assert end.lost == 0, "births were lost"
    return np.asarray(counts)


def _abmax(state: dict[str, np.ndarray], seed: int) -> np.ndarray:
    return np.asarray(abmax_peer.run(DENSE, abmax_peer.create_ecosystem(DENSE, state, seed))[1])


def _mesa(state: dict[str, np.ndarray], seed: int) -> np.ndarray:
    model = MesaWolfSheep(DENSE, state, seed)
    counts = []
    for _ in range(DENSE.steps):
        model.step()
        counts.append(model.counts())
    return np.array(counts)


def test_wolf_sheep_is_the_same_model_on_all_sides():
    state = DENSE.initial_state(0)
    runs = {
        "ours": np.array([_ours(state, seed) for seed in range(60)]),
        "abmax": np.array([_abmax(state, seed) for seed in range(60)]),
        "mesa": np.array([_mesa(state, seed) for seed in range(25)]),
    }
    mean = {side: counts.mean(0) for side, counts in runs.items()}
    error = {side: counts.std(0, ddof=1) / len(counts) ** 0.5 for side, counts in runs.items()}
    assert np.abs(mean["ours"] - DENSE.sheep)[-1, 0] > 20, "the populations hardly change"
    for side in ("abmax", "mesa"):
        deviations = (mean[side] - mean["ours"]) / np.hypot(error[side], error["ours"])
        assert np.abs(deviations).max() < 4.5, (
            f"sheep and wolves of {side} and ours differ by so many standard errors:\n{deviations.round(1)}\n"
            f"{mean[side].round(1)}\n{mean['ours'].round(1)}"
        )


def test_wolf_sheep_keeps_identities_and_grass():
    end, _ = wolf_sheep.run(DENSE, wolf_sheep.create_ecosystem(DENSE, DENSE.initial_state(1), 1))
    for name, animals in (("sheep", end.sheep), ("wolves", end.wolves)):
        alive = np.asarray(animals.alive)
        identities = np.stack([animals.identity.high, animals.identity.low])[:, alive]
        assert np.unique(identities, axis=1).shape[1] == alive.sum(), f"two {name} share an identity"
    assert np.asarray(end.grown_at).max() <= DENSE.steps + DENSE.regrowth, "grass grows later than it may"


def test_flocking_is_the_same_model_as_mesas():
    case = Flocking(birds=150, side=60.0, steps=8)
    state = case.initial_state(3)
    end, order = flocking.run(case, flocking.create_flock(state))
    model = MesaFlocking(case, state)
    for _ in range(case.steps):
        model.step()
    away = np.abs(np.asarray(end.position) - model.space.agent_positions)
    assert np.minimum(away, case.side - away).max() < 1e-3, "birds fly elsewhere than Mesa's"
    directions = np.array([bird.direction for bird in model.agents])
    assert order[-1] == pytest.approx(np.linalg.norm(directions.mean(0)), abs=1e-4)
    assert end.overflow == 0


def test_command_compares_with_mesa(capsys):
    command = ["bench", "twin", "--individuals", "--peer", "--parts", "flocking"]
    assert main([*command, "--animals", "50", "--steps", "2", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    one = result["flocking"]
    assert (one["animals"], one["steps"]) == (50, 2)
    assert one["ratio_mesa"] == pytest.approx(one["mesa"] / one["ours"])
    assert one["detail"]["ours"].keys() == {"steps", "seconds", "first_call_seconds", "overflow", "order"}
    assert "| flocking | mesa |" in individuals_table(result).replace("  ", " ")


def test_hour_clock_has_about_as_many_animals_as_asked_for():
    _, population = create_population(HourClock(2000), seed=0)
    assert np.asarray(population.animals.alive).sum() == pytest.approx(2000, rel=0.02)
    assert population.animals.capacity >= 2400


@pytest.mark.parametrize("side", ["ours", "abmax", "mesa"])
def test_side_writes_its_figures(tmp_path, side):
    job = tmp_path / "wolf_sheep.job"
    job.write_text(json.dumps({"case": dataclasses.asdict(DENSE), "repeats": 1}))
    np.savez(tmp_path / "wolf_sheep.npz", **DENSE.initial_state(0))
    individual_side.main("wolf_sheep", side, str(job), str(tmp_path / "out.json"))
    result = json.loads((tmp_path / "out.json").read_text())
    before = "setup_seconds" if side == "mesa" else "first_call_seconds"
    assert result.keys() == {"seconds", before, "sheep", "wolves"}
    assert result["sheep"] > 0


def test_missing_peer_is_one_line(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "mesa", None)
    assert main(["bench", "twin", "--individuals", "--peer"]) == 2
    message = capsys.readouterr().err
    assert message == "error: this command needs mesa; install it: pip install 'bioclip-jax[peers]'\n"


def test_unknown_part_is_one_line(capsys):
    assert main(["bench", "twin", "--individuals", "--parts", "boids"]) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1 and "wolf_sheep, flocking, hour_clock" in message, message
