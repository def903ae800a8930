"""Mistakes in the inputs of `twin observe`: one line, and nothing written."""

from __future__ import annotations

import json
import re

import pytest
from camera_survey import deployment, predictions, write_detections, write_photo, write_table

from bioclip_jax.cli import main
from bioclip_jax.errors import UserError
from bioclip_jax.twin.observe import ObserveOptions, observe_photos


@pytest.fixture
def survey(tmp_path):
    write_photo(tmp_path / "photos" / "a" / "1.jpg", "2021:06:01 12:00:00")
    write_photo(tmp_path / "photos" / "a" / "2.jpg", "2021:06:01 12:00:01")
    write_table(tmp_path / "deployments.csv", [deployment("a"), deployment("b")])
    return tmp_path


def refusal(survey, photos="photos", **options):
    """Return the message of the refusal, after which nothing is left beside the inputs."""
    before = sorted(path.name for path in survey.rglob("*"))
    with pytest.raises(UserError) as error:
        observe_photos(survey / photos, survey / "deployments.csv", survey / "out", ObserveOptions(**options))
    assert sorted(path.name for path in survey.rglob("*")) == before
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    "changes, message",
    [
        (
            {"deploymentEnd": "2021-05-01T00:00:00+02:00"},
            r"row 3: b ends at 2021-05-01T00:00:00\+02:00, before it",
        ),
        ({"deploymentID": "a"}, "rows 2 and 3: the deploymentID 'a' occurs twice"),
        ({"latitude": ""}, "row 3: latitude of deployment 'b' is empty"),
        ({"longitude": "NA"}, "row 3: longitude of deployment 'b' is empty"),
        ({"latitude": "50,7"}, "row 3: latitude is '50,7'; write decimal degrees"),
        ({"longitude": "190"}, "row 3: longitude is '190'"),
        ({"deploymentStart": "last May"}, "row 3: deploymentStart is 'last May'"),
        ({"deploymentStart": "2021-05-01"}, "row 3: deploymentStart is '2021-05-01'"),
        (
            {"deploymentStart": "2021-06-01 00:00"},
            "some times have a zone and some have none, such as 2021-06-01",
        ),
        (
            {"deploymentStart": "2021-06-01T00:00:00Z", "deploymentEnd": "2021-06-02T00:00:00Z"},
            r"2021-06-01T00:00:00Z and 2021-06-01T00:00:00\+02:00 are in zones more than an hour apart",
        ),
        ({"downTime": "2021-06-02"}, "row 3: downTime is '2021-06-02'; write START/END"),
        (
            {"downTime": "2021-06-03T00:00Z/2021-06-02T00:00Z"},
            "row 3: downTime .* does not end after its start",
        ),
        ({"featureType": "pub"}, "deployments, row 3: featureType is 'pub', but must be one of"),
        ({"cameraHeight": "-1"}, "deployments, row 3: cameraHeight is '-1', but must be at least 0"),
    ],
)
def test_deployments(survey, changes, message):
    write_table(survey / "deployments.csv", [deployment("a"), deployment("b") | changes])
    assert re.search(message, refusal(survey))


def test_no_camera_ran(survey):
    start = deployment("a")["deploymentStart"]
    down = f"{start}/2021-07-01T00:00:00+02:00"
    write_table(
        survey / "deployments.csv", [deployment("a", downTime=down), deployment("b", deploymentEnd=start)]
    )
    assert "no camera ran at any time" in refusal(survey)


def test_missing_columns_and_zones(survey):
    write_table(survey / "deployments.csv", [{"deploymentID": "a", "latitude": 1}])
    assert "has no column longitude, deploymentStart, deploymentEnd" in refusal(survey)
    naive = deployment("a", deploymentStart="2021-06-01 00:00", deploymentEnd="2021-06-02 00:00")
    write_table(survey / "deployments.csv", [naive])
    assert "times have no zone, such as 2021-06-01 00:00" in refusal(survey)
    with pytest.raises(UserError, match="'Europe/Brussel' does not exist; did you mean Europe/Brussels"):
        ObserveOptions(timezone="Europe/Brussel")


def test_photographs_of_no_deployment(survey):
    write_table(survey / "deployments.csv", [deployment("c")])
    message = refusal(survey)
    assert "the first is of the folder 'a', and the first deployment is 'c'" in message
    write_table(survey / "deployments.csv", [deployment("a", clockOffset=365 * 86400)])
    message = refusal(survey)
    assert message.startswith(
        "no photograph can be used: 2 photographs were taken outside their deployment's time"
    )
    assert "2022-06-01T10:00:00Z; a ran from 2021-05-31T22:00:00Z" in message


def test_missing_photographs(survey):
    rows = [
        {"filepath": f"photos/a/{n}.jpg", "deploymentID": "a", "timestamp": "2021-06-01T12:00"}
        for n in (1, 3)
    ]
    write_table(survey / "photos.csv", rows)
    assert "photos/a/3.jpg, which does not exist (1 such files)" in refusal(survey, "photos.csv")
    # Without a time it would have to be opened.
    write_table(survey / "photos.csv", [{"filepath": "elsewhere/3.jpg", "deploymentID": "a"}])
    assert "elsewhere/3.jpg, which does not exist and cannot be asked for its time" in refusal(
        survey, "photos.csv"
    )
    write_table(survey / "photos.csv", [{"filepath": "https://x.org/3.jpg", "deploymentID": "a"}])
    assert "https://x.org/3.jpg is not on this machine" in refusal(survey, "photos.csv")
    write_table(survey / "photos.csv", rows[:1] * 2)
    assert "photos/a/1.jpg occurs twice" in refusal(survey, "photos.csv")
    write_table(survey / "photos.csv", [rows[0] | {"timestamp": "noon"}])
    assert "photos.csv, row 2: timestamp is 'noon'" in refusal(survey, "photos.csv")
    assert "is not a folder of photographs" in refusal(survey, "nowhere")


def test_predictions(survey):
    table = write_table(survey / "predictions.csv", predictions({"c/9.jpg": {"Sus scrofa": 1.0}}))
    assert "no row of" in refusal(survey, predictions=table)
    write_table(table, predictions({"a/1.jpg": {"Sus scrofa": 1.5}}))
    assert "row 2: the score is not a probability" in refusal(survey, predictions=table)
    write_table(table, [{"file_name": "a/1.jpg", "species": "Sus scrofa"}])
    assert "lacks the columns file_name, score and species" in refusal(survey, predictions=table)
    assert "does not exist" in refusal(survey, predictions=survey / "nothing.csv")
    (survey / "bad.parquet").write_text("not Parquet")
    assert "is not a readable Parquet file" in refusal(survey, predictions=survey / "bad.parquet")


@pytest.mark.parametrize(
    "content, message",
    [
        ("{", "is not readable JSON"),
        ("[]", "has no list of images"),
        ('{"images": 3}', "has no list of images"),
        ('{"images": [{"name": "a/1.jpg"}]}', "image 1 cannot be used"),
        (
            '{"images": [{"file": "a/1.jpg", "detections": [{"conf": "x", "bbox": 3}]}]}',
            "image 1 cannot be used",
        ),
        (
            '{"images": [{"file": "a/1.jpg", "failure": "no such file"}]}',
            "no image that the detector could read",
        ),
        ('{"images": [{"file": "z.jpg", "detections": []}]}', "no image of .* is a photograph of the survey"),
    ],
)
def test_detections(survey, content, message):
    (survey / "md.json").write_text(content)
    assert re.search(message, refusal(survey, detections=survey / "md.json"))


@pytest.mark.parametrize(
    "box, message",
    [
        ({"bbox": ["a", 0, 1, 1]}, "could not convert string to float"),
        ({"bbox": [float("nan"), 0, 1, 1]}, "its bbox is .nan, 0, 1, 1., not in shares of the image"),
        ({"bbox": [100, 100, 200, 200]}, "not in shares of the image"),
        ({"conf": 90}, "its confidence is 90, not from 0 to 1"),
        ({"conf": float("nan")}, "its confidence is nan"),
    ],
)
def test_boxes(survey, box, message):
    box = {"category": "1", "conf": 0.9, "bbox": [0.1, 0.1, 0.2, 0.2]} | box
    images = [{"file": "a/1.jpg", "failure": "x"}, {"file": "a/2.jpg", "detections": [box]}]
    file = survey / "md.json"
    file.write_text(json.dumps({"images": images}))
    assert re.search(f"image 2 cannot be used .*{message}", refusal(survey, detections=file))
    images[1]["file"] = 5
    file.write_text(json.dumps({"images": images}))
    assert "image 2 cannot be used" in refusal(survey, detections=file)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"clockOffset": "99999999999999"}, "clockOffset is '99999999999999'"),
        ({"clockOffset": "9999999999 d 00:00:00"}, "clockOffset is '9999999999 d 00:00:00'"),
        ({"clockOffset": "1:61:00"}, "clockOffset is '1:61:00'"),
        ({"downTime": "|"}, "row 3: downTime is '|'; write START/END"),
        ({"downTime": "2021-06-02T00:00Z/"}, "row 3: downTime is '2021-06-02T00:00Z/'; write START/END"),
        ({"downTime": "June/July"}, "deployments.csv, row 3: downTime is 'June'; write it as"),
    ],
)
def test_cells_of_deployments(survey, changes, message):
    write_table(survey / "deployments.csv", [deployment("a"), deployment("b") | changes])
    assert message in refusal(survey)


def test_overwriting_deletes_no_work(survey):
    arguments = [survey / "photos", survey / "deployments.csv", survey / "out"]
    observe_photos(*arguments)
    observe_photos(*arguments, ObserveOptions(overwrite=True))
    notes = survey / "out" / "notes.txt"
    notes.write_text("a year of work")
    assert "would delete" in refusal(survey, overwrite=True)
    assert notes.read_text() == "a year of work"
    notes.rename(survey / "notes.txt")
    # The photographs themselves, moved into the package.
    (survey / "out" / "media").unlink()
    (survey / "photos").rename(survey / "out" / "media")
    assert "would delete" in refusal(survey, "out/media", overwrite=True)


def test_overwriting_through_the_package_s_own_link(survey):
    arguments = [survey / "deployments.csv", survey / "out"]
    observe_photos(survey / "photos", *arguments)
    observe_photos(survey / "out" / "media", *arguments, ObserveOptions(overwrite=True))
    assert (survey / "out" / "media" / "a" / "1.jpg").is_file()


def test_output_through_a_link(survey):
    (survey / "disk").mkdir()
    (survey / "out").symlink_to(survey / "disk")
    observe_photos(survey / "photos", survey / "deployments.csv", survey / "out")
    assert (survey / "disk" / "datapackage.json").is_file()
    assert (survey / "out").is_symlink()


def test_long_gap():
    with pytest.raises(UserError, match="at most a year"):
        ObserveOptions(gap=1e15)


def test_labels(survey):
    labels = survey / "human.csv"
    for row, message in (
        ({"filepath": "a/1.jpg", "species": "Sus scrofa"}, "has no column scientificName"),
        ({"filepath": "z.jpg", "scientificName": "Sus scrofa"}, "no row of"),
        ({"filepath": "a/1.jpg", "scientificName": "Sus scrofa", "count": "two"}, "row 2: count is 'two'"),
        (
            {"filepath": "a/1.jpg", "scientificName": "Sus scrofa", "sex": "f"},
            "row 2: sex is 'f'; write female or",
        ),
        ({"name": "a/1.jpg", "scientificName": "Sus scrofa"}, "none of the columns filepath"),
    ):
        write_table(labels, [row])
        assert message in refusal(survey, human=labels)


def test_options(survey):
    for options, message in (
        ({"gap": 0}, "--gap is 0"),
        ({"unknown": 2}, "--unknown is 2"),
        ({"detection_threshold": 0}, "--detection-threshold is 0"),
        ({"precise": True}, "--precise applies to the package that others may see"),
        ({"people": "hide"}, "--people is 'hide'"),
    ):
        with pytest.raises(UserError, match=message):
            ObserveOptions(**options)
    (survey / "project.toml").write_text("title = ")
    assert "is not TOML" in refusal(survey, project=survey / "project.toml")
    (survey / "project.toml").write_text('titel = "x"')
    assert "did you mean title" in refusal(survey, project=survey / "project.toml")
    (survey / "calibration.json").write_text(json.dumps({"temperature": 1}))
    assert "is not a file of `bioclip-jax taxa calibrate`" in refusal(
        survey, reliability=survey / "calibration.json"
    )


def test_outputs(survey):
    with pytest.raises(UserError, match="is inside the photographs"):
        observe_photos(survey / "photos", survey / "deployments.csv", survey / "photos" / "out")
    with pytest.raises(UserError, match="overlap"):
        options = ObserveOptions(share=survey / "out")
        observe_photos(survey / "photos", survey / "deployments.csv", survey / "out", options)
    (survey / "out").mkdir()
    (survey / "out" / "thesis.txt").touch()
    assert "has files and is not a Camtrap DP" in refusal(survey, overwrite=True)
    (survey / "out" / "thesis.txt").unlink()
    observe_photos(survey / "photos", survey / "deployments.csv", survey / "out")
    assert "already has a package" in refusal(survey)


def test_command_line(survey, capsys):
    arguments = [
        "twin",
        "observe",
        str(survey / "photos"),
        str(survey / "deployments.csv"),
        str(survey / "out"),
    ]
    assert main([*arguments, "--within", "Mammalia"]) == 2
    assert capsys.readouterr().err == "error: --within applies to a model; name it with --model\n"
    assert main([*arguments, "--strict"]) == 2
    assert capsys.readouterr().err == "error: --strict applies to a model; name it with --model\n"
    assert main([*arguments, "--model", "m", "--predictions", "p.csv"]) == 2
    assert "give only one" in capsys.readouterr().err
    assert main([*arguments, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert {"deployments": 2, "media": 2, "events": 1, "people_dropped": 0}.items() <= result.items()
    assert main(arguments) == 2
    assert "give --overwrite" in capsys.readouterr().err
    write_detections(survey / "md.json", {"a/1.jpg": [("2", 0.9, [0, 0, 1, 1])]})
    assert main([*arguments, "--overwrite", "--detections", str(survey / "md.json")]) == 0
    assert capsys.readouterr().err.splitlines() == [
        "1 photographs in 1 events of 2 deployments, 6.0 days of effort",
        "dropped 1 photographs of people and vehicles",
        f"wrote {survey / 'out'}",
    ]
