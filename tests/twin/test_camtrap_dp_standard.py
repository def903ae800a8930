"""The project's table of fields, its packages and its checks against the standard's own schemas."""

import dataclasses
import json
import re
import tempfile
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from standard import frictionless_errors, profile_errors, table_schema

from bioclip_jax.errors import UserError
from bioclip_jax.twin.observe.camtrap_dp import (
    FIELDS,
    FOREIGN_KEYS,
    MISSING,
    PRIMARY_KEYS,
    Package,
    check_package,
    find_problems,
    new_descriptor,
    read_package,
    write_package,
)
from bioclip_jax.twin.observe.camtrap_dp.check import PATTERNS
from bioclip_jax.twin.observe.camtrap_dp.descriptor import coordinate_precision, coverage

pytestmark = pytest.mark.shared_data
CREATED = "2026-11-30T19:00:00Z"


@pytest.fixture(scope="session")
def example_folder(shared_data):
    return shared_data / "twin" / "camtrap_dp"


@pytest.fixture(scope="session")
def schemas(example_folder):
    return example_folder / "schemas"


@pytest.mark.parametrize("table", FIELDS)
def test_fields_equal_the_schemas(table, schemas):
    schema = table_schema(schemas, table)
    ours = []
    for field in FIELDS[table]:
        constraints = {
            "required": field.required,
            "unique": field.unique or None,
            "enum": list(field.enum) or None,
            "minimum": field.minimum,
            "maximum": field.maximum,
            "pattern": field.pattern,
        }
        constraints = {key: value for key, value in constraints.items() if value is not None}
        ours.append({"name": field.name, "type": field.type, "constraints": constraints})
    assert ours == [
        {key: field[key] for key in ("name", "type", "constraints")} for field in schema["fields"]
    ]
    assert list(MISSING) == schema["missingValues"]
    assert PRIMARY_KEYS[table] == schema["primaryKey"]
    assert [
        {"fields": column, "reference": {"resource": other, "fields": PRIMARY_KEYS[other]}}
        for column, other in FOREIGN_KEYS[table].items()
    ] == schema.get("foreignKeys", [])


@pytest.mark.parametrize("pattern", PATTERNS)
def test_patterns_equal_the_standard_patterns(pattern):
    ours = PATTERNS[pattern][0]

    @settings(max_examples=100)
    @given(st.text(st.sampled_from("./~a:\\ é\n"), max_size=6) | st.from_regex("(image|video|text)/?[a.\n]*"))
    @example("image/jpeg")
    @example("a.b")
    def check(text):
        # A line break before the end is where Python's $ also matches.
        if not text.endswith("\n"):
            expected = re.search(pattern, text) is not None
            assert pl.Series([text]).str.contains(ours).item() == expected, text

    check()


def test_the_rewritten_example_is_valid(example_folder, schemas, tmp_path):
    package = read_package(example_folder)
    check_package(package)
    assert find_problems(package).is_empty()
    write_package(package, tmp_path / "out")
    assert frictionless_errors(tmp_path / "out", schemas) == []
    assert profile_errors(json.loads((tmp_path / "out" / "datapackage.json").read_text()), schemas) == []


def test_media_files(example_folder, tmp_path):
    package = read_package(example_folder)
    # The photographs that the publisher gives are those at relative paths.
    check_package(package, media_files=True)
    with pytest.raises(
        UserError, match=r"^media, row \d+: filePath is 'media/.*', but there is no .* \(9 further"
    ):
        check_package(dataclasses.replace(package, folder=None), media_files=True)


_TEXT = st.text(st.sampled_from("aé,;\"'| \n#\\"), min_size=1, max_size=6).map(lambda text: f"x{text}")


def cells(field, row):
    """A strategy of valid cells of a field; row: its number."""
    if field.unique:
        return st.just(f"{field.name} {row}")
    if field.enum:
        valid = st.sampled_from(field.enum)
    elif field.type in ("integer", "number"):
        low = -1000 if field.minimum is None else field.minimum
        high = 1000 if field.maximum is None else field.maximum
        whole = st.integers(int(max(low, 1)) if low else 0, int(high))
        valid = (whole if field.type == "integer" else st.floats(low, high)).map(str)
    elif field.type == "boolean":
        valid = st.sampled_from(["true", "false"])
    elif field.type == "datetime":
        valid = st.sampled_from(
            ["2020-03-01T22:00:00Z", "2020-03-01T22:00:00+02:00", "2020-03-01T22:00:00-0330"]
        )
    elif field.name == "filePath":
        valid = st.sampled_from(["https://example.org/a b.jpg", "media/a.jpg", "é.jpg"])
    elif field.name == "fileMediatype":
        valid = st.sampled_from(["image/jpeg", "video/mp4"])
    else:
        valid = _TEXT
    return valid if field.required else st.sampled_from(MISSING) | valid


@st.composite
def packages(draw):
    """Valid packages of random cells."""
    tables = {}
    for table, fields in FIELDS.items():
        rows = []
        for number in range(draw(st.integers(1, 3))):
            row = {field.name: draw(cells(field, number)) for field in fields}
            for column, other in FOREIGN_KEYS[table].items():
                keys = tables[other][PRIMARY_KEYS[other]].to_list()
                row[column] = draw(st.sampled_from(keys if column == "deploymentID" else [*keys, "", "NA"]))
            for start, end in (("deploymentStart", "deploymentEnd"), ("eventStart", "eventEnd")):
                if start in row:
                    row[end] = "2020-03-02T22:00:00+01:00"
            rows.append(row)
        tables[table] = pl.DataFrame(rows, schema={field.name: pl.String for field in fields})
    return Package(new_descriptor(*tables.values(), created=CREATED), **tables)


@settings(max_examples=3, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(packages())
def test_random_packages_are_valid_to_both(schemas, package):
    assert find_problems(package).rows() == []
    with tempfile.TemporaryDirectory() as folder:
        write_package(package, Path(folder, "out"))
        assert frictionless_errors(Path(folder, "out"), schemas) == []
        assert profile_errors(json.loads(Path(folder, "out", "datapackage.json").read_text()), schemas) == []
        again = read_package(Path(folder, "out"))
    assert all(again.tables[table].equals(package.tables[table]) for table in FIELDS)


def invalid_cells(field):
    """Cells that violate each constraint of a field, except that they are repeated."""
    if field.required:
        yield from MISSING
    if field.enum:
        yield from ("other", field.enum[0].upper(), f" {field.enum[0]}")
    if field.minimum is not None:
        yield from (str(field.minimum - 1), str(int(field.minimum) - 1000))
    if field.maximum is not None:
        yield from (str(field.maximum + 1), str(int(field.maximum) + 1000))
    yield from {
        "integer": ["1.5", "one", "1e1"],
        "number": ["one", "1,5", "1.5 m"],
        "boolean": ["yes", "2", "tRUE"],
        "datetime": [
            "2020-03-01T22:00:00",
            "2020-03-01 22:00:00Z",
            "2020-02-30T22:00:00Z",
            "2020-03-01T22:00:00.5Z",
            "2020-03-01",
            "01/03/2020 22:00",
        ],
    }.get(field.type, [])
    if field.name == "filePath":
        yield from ("/a.jpg", "./a.jpg", "~/a.jpg", "a/../b.jpg")
    if field.name == "fileMediatype":
        yield from ("jpeg", "text/plain", "image")
    if field.name in ("deploymentID", "mediaID"):
        yield "unknown"


def violations():
    """Every kind of violation: a table, a column and a cell."""
    return [
        (table, field.name, cell)
        for table, fields in FIELDS.items()
        for field in fields
        for cell in invalid_cells(field)
        if (field.name, cell) != (PRIMARY_KEYS[table], "unknown")
    ]


def test_every_violation_is_found_by_both(schemas, tmp_path):
    """A row for each kind of violation, after a valid first row that keys refer to."""
    valid = {
        "deployments": {"deploymentID": "0", "latitude": "1", "longitude": "2"},
        "media": {"mediaID": "0", "deploymentID": "0", "filePath": "a.jpg", "fileMediatype": "image/jpeg"},
        "observations": {"observationID": "0", "deploymentID": "0", "mediaID": "0"},
    }
    tables, expected = {}, []
    for table, fields in FIELDS.items():
        defaults = {"datetime": "2020-03-01T22:00:00Z", "boolean": "true"}
        row = {field.name: field.enum[0] if field.enum else defaults.get(field.type, "") for field in fields}
        ends = {name: "2020-03-02T22:00:00Z" for name in row if name in ("deploymentEnd", "eventEnd")}
        rows = [row | ends | valid[table]]
        for _, column, cell in [violation for violation in violations() if violation[0] == table]:
            rows.append(rows[0] | {PRIMARY_KEYS[table]: str(len(rows))} | {column: cell})
            expected.append((table, len(rows) + 1, column, cell))
        # Twice the key of the first row.
        rows += [rows[0], rows[0]]
        expected += [(table, len(rows) + end, PRIMARY_KEYS[table], "0") for end in (0, 1)]
        tables[table] = pl.DataFrame(rows, schema={field.name: pl.String for field in fields})
    package = Package(new_descriptor_of(tables), **tables)
    ours = find_problems(package).select("table", "row", "column", "value")
    assert ours.rows() == expected
    assert len(expected) > 250
    write_package(package, tmp_path / "out")
    theirs = frictionless_errors(tmp_path / "out", schemas)
    assert {(table, row) for table, row, *_ in theirs} == {(table, row) for table, row, *_ in expected}


def new_descriptor_of(tables):
    """The descriptor of tables with invalid times."""
    first = {table: frame.head(1) for table, frame in tables.items()}
    return new_descriptor(*first.values(), created=CREATED)


@settings(max_examples=3, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    packages(), st.lists(st.tuples(st.sampled_from(violations()), st.integers(0, 2)), min_size=1, max_size=6)
)
def test_random_violations_are_found_by_both(schemas, package, changes):
    broken = package
    for (table, column, cell), row in changes:
        frame = broken.tables[table]
        is_row = pl.int_range(pl.len()) == row % frame.height
        changed = frame.with_columns(pl.when(is_row).then(pl.lit(cell)).otherwise(column).alias(column))
        broken = dataclasses.replace(broken, **{table: changed})
    ours = find_problems(broken).filter(~pl.col("wanted").str.starts_with("must not be before"))
    assert ours.height
    with tempfile.TemporaryDirectory() as folder:
        write_package(broken, Path(folder, "out"))
        theirs = frictionless_errors(Path(folder, "out"), schemas)
    assert {(table, row) for table, row, *_ in theirs} == set(ours.select("table", "row").rows())


def test_the_first_problem_is_named(example_folder):
    package = read_package(example_folder)
    rows = pl.int_range(pl.len())
    observations = package.observations.with_columns(
        pl.when(rows.is_in([3, 7])).then(pl.lit("0")).otherwise("count").alias("count"),
        pl.when(rows == 3).then(pl.lit("2030-01-01T00:00:00Z")).otherwise("eventStart").alias("eventStart"),
        pl.when(rows == 5).then(pl.lit("")).otherwise("deploymentID").alias("deploymentID"),
    )
    broken = dataclasses.replace(package, observations=observations)
    with pytest.raises(
        UserError,
        match=r"^observations, row 5: eventEnd is '.*', but must not be before eventStart "
        r"\(3 further problems\); correct the table$",
    ):
        check_package(broken)
    assert find_problems(broken).select("row", "column", "wanted").rows() == [
        (5, "count", "must be at least 1"),
        (5, "eventEnd", "must not be before eventStart"),
        (7, "deploymentID", "is required"),
        (9, "count", "must be at least 1"),
    ]


def test_a_deployment_that_ends_before_it_starts_in_another_zone(example_folder):
    package = read_package(example_folder)
    for end, is_valid in (("2020-05-30T04:57:37+02:00", True), ("2020-05-30T03:57:37+02:00", False)):
        deployments = package.deployments.with_columns(
            deploymentStart=pl.lit("2020-05-30T02:57:37Z"), deploymentEnd=pl.lit(end)
        )
        assert find_problems(dataclasses.replace(package, deployments=deployments)).is_empty() == is_valid


METADATA = {
    "title": "Otters of the Ourthe: été 2020",
    "contributors": [{"title": "Ada", "role": "contact"}],
    "licenses": [{"name": "CC0-1.0", "scope": "data"}, {"name": "CC-BY-4.0", "scope": "media"}],
    "project": {"title": "Otters", "samplingDesign": "systematicRandom"},
    "keywords": ["otter"],
}


def test_a_new_descriptor(example_folder, schemas):
    package = read_package(example_folder)
    taxa = {"Vulpes vulpes": {"taxonRank": "species", "family": "Canidae"}}
    tables = list(package.tables.values())
    descriptor = new_descriptor(*tables, created=CREATED, metadata=METADATA, taxa=taxa)
    assert profile_errors(descriptor, schemas) == []
    for key in ("spatial", "temporal", "coordinatePrecision"):
        assert descriptor[key] == package.descriptor[key], key
    assert {
        key: descriptor["project"][key]
        for key in package.descriptor["project"]
        if key in descriptor["project"]
    } == {
        "title": "Otters",
        "samplingDesign": "systematicRandom",
        "captureMethod": ["activityDetection", "timeLapse"],
        "individualAnimals": False,
        "observationLevel": ["media", "event"],
    }
    assert [taxon["scientificName"] for taxon in descriptor["taxonomic"]] == [
        taxon["scientificName"] for taxon in package.descriptor["taxonomic"]
    ]
    assert {"scientificName": "Vulpes vulpes", "taxonRank": "species", "family": "Canidae"} in descriptor[
        "taxonomic"
    ]
    assert descriptor["name"] == "otters-of-the-ourthe-ete-2020" and descriptor["keywords"] == ["otter"]
    again = new_descriptor(*tables, created=CREATED, metadata=METADATA, taxa=taxa)
    assert again == descriptor
    fewer = new_descriptor(tables[0], tables[1], tables[2].head(10), created=CREATED, metadata=METADATA)
    assert fewer["id"] != descriptor["id"]


@pytest.mark.parametrize(
    ("metadata", "problem"),
    [
        ({"licence": []}, "licence is not a property of a package's metadata; did you mean licenses?"),
        ({"project": {"samplingDesign": "random"}}, "project.samplingDesign .* must be one of simpleRandom"),
        ({"project": "otters"}, "project of the metadata is 'otters'; give a table"),
        ({"licenses": [{"name": "CC0-1.0", "scope": "data"}]}, "one of scope media"),
        ({"contributors": [{"role": "contact"}]}, "contributors with a title"),
        (
            {"contributors": [{"title": "Ada", "role": "boss"}]},
            "contributors.role .*'boss', but must be one of",
        ),
        ({"name": "My Otters"}, "lower-case"),
    ],
)
def test_invalid_metadata(example_folder, schemas, metadata, problem):
    package = read_package(example_folder)
    tables = package.tables.values()
    with pytest.raises(UserError, match=problem):
        new_descriptor(*tables, created=CREATED, metadata=metadata)
    if "licence" not in metadata:
        # The standard refuses it too.
        descriptor = package.descriptor | metadata
        is_named = set(metadata) <= {"name", "contributors"}
        assert profile_errors(descriptor, schemas) or is_named


def test_an_incomplete_descriptor(example_folder, schemas):
    package = read_package(example_folder)
    descriptor = {
        key: value for key, value in package.descriptor.items() if key not in ("spatial", "created")
    }
    descriptor["project"] = descriptor["project"] | {"captureMethod": ["video"]}
    broken = dataclasses.replace(package, descriptor=descriptor)
    assert find_problems(broken).select("table", "row", "column", "value", "wanted").rows() == [
        ("datapackage.json", None, "created", None, "is required"),
        ("datapackage.json", None, "spatial", None, "is required"),
        (
            "datapackage.json",
            None,
            "project.captureMethod",
            "['video']",
            "must be a list of activityDetection and timeLapse",
        ),
    ]
    assert len(profile_errors(descriptor, schemas)) == 3
    with pytest.raises(
        UserError, match="^datapackage.json: created is missing, but is required; correct it$"
    ):
        check_package(broken)


def test_a_package_without_media_and_observations(example_folder, schemas, tmp_path):
    tables = list(read_package(example_folder).tables.values())
    tables = [tables[0], tables[1].clear(), tables[2].clear()]
    package = Package(new_descriptor(*tables, created=CREATED), *tables)
    check_package(package)
    write_package(package, tmp_path / "out")
    assert profile_errors(package.descriptor, schemas) == []
    assert frictionless_errors(tmp_path / "out", schemas) == []


def test_tables_full_of_other_separators_are_read_by_others(example_folder, schemas, tmp_path):
    tables = [frame.head(1) for frame in read_package(example_folder).tables.values()]
    tags = pl.lit(" bait|'fish'|trail")
    tables[0] = tables[0].with_columns(
        tags.alias(name)
        for name in ("locationName", "setupBy", "habitat", "deploymentTags", "deploymentGroups")
    )
    tables = [*tables[:2], tables[2].clear()]
    package = Package(new_descriptor(*tables, created=CREATED), *tables)
    write_package(package, tmp_path / "out")
    assert frictionless_errors(tmp_path / "out", schemas) == []
    # Without the dialect in the descriptor frictionless takes | for the separator.
    for resource in package.descriptor["resources"]:
        del resource["dialect"]
    write_package(package, tmp_path / "guessed")
    assert frictionless_errors(tmp_path / "guessed", schemas)


def test_coverage_and_precision_by_hand():
    deployments = pl.DataFrame(
        {
            "latitude": ["51.5", "-3", "", "NaN"],
            "longitude": ["4.77", "170.125", "", "0"],
            "deploymentStart": ["2020-01-01T00:30:00+02:00", "2020-01-01T00:00:00Z", "", "NA"],
            "deploymentEnd": ["2020-02-01T00:00:00+02:00", "2020-01-31T23:00:00Z", "", "NA"],
        }
    )
    observations = pl.DataFrame({"scientificName": ["Lutra lutra", "", "NA", "Ardea", "Lutra lutra"]})
    assert coverage(deployments, observations) == {
        "spatial": {
            "type": "Polygon",
            "coordinates": [[[4.77, -3], [170.125, -3], [170.125, 51.5], [4.77, 51.5], [4.77, -3]]],
        },
        "temporal": {"start": "2020-01-01", "end": "2020-01-31"},
        "taxonomic": [{"scientificName": "Ardea"}, {"scientificName": "Lutra lutra"}],
    }
    assert coordinate_precision(deployments) == 0.01
    with pytest.raises(UserError, match="no deployment has coordinates"):
        coverage(deployments.tail(1), observations)
