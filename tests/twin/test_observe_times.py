"""Times of photographs: EXIF, zones, wrong clocks, and which deployment ran then."""

from __future__ import annotations

import pytest
from camera_survey import deployment, write_photo, write_table

from bioclip_jax.errors import UserError
from bioclip_jax.twin.observe import ObserveOptions, observe_photos
from bioclip_jax.twin.observe.camtrap_dp import read_package
from bioclip_jax.twin.observe.clock import clock_offset

WHOLE_YEAR = {"deploymentStart": "2021-01-01T00:00:00+01:00", "deploymentEnd": "2022-01-01T00:00:00+01:00"}


def media(tmp_path, deployments, **options):
    """Observe the photographs of tmp_path/photos; return (timestamp, deployment) by file, and the result."""
    table = write_table(tmp_path / "deployments.csv", deployments)
    result = observe_photos(tmp_path / "photos", table, tmp_path / "out", ObserveOptions(**options))
    package = read_package(tmp_path / "out")
    return {
        row[0]: row[1:] for row in package.media.select("fileName", "timestamp", "deploymentID").rows()
    }, result


def test_a_cameras_clock_is_in_the_zone_of_its_start(tmp_path):
    for folder in ("summer", "winter"):
        write_photo(tmp_path / "photos" / folder / f"{folder}.jpg", "2021:06:02 12:00:00")
    starts = {"summer": "2021-06-01T00:00:00+02:00", "winter": "2021-03-01T00:00:00+01:00"}
    end = "2021-07-01T00:00:00+02:00"
    found, _ = media(
        tmp_path,
        [deployment(name, deploymentStart=start, deploymentEnd=end) for name, start in starts.items()],
    )
    assert found["summer.jpg"][0] == "2021-06-02T12:00:00+02:00"
    assert found["winter.jpg"][0] == "2021-06-02T12:00:00+01:00"


def test_exif_offset_and_fraction(tmp_path):
    """OffsetTimeOriginal prevails over the deployment's zone; fractions order, and are not written."""
    write_photo(tmp_path / "photos" / "a" / "zoned.jpg", "2021:06:01 12:00:00", offset="+00:00")
    write_photo(tmp_path / "photos" / "a" / "late.jpg", "2021:06:01 13:00:00", fraction="75")
    write_photo(tmp_path / "photos" / "a" / "early.jpg", "2021:06:01 13:00:00", fraction="5")
    # In the deployment's last second.
    write_photo(tmp_path / "photos" / "a" / "last.jpg", "2021:06:04 00:00:00", fraction="9")
    found, _ = media(tmp_path, [deployment("a")])
    assert list(found) == ["early.jpg", "late.jpg", "zoned.jpg", "last.jpg"]
    assert found["zoned.jpg"][0] == "2021-06-01T12:00:00+00:00"
    assert found["early.jpg"][0] == found["late.jpg"][0] == "2021-06-01T13:00:00+02:00"


def test_times_that_do_not_exist_are_no_times(tmp_path):
    """One photograph of a camera without power does not stop a survey."""
    for number, time in enumerate(
        ("2021:06:01 12:00:00", "0000:00:00 00:00:00", "2021:13:45 12:00:00", "2021:06:01 24:00:00"), 1
    ):
        write_photo(tmp_path / "photos" / "a" / f"{number}.jpg", time)
    write_photo(tmp_path / "photos" / "a" / "5.jpg", "2021:06:01 12:00:05", offset="+99:99")
    table = write_table(tmp_path / "deployments.csv", [deployment("a")])
    result = observe_photos(tmp_path / "photos", table, tmp_path / "out")
    assert (result["media"], result["without_time"]) == (2, 3)


def test_named_zone(tmp_path):
    """Brussels: summer time begins on March 28, 2:00, and ends on October 31, 3:00."""
    times = {
        "winter": ("2021:01:15 12:00:00", "2021-01-15T12:00:00+01:00"),
        "summer": ("2021:07:15 12:00:00", "2021-07-15T12:00:00+02:00"),
        "skipped": ("2021:03:28 02:30:00", "2021-03-28T03:30:00+02:00"),
        "twice": ("2021:10:31 02:30:00", "2021-10-31T02:30:00+02:00"),
    }
    for name, (time, _) in times.items():
        write_photo(tmp_path / "photos" / "a" / f"{name}.jpg", time)
    # Without a zone in the table, the times are of the named one.
    row = deployment("a", deploymentStart="2021-01-01 00:00", deploymentEnd="2022-01-01 00:00")
    found, _ = media(tmp_path, [row], timezone="Europe/Brussels")
    assert {name: found[f"{name}.jpg"][0] for name in times} == {
        name: text for name, (_, text) in times.items()
    }
    package = read_package(tmp_path / "out")
    assert package.deployments["deploymentStart"][0] == "2021-01-01T00:00:00+01:00"
    # With one in the table, too.
    found, _ = media(tmp_path, [deployment("a", **WHOLE_YEAR)], timezone="Europe/Brussels", overwrite=True)
    assert found["summer.jpg"][0] == "2021-07-15T12:00:00+02:00"


@pytest.mark.parametrize(
    "text, seconds",
    [
        ("", 0),
        ("3600", 3600),
        ("-1.5", -1.5),
        ("+01:02:03", 3723),
        ("-36:00:00", -129_600),
        ("2 days 01:00:00", 176_400),
        ("-1d, 00:00:01", -86_401),
    ],
)
def test_clock_offsets(text, seconds):
    assert clock_offset(text, "row 2") == seconds


@pytest.mark.parametrize("text", ["an hour", "01:00", "1:2:3", "--5", "5 6"])
def test_malformed_clock_offset(text):
    with pytest.raises(UserError, match=f"row 3: clockOffset is '{text}'; write what must be added"):
        clock_offset(text, "row 3")


def test_a_wrong_clock_is_corrected(tmp_path):
    """A photograph that its camera dates to 2020 is of June 2021."""
    write_photo(tmp_path / "photos" / "a" / "1.jpg", "2020:06:01 12:00:00")
    found, _ = media(tmp_path, [deployment("a", clockOffset="365 d 00:10:00")])
    assert found["1.jpg"][0] == "2021-06-01T12:10:00+02:00"


def test_one_folder_of_several_deployments(tmp_path, capsys):
    """Deployments at one place share its folder, and time tells them apart."""
    for number, time in enumerate(["05:31", "06:01", "07:02", "08:01"]):
        write_photo(tmp_path / "photos" / "pond" / f"{number}.jpg", f"2021:{time} 12:00:00")
    write_photo(tmp_path / "photos" / "pond" / "timeless.jpg")
    write_photo(tmp_path / "photos" / "office" / "cat.jpg", "2021:06:01 12:00:00")
    periods = {"first": ("2021-05-31", "2021-06-15"), "second": ("2021-07-01", "2021-07-15")}
    found, result = media(
        tmp_path,
        [
            deployment(
                name,
                locationName="pond",
                deploymentStart=f"{start}T00:00:00+02:00",
                deploymentEnd=f"{end}T00:00:00+02:00",
            )
            for name, (start, end) in periods.items()
        ],
    )
    assert {name: row[1] for name, row in found.items()} == {
        "0.jpg": "first",
        "1.jpg": "first",
        "2.jpg": "second",
    }
    assert (result["outside_deployments"], result["without_time"]) == (2, 1)
    messages = capsys.readouterr().err
    assert "1 photographs have no time in their EXIF" in messages and "timeless.jpg" in messages
    assert "1 photographs are of no deployment" in messages and "cat.jpg" in messages
    assert (
        "1 photographs were taken outside their deployment's time" in messages and "clockOffset" in messages
    )


def test_photographs_in_no_folder_of_overlapping_deployments(tmp_path, capsys):
    """Only the time at which one deployment alone ran is unambiguous."""
    write_photo(tmp_path / "photos" / "both.jpg", "2021:06:02 12:00:00")
    write_photo(tmp_path / "photos" / "alone.jpg", "2021:06:05 12:00:00")
    rows = [deployment("a"), deployment("b", deploymentEnd="2021-06-10T00:00:00+02:00")]
    found, result = media(tmp_path, rows)
    assert {name: row[1] for name, row in found.items()} == {"alone.jpg": "b"}
    assert result["outside_deployments"] == 1
    assert "may be of several deployments" in capsys.readouterr().err


def test_table_with_times_of_several_spellings(tmp_path):
    """No photograph is opened; times with a zone stay, others are the camera's clock."""
    times = {
        "https://x.org/1": "2021-06-01T12:00:00+02:00",
        "https://x.org/2": "2021-06-01T10:00:01Z",
        "https://x.org/3": "2021-06-01 12:00:02",
        "https://x.org/4": "2021:06:01 12:00:03",
        "https://x.org/5": "2021-06-01T12:00:04.25+0200",
        "https://x.org/6": "2021-06-01T12:01",
    }
    rows = [{"filepath": path, "deploymentID": "a", "timestamp": time} for path, time in times.items()]
    photos = write_table(tmp_path / "photos.csv", rows)
    deployments = write_table(tmp_path / "deployments.csv", [deployment("a")])
    result = observe_photos(photos, deployments, tmp_path / "out")
    package = read_package(tmp_path / "out")
    assert package.media["timestamp"].to_list() == [
        "2021-06-01T12:00:00+02:00",
        "2021-06-01T10:00:01Z",
        "2021-06-01T12:00:02+02:00",
        "2021-06-01T12:00:03+02:00",
        "2021-06-01T12:00:04+02:00",
        "2021-06-01T12:01:00+02:00",
    ]
    assert package.media["filePath"].to_list() == list(times)
    assert result["events"] == 1 and not (tmp_path / "out" / "media").exists()
