"""The random encounter model: by hand, on simulated walks, and its table of movement."""

import math
import re

import numpy as np
import pytest

from bioclip_jax.errors import UserError
from bioclip_jax.twin.estimate import (
    Interval,
    Measured,
    Movement,
    estimate_density,
    read_movement,
    relative_abundance,
)
from bioclip_jax.twin.validate.walks import WalkWorld, encounter_study, enters_sector, simulate_walks

SPECIES = ("Capreolus capreolus", "Sus scrofa", "Vulpes vulpes")


def abundance(encounters, effort_days, level=0.9):
    return relative_abundance(
        np.array(encounters, float)[:, None], np.array(effort_days, float), level=level
    )[0]


def exactly(speed=0.02, radius=10.0, angle=0.7, group=None):
    return Movement(Measured(speed, 0.0), Measured(radius, 0.0), Measured(angle, 0.0), group)


def test_density_by_hand():
    """30 encounters in 500 camera days by animals that walk 1.728 km a day, seen within 10 m and 0.7 rad.

    In km and days: 0.06 · 3.14159 / (1.728 · 0.010 · 2.7) = 4.0401 per km².
    """
    result = estimate_density(abundance([10, 20], [200, 300]), None, exactly())
    assert result.per_km2.mean == pytest.approx(4.0401, abs=1e-4)
    # A movement table in groups of 2.5 animals.
    grouped = estimate_density(abundance([10, 20], [200, 300]), None, exactly(group=Measured(2.5, 0.0)))
    assert grouped.per_km2.mean == pytest.approx(2.5 * 4.0401, abs=3e-4)


def test_interval_of_exact_parameters_is_the_encounter_rate_s():
    rate = abundance([3, 9, 4, 0, 7], [30, 30, 30, 30, 30])
    result = estimate_density(rate, None, exactly())
    assert result.per_km2.lower / result.per_km2.mean == pytest.approx(
        rate.corrected.lower / rate.corrected.mean
    )
    assert result.per_km2.upper / result.per_km2.mean == pytest.approx(
        rate.corrected.upper / rate.corrected.mean
    )
    assert result.variance_shares == {"encounters": 1.0}
    assert result.without_error == ()


def test_variance_of_all_parts_adds_up():
    """Half-widths on the log scale by hand, z = 1.6449: se of 10, 20 and 0.27 / 2.7 = 10 %, group 30 %."""
    rate = abundance([3, 9, 4, 0, 7], [30] * 5)
    movement = Movement(Measured(0.02, 0.002), Measured(10.0, 2.0), Measured(0.7, 0.27), Measured(4.0, 1.2))
    result = estimate_density(rate, None, movement)
    others = 1.6449**2 * (0.01 + 0.04 + 0.01 + 0.09)
    upper = math.sqrt(math.log(rate.corrected.upper / rate.corrected.mean) ** 2 + others)
    lower = math.sqrt(math.log(rate.corrected.mean / rate.corrected.lower) ** 2 + others)
    assert math.log(result.per_km2.upper / result.per_km2.mean) == pytest.approx(upper, rel=1e-4)
    assert math.log(result.per_km2.mean / result.per_km2.lower) == pytest.approx(lower, rel=1e-4)
    assert sum(result.variance_shares.values()) == pytest.approx(1)
    assert result.variance_shares["radius"] == pytest.approx(4 * result.variance_shares["speed"])


def test_unknown_errors_are_named():
    rate = abundance([3, 9], [30, 30])
    movement = Movement(Measured(0.02), Measured(10.0, 1.0), Measured(0.7), None)
    assert estimate_density(rate, None, movement).without_error == ("speed", "angle")
    # One site cannot tell how group size varies.
    counted = Interval(2.0, 1.0, math.inf)
    result = estimate_density(rate, counted, movement)
    assert result.without_error == ("speed", "angle", "group_size")
    assert math.isfinite(result.per_km2.upper)


def test_no_encounters_have_an_upper_limit():
    rate = abundance([0, 0], [250, 250])
    density = estimate_density(rate, None, exactly()).per_km2
    assert (density.mean, density.lower) == (0, 0)
    # The rule of three: 3.0 encounters where 30 gave 4.0401 per km².
    assert density.upper == pytest.approx(0.40401, rel=0.01)


def test_moves_into_a_sector_against_dense_sampling():
    random = np.random.default_rng(0)
    n, radius, angle = 1000, 10.0, 1.1
    offset, move = random.uniform(-15, 15, (n, 2)), random.normal(0, 15, (n, 2))
    move[:5] = 0
    heading = random.uniform(0, 2 * np.pi, n)
    s = np.linspace(0, 1, 5001)[:, None, None]
    points = offset + s * move
    bearing = np.arctan2(points[..., 1], points[..., 0]) - heading
    bearing = (bearing + np.pi) % (2 * np.pi) - np.pi
    inside = (np.hypot(points[..., 0], points[..., 1]) <= radius) & (np.abs(bearing) <= angle / 2)
    expected = ~inside[0] & inside.any(axis=0)
    entered = enters_sector(offset, move, heading, radius, angle)
    assert 100 < expected.sum() < 300
    # Samples may miss a cut corner; they never see an entry that is not there.
    assert not (expected & ~entered).any()
    assert (entered & ~expected).sum() <= 2


def test_encounters_of_walks_follow_the_model():
    """Per camera D v t r (2 + θ) / π are expected: 1e-5 · v · 2,592,000 · 10 · 2.7 / π = 222.8 v."""
    random = np.random.default_rng(0)
    surveys = [simulate_walks(WalkWorld(), random) for _ in range(20)]
    counts = np.array([np.bincount(survey.camera, minlength=40) for survey in surveys])
    speed = np.mean([survey.speed_m_per_s for survey in surveys])
    assert [survey.density_per_km2 for survey in surveys] == pytest.approx([10] * 20)
    # Borders of home ranges shorten some of the steps.
    assert 0.045 < speed < 0.05
    assert counts.mean() == pytest.approx(222.8 * speed, rel=0.06)
    # Home ranges make cameras more unequal than chance.
    assert counts.var() / counts.mean() > 1.5


def test_planted_density_is_recovered():
    """The study in small; 400 runs and several worlds: `twin validate`, and twin/README.md."""
    study = encounter_study(runs=40, seed=1, world=WalkWorld(cameras=25, days=15, parameter_cv=0.1))
    assert study["runs"] == 40
    assert abs(study["mean_bias"]) < 0.08, study
    assert study["coverage"] >= 0.85, study


HEADER = "scientificName,speed_m_per_s,speed_se,radius_m,radius_se,angle_rad,angle_se"


def table(tmp_path, *lines):
    path = tmp_path / "movement.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_movement_in_all_units(tmp_path):
    path = table(
        tmp_path,
        "scientificName;active_speed_m_per_s;speed_se;active_share;active_share_se;radius_m;radius_se;angle_deg"
        ";angle_se;group_size;group_size_se;source",
        "Sus scrofa;0.1;0.01;0.5;0.1;8;;40;4;3.5;0.5;telemetry 2019",
        "Vulpes vulpes;0.2;;0.4;;6;0.5;45;;;;guess",
    )
    boar, fox = read_movement(path, SPECIES).values()
    assert boar.speed_m_per_s.value == pytest.approx(0.05)
    assert boar.speed_m_per_s.se == pytest.approx(0.05 * math.hypot(0.1, 0.2))
    assert boar.radius_m == Measured(8.0, None)
    assert boar.angle_rad.value == pytest.approx(0.69813, abs=1e-5)
    assert boar.angle_rad.se == pytest.approx(0.069813, abs=1e-6)
    assert boar.group_size == Measured(3.5, 0.5)
    assert fox.speed_m_per_s == Measured(pytest.approx(0.08), None)
    assert fox.group_size is None


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ("speed_km_per_day", "speed_km_per_day is not known; give speed_m_per_s (1 km/day = 0.01157 m/s)"),
        ("speed_km_day", "(1 km/day = 0.01157 m/s)"),
        ("speed_km_h", "give speed_m_per_s (1 km/h = 0.2778 m/s)"),
        ("radius_km", "give radius_m (1 km = 1000 m)"),
        ("angle_degrees", "give angle_rad or angle_deg (the unit is right, the name is angle_deg)"),
        ("speed", "give speed_m_per_s (the name must say the unit)"),
        ("active_speed_m_per_s", "row 2: Sus scrofa has speed_m_per_s and active_speed_m_per_s; keep one"),
        ("angle_deg", "row 2: Sus scrofa has angle_rad and angle_deg; keep one"),
    ],
)
def test_columns_in_other_units_are_refused(tmp_path, column, message):
    path = table(tmp_path, f"{HEADER},{column}", "Sus scrofa,0.02,0.002,8,1,0.7,0.1,1")
    with pytest.raises(UserError, match=re.escape(message)):
        read_movement(path, SPECIES)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("Sus scrofa,5.2,,8,1,0.7,0.1", "5.2 m/s is 449 km a day: is it km/day?"),
        ("Sus scrofa,0.02,,8,1,40,4", "is it degrees?"),
        (
            "Sus scrofa,0.02,,800,1,0.7,",
            "radius_m of Sus scrofa is '800'; no camera detects animals beyond 100 m",
        ),
        ("Sus scrofa,0.02,,0.008,,0.7,", "is it km?"),
        ("Sus scrofa,0,,8,1,0.7,", "speed_m_per_s of Sus scrofa is '0'; it must be above 0"),
        ("Sus scrofa,fast,,8,1,0.7,", "row 2: speed_m_per_s of Sus scrofa is 'fast'; write a number"),
        ("Sus scrofa,,,8,1,0.7,", "row 2: Sus scrofa has no speed_m_per_s or active_speed_m_per_s; give it"),
        ("Sus scrofa,nan,,8,1,0.7,", "write a finite number"),
        ("Sus scrofa,0.02,-1,8,1,0.7,", "a standard error is not negative"),
        ("Sus scrofa,0.02,2,8,1,0.7,", "is it in the unit of speed_m_per_s?"),
        ("Sus scrofa,0.02,,8,1,0.7,\nSus  scrofa,0.02,,8,1,0.7,", "row 3: Sus scrofa is there twice"),
        ("Sus scorfa,0.02,,8,1,0.7,", "no observation of 'Sus scorfa'; did you mean Sus scrofa?"),
    ],
)
def test_implausible_values_are_refused(tmp_path, row, message):
    path = table(tmp_path, HEADER, row)
    with pytest.raises(UserError, match=re.escape(message)) as error:
        read_movement(path, SPECIES)
    assert "\n" not in str(error.value)
    assert str(path) in str(error.value)


def test_missing_columns_are_named(tmp_path):
    path = table(tmp_path, "scientificName,speed_m_per_s,angle_rad", "Sus scrofa,0.02,0.7")
    with pytest.raises(UserError, match="has no column radius_m$"):
        read_movement(path, SPECIES)
    path = table(tmp_path, "scientificName,active_speed_m_per_s,radius_m,angel_rad", "Sus scrofa,0.02,8,0.7")
    with pytest.raises(
        UserError, match="no column angle_rad or angle_deg; if angel_rad is meant, convert it"
    ):
        read_movement(path, SPECIES)
    path = table(tmp_path, "scientificName,active_speed_m_per_s,radius_m,angle_rad", "Sus scrofa,0.02,8,0.7")
    with pytest.raises(UserError, match="row 2: Sus scrofa has no active_share; give it"):
        read_movement(path, SPECIES)


def test_degrees_that_are_radians(tmp_path):
    path = table(tmp_path, "scientificName,speed_m_per_s,radius_m,angle_deg", "Sus scrofa,0.02,8,0.7")
    with pytest.raises(UserError, match="is it radians"):
        read_movement(path, SPECIES)
