"""Reading Camtrap DP: the standard's example, other writers' dialects, hostile packages."""

import csv
import gzip
import json
import shutil
import zipfile

import polars as pl
import pytest
from one_row_package import CELLS, PROFILE, cells, change, make

from bioclip_jax.errors import UserError
from bioclip_jax.twin.observe.camtrap_dp import FIELDS, read_package, write_package


def assert_same_cells(package, rows=1):
    for table, frame in package.tables.items():
        assert frame.columns == [field.name for field in FIELDS[table]], table
        assert set(frame.dtypes) == {pl.String}, table
        assert frame.rows() == [tuple(cells(table))] * rows, table


@pytest.mark.shared_data
def test_the_example_equals_its_files(shared_data):
    folder = shared_data / "twin" / "camtrap_dp"
    package = read_package(folder / "datapackage.json")
    assert package.descriptor == json.loads((folder / "datapackage.json").read_text())
    assert package.folder == folder
    for table, rows in {"deployments": 4, "media": 423, "observations": 549}.items():
        with (folder / f"{table}.csv").open(newline="") as file:
            header, *expected = csv.reader(file)
        frame = package.tables[table]
        assert frame.columns == header and [list(row) for row in frame.rows()] == expected
        assert frame.height == rows


@pytest.mark.parametrize("version", ["1.0", "1.0.1", "1.0.2", "main"])
def test_versions(tmp_path, version):
    assert_same_cells(read_package(make(tmp_path, version)))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16"])
@pytest.mark.parametrize("is_declared", [True, False])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_dialects_and_encodings(tmp_path, delimiter, encoding, is_declared):
    """Declared in the descriptor, or detected."""
    properties = {"encoding": encoding, "dialect": {"delimiter": delimiter}} if is_declared else {}
    make(tmp_path, deployments=properties)
    with (tmp_path / "deployments.csv").open("w", newline="", encoding=encoding) as file:
        rows = [[field.name for field in FIELDS["deployments"]], cells("deployments")]
        csv.writer(file, delimiter=delimiter).writerows(rows)
    package = read_package(tmp_path)
    assert_same_cells(package)
    write_package(package, tmp_path / "out")
    assert_same_cells(read_package(tmp_path / "out"))


def test_declared_quotes(tmp_path):
    dialect = {"quoteChar": "'", "delimiter": "|"}
    make(tmp_path, deployments={"dialect": dialect})
    with (tmp_path / "deployments.csv").open("w", newline="") as file:
        rows = [[field.name for field in FIELDS["deployments"]], cells("deployments")]
        csv.writer(file, delimiter="|", quotechar="'", quoting=csv.QUOTE_ALL).writerows(rows)
    assert_same_cells(read_package(tmp_path))


def test_several_files_compression_and_inline_data(tmp_path):
    make(tmp_path, media={"path": ["media.csv", "more.csv.gz"]})
    (tmp_path / "more.csv.gz").write_bytes(gzip.compress((tmp_path / "media.csv").read_bytes()))
    row = CELLS["observations"] | {
        "count": 2,
        "classificationProbability": 0.5,
        "sex": None,
        "lifeStage": "adult",
    }

    def inline(descriptor):
        observations = descriptor["resources"][2]
        del observations["path"]
        observations["data"] = [row]

    package = read_package(change(tmp_path, inline))
    assert package.media.rows() == [tuple(cells("media"))] * 2
    assert package.observations["count"].to_list() == ["2"]
    assert package.observations["classificationProbability"].to_list() == ["0.5"]
    assert package.observations["sex"].to_list() == [""]
    write_package(package, tmp_path / "out")
    again = read_package(tmp_path / "out")
    assert all(again.tables[table].equals(package.tables[table]) for table in FIELDS)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "datapackage.json",
        "deployments.csv",
        "media.csv",
        "observations.csv",
    ]


@pytest.mark.parametrize("content", ["header", "nothing", "inline"])
def test_a_table_without_rows(tmp_path, content):
    make(tmp_path)
    header = (tmp_path / "media.csv").read_text().partition("\n")[0]
    (tmp_path / "media.csv").write_text(f"{header}\n" if content == "header" else "")
    if content == "inline":
        change(tmp_path, lambda descriptor: descriptor["resources"][1].update(data=[]))
    package = read_package(tmp_path)
    assert package.media.height == 0
    assert package.media.columns == [field.name for field in FIELDS["media"]]
    write_package(package, tmp_path / "out")
    assert read_package(tmp_path / "out").media.equals(package.media)


def test_optional_fields_are_added_in_the_standard_order_and_unknown_columns_stay(tmp_path):
    make(tmp_path)
    names = [field.name for field in FIELDS["media"] if field.required]
    names.insert(2, "Genus")
    row = [CELLS["media"].get(name, "Vulpes") for name in names]
    (tmp_path / "media.csv").write_text("\n".join([",".join(names), ",".join(row)]))
    media = read_package(tmp_path).media
    assert [name for name in media.columns if name != "Genus"] == [field.name for field in FIELDS["media"]]
    assert [name for name in media.columns if name in names] == names
    assert media.row(0, named=True) == dict.fromkeys(media.columns, "") | dict(zip(names, row))


def test_a_zip_archive(tmp_path):
    make(tmp_path / "package")
    change(
        tmp_path / "package",
        lambda descriptor: descriptor["resources"].append({"name": "notes", "path": "extra/notes.txt"}),
    )
    for name in ("extra/notes.txt", "media/a.jpg", "reliability.json"):
        (tmp_path / "package" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "package" / name).write_text(name)
    for prefix in ("", "package/"):
        archive = tmp_path / "package.zip"
        with zipfile.ZipFile(archive, "w") as file:
            for path in (tmp_path / "package").rglob("*"):
                file.write(path, prefix + str(path.relative_to(tmp_path / "package")))
        package = read_package(archive)
        assert_same_cells(package)
        write_package(package, tmp_path / "out")
        assert_same_cells(read_package(tmp_path / "out"))
        for name in ("extra/notes.txt", "media/a.jpg", "reliability.json"):
            assert (tmp_path / "out" / name).read_text() == name
        shutil.rmtree(tmp_path / "out")


def edited(name, value):
    return lambda folder: change(folder, lambda d: d["resources"][1].update({name: value}))


def rewritten(name, text):
    return lambda folder: (folder / name).write_text(text)


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (shutil.rmtree, "does not exist; give a Camtrap DP"),
        (lambda folder: (folder / "datapackage.json").unlink(), "has no datapackage.json"),
        (rewritten("datapackage.json", '{"profile":'), "is not readable JSON"),
        (rewritten("datapackage.json", "[" * 100_000), "is not readable JSON"),
        (rewritten("datapackage.json", "[]"), "is not a Camtrap DP"),
        (rewritten("datapackage.json", '{"profile": "tabular-data-package"}'), "is not a Camtrap DP"),
        (lambda f: change(f, lambda d: d.update(resources=7)), "resources is not a list"),
        (lambda f: change(f, lambda d: d.update(profile=PROFILE.format("0.1.6"))), "convert the package"),
        (lambda f: change(f, lambda d: d["resources"].pop()), "has no resource observations"),
        (lambda f: change(f, lambda d: d["resources"].append(d["resources"][0])), "several resources deploy"),
        (edited("path", "../media.csv"), "which leaves the package"),
        (edited("path", "a/../../media.csv"), "which leaves the package"),
        (edited("path", "..\\media.csv"), "which leaves the package"),
        (edited("path", "/etc/passwd"), "which leaves the package"),
        (edited("path", "C:media.csv"), "which leaves the package"),
        (edited("path", "~/media.csv"), "which leaves the package"),
        (edited("path", "media\0.csv"), "which leaves the package"),
        (edited("path", {"a": 1}), "is not a text"),
        (edited("path", []), "has no path"),
        (edited("path", "https://example.org/media.csv"), "is at https://example.org/media.csv; download"),
        (edited("data", "x"), "is not a list of rows"),
        (lambda folder: (folder / "media.csv").unlink(), "media.csv, a file of the resource media, does not"),
        (
            rewritten("media.csv", "mediaID,deploymentID\na,b\n"),
            "has no column timestamp, only mediaID, depl",
        ),
        (rewritten("media.csv", "\x00\x01\x02\x00"), "is not text"),
        (lambda folder: (folder / "media.csv").write_bytes(gzip.compress(b"a" * 999)[:-9]), "cannot be read"),
    ],
)
def test_invalid_packages_are_one_line(tmp_path, damage, problem):
    folder = make(tmp_path / "package")
    damage(folder)
    with pytest.raises(UserError, match=problem) as error:
        read_package(folder)
    assert "\n" not in str(error.value) and str(folder) in str(error.value)


def test_malformed_rows_name_their_line(tmp_path):
    make(tmp_path)
    with (tmp_path / "media.csv").open("a") as file:
        file.write("m2,d1,,2020-05-02T00:00:00Z,a.jpg,true,a.jpg,image/jpeg,,,,too,many\n")
    with pytest.raises(UserError, match="media.csv, line 3: 13 cells under a header of 11"):
        read_package(tmp_path)


def test_repeated_columns(tmp_path):
    make(tmp_path)
    text = (tmp_path / "media.csv").read_text().replace("favorite", "mediaID")
    (tmp_path / "media.csv").write_text(text)
    with pytest.raises(UserError, match="media.csv has 2 columns mediaID; rename or remove all but one"):
        read_package(tmp_path)
