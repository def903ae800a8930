"""The standard's own word on a package: its schemas by frictionless and jsonschema, offline."""

import json
from pathlib import Path

import frictionless
import jsonschema
import referencing

from bioclip_jax.twin.observe.camtrap_dp import FIELDS

_GEOJSON = Path(frictionless.__file__).parent / "assets" / "profiles" / "geojson.json"


def table_schema(schemas, table):
    return json.loads((schemas / f"{table}-table-schema.json").read_text())


def profile_errors(descriptor, schemas):
    """Violations of the standard's profile in a descriptor."""
    profile = json.loads((schemas / "camtrap-dp-profile.json").read_text())
    # frictionless checks against its copy of the Data Package specification, to which this refers.
    resources = {
        "https://specs.frictionlessdata.io/schemas/data-package.json": {},
        "http://json.schemastore.org/geojson.json": json.loads(_GEOJSON.read_text()),
    }
    draft = referencing.jsonschema.DRAFT4
    registry = referencing.Registry().with_resources(
        (url, referencing.Resource.from_contents(content, default_specification=draft))
        for url, content in resources.items()
    )
    validator = jsonschema.Draft4Validator(
        profile, registry=registry, format_checker=jsonschema.FormatChecker()
    )
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(descriptor)]


def frictionless_errors(folder, schemas):
    """Violations in the descriptor and the tables of a package, as (table, row, column, type)."""
    descriptor = json.loads((folder / "datapackage.json").read_text())
    for resource in descriptor["resources"]:
        if resource["name"] in FIELDS:
            assert resource["schema"].endswith(f"{resource['name']}-table-schema.json")
            resource["schema"] = table_schema(schemas, resource["name"])
    del descriptor["profile"]
    report = frictionless.Package.from_descriptor(descriptor, basepath=str(folder)).validate()
    assert not report.errors, report.errors
    errors = []
    for task in report.tasks:
        for error in task.errors:
            row, column = getattr(error, "row_number", None), getattr(error, "field_name", None)
            errors.append((task.name, row, column, error.type))
    return errors
