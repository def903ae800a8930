"""Write a Camtrap DP atomically, with the files that belong to it."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bioclip_jax.errors import UserError
from bioclip_jax.files import PARTIAL, PathLike, check_folder, files_below
from bioclip_jax.locks import locked

from .fields import FIELDS
from .locate import (
    DESCRIPTOR,
    Files,
    existing_media,
    is_remote,
    locate,
    read_descriptor,
    resource_paths,
    table_resource,
)
from .package import Package

# Marker of a package that is being replaced.
_PREVIOUS = ".previous-"
# Properties of a resource that describe the file it was read from.
_OF_THE_OLD_FILE = ("data", "dialect", "bytes", "hash", "compression", "innerpath", "path", "encoding")
_NO_FILES: Mapping[str, PathLike] = {}


def write_package(
    package: Package, folder: PathLike, *, overwrite: bool = False, files: Mapping[str, PathLike] = _NO_FILES
) -> None:
    """Write a package into a folder, which appears when it is complete.

    The files of package.folder go with it, as hard links where possible, else as copies: those of other
    resources, existing media at relative paths, and, if it is a package, files beside the tables.

    overwrite: replace a package in the folder; it may be package.folder itself, whose other files then stay.
    files: further files to copy, by their name in the package.

    A filePath that leaves the package is kept and never followed; check_package finds it.

    Raises UserError for a folder with anything else in it, for a package with files that the new one lacks,
    and for a missing file of a resource.
    """
    check_folder(Path(folder))
    target = Path(os.path.realpath(folder))
    lock = target.with_name(f".{target.name}.lock")
    with locked(lock, f"{folder} is being written by another process; wait for it, or name another folder"):
        _recover(target)
        old = _replaceable_files(target, str(folder), overwrite)
        sources = _sources(package, target) | {name: Path(path) for name, path in files.items()}
        partial = target.with_name(f".{target.name}{PARTIAL}{uuid.uuid4().hex}")
        try:
            partial.mkdir()
            _write_tables(package, partial)
            for name, source in sources.items():
                _place(source, partial / name)
            lost = sorted(old - _files(partial))
            if lost:
                raise UserError(
                    f"{folder} has {len(lost):,} files that the new package lacks (first: {lost[0]}); move "
                    "them away, or name another folder"
                )
            _replace(partial, target)
        except OSError as error:
            raise UserError(f"{folder} cannot be written ({error.strerror or error}); name another") from None
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def _recover(target: Path) -> None:
    """Delete what a killed process left beside the target, and put back a package it was replacing."""
    for path in list(target.parent.iterdir()):
        if path.name.startswith(f".{target.name}{_PREVIOUS}") and not target.exists():
            os.rename(path, target)
        elif path.name.startswith((f".{target.name}{PARTIAL}", f".{target.name}{_PREVIOUS}")):
            shutil.rmtree(path)


def _replaceable_files(target: Path, shown: str, overwrite: bool) -> set[str]:
    """Files in an existing target that a new package may not lose: all but the tables."""
    if not target.exists() or not any(target.iterdir()):
        return set()
    try:
        root, file = locate(target)
        descriptor = read_descriptor(file)
    except UserError:
        raise UserError(f"{shown} has files and is not a Camtrap DP; name a new or empty folder") from None
    if not overwrite:
        raise UserError(f"{shown} already has a package; name another folder, or overwrite it")
    return _files(target) - _table_paths(descriptor, shown)


def _files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in files_below(folder)}


def _table_paths(descriptor: Mapping[str, Any], where: str) -> set[str]:
    """Paths of the tables as they were read."""
    return {
        os.path.normpath(path)
        for table in FIELDS
        for path in resource_paths(table_resource(descriptor, table), where)
    }


def _sources(package: Package, target: Path) -> dict[str, Files]:
    """Files to take from the package's folder, by their path in the package."""
    resources = [resource for resource in package.descriptor["resources"] if resource["name"] not in FIELDS]
    listed = [path for resource in resources for path in resource_paths(resource, DESCRIPTOR)]
    listed = [path for path in listed if not is_remote(path)]
    if package.folder is None:
        if listed:
            raise UserError(f"{listed[0]}, a resource of the new package, does not exist; give its folder")
        return {}
    if package.folder.is_dir():
        root: Files = package.folder
    else:
        root, _ = locate(package.folder)
    for path in listed:
        if not (root / path).is_file():
            raise UserError(f"{root / path}, a file of the package's resources, does not exist; restore it")
    names = [*existing_media(package.media, root), *listed]
    if (root / DESCRIPTOR).is_file():
        if isinstance(root, Path) and os.path.realpath(root) == str(target):
            names += _files(root)
        else:
            names += [entry.name for entry in root.iterdir() if entry.name[0] != "." and entry.is_file()]
    tables = _table_paths(package.descriptor, DESCRIPTOR) | {DESCRIPTOR}
    return {name: root / name for name in map(os.path.normpath, names) if name not in tables}


def _write_tables(package: Package, folder: Path) -> None:
    """Write the descriptor and the tables, as UTF-8 with commas, and sync them to disk."""
    import polars as pl

    resources = [_written(resource) for resource in package.descriptor["resources"]]
    descriptor = {**package.descriptor, "resources": resources}
    for table, frame in package.tables.items():
        path = folder / table_resource(descriptor, table)["path"]
        path.parent.mkdir(parents=True, exist_ok=True)
        # An empty string would be written as "".
        frame = frame.select(pl.when(pl.all() != "").then(pl.all()))
        with path.open("wb") as file:
            frame.write_csv(file, null_value="", quote_style="necessary")
            file.flush()
            os.fsync(file.fileno())
    with (folder / DESCRIPTOR).open("w", encoding="utf-8") as file:
        json.dump(descriptor, file, ensure_ascii=False, indent=2)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())


def _written(resource: Mapping[str, Any]) -> dict[str, Any]:
    """A table's resource after writing; other resources as they are."""
    if resource["name"] not in FIELDS:
        return dict(resource)
    path = resource.get("path")
    if not isinstance(path, str) or not path.endswith(".csv") or "data" in resource:
        path = f"{resource['name']}.csv"
    kept = {key: value for key, value in resource.items() if key not in _OF_THE_OLD_FILE}
    name = kept.pop("name")
    return {"name": name, "path": path, **kept, "encoding": "utf-8"}


def _place(source: Files, path: Path) -> None:
    """Link or copy a file, unless a table has its place."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    if not isinstance(source, Path):
        with source.open("rb") as content, path.open("wb") as file:
            shutil.copyfileobj(content, file)
        return
    source = source.resolve()
    try:
        os.link(source, path)
    # Another file system, one without links, or another user's file.
    except OSError:
        shutil.copy2(source, path)


def _replace(partial: Path, target: Path) -> None:
    """Move the complete package into place; a package there is moved aside first and deleted last."""
    if not target.exists() or not any(target.iterdir()):
        os.rename(partial, target)
        return
    previous = target.with_name(f".{target.name}{_PREVIOUS}{uuid.uuid4().hex}")
    os.rename(target, previous)
    os.rename(partial, target)
    shutil.rmtree(previous)
