"""`twin share`, and `twin observe --share-photographs`."""

from __future__ import annotations

import json

import pytest
from camera_survey import deployment, write_photo, write_table
from PIL import Image

from bioclip_jax.cli import main


@pytest.fixture
def survey(tmp_path):
    """Two photographs with EXIF of a deployment at an exact place, labeled by a person."""
    for number in (1, 2):
        write_photo(tmp_path / "photos" / "badger-bend" / f"{number}.jpg", f"2021:06:01 12:00:0{number}")
    write_table(tmp_path / "deployments.csv", [deployment("badger-bend") | {"cameraID": "SN4711"}])
    labels = [
        {"filepath": f"badger-bend/{number}.jpg", "scientificName": "Vulpes vulpes"} for number in (1, 2)
    ]
    write_table(tmp_path / "human.csv", labels)
    return tmp_path


def _observe(survey, *arguments: object) -> list[str]:
    inputs = (
        survey / "photos",
        survey / "deployments.csv",
        survey / "package",
        "--human",
        survey / "human.csv",
    )
    return ["twin", "observe", *map(str, (*inputs, *arguments))]


def _assert_without_secrets(folder) -> None:
    images = [path for path in folder.rglob("*") if path.suffix.lower() == ".jpg"]
    assert len(images) == 2, "the photographs are copied"
    for path in images:
        assert not dict(Image.open(path).getexif()), f"{path.name} has EXIF data"
    for path in folder.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert b"badger" not in content and b"SN4711" not in content and b"2021:06" not in content, (
                path.name
            )


def test_observe_shares_photographs_without_metadata(survey):
    assert main(_observe(survey, "--share", survey / "shared", "--share-photographs")) == 0
    _assert_without_secrets(survey / "shared")


def test_a_package_is_shared_by_a_command_of_its_own(survey, capsys):
    assert main(_observe(survey)) == 0
    capsys.readouterr()
    command = ["twin", "share", str(survey / "package"), str(survey / "shared"), "--photographs", "--json"]
    assert main(command) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["deployments"], result["media"], result["degrees"]) == (1, 2, 0.1)
    _assert_without_secrets(survey / "shared")
    assert main(command) == 2, "a second run does not overwrite"
    assert "is not empty" in capsys.readouterr().err


def test_sharing_options_need_a_folder(survey, capsys):
    assert main(_observe(survey, "--share-photographs")) == 2
    assert "--share-photographs applies to the package that others may see" in capsys.readouterr().err
    assert not (survey / "package").exists()
