"""Tables of field work as INPUTS: packages of Camtrap DP, and exports of Timelapse, without loss."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from bioclip_jax.cli import main
from bioclip_jax.errors import UserError
from bioclip_jax.predict import find_images
from bioclip_jax.predict.image_tables import package_media

TIMELAPSE = ["RootFolder", "File", "RelativePath", "DateTime", "DeleteFlag", "Species", "Notes"]


def read(path: Path) -> list[dict[str, str]]:
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def predict(model_directory: Path, *arguments: object) -> int:
    return main(
        ["predict", *map(str, arguments), "--cls", "cat,dog", "--k", "1", "--model", str(model_directory)]
    )


@pytest.fixture
def package(shared_data: Path, tmp_path: Path) -> Path:
    """The standard's example package, whose ten photographs with a path get small pictures."""
    folder = tmp_path / "package"
    shutil.copytree(
        shared_data / "twin" / "camtrap_dp", folder, ignore=shutil.ignore_patterns("media", "schemas")
    )
    (folder / "media.csv").chmod(0o644)
    folder.chmod(0o755)
    (folder / "media").mkdir()
    for row in read(folder / "media.csv"):
        if "://" not in row["filePath"]:
            Image.linear_gradient("L").save(folder / row["filePath"])
    return folder


@pytest.mark.shared_data
@pytest.mark.parametrize("given", ["media.csv", "datapackage.json", "."])
def test_a_camtrap_dp_package_goes_through_without_loss(given, package, model_directory, capsys):
    output = package.parent / "out.csv"
    assert predict(model_directory, package / given, "--output", output) == 0
    local = [row for row in read(package / "media.csv") if "://" not in row["filePath"]]
    assert len(local) == 10
    rows = read(output)
    assert [{name: row[name] for name in local[0]} for row in rows] == local
    assert [Path(row["file_name"]) for row in rows] == [package / row["filePath"] for row in local]
    assert (
        f"skipped: 413 rows of {package / 'media.csv'}, whose filePath is an address"
        in capsys.readouterr().err
    )

    parquet = package.parent / "out.parquet"
    assert predict(model_directory, package / given, "--output", parquet) == 0
    table = pq.read_table(parquet).select(list(local[0])).to_pylist()
    assert table == local


@pytest.fixture
def card(tmp_path: Path) -> Path:
    """Timelapse's export of a memory card: Windows' paths, odd cells, and a photograph at the top."""
    root = tmp_path / "Card 7"
    (root / "Station 1" / "DCIM").mkdir(parents=True)
    rows = []
    for index, folder in enumerate(["Station 1\\DCIM", "Station 1\\DCIM", ""]):
        name = f"RCNX{index:04}.JPG"
        Image.linear_gradient("L").save(root / folder.replace("\\", "/") / name)
        notes = ['he said "dhole", twice', "two\nlines; ünïcode", "0071"][index]
        rows.append(["Card 7", name, folder, f"2021-06-0{index + 1} 04:05:06", "false", "", notes])
    with open(root / "TimelapseData.csv", "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([TIMELAPSE, *rows])
    return root


@pytest.mark.parametrize("beside", [False, True])
def test_a_timelapse_export_goes_through_without_loss(beside, card, model_directory):
    table = card / "TimelapseData.csv"
    if beside:
        table = table.rename(card.parent / "TimelapseData.csv")
    output = card.parent / "out.csv"
    assert predict(model_directory, table, "--output", output) == 0
    expected, rows = read(table), read(output)
    # Names of ranks are recognized in any case, and take one spelling.
    assert [{name: row.get(name, row.get(name.lower())) for name in TIMELAPSE} for row in rows] == expected
    paths = [card / row["RelativePath"].replace("\\", "/") / row["File"] for row in expected]
    assert [Path(row["file_name"]) for row in rows] == paths


def test_embed_keeps_the_columns_of_timelapse(card, model_directory):
    output = card.parent / "out.parquet"
    arguments = ["embed", str(card / "TimelapseData.csv"), "--model", str(model_directory)]
    assert main([*arguments, "--output", str(output)]) == 0
    assert pq.read_table(output)["RelativePath"].to_pylist() == ["Station 1\\DCIM", "Station 1\\DCIM", ""]


def test_a_table_of_addresses_alone_is_one_line(tmp_path):
    (tmp_path / "media.csv").write_text("mediaID,filePath\n1,https://example.org/a.jpg\n")
    with pytest.raises(UserError, match="all 1 files of .*media.csv are on the web; download"):
        find_images([tmp_path / "media.csv"])


def test_a_relative_path_without_a_file_is_one_line(tmp_path):
    (tmp_path / "t.csv").write_text("RelativePath,Species\na,b\n")
    with pytest.raises(UserError, match="t.csv has a column RelativePath but no column File; add it"):
        find_images([tmp_path / "t.csv"])


@pytest.mark.parametrize(
    "descriptor",
    [
        "{",
        "[" * 100_000,
        '{"resources": 3}',
        '{"resources": [{"name": "media", "path": "../media.csv"}]}',
        '{"resources": [{"name": "media", "path": ["https://example.org/media.csv"]}]}',
        '{"resources": [{"name": "media", "path": ["/etc/passwd"]}]}',
        '{"resources": [{"name": "media", "data": []}]}',
    ],
)
def test_a_hostile_descriptor_is_one_line(descriptor, tmp_path):
    (tmp_path / "datapackage.json").write_text(descriptor)
    with pytest.raises(UserError, match="datapackage.json .*; give the table of photographs itself"):
        find_images([tmp_path / "datapackage.json"])


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.sampled_from(["media", "a.csv"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["resources", "name", "path", "profile"]), inner, max_size=4)
    ),
    max_leaves=8,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(json_values)
def test_any_descriptor_names_tables_beside_it_or_is_refused(tmp_path, value):
    (tmp_path / "datapackage.json").write_text(json.dumps(value))
    try:
        files = package_media(str(tmp_path / "datapackage.json"))
    except UserError:
        return
    assert files and all(Path(file).is_relative_to(tmp_path) for file in files)


def test_a_folder_of_another_package_is_a_folder(tmp_path):
    Image.linear_gradient("L").save(tmp_path / "a.png")
    (tmp_path / "datapackage.json").write_text('{"profile": "tabular-data-package", "resources": []}')
    assert [Path(image.path).name for image in find_images([tmp_path])] == ["a.png"]
