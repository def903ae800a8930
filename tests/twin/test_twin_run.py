"""The command twin run: paired, reproducible, resumable, and refusing what it cannot do."""

from __future__ import annotations

import functools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_twin import LION, ZEBRA, made_twin, written_twin

from bioclip_jax.cli import main
from bioclip_jax.errors import UserError
from bioclip_jax.twin.calibrate import ParameterDraws
from bioclip_jax.twin.community import simulate_chunks
from bioclip_jax.twin.scenario import ensemble, ensemble_of, read_run
from bioclip_jax.twin.scenario.run_folder import RunFolder
from bioclip_jax.twin.world import read_twin

SCENARIO = f"""
name = "no lions"
[[events]]
kind = "remove"
species = "{LION}"
date = 2030-02-01
"""
# Three chunks for each of two branches.
SETTINGS = ("--members", "70", "--years", "1")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A folder with a twin, a scenario and its run."""
    folder = tmp_path_factory.mktemp("world")
    written_twin(folder / "twin")
    (folder / "lions.toml").write_text(SCENARIO)
    assert main(_command(folder, "run")) == 0
    return folder


def _command(world: Path, output: str, *options: str) -> list[str]:
    scenario = ("--scenario", str(world / "lions.toml"))
    return ["twin", "run", str(world / "twin"), str(world / output), *scenario, *SETTINGS, *options]


def _files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def _start(command: list[str], devices: int = 8) -> subprocess.Popen:
    flags = f"--xla_force_host_platform_device_count={devices} --xla_backend_optimization_level=0"
    return subprocess.Popen(
        [sys.executable, "-m", "bioclip_jax.cli", *command],
        env=os.environ | {"XLA_FLAGS": flags},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_run_holds_members_with_and_without(world, capsys):
    run = read_run(world / "run")
    assert run.branches == ("baseline", "no lions")
    assert run.biomass.shape == (2, 70, 13, 3, 6)
    assert run.ledger_residual.shape == (2, 70) and run.ledger_residual.max() < 1e-12
    lion, before = run.species.index(LION), slice(0, 2)
    assert (run.biomass[1, :, 2:, :, lion] == 0).all() and (run.biomass[0, :, :, :, lion] > 0).any()
    with_, without = run.biomass[1, :, before], run.biomass[0, :, before]
    assert with_ == pytest.approx(without, rel=1e-5), "members are alike until the first event"
    settings = run.settings
    assert not settings["parameters"]["calibrated"] and "NOT CALIBRATED" in run.note
    assert settings["scenarios"][0]["text"] == SCENARIO and len(settings["twin_sha256"]) == 64


def test_the_result_says_that_it_is_not_calibrated(world, capsys):
    capsys.readouterr()
    assert main([*_command(world, "run"), "--json"]) == 0
    captured = capsys.readouterr()
    result = json.loads(captured.out)
    assert result["calibrated"] is False and "NOT CALIBRATED" in captured.err
    assert result["extinct"]["no lions"][LION] == 1 and result["members"] == 70


def test_members_differ_and_the_seed_repeats_them(world):
    biomass = read_run(world / "run").biomass[0, :, -1].sum(axis=1)
    assert len(np.unique(biomass[:, 0])) == 70
    assert main(_command(world, "again")) == 0
    assert _files(world / "again") == _files(world / "run")
    assert main(_command(world, "seed", "--seed", "1")) == 0
    assert not np.isin(read_run(world / "seed").biomass[0, :, -1], read_run(world / "run").biomass).any()


def test_one_device_gives_the_bytes_of_eight(world):
    process = _start(_command(world, "one"), devices=1)
    assert process.wait() == 0, process.stderr.read()
    assert _files(world / "one") == _files(world / "run")


def test_a_killed_run_resumes_to_the_same_bytes(world):
    output = world / "killed"
    process = _start(_command(world, "killed"), devices=1)
    while process.poll() is None and not list(output.glob("chunks/*.npz")):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "it finished before it could be killed"
    kept = sorted(path.name for path in (output / "chunks").iterdir() if path.suffix == ".npz")
    assert not (output / "run.json").exists() and 0 < len(kept) < 6
    assert main(["twin", "compare", str(output), str(world / "none")]) == 2
    assert main(_command(world, "killed")) == 0
    assert _files(output) == _files(world / "run")


def test_damaged_parts_of_a_killed_run_are_made_again(world, monkeypatch):
    """A disk that was full, or a copy that broke off: the second of three chunks is half there."""
    output = world / "broken"

    def stop(run_folder, axes):
        chunk = output / "chunks" / "000-00001.npz"
        chunk.write_bytes(chunk.read_bytes()[:5000])
        raise KeyboardInterrupt

    with monkeypatch.context() as context:
        context.setattr(RunFolder, "finish", stop)
        assert main(_command(world, "broken")) == 130
    assert main(_command(world, "broken")) == 0
    assert _files(output) == _files(world / "run")


def test_a_damaged_run_is_refused(world, capsys, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(world / "run", run)
    compare = ["twin", "compare", str(run), str(tmp_path / "comparison")]
    whole = (run / "members.npz").read_bytes()
    for damaged in (b"", whole[:9000], whole[:9000] + bytes([whole[9000] ^ 255]) + whole[9001:]):
        (run / "members.npz").write_bytes(damaged)
        _refused(capsys, compare, "is damaged; make it again with twin run")
    (run / "members.npz").write_bytes(whole)
    content = json.loads((run / "run.json").read_text())
    for key, value in (("species", content["species"][1:]), ("settings", {}), ("times", ["soon"])):
        (run / "run.json").write_text(json.dumps(content | {key: value}))
        _refused(capsys, compare, "is damaged; make it again with twin run")
    assert not (tmp_path / "comparison").exists()


def test_members_that_cannot_be_simulated_leave_nothing_behind(world, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(ensemble, "simulate_chunks", functools.partial(simulate_chunks, max_steps=2))
    command = ["twin", "run", str(world / "twin"), str(tmp_path / "run"), "--members", "1", "--years", "1"]
    assert main(command) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ") and "member 0 of the ensemble takes more than 2 steps" in error, error
    assert not list(tmp_path.iterdir()), "something was left behind"


def test_ctrl_c_says_how_to_resume(world):
    output = world / "interrupted"
    process = _start(_command(world, "interrupted"), devices=1)
    while process.poll() is None and not list(output.glob("chunks/*.npz")):
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    assert process.wait() == 130
    message = process.stderr.read().splitlines()[-1]
    assert "of 6 parts are kept in" in message and "run the same command again to resume" in message
    assert not list(output.glob("*partial*"))


def _refused(capsys, command: list[str], message: str) -> None:
    capsys.readouterr()
    assert main(command) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1, error


def test_other_settings_and_other_files_are_refused(world, capsys):
    before = _files(world / "run")
    _refused(capsys, _command(world, "run", "--seed", "5"), "other seed (0, now 5)")
    _refused(capsys, [*_command(world, "run")[:4], *SETTINGS], "other scenarios; name another folder")
    assert _files(world / "run") == before
    _refused(capsys, _command(world, "twin"), "holds other files")
    _refused(capsys, _command(world, "twin/twin.json"), "is a file; name a folder")
    _refused(capsys, _command(world, "no/where"), "does not exist; make it")


def test_mistakes_leave_nothing_behind(world, capsys, tmp_path):
    output = str(tmp_path / "run")
    twin = str(world / "twin")
    _refused(capsys, ["twin", "run", str(tmp_path), output], "is not a twin")
    wrong = tmp_path / "wrong.toml"
    wrong.write_text(SCENARIO.replace(LION, "Panthera lea"))
    _refused(capsys, ["twin", "run", twin, output, "--scenario", str(wrong)], f"did you mean {LION}?")
    late = tmp_path / "late.toml"
    late.write_text(SCENARIO.replace("2030-02", "2031-02"))
    _refused(
        capsys, ["twin", "run", twin, output, "--years", "1", "--scenario", str(late)], "outside the run"
    )
    twice = ["--scenario", str(world / "lions.toml"), str(world / "lions.toml")]
    _refused(capsys, ["twin", "run", twin, output, *twice], "has the name 'no lions'")
    _refused(capsys, ["twin", "run", twin, output, "--posterior", str(tmp_path)], "is not a posterior")
    unknown = tuple(replace(one, density_per_km2=None) for one in made_twin().species)
    unknown = written_twin(tmp_path / "unknown", species=unknown)
    _refused(capsys, ["twin", "run", str(unknown), output], f"{ZEBRA} has no density_per_km2")
    for option, value, message in (
        ("--seed", str(2**63), "is not below 2^63"),
        ("--years", "0.5", "'0.5' is not a whole number"),
    ):
        with pytest.raises(SystemExit):
            main(["twin", "run", twin, output, option, value])
        assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_posterior_is_used_in_turn_and_counts_as_calibrated(world, capsys):
    names = tuple(f"initial: {name}" for name in (LION, ZEBRA))
    (world / "posterior").mkdir(exist_ok=True)
    ParameterDraws(names, np.log([[2.0, 1.0], [1.0, 3.0]])).save(world / "posterior")
    assert main(_command(world, "calibrated", "--posterior", str(world / "posterior"))) == 0
    assert "NOT CALIBRATED" not in capsys.readouterr().err
    run = read_run(world / "calibrated")
    assert run.settings["parameters"]["calibrated"]
    start = run.biomass[0, :, 0, 0][:, [run.species.index(name) for name in (LION, ZEBRA)]]
    reference = np.array([0.1 * 150, 8 * 250])
    assert start[::2] == pytest.approx(np.tile(reference * [2, 1], (35, 1)))
    assert start[1::2] == pytest.approx(np.tile(reference * [1, 3], (35, 1)))
    twin = read_twin(world / "twin")
    again = ensemble_of(run, twin).parameters(np.arange(2))[1]
    np.testing.assert_allclose(again, run.biomass[0, :2, 0], rtol=1e-6)
    ParameterDraws(names, np.log([[1.0, 1.0], [1.0, 3.0]])).save(world / "posterior")
    with pytest.raises(UserError, match="posterior has changed since .*calibrated was simulated"):
        ensemble_of(run, twin)
    command = _command(world, "calibrated", "--posterior", str(world / "posterior"))
    _refused(capsys, command, "other parameters")
    ParameterDraws(names, np.log([[2.0, 1.0]]), {"species": [LION, ZEBRA]}).save(world / "posterior")
    _refused(capsys, command, "species that the posterior lacks; calibrate this twin")
    for damaged in (np.array([[np.nan, 1.0]]), np.zeros((0, 2)), np.zeros((3, 1)), np.zeros(2)):
        ParameterDraws(names, damaged).save(world / "posterior")
        _refused(capsys, command, "has a damaged posterior; make it again with twin calibrate")
    (world / "posterior" / "draws.npz").write_bytes(b"")
    _refused(capsys, command, "has a damaged posterior; make it again with twin calibrate")
