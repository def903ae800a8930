"""Effects of a scenario: intervals, verdicts, pairs and the baseline of no change."""

from __future__ import annotations

import json
import math
import shutil

import numpy as np
import pytest
from made_twin import GRASS, HARE, LION, ZEBRA, made_twin, written_twin
from scipy import stats

from bioclip_jax.cli import main
from bioclip_jax.twin.scenario.effects import (
    DECLINES,
    INCREASES,
    LITTLE,
    UNDECIDED,
    effect,
    log_ratios,
    no_change,
    quasi_extinct,
    variances,
    verdict,
)

MEMBERS = ("--members", "70", "--years", "1")


def _lognormal(members: int, effect: float, spread: float) -> tuple[np.ndarray, np.ndarray]:
    """Biomass with and without: its log varies by 1 between members, the log ratio by spread."""
    rng = np.random.default_rng(0)
    without = np.exp(rng.standard_normal((members, 1)))
    return without * np.exp(effect + spread * rng.standard_normal((members, 1))), without


def test_intervals_are_those_of_the_normal():
    with_, without = _lognormal(20_000, -0.4, 0.2)
    result = effect(log_ratios(with_, without, np.zeros(1) + 1e-9, paired=True)[:, 0])
    for key, level in (
        ("lower", 0.05),
        ("lower_50", 0.25),
        ("median", 0.5),
        ("upper_50", 0.75),
        ("upper", 0.95),
    ):
        assert result["log_ratio"][key] == pytest.approx(stats.norm.ppf(level, -0.4, 0.2), abs=0.01), key
    assert result["probability_of_decline"] == pytest.approx(stats.norm.cdf(2), abs=0.005)
    assert result["verdict"] == DECLINES


def test_pairs_are_more_precise():
    with_, without = _lognormal(20_000, -0.4, 0.2)
    paired, unpaired = variances(with_, without, np.zeros(1) + 1e-9)
    assert paired[0] == pytest.approx(0.04, rel=0.05)
    assert unpaired[0] == pytest.approx(1 + 1.04, rel=0.05)
    few = log_ratios(with_[:300], without[300:700], np.zeros(1) + 1e-9, paired=False)
    assert few.shape == (30_000, 1) and few.var() == pytest.approx(2.04, rel=0.15)


def test_an_extinct_species_counts_as_one_individual():
    with_, without = np.array([[0.0], [0.0], [2.0]]), np.array([[4.0], [0.0], [2.0 * (1 + 1e-6)]])
    ratios = log_ratios(with_, without, np.array([0.5]), paired=True)[:, 0]
    assert ratios == pytest.approx([math.log(0.125), 0.0, 0.0])
    assert ratios[2] == 0, "less than the solver's error is no effect"


@pytest.mark.parametrize(
    ("lower", "upper", "expected"),
    [
        (-0.5, -0.1, DECLINES),
        (0.01, 0.3, INCREASES),
        (-0.5, 0.001, UNDECIDED),
        (-0.01, 0.01, UNDECIDED),
        (-0.5, 0.0, UNDECIDED),
        (-0.04, -0.01, LITTLE),
        (0.0, 0.0, LITTLE),
    ],
)
def test_verdicts(lower, upper, expected):
    assert verdict(lower, upper) == expected


def test_quasi_extinction_by_hand():
    """Of four members one stays, one passes 10 % for a dry season, one for two years, one dies at the end."""
    path = np.full((4, 37, 1), 8.0)
    path[1, 10:13], path[2, 10:34], path[3, -1] = 0.01, 0.5, 0.0
    assert quasi_extinct(path, np.full((4, 1), 10.0), 0.1)[0] == 0.5
    assert quasi_extinct(path, np.full((4, 1), 10.0), 0.01)[0] == 0.25


def test_no_change_by_hand():
    ratios = np.array([[-1.0, 0.2], [-2.0, -0.2], [-3.0, 0.0]])
    result = no_change(ratios, [DECLINES, UNDECIDED], {0: -1.5, 1: 0.5})
    assert result["undecided"] == 0.5
    assert result["expected"]["error_of_no_change"] == pytest.approx((6 + 0.4) / 6)
    assert result["expected"]["error_of_medians"] == pytest.approx((2 + 0.4) / 6)
    observed = result["observed"]
    assert observed["error_of_no_change"] == pytest.approx(1.0)
    assert observed["error_of_medians"] == pytest.approx(0.5) and observed["skill"] == pytest.approx(0.5)
    assert observed["signs_right"] == 0.5 and observed["covered"] == 0.5


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A folder with a twin and runs: one with a scenario, one without, one of another seed."""
    folder = tmp_path_factory.mktemp("compared")
    written_twin(folder / "twin")
    (folder / "s.toml").write_text(
        f'name = "cull"\n[[events]]\nkind = "remove"\nspecies = "{ZEBRA}"\nshare = 0.9\ndate = 2030-02-01\n'
    )
    _run(folder, "run", "--scenario", str(folder / "s.toml"))
    _run(folder, "plain")
    _run(folder, "seed", "--seed", "1")
    return folder


def _run(folder, name, *options):
    assert main(["twin", "run", str(folder / "twin"), str(folder / name), *MEMBERS, *options]) == 0


def _compare(world, capsys, *arguments):
    capsys.readouterr()
    assert main(["twin", "compare", *map(str, arguments), "--json"]) == 0
    captured = capsys.readouterr()
    return json.loads(captured.out), captured.err


@pytest.fixture
def compared(world, tmp_path, capsys):
    return _compare(world, capsys, world / "run", tmp_path / "out")[0]


def test_the_comparison_of_a_run(world, compared, tmp_path):
    species = compared["species"]
    assert list(species) == [one.name for one in made_twin().species]
    assert compared["paired"] and compared["scenario"] == "cull" and "NOT CALIBRATED" in compared["note"]
    zebra = species[ZEBRA]
    assert zebra["log_ratio"]["upper"] < math.log(0.5) and zebra["verdict"] == DECLINES
    assert zebra["probability_of_decline"] == 1
    assert species[GRASS]["probability_of_decline"] < 0.5, "fewer zebras eat less grass"
    for name, one in species.items():
        interval = one["log_ratio"]
        order = [interval[key] for key in ("lower", "lower_50", "median", "upper_50", "upper")]
        assert order == sorted(order), name
        if interval["lower"] < 0 < interval["upper"]:
            assert one["verdict"] == UNDECIDED, name
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert written == {"compare.json", "effects.csv", "effects.png", "trajectories.png"}
    assert json.loads((tmp_path / "out/compare.json").read_text())["species"] == species


def test_paired_variance_is_at_most_a_fifth(compared):
    assert compared["variance_ratio"] <= 0.2
    shares = {
        name: one["variance"]["paired"] / one["variance"]["unpaired"]
        for name, one in compared["species"].items()
    }
    assert max(shares.values()) <= 0.2, shares


def test_two_runs_are_paired_by_member(world, compared, tmp_path, capsys):
    """A baseline of another run, whose intervals no event cuts, is the baseline of this one."""
    result, _ = _compare(world, capsys, world / "plain", world / "run", tmp_path / "two")
    assert result["paired"] and result["runs"] == [str(world / "plain"), str(world / "run")]
    for name, one in compared["species"].items():
        assert result["species"][name]["log_ratio"] == pytest.approx(one["log_ratio"], abs=1e-3), name


def test_another_seed_is_compared_without_pairs_and_says_so(world, compared, tmp_path, capsys):
    result, err = _compare(world, capsys, world / "seed", world / "run", tmp_path / "two")
    assert not result["paired"] and result["unpaired_because"] == "the runs have other seed"
    assert "without pairs of members, because the runs have other seed" in err
    for key in ("lower", "upper"):
        wide = result["species"][HARE]["log_ratio"][key]
        assert abs(wide) > 10 * abs(compared["species"][HARE]["log_ratio"][key])


def test_observed_effects_are_scored(world, tmp_path, capsys):
    observed = tmp_path / "observed.csv"
    observed.write_text(f"species,ratio\n{ZEBRA},0.1\n{GRASS},0.5\n")
    result, _ = _compare(world, capsys, world / "run", tmp_path / "out", "--observed", observed)
    score = result["no_change"]["observed"]
    assert score["species"] == 2
    assert score["error_of_no_change"] == pytest.approx(-(math.log(0.1) + math.log(0.5)) / 2)


def test_mistakes_are_one_line(world, tmp_path, capsys):
    run, out = world / "run", tmp_path / "out"
    shutil.copytree(run, tmp_path / "less")
    described = (run / "run.json").read_text()
    (tmp_path / "less" / "run.json").write_text(described.replace(HARE, "Lepus europaeus"))
    observed = tmp_path / "observed.csv"
    observed.write_text("species,ratio\nEquus quaga,0.1\n")
    for arguments, message in (
        ([world / "plain", out], "has no scenario"),
        ([run, run], "is a run; name another folder"),
        ([run, world / "plain", run, out], "not 3 runs"),
        ([world / "none", out], "is not a run (does not exist)"),
        ([world, out], "is not a run (has no run.json)"),
        ([run, out, "--scenario", "cul"], "did you mean cull?"),
        ([run, out, "--against", "cull"], "are both cull"),
        ([run, out, "--window", "2"], "--window is 2 years"),
        ([run, out, "--observed", observed], "did you mean Equus quagga?"),
        ([run, tmp_path / "less", out], "have other species, such as Lepus"),
        ([run, world / "s.toml"], "is a file"),
    ):
        capsys.readouterr()
        assert main(["twin", "compare", *map(str, arguments)]) == 2, arguments
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1, error
    assert not out.exists()


def test_a_damaged_run_is_refused(world, tmp_path, capsys):
    (tmp_path / "run").mkdir()
    for name in ("run.json", "members.npz"):
        (tmp_path / "run" / name).write_bytes((world / "run" / name).read_bytes()[:-100])
        assert main(["twin", "compare", str(tmp_path / "run"), str(tmp_path / "out")]) == 2
        error = capsys.readouterr().err
        assert "is damaged" in error and error.count("\n") == 1, error
        (tmp_path / "run" / name).write_bytes((world / "run" / name).read_bytes())


def test_lions_are_in_the_table(world, tmp_path, capsys):
    assert main(["twin", "compare", str(world / "run"), str(tmp_path / "out")]) == 0
    captured = capsys.readouterr()
    assert LION in captured.out and UNDECIDED in captured.out and "undecided" in captured.out
