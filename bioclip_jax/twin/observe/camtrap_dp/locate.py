"""Files of a package: a folder or a zip archive, its datapackage.json, and the paths of its resources."""

from __future__ import annotations

import json
import os
import re
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bioclip_jax.errors import UserError, first_line
from bioclip_jax.tables import DAMAGED

from .fields import FIELDS

if TYPE_CHECKING:
    import polars as pl

DESCRIPTOR = "datapackage.json"
# A folder or archive, or a file in it; both classes have `/`, open, is_file, iterdir and name.
Files = Path | zipfile.Path

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
# Paths that are empty or leave their folder on some system, in the syntax of Python and of polars.
LEAVES = r"^$|^[/\\~]|^[A-Za-z]:|(?:^|[/\\])\.\.(?:[/\\]|$)|\x00"
_VERSION = re.compile(r"/v?(\d+)\.\d+[^/]*/")


def locate(path: Path) -> tuple[Files, Files]:
    """Return the root of a package and its descriptor, given its folder, archive or descriptor."""
    if path.is_dir():
        root = path
    elif zipfile.is_zipfile(path):
        root = _archive_root(path)
    elif path.is_file():
        return path.parent, path
    else:
        raise UserError(f"{path} does not exist; give a Camtrap DP: its folder, or its {DESCRIPTOR}")
    if not (root / DESCRIPTOR).is_file():
        raise UserError(f"{path} is not a Camtrap DP (it has no {DESCRIPTOR}); give the folder that has one")
    return root, root / DESCRIPTOR


def _archive_root(path: Path) -> zipfile.Path:
    """The archive, or the single folder in it."""
    root = zipfile.Path(path)
    if (root / DESCRIPTOR).is_file():
        return root
    folders = [entry for entry in root.iterdir() if entry.is_dir() and entry.name != "__MACOSX"]
    return folders[0] if len(folders) == 1 else root


def read_descriptor(file: Files) -> dict[str, Any]:
    """Read a datapackage.json of Camtrap DP 1.x.

    Raises UserError if it is malformed, of another profile or version, or has an unsafe or repeated resource.
    """
    try:
        with file.open("rb") as content:
            descriptor = json.loads(content.read().decode("utf-8-sig"))
    except (ValueError, RecursionError, OSError, *DAMAGED) as error:
        raise UserError(f"{file} is not readable JSON ({first_line(error)}); correct it") from None
    profile = descriptor.get("profile") if isinstance(descriptor, dict) else None
    if not isinstance(profile, str) or "camtrap-dp" not in profile:
        raise UserError(f"{file} is not a Camtrap DP (its profile is {profile!r}); give another package")
    version = _VERSION.search(profile)
    if version and version[1] != "1":
        raise UserError(f"{file} is of the profile {profile}; convert the package to Camtrap DP 1.0")
    resources = descriptor.get("resources")
    if not isinstance(resources, list) or not all(
        isinstance(resource, dict) and isinstance(resource.get("name"), str) for resource in resources
    ):
        raise UserError(f"{file}: resources is not a list of objects with a name; correct it")
    names = [resource["name"] for resource in resources]
    for table in FIELDS:
        if names.count(table) != 1:
            count = "no resource" if table not in names else "several resources"
            raise UserError(f"{file} has {count} {table}; a Camtrap DP has one")
    for resource in resources:
        resource_paths(resource, str(file))
    return descriptor


def table_resource(descriptor: dict[str, Any], table: str) -> dict[str, Any]:
    """The resource of a table."""
    return next(resource for resource in descriptor["resources"] if resource["name"] == table)


def resource_paths(resource: dict[str, Any], where: str) -> list[str]:
    """Paths and URLs of a resource, empty for one with inline data. where: the descriptor, for messages."""
    paths = resource.get("path", [])
    paths = [paths] if isinstance(paths, str) else paths
    if not isinstance(paths, list) or not all(isinstance(path, str) for path in paths):
        raise UserError(f"{where}: path of the resource {resource['name']} is not a text; correct it")
    for path in paths:
        if not is_remote(path) and not is_inside(path):
            raise UserError(
                f"{where}: path of the resource {resource['name']} is {path!r}, which leaves the package; "
                "write it relative to datapackage.json, without .."
            )
    return paths


def is_remote(path: str) -> bool:
    """True for a URL."""
    return _URL.match(path) is not None


def is_inside(path: str) -> bool:
    """True for a relative path that stays below its folder on any system."""
    return re.search(LEAVES, path) is None


def existing_media(media: pl.DataFrame, root: Files) -> list[str]:
    """Relative paths of media that exist, each once."""
    import polars as pl

    paths = media["filePath"]
    paths = paths.filter(~paths.str.contains(LEAVES) & ~paths.str.contains("://")).unique(maintain_order=True)
    frame = pl.DataFrame({"path": paths})
    parents = frame.with_columns(parent=pl.col("path").str.extract("^(.*)/").fill_null(""))
    # One listing a folder is many times faster than a look at each file.
    existing = []
    for (parent,), group in parents.group_by("parent", maintain_order=True):
        folder = root / parent if parent else root
        if folder.is_dir():
            names = os.listdir(folder) if isinstance(folder, Path) else [e.name for e in folder.iterdir()]
            paths = {f"{parent}/{name}" for name in names} if parent else set(names)
            existing += [path for path in group["path"] if path in paths]
    return existing
