"""`twin estimate` from a package to its files: contract, privacy, resumption, and errors of use."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from made_package import made_package, seen

from bioclip_jax.cli import main
from bioclip_jax.errors import UserError
from bioclip_jax.twin.estimate import (
    Confusion,
    Measured,
    Movement,
    SpeciesEstimator,
    find_reliability,
    read_survey,
)
from bioclip_jax.twin.estimate.labeled_events import BLANK
from bioclip_jax.twin.observe.camtrap_dp import FIELDS, Package, new_descriptor, read_package, write_package

EXAMPLE = Path(__file__).resolve().parents[3] / "shared" / "data" / "twin" / "camtrap_dp"
FOX, HARE, LYNX = "Vulpes vulpes", "Lepus europaeus", "Lynx lynx"
HUMAN = {"classificationMethod": "human"}
SITES, DAYS = 12, 20


def _survey_package(
    seed: int = 0,
    *,
    verified: float = 0.5,
    hares: int = 1,
    fox_hours: tuple[int, int] = (0, 24),
    times: int = 1,
) -> Package:
    """Twelve cameras, twenty days; foxes at the last eight, hares at the first six; a fifth mislabeled.

    hares: number in each of their events. fox_hours: of the UTC day, in which foxes come. times: more events.
    """
    random = np.random.default_rng(seed)
    rows = []
    for site in range(SITES):
        for species, sites, rate in ((FOX, range(4, 12), 0.5 * times), (HARE, range(6), 0.4 * times)):
            for number in range(random.poisson(rate * DAYS) if site in sites else 0):
                second = int(random.integers(DAYS * 86_400 - 3600))
                if species == FOX:
                    first, last = fox_hours
                    second = second // 86_400 * 86_400 + 3600 * first + second % (3600 * (last - first))
                moment = np.datetime64("2025-06-01T00:00:00") + np.timedelta64(second, "s")
                event = f"{site}-{species[:1]}{number}"
                wrong = {FOX: HARE, HARE: FOX}[species]
                label = wrong if random.random() < 0.2 else species
                both = {"count": str(hares if species == HARE else 1)}
                event_of = (f"d{site:02d}", event, f"{moment}Z")
                rows.append(seen(*event_of, label, classificationProbability="0.8", **both))
                if random.random() < verified:
                    rows.append(seen(*event_of, species, **both, **HUMAN))
    deployments = {
        "deploymentID": [f"d{site:02d}" for site in range(SITES)],
        "locationID": [f"Secret Hollow {site}" for site in range(SITES)],
        "locationName": [f"Badger Bend {site}" for site in range(SITES)],
        "cameraID": [f"SN{4711 + site}" for site in range(SITES)],
        "latitude": [f"{50.12345 + 0.01 * site:.5f}" for site in range(SITES)],
        "longitude": [f"{4.54321 + 0.02 * site:.5f}" for site in range(SITES)],
        "deploymentStart": ["2025-06-01T00:00:00Z"] * SITES,
        "deploymentEnd": [f"2025-06-{1 + DAYS}T00:00:00Z"] * SITES,
        "habitat": ["forest", "marsh"] * (SITES // 2),
        "deploymentTags": [""] * SITES,
    }
    package = made_package(rows)
    return Package(
        package.descriptor, pl.DataFrame(deployments), package.media, package.observations, package.folder
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """The package on disk."""
    made = _survey_package()
    tables = {
        name: getattr(made, name).with_columns(
            pl.lit("").alias(field.name)
            for field in FIELDS[name]
            if field.name not in getattr(made, name).columns
        )
        for name in ("deployments", "media", "observations")
    }
    tables = {name: table.select(field.name for field in FIELDS[name]) for name, table in tables.items()}
    path = tmp_path_factory.mktemp("estimate") / "package"
    descriptor = new_descriptor(*tables.values(), created="2025-07-01T00:00:00Z")
    write_package(Package(descriptor, **tables), path)
    return path


def _estimate(capsys, *arguments: object) -> dict:
    assert main(["twin", "estimate", *map(str, arguments), "--json"]) == 0, capsys.readouterr().err
    return json.loads(capsys.readouterr().out)


@pytest.fixture(scope="module")
def estimated(folder, tmp_path_factory) -> Path:
    """The output of `twin estimate` with movement of foxes, as a person's table has it."""
    root = tmp_path_factory.mktemp("estimated")
    (root / "movement.csv").write_text(
        "scientificName,speed_m_per_s,speed_se,radius_m,radius_se,angle_rad,angle_se\n"
        f"{FOX},0.1,0.01,8,0.5,0.7,0.05\n"
    )
    command = ["twin", "estimate", str(folder), str(root / "out"), "--movement", str(root / "movement.csv")]
    assert main(command) == 0
    return root / "out"


def test_the_json_and_the_tables_agree(estimated):
    result = json.loads((estimated / "estimates.json").read_text())
    assert result["effort_days"] == pytest.approx(SITES * DAYS)
    assert set(result["species"]) == {FOX, HARE}
    fox = result["species"][FOX]
    assert sum(fox["activity"]["solar_hour"]) == pytest.approx(1)
    for interval in (fox["occupancy"], fox["relative_abundance_per_100_days"], fox["density_per_km2"]):
        assert interval["lower"] <= interval["mean"] <= interval["upper"]
    files = {path.name for path in estimated.iterdir()}
    expected = {"estimates.json", "species.csv", "activity.csv", "overlap.csv", "classifier.csv", "sites.csv"}
    assert files == expected | {"occupancy.png", "activity.png", "map.png"}
    with open(estimated / "species.csv", newline="") as file:
        rows = {row["species"]: row for row in csv.DictReader(file)}
    assert float(rows[FOX]["occupancy_upper"]) == fox["occupancy"]["upper"]
    assert rows[HARE]["density_per_km2"] == "", "hares have no movement"


def test_the_correction_uses_the_verified_events(estimated):
    classifier = json.loads((estimated / "estimates.json").read_text())["classifier"]
    assert classifier["source"] == "verified events"
    by_class = {row["class"]: row for row in classifier["classes"]}
    assert by_class[FOX]["recall"] == pytest.approx(0.8, abs=0.12)


def _calibration(path, counts):
    """A file of `taxa calibrate`: images by true and predicted species, of foxes, hares and bears."""
    entries = [[t, p, n] for t, row in enumerate(counts) for p, n in enumerate(row) if n]
    path.write_text(json.dumps({"confusion": {"species": [FOX, HARE, "Ursus arctos"], "counts": entries}}))
    return path


def test_labeled_images_correct_where_no_event_is_verified(tmp_path):
    """The survey lacks one of their species and has a class, blanks, that they lack."""
    survey = read_survey(_survey_package(verified=0))
    given = _calibration(tmp_path / "given.json", [[8000, 2000, 0], [2000, 8000, 0], [0, 0, 10_000]])
    confusion, description = find_reliability(survey, given, None)
    assert description["source"] == "labeled images"
    corrected = SpeciesEstimator(survey, confusion).relative_abundance(FOX).events
    fox, hare = (survey.of_species(name).height for name in (FOX, HARE))
    assert corrected == pytest.approx((0.8 * fox - 0.2 * hare) / 0.6, rel=0.01)


def test_a_species_that_labeled_images_explain_away_keeps_an_interval(tmp_path):
    """Six in ten hares pass for foxes, which leaves less than no fox: 0, with an upper limit."""
    survey = read_survey(_survey_package(verified=0))
    given = _calibration(tmp_path / "given.json", [[100, 0, 0], [60, 40, 0], [0, 0, 100]])
    confusion, _ = find_reliability(survey, given, None)
    movement = Movement(Measured(0.1, 0.01), Measured(8.0, 0.5), Measured(0.7, 0.05))
    estimator = SpeciesEstimator(survey, confusion, movement={FOX: movement})
    rate, density = estimator.relative_abundance(FOX).corrected, estimator.density(FOX).per_km2
    assert rate.mean < 0.1 and density.mean < 0.1, (rate, density)
    # Of 73 events labeled so, in 240 days.
    assert 1 < rate.upper < 31 and 0 < density.upper < 10, (rate, density)


def test_verified_events_come_before_labeled_images(tmp_path):
    survey = read_survey(_survey_package())
    given = _calibration(tmp_path / "given.json", [[90, 10, 0], [10, 90, 0], [0, 0, 100]])
    confusion, description = find_reliability(survey, given, None)
    assert confusion.same_survey and "the file of --reliability is not used" in description["note"]
    with pytest.raises(UserError, match="missing.json cannot be read"):
        find_reliability(survey, tmp_path / "missing.json", None)


def test_density_by_hand(estimated):
    """D = (y / t) pi / (v r (2 + theta)) from the corrected rate."""
    fox = json.loads((estimated / "estimates.json").read_text())["species"][FOX]
    rate = fox["relative_abundance_per_100_days"]["mean"] / (100 * 86_400)
    expected = rate * np.pi / (0.1 * 8 * 2.7) * 1e6 * fox["density_per_km2"]["group_size"]
    assert fox["density_per_km2"]["mean"] == pytest.approx(expected)


def test_the_naive_estimate_differs_where_the_corrected_one_does_not():
    survey = read_survey(_survey_package(verified=0.5))
    confusion, _ = find_reliability(survey, None, None)
    corrected = SpeciesEstimator(survey, confusion).occupancy(HARE).mean
    machine = _survey_package(verified=0)
    naive = SpeciesEstimator(read_survey(machine), None).occupancy(HARE)
    assert naive.false_positive == "fixed at 0"
    assert corrected.lower <= 0.5 <= corrected.upper, f"planted 0.5, corrected {corrected}"
    assert naive.mean.lower > 0.5, f"planted 0.5, uncorrected {naive.mean}: foxes taken for hares"


def test_group_sizes_are_corrected():
    """Foxes are alone, hares in fives; a fifth of each is taken for the other."""
    survey = read_survey(_survey_package(verified=0.3, hares=5, times=5))
    confusion, _ = find_reliability(survey, None, None)
    corrected, naive = SpeciesEstimator(survey, confusion), SpeciesEstimator(survey, None)
    assert naive.group_size(FOX).mean > 1.4 and naive.group_size(HARE).mean < 4.3
    for name, planted in ((FOX, 1), (HARE, 5)):
        size = corrected.group_size(name)
        assert size.mean == pytest.approx(planted, rel=0.2), f"{name}: planted {planted}, {size}"
        assert size.lower <= planted <= size.upper, f"{name}: planted {planted}, {size}"


def test_activity_is_that_of_true_events():
    """Foxes come in the twelve hours before noon UTC, hares all day; a fifth of hares is taken for foxes."""
    survey = read_survey(_survey_package(verified=0.3, fox_hours=(0, 12), times=5))
    confusion, _ = find_reliability(survey, None, None)
    by_confusion = [SpeciesEstimator(survey, one).estimate(FOX)["activity"] for one in (confusion, None)]
    # Away from noon and midnight, where a kernel of an hour leaks; longitude adds 20 to 30 minutes.
    corrected, naive = (sum(activity["solar_hour"][15:22]) for activity in by_confusion)
    assert corrected < 0.6 * naive, (corrected, naive)
    assert by_confusion[0]["events"] < by_confusion[1]["events"]


def test_a_certain_event_proves_occupancy():
    """A site where a person has confirmed the species counts as occupied, whatever the machine's errors."""
    fox = [
        seen("a1", "e1", "2025-06-01T20:00:00+02:00", FOX, **HUMAN),
        seen("b1", "e2", "2025-06-02T20:00:00+02:00", FOX, **HUMAN),
    ]
    survey = read_survey(made_package(fox))
    table = np.array([[5, 5], [5, 5]])
    estimator = SpeciesEstimator(survey, Confusion((FOX, BLANK), table))
    assert estimator.occupancy(FOX).mean.mean == pytest.approx(1, abs=1e-3)


def test_covariates_have_coefficients(folder, tmp_path, capsys):
    result = _estimate(
        capsys, folder, tmp_path / "out", "--species", FOX, "--occupancy-covariates", "habitat"
    )
    names = [coefficient["name"] for coefficient in result["species"][FOX]["coefficients"]]
    assert any("habitat: marsh" in name for name in names), names


def test_output_for_others_holds_no_place(folder, tmp_path, capsys):
    sensitive = tmp_path / "sensitive.csv"
    sensitive.write_text(f"scientificName,category\n{HARE},1\n{FOX},2\n")
    _estimate(capsys, folder, tmp_path / "out", "--sensitive", sensitive)
    package = read_package(folder)
    forbidden = {HARE, "Lepus"}
    for column in ("deploymentID", "locationID", "locationName", "cameraID", "latitude", "longitude"):
        forbidden |= set(package.deployments[column])
    for path in (tmp_path / "out").iterdir():
        content = path.read_bytes()
        hits = [text for text in forbidden if text.encode() in content and len(text) > 3]
        assert not hits, f"{path.name} holds {hits}"
    with open(tmp_path / "out" / "sites.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["latitude"] for row in rows} <= {"50.1", "50.2"}, "cells of 0.1 degrees"


def test_no_number_or_old_file_tells_of_a_withheld_species(folder, tmp_path, capsys):
    """The result is that of a package without the species' events, over an earlier, precise one."""
    sensitive = tmp_path / "sensitive.csv"
    sensitive.write_text(f'scientificName,category\n"{HARE} Pallas, 1778",1\n')
    private = _estimate(capsys, folder, tmp_path / "out", "--precise")
    assert (tmp_path / "out" / "overlap.csv").is_file()
    shared = _estimate(capsys, folder, tmp_path / "out", "--sensitive", sensitive)
    assert list(shared["species"]) == [FOX]
    assert shared["events"] == private["species"][FOX]["events"]["labeled"]
    assert shared["classifier"]["verified_events"] < private["classifier"]["verified_events"]
    assert not (tmp_path / "out" / "overlap.csv").exists()
    assert not [path.name for path in (tmp_path / "out").iterdir() if HARE.encode() in path.read_bytes()]
    assert "withheld" not in (tmp_path / "out" / "estimates.json").read_text()


def test_output_in_the_package_is_refused(folder, capsys):
    before = sorted(folder.rglob("*"))
    for output in (folder, folder / "estimates"):
        assert main(["twin", "estimate", str(folder), str(output)]) == 2
        assert "is in the package" in capsys.readouterr().err
    assert sorted(folder.rglob("*")) == before


def test_words_for_missing_values_and_spellings_of_a_name(folder, tmp_path):
    """R writes NA into empty cells, people write authors; neither makes a site, an event or a species."""
    package = read_package(folder)
    human = pl.col("classificationMethod") == "human"
    observations = package.observations.with_columns(
        scientificName=pl.when(human)
        .then(pl.col("scientificName").str.to_lowercase() + " (Linnaeus, 1758)")
        .otherwise("scientificName"),
        cameraSetupType=pl.lit("NA"),
    )
    deployments = package.deployments.with_columns(locationID=pl.lit("NA"))
    spelled = replace(package, deployments=deployments, observations=observations).without_missing()
    assert read_survey(spelled).sites == tuple(package.deployments["deploymentID"])
    survey = read_survey(package)
    assert len(read_survey(spelled).species) == len(survey.species) == 2
    assert read_survey(spelled).n_events == survey.n_events


def test_a_killed_run_resumes_to_the_same_result(folder, estimated, tmp_path, capsys):
    journal = tmp_path / ".killed.partial"
    arguments = [folder, tmp_path / "killed", "--movement", estimated.parent / "movement.csv"]
    command = [sys.executable, "-m", "bioclip_jax.cli", "twin", "estimate", *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and (not journal.exists() or journal.read_bytes().count(b"\n") < 2):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert process.returncode == -signal.SIGKILL, "it finished before it could be killed"
    assert not (tmp_path / "killed").exists(), "an unfinished run has no output"
    resumed = _estimate(capsys, *arguments)
    whole = json.loads((estimated / "estimates.json").read_text())
    assert resumed == whole | {"output": str(tmp_path / "killed")}
    assert not journal.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--species", "Vulpes vulpis"],
            "not in the package; did you mean Vulpes vulpes?",
        ),
        (["--species", LYNX], "the species Lynx lynx is not in the package"),
        (["--visit-days", "0"], "--visit-days is 0.0"),
        (["--occupancy-covariates", "locationName"], "the values of locationName would name coefficients"),
        (["--visit-days", "1e-9"], "from 0.01 to 36,525"),
        (["--visit-days", "1e9"], "from 0.01 to 36,525"),
        (["--occupancy-covariates", "elevation"], "no column elevation"),
        (["--covariates", "nowhere.csv", "--occupancy-covariates", "x"], "nowhere.csv does not exist"),
        (["--covariates", "x.csv"], "--covariates has no effect alone"),
        (["--movement", "nowhere.csv"], "nowhere.csv does not exist"),
        (["--sensitive", "nowhere.csv"], "nowhere.csv does not exist"),
    ],
)
def test_errors_of_use_are_one_line_and_write_nothing(folder, tmp_path, capsys, arguments, message):
    assert main(["twin", "estimate", str(folder), str(tmp_path / "out"), *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1, error
    assert not list(tmp_path.iterdir()), "nothing is left behind"


def test_wrong_units_are_refused(folder, tmp_path, capsys):
    movement = tmp_path / "movement.csv"
    movement.write_text(f"scientificName,speed_km_per_day,radius_m,angle_rad\n{FOX},8,8,0.7\n")
    out = tmp_path / "out"
    assert main(["twin", "estimate", str(folder), str(out), "--movement", str(movement)]) == 2
    error = capsys.readouterr().err
    assert "speed_m_per_s" in error and error.count("\n") == 1, error
    assert not out.exists()


@pytest.mark.shared_data
def test_the_standards_example(tmp_path, capsys):
    """Effort by hand: the four deployments' periods add up to 73.6 days."""
    result = _estimate(capsys, EXAMPLE, tmp_path / "out")
    seconds = (
        32 * 86_400 + 6 * 3600 + 44 * 60 + 4,  # 30 May 04:57:37 to 1 July 11:41:41
        9 * 86_400 + 22 * 3600 + 50 * 60 + 59,  # 29 July 07:29:41 to 8 August 06:20:40
        9 * 86_400 + 2 * 3600 + 33 * 60 + 22,  # 19 June 23:00:00 to 29 June 01:33:22
        22 * 86_400 + 0 * 3600 + 46 * 60 + 42,  # 27 March 21:38:18 to 18 April 22:25:00
    )
    assert result["effort_days"] == pytest.approx(sum(seconds) / 86_400, abs=1e-6)
    assert result["species"]["Anas platyrhynchos"]["events"]["labeled"] == 12, "12 events, some with two rows"
    assert result["species"]["Anas platyrhynchos"]["naive_occupancy"] == 0.5
    assert "fixed at 0" in result["classifier"]["note"]


def test_faults_that_estimates_do_not_need_are_no_obstacle(folder, tmp_path, capsys):
    """An odd life stage does not matter; an unknown deployment does."""
    observations = (folder / "observations.csv").read_text().splitlines()
    columns = observations[0].split(",")

    def copy(name: str, column: str, value: str) -> Path:
        cells = observations[1].split(",")
        cells[columns.index(column)] = value
        target = tmp_path / name
        target.mkdir()
        for file in ("datapackage.json", "deployments.csv", "media.csv"):
            (target / file).write_bytes((folder / file).read_bytes())
        (target / "observations.csv").write_text(
            "\n".join([observations[0], ",".join(cells), *observations[2:]])
        )
        return target

    _estimate(capsys, copy("odd", "lifeStage", "teenager"), tmp_path / "out", "--species", FOX)
    assert (
        main(["twin", "estimate", str(copy("lost", "deploymentID", "nowhere")), str(tmp_path / "none")]) == 2
    )
    error = capsys.readouterr().err
    assert "observations" in error and "nowhere" in error and error.count("\n") == 1, error
