"""`twin observe` from photographs and tables to a package: media, events, observations, people."""

from __future__ import annotations

import csv
import json
import shutil

import polars as pl
import pytest
from camera_survey import deployment, predictions, write_detections, write_photo, write_table

from bioclip_jax.twin.observe import ObserveOptions, effort_days, observe_photos
from bioclip_jax.twin.observe.camtrap_dp import check_package, read_package

FOX, HARE, PERSON = "Vulpes vulpes", "Lepus europaeus", "Homo sapiens"


def rows(frame: pl.DataFrame, *columns: str, **where: str) -> list[tuple]:
    """Return columns of the rows with these values, sorted."""
    return sorted(frame.filter(**where).select(columns).rows())


@pytest.fixture
def survey(tmp_path):
    """Two deployments: a with a burst of three and, 121 s after its end, one more; b with one photograph."""
    for second, name in ((0, "1"), (60, "2"), (120, "3"), (241, "4")):
        minutes, seconds = divmod(second, 60)
        write_photo(tmp_path / "photos" / "a" / f"{name}.jpg", f"2021:06:01 12:{minutes:02}:{seconds:02}")
    write_photo(tmp_path / "photos" / "b" / "1.jpg", "2021:06:02 06:00:00")
    write_table(tmp_path / "deployments.csv", [deployment("a"), deployment("b")])
    return tmp_path


def make(survey, **options):
    result = observe_photos(
        survey / "photos", survey / "deployments.csv", survey / "out", ObserveOptions(**options)
    )
    package = read_package(survey / "out")
    check_package(package, media_files=True)
    return result, package


@pytest.mark.shared_data
@pytest.mark.parametrize("arrangement", ["flat", "folder", "table"])
def test_the_standards_example(shared_data, tmp_path, arrangement):
    """Ten photographs of the standard's example with its own deployments.csv: times as in its media.csv."""
    example = shared_data / "twin" / "camtrap_dp"
    photos = example / "media"
    with open(example / "media.csv", newline="") as file:
        expected = {
            row["fileName"]: row for row in csv.DictReader(file) if row["filePath"].startswith("media/")
        }
    if arrangement == "folder":
        photos = tmp_path / "photos"
        shutil.copytree(example / "media", photos / "62c200a9")
    elif arrangement == "table":
        photos = write_table(tmp_path / "photos.csv", [{"filepath": path} for path in photos.iterdir()])
        lines = (example / "deployments.csv").read_text().splitlines(keepends=True)
        lines = [lines[0], *(line for line in lines if line.startswith("62c200a9"))]
        (tmp_path / "deployments.csv").write_text("".join(lines))
    deployments = (tmp_path if arrangement == "table" else example) / "deployments.csv"
    result = observe_photos(photos, deployments, tmp_path / "out")
    package = read_package(tmp_path / "out")
    check_package(package, media_files=True)
    assert len(expected) == 10
    assert dict(package.media.select("fileName", "timestamp").rows()) == {
        name: row["timestamp"] for name, row in expected.items()
    }
    assert set(package.media["deploymentID"]) == {"62c200a9"}
    # The photographs are taken within 6 s.
    assert result["events"] == 1
    events = rows(package.observations, "eventStart", "eventEnd", "observationType", observationLevel="event")
    assert events == [("2021-04-11T20:43:09+01:00", "2021-04-11T20:43:15+01:00", "unclassified")]
    if arrangement != "table":
        with open(example / "deployments.csv") as file, open(tmp_path / "out" / "deployments.csv") as ours:
            assert list(csv.reader(file)) == list(csv.reader(ours))
        # By hand from deployments.csv: start to end in seconds.
        seconds = {
            "00a2c20d": 32 * 86400 + 6 * 3600 + 44 * 60 + 4,
            "29b7d356": 10 * 86400 - 1 * 3600 - 9 * 60 - 1,
            "577b543a": 9 * 86400 + 2 * 3600 + 33 * 60 + 22,
            "62c200a9": 22 * 86400 + 46 * 60 + 42,
        }
        effort = dict(effort_days(package.deployments).rows())
        assert effort == pytest.approx({name: value / 86400 for name, value in seconds.items()})
        assert result["effort_days"] == pytest.approx(sum(seconds.values()) / 86400, abs=1e-3)


@pytest.mark.shared_data
def test_a_packages_own_media_table(shared_data, tmp_path):
    """media.csv as it is: no cell changes, and events are those counted by gaps of two minutes."""
    example = shared_data / "twin" / "camtrap_dp"
    result = observe_photos(example / "media.csv", example / "deployments.csv", tmp_path / "out")
    ours, theirs = read_package(tmp_path / "out"), read_package(example)
    check_package(ours)
    assert sorted(ours.media.rows()) == sorted(theirs.media.rows())
    assert (tmp_path / "out" / "media" / "20210531082538-RCNX0031.JPG").is_file()
    # 423 photographs; the pauses of more than 120 s in media.csv, sorted by deployment, plus the deployments.
    times = theirs.media.select("deploymentID", pl.col("timestamp").str.to_datetime("%Y-%m-%dT%H:%M:%S%z"))
    last, expected = {}, 0
    for name, time in sorted(times.rows()):
        expected += name not in last or (time - last[name]).total_seconds() > 120
        last[name] = time
    assert (result["media"], result["events"]) == (423, expected)


def test_events_without_predictions(survey):
    result, package = make(survey)
    assert (result["media"], result["events"], result["people_dropped"]) == (5, 3, 0)
    found = rows(package.observations, "deploymentID", "eventStart", "eventEnd", observationLevel="event")
    assert found == [
        ("a", "2021-06-01T12:00:00+02:00", "2021-06-01T12:02:00+02:00"),
        ("a", "2021-06-01T12:04:01+02:00", "2021-06-01T12:04:01+02:00"),
        ("b", "2021-06-02T06:00:00+02:00", "2021-06-02T06:00:00+02:00"),
    ]
    assert set(package.observations["observationType"]) == {"unclassified"}
    assert package.observations.height == 3 + 5
    again, other = make(survey, overwrite=True, gap=60)
    assert again["events"] == 3
    again, other = make(survey, overwrite=True, gap=121)
    assert again["events"] == 2
    assert package.media.rows() == other.media.rows()


@pytest.mark.parametrize("written", ["photos/{}", "/elsewhere/photos/{}", "{}", "photos\\{}"])
def test_predictions(survey, written):
    """The species of an event has the highest mean probability over its photographs."""
    scores = {
        "a/1.jpg": {FOX: 0.9, HARE: 0.1},
        "a/2.jpg": {HARE: 0.6, FOX: 0.3},
        "a/3.jpg": {HARE: 0.55, FOX: 0.45},
        "a/4.jpg": {FOX: 0.9999, HARE: 0.00005},
        "b/1.jpg": {HARE: 0.3, FOX: 0.2},
    }
    spelled = {
        written.format(name.replace("/", "\\" if "\\" in written else "/")): s for name, s in scores.items()
    }
    table = write_table(survey / "predictions.csv", predictions(spelled))
    result, package = make(survey, predictions=table, unknown=0.35)
    assert result["species"] == {FOX: 2} and result["unmatched"] == 0
    observations = package.observations
    assert set(observations["classificationMethod"]) == {"machine"}
    assert all(name.startswith("bioclip-jax, predictions ") for name in observations["classifiedBy"])
    columns = ("observationType", "scientificName", "classificationProbability", "count")
    # Means of the burst: fox (0.9 + 0.3 + 0.45) / 3, hare (0.1 + 0.6 + 0.55) / 3.
    assert rows(observations, *columns, observationLevel="event") == [
        ("animal", FOX, "0.55", "1"),
        ("animal", FOX, "0.9999", "1"),
        ("unknown", "", "0.3", "1"),
    ]
    by_file = observations.filter(observationLevel="media").join(package.media, "mediaID")
    assert rows(by_file, "filePath", "scientificName") == [
        ("media/a/1.jpg", FOX),
        ("media/a/2.jpg", HARE),
        ("media/a/3.jpg", HARE),
        ("media/a/4.jpg", FOX),
        ("media/b/1.jpg", ""),
    ]
    side = pl.read_parquet(survey / "out" / "probabilities.parquet").join(package.media, "mediaID")
    expected = {
        (f"media/{name}", species, score)
        for name, species_scores in scores.items()
        for species, score in species_scores.items()
        if score >= 1e-4
    }
    assert set(side.select("filePath", "scientificName", "probability").rows()) == expected
    assert {entry["scientificName"]: entry.get("genus") for entry in package.descriptor["taxonomic"]} == {
        FOX: "Vulpes",
        HARE: "Lepus",
    }


def test_detections(survey):
    """Boxes count animals, and a photograph without any is blank whatever its prediction."""
    box, other = [0.1, 0.2, 0.3, 0.4], [0.5, 0.5, 0.6, 0.25]
    images = {
        "a/1.jpg": [("1", 0.9, box)],
        "a/2.jpg": [("1", 0.9, box), ("1", 0.8, other), ("1", 0.1, box)],
        "a/3.jpg": [],
        "a/4.jpg": [("1", 0.15, box)],
    }
    detections = write_detections(survey / "md.json", images)
    scores = {f"a/{n}.jpg": {FOX: 0.8} for n in (1, 2)} | {f"a/{n}.jpg": {HARE: 1.0} for n in (3, 4)}
    table = write_table(survey / "predictions.csv", predictions(scores))
    result, package = make(survey, predictions=table, detections=detections)
    observations = package.observations
    events = rows(
        observations, "observationType", "scientificName", "count", "classifiedBy", observationLevel="event"
    )
    model = next(name for name in observations["classifiedBy"] if name.startswith("bioclip"))
    assert events == [
        ("animal", FOX, "2", model),
        ("blank", "", "", "md_v5a.0.0.pt"),
        ("unclassified", "", "", ""),
    ]
    by_file = observations.filter(observationLevel="media").join(package.media, "mediaID")
    boxes = rows(by_file, "filePath", "observationType", "bboxX", "bboxY", "bboxWidth", "bboxHeight", "count")
    assert boxes == [
        ("media/a/1.jpg", "animal", "0.1", "0.2", "0.3", "0.4", "1"),
        ("media/a/2.jpg", "animal", "0.1", "0.2", "0.3", "0.4", "1"),
        # Clipped to the image.
        ("media/a/2.jpg", "animal", "0.5", "0.5", "0.5", "0.25", "1"),
        ("media/a/3.jpg", "blank", "", "", "", "", ""),
        ("media/a/4.jpg", "blank", "", "", "", "", ""),
        ("media/b/1.jpg", "unclassified", "", "", "", "", ""),
    ]
    low, _ = make(survey, detections=detections, detection_threshold=0.05, overwrite=True)
    assert low["observations"] == 3 + 1 + 3 + 1 + 1 + 1


def test_a_person_that_the_detector_overlooks_in_the_next_frame_is_dropped_too(survey):
    """a/1 to a/3 are one event: a person, a photograph without a box, and an animal, which stays."""
    images = {
        "a/1.jpg": [("2", 0.9, [0, 0, 1, 1])],
        "a/2.jpg": [],
        "a/3.jpg": [("1", 0.9, [0, 0, 1, 1])],
        "b/1.jpg": [],
    }
    result, package = make(survey, detections=write_detections(survey / "md.json", images))
    assert result["people_dropped"] == 2
    names = set(package.media["filePath"])
    assert {"media/a/3.jpg", "media/b/1.jpg"} <= names and not names & {"media/a/1.jpg", "media/a/2.jpg"}


@pytest.mark.parametrize("evidence", ["box", "prediction", "label", "event label"])
def test_people_are_dropped_and_counted(survey, evidence):
    options = {}
    if evidence == "box":
        images = {"a/4.jpg": [("2", 0.9, [0, 0, 1, 1])], "b/1.jpg": [("1", 0.9, [0, 0, 1, 1])]}
        options["detections"] = write_detections(survey / "md.json", images)
    elif evidence == "prediction":
        table = predictions({"a/4.jpg": {PERSON: 0.6, FOX: 0.4}, "b/1.jpg": {FOX: 1.0}})
        options["predictions"] = write_table(survey / "predictions.csv", table)
    elif evidence == "label":
        labels = [
            {"filepath": "a/4.jpg", "scientificName": PERSON},
            {"filepath": "b/1.jpg", "scientificName": FOX},
        ]
        options["human"] = write_table(survey / "human.csv", labels)
    else:
        _, package = make(survey)
        event = package.observations.filter(eventStart="2021-06-01T12:04:01+02:00")["eventID"][0]
        labels = [{"eventID": event, "scientificName": "human"}]
        options["human"] = write_table(survey / "human.csv", labels)
        options["overwrite"] = True
    result, package = make(survey, **options)
    assert (result["media"], result["events"], result["people_dropped"]) == (4, 2, 1)
    assert not package.media["fileName"].str.contains("4.jpg").any()
    assert PERSON not in (survey / "out" / "observations.csv").read_text()
    assert set(package.observations["observationType"]) <= {"animal", "unclassified"}
    assert "Photographs of people and vehicles left out: 1." in package.descriptor["description"]
    probabilities = survey / "out" / "probabilities.parquet"
    if probabilities.exists():
        assert PERSON not in pl.read_parquet(probabilities)["scientificName"]

    result, package = make(survey, **options | {"people": "keep", "overwrite": True})
    assert (result["media"], result["people_dropped"]) == (5, 0)
    public = dict(package.media.select("filePath", "filePublic").rows())
    assert [name for name, value in public.items() if value == "false"] == ["media/a/4.jpg"]
    if evidence != "event label":
        media = package.media.filter(filePath="media/a/4.jpg")["mediaID"][0]
        assert set(rows(package.observations, "observationType", "scientificName", mediaID=media)) == {
            ("human", PERSON)
        }
    assert rows(package.observations, "observationType", observationLevel="event").count(("human",)) == 1


def test_labels_are_spelled_as_the_machine_does(survey, capsys):
    """Else a person who writes the author would disagree with every prediction."""
    table = write_table(survey / "predictions.csv", predictions({"a/1.jpg": {FOX: 0.9}}))
    human = write_table(
        survey / "human.csv",
        [
            {"filepath": "a/1.jpg", "scientificName": f"{FOX} (Linnaeus, 1758)", "count": "NA"},
            {"filepath": "a/2.jpg", "scientificName": FOX.lower()},
            {"filepath": "a/3.jpg", "scientificName": "NA"},
            {"filepath": "", "eventID": "of-another-gap", "scientificName": FOX},
        ],
    )
    _, package = make(survey, predictions=table, human=human)
    media = package.observations.filter(observationLevel="media", classificationMethod="human")
    assert rows(media, "scientificName", "count") == [("", ""), (FOX, ""), (FOX, "")]
    assert "1 labels are about no event of the survey (first: of-another-gap)" in capsys.readouterr().err


def test_predictions_in_json(survey):
    content = predictions({"a/1.jpg": {FOX: 0.9, HARE: 0.1}})
    (survey / "predictions.json").write_text(json.dumps(content))
    _, package = make(survey, predictions=survey / "predictions.json")
    media = package.observations.filter(observationLevel="media", observationType="animal")
    assert rows(media, "scientificName", "classificationProbability") == [(FOX, "0.9")]


def test_human_labels(survey):
    """People's observations stand beside the machine's, of photographs and their events."""
    table = write_table(
        survey / "predictions.csv", predictions({f"a/{n}.jpg": {FOX: 0.9} for n in range(1, 5)})
    )
    labels = [
        {
            "filepath": "photos/a/1.jpg",
            "scientificName": FOX,
            "count": 1,
            "sex": "female",
            "classifiedBy": "Ann",
        },
        {"filepath": "photos/a/1.jpg", "scientificName": HARE, "count": 2, "classifiedBy": "Ann"},
        {"filepath": "photos/a/2.jpg", "scientificName": HARE, "count": 1, "classifiedBy": "Bo"},
        {"filepath": "photos/a/2.jpg", "scientificName": HARE, "count": 2, "classifiedBy": "Bo"},
        {"filepath": "photos/a/3.jpg", "scientificName": "blank"},
        {"filepath": "photos/a/4.jpg", "scientificName": ""},
        {"filepath": "photos/zzz.jpg", "scientificName": FOX},
    ]
    human = write_table(survey / "human.csv", labels)
    result, package = make(survey, predictions=table, human=human)
    assert result["unmatched"] == 1
    columns = ("eventStart", "observationType", "scientificName", "count", "sex", "classifiedBy")
    events = rows(package.observations, *columns, observationLevel="event", classificationMethod="human")
    assert events == [
        ("2021-06-01T12:00:00+02:00", "animal", HARE, "3", "", "Ann, Bo"),
        ("2021-06-01T12:00:00+02:00", "animal", FOX, "1", "female", "Ann"),
        ("2021-06-01T12:04:01+02:00", "blank", "", "", "", ""),
    ]
    machine = rows(
        package.observations, "scientificName", observationLevel="event", classificationMethod="machine"
    )
    assert machine == [(FOX,), (FOX,)]
    media = package.observations.filter(observationLevel="media", classificationMethod="human")
    assert rows(media, "scientificName", "count") == sorted(
        [(FOX, "1"), (HARE, "2"), (HARE, "1"), (HARE, "2"), ("", ""), ("", "")]
    )
    ids = package.observations["observationID"]
    assert ids.n_unique() == ids.len()
    # Labels of events: the ids are those of the run before.
    event = package.observations.filter(deploymentID="b", observationLevel="event")["eventID"][0]
    human = write_table(
        survey / "human.csv", [{"eventID": event, "scientificName": FOX, "lifeStage": "adult"}]
    )
    _, package = make(survey, human=human, overwrite=True)
    found = rows(package.observations, "eventID", "scientificName", "lifeStage", classificationMethod="human")
    assert found == [(event, FOX, "adult")]


def test_deployment_columns_outside_the_standard(survey):
    table = [
        deployment(
            "a", deploymentTags="bait:none", folder="cam 1/DCIM", clockOffset="-1 d 01:00:00", crew="x|y"
        ),
        deployment(
            "b", downTime="2021-06-01 06:00/2021-06-01 18:00|2021-06-02T22:00:00Z/2021-06-03T22:00:00Z"
        ),
    ]
    table[0] |= {"plot": "7"}
    write_table(survey / "deployments.csv", table)
    (survey / "photos" / "a").rename(survey / "photos" / "DCIM")
    (survey / "photos" / "cam 1").mkdir()
    (survey / "photos" / "DCIM").rename(survey / "photos" / "cam 1" / "DCIM")
    # 25 hours back is before the start of June 1.
    write_table(
        survey / "deployments.csv", [table[0] | {"deploymentStart": "2021-05-30T00:00:00+02:00"}, table[1]]
    )
    result, package = make(survey)
    assert result["media"] == 5
    assert package.media["timestamp"][0] == "2021-05-31T11:00:00+02:00"
    tags = dict(package.deployments.select("deploymentID", "deploymentTags").rows())
    assert tags == {
        "a": "bait:none | clockOffset:-1 d 01:00:00 | plot:7",
        "b": "downTime:2021-06-01T06:00:00+02:00/2021-06-01T18:00:00+02:00 | "
        "downTime:2021-06-03T00:00:00+02:00/2021-06-04T00:00:00+02:00",
    }
    assert package.deployments["deploymentComments"].to_list() == ["crew: x|y", ""]
    assert dict(effort_days(package.deployments).rows())["b"] == pytest.approx(1.5)


@pytest.mark.shared_data
def test_everything_at_once_is_valid_by_the_standards_schemas(survey, shared_data):
    """All kinds of observations, by frictionless and the profile of Camtrap DP 1.0.2."""
    from standard import frictionless_errors, profile_errors

    box = [0.1, 0.2, 0.3, 0.4]
    images = {
        "a/1.jpg": [("1", 0.9, box), ("1", 0.7, [0, 0, 1, 1])],
        "a/2.jpg": [],
        "a/4.jpg": [("3", 0.9, box)],
    }
    scores = {"a/1.jpg": {FOX: 0.9, HARE: 1e-4}, "a/3.jpg": {FOX: 0.2, HARE: 0.1}}
    labels = [
        {"filepath": "a/1.jpg", "scientificName": HARE, "count": 2, "sex": "male", "lifeStage": "adult"}
    ]
    _, package = make(
        survey,
        predictions=write_table(survey / "predictions.csv", predictions(scores)),
        detections=write_detections(survey / "md.json", images),
        human=write_table(survey / "human.csv", labels),
        unknown=0.5,
        people="keep",
    )
    kinds = set(package.observations["observationType"])
    assert kinds == {"animal", "blank", "unknown", "vehicle", "unclassified"}
    schemas = shared_data / "twin" / "camtrap_dp" / "schemas"
    assert profile_errors(package.descriptor, schemas) == []
    assert frictionless_errors(survey / "out", schemas) == []


def test_reliability_and_project(survey):
    reliability = {"fingerprint": "0123456789abcdef", "after": {"reliability": []}, "temperature": 1.5}
    (survey / "calibration.json").write_text(json.dumps(reliability))
    (survey / "project.toml").write_text(
        'title = "Foxes of the dunes"\n[project]\ntitle = "Dunes"\nsamplingDesign = "simpleRandom"\n'
    )
    table = write_table(survey / "predictions.csv", predictions({"a/1.jpg": {FOX: 0.9}}))
    options = {"reliability": survey / "calibration.json", "project": survey / "project.toml"}
    _, package = make(survey, predictions=table, **options)
    assert json.loads((survey / "out" / "reliability.json").read_text()) == reliability
    assert set(package.observations["classifiedBy"]) == {"bioclip-jax, model 0123456789ab", ""}
    assert package.descriptor["title"] == "Foxes of the dunes"
    assert package.descriptor["project"]["samplingDesign"] == "simpleRandom"


def test_many_rows(tmp_path):
    """50,000 rows of a table, without a photograph: events and days against NumPy's."""
    import numpy as np

    random = np.random.default_rng(0)
    cameras, n = 20, 50_000
    camera, second = random.integers(cameras, size=n), random.integers(3 * 86_400, size=n)
    start = np.datetime64("2021-05-31T22:00:00")
    pl.DataFrame(
        {
            "filepath": [f"x/{number}.jpg" for number in range(n)],
            "deploymentID": [f"c{number}" for number in camera],
            "timestamp": pl.Series(start + (second * 1_000_000).astype("m8[us]")).dt.strftime(
                "%Y-%m-%dT%H:%M:%SZ"
            ),
        }
    ).write_parquet(tmp_path / "photos.parquet")
    write_table(tmp_path / "deployments.csv", [deployment(f"c{number}") for number in range(cameras)])
    result = observe_photos(tmp_path / "photos.parquet", tmp_path / "deployments.csv", tmp_path / "out")
    expected = sum(
        int((np.diff(np.sort(second[camera == number])) > 120).sum()) + 1 for number in range(cameras)
    )
    assert (result["media"], result["events"], result["effort_days"]) == (n, expected, 60.0)
    check_package(read_package(tmp_path / "out"))
