"""Write a Camtrap DP atomically, with the files that belong to it."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bioclip_jax.errors import UserError, listing
from bioclip_jax.files import PARTIAL, PathLike, check_folder, files_below, json_text
from bioclip_jax.locks import locked

from .fields import DIALECT, FIELDS
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
    resources, existing media at relative paths, and, if it is a package, files beside the tables. Symbolic
    links to folders in it, as of photographs elsewhere, stay links.

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
        root, carried = _carried_files(package, target)
        partial = target.with_name(f".{target.name}{PARTIAL}{uuid.uuid4().hex}")
        try:
            partial.mkdir()
            _write_tables(package, partial)
            for name, path in files.items():
                _place_files(Path(path).parent, {Path(path).name: name}, partial)
            if root is not None:
                for name in _linked_folders(root):
                    os.symlink(os.path.realpath(root / name), partial / name, target_is_directory=True)
                _place_files(root, dict(zip(carried, map(os.path.normpath, carried))), partial)
            if old and (lost := sorted(old - _files(partial))):
                raise UserError(
                    f"{folder} has files that the new package lacks ({listing(lost, 1)}); move them away, or "
                    "name another folder"
                )
            _replace(partial, target)
        except OSError as error:
            raise UserError(f"{folder} cannot be written ({error.strerror or error}); name another") from None
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def _recover(target: Path) -> None:
    """Delete what a killed process left beside the target, and put back a package it was replacing."""
    for path in list(target.parent.iterdir()):
        if path.name.startswith(f".{target.name}{_PREVIOUS}") and _is_free(target):
            os.rename(path, target)
        elif path.name.startswith((f".{target.name}{PARTIAL}", f".{target.name}{_PREVIOUS}")):
            shutil.rmtree(path)


def _replaceable_files(target: Path, shown: str, overwrite: bool) -> set[str]:
    """Files in an existing target that a new package may not lose: all but the tables."""
    if _is_free(target):
        return set()
    try:
        root, file = locate(target)
        descriptor = read_descriptor(file)
    except UserError:
        raise UserError(f"{shown} has files and is not a Camtrap DP; name a new or empty folder") from None
    if not overwrite:
        raise UserError(f"{shown} already has a package; name another folder, or overwrite it")
    return _files(target) - _table_paths(descriptor, shown)


def _is_free(target: Path) -> bool:
    """True for a missing or empty folder, onto which another can be renamed."""
    return not target.exists() or not any(target.iterdir())


def _files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in files_below(folder)}


def _table_paths(descriptor: Mapping[str, Any], where: str) -> set[str]:
    """Paths of the tables as they were read."""
    return {
        os.path.normpath(path)
        for table in FIELDS
        for path in resource_paths(table_resource(descriptor, table), where)
    }


def _carried_files(package: Package, target: Path) -> tuple[Files | None, list[str]]:
    """The root of a package that was read, and its files to take along."""
    resources = [resource for resource in package.descriptor["resources"] if resource["name"] not in FIELDS]
    listed = [path for resource in resources for path in resource_paths(resource, DESCRIPTOR)]
    listed = [path for path in listed if not is_remote(path)]
    if package.folder is None:
        if listed:
            raise UserError(f"{listed[0]}, a resource of the new package, does not exist; give its folder")
        return None, []
    root: Files = package.folder
    if not package.folder.is_dir():
        root, _ = locate(package.folder)
    for path in listed:
        if not (root / path).is_file():
            raise UserError(f"{root / path}, a file of the package's resources, does not exist; restore it")
    # Media of linked folders come with the link.
    first_folder = package.media["filePath"].str.extract("^([^/]*)/").fill_null("")
    media = package.media.filter(~first_folder.is_in(_linked_folders(root)))
    names = [*existing_media(media, root), *listed]
    if (root / DESCRIPTOR).is_file():
        if isinstance(root, Path) and os.path.realpath(root) == str(target):
            names += _files(root)
        else:
            names += [entry.name for entry in root.iterdir() if entry.name[0] != "." and entry.is_file()]
    tables = _table_paths(package.descriptor, DESCRIPTOR) | {DESCRIPTOR}
    return root, [name for name in dict.fromkeys(names) if os.path.normpath(name) not in tables]


def _linked_folders(root: Files) -> list[str]:
    """Symbolic links to folders beside the tables of a package."""
    if not isinstance(root, Path) or not (root / DESCRIPTOR).is_file():
        return []
    return [entry.name for entry in root.iterdir() if entry.is_symlink() and entry.is_dir()]


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
        # Metadata read from TOML may have dates.
        file.write(json_text(descriptor, ensure_ascii=False, indent=2, default=str) + "\n")
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
    dialect = {"dialect": dict(DIALECT)} if "dialect" in resource else {}
    return {"name": name, "path": path, **kept, "encoding": "utf-8", **dialect}


def _place_files(root: Files, names: Mapping[str, str], partial: Path) -> None:
    """Link or copy files, by their names in the root and in the package; names that are taken stay."""
    made = {""}
    for name, new_name in names.items():
        path = f"{partial}/{new_name}"
        parent = os.path.dirname(new_name)
        if parent not in made:
            os.makedirs(f"{partial}/{parent}", exist_ok=True)
            made.add(parent)
        if isinstance(root, Path):
            _link_or_copy(f"{root}/{name}", path)
        elif not os.path.exists(path):
            with (root / name).open("rb") as content, open(path, "wb") as file:
                shutil.copyfileobj(content, file)


def _link_or_copy(source: str, path: str) -> None:
    try:
        # A link to a symbolic link would be one too.
        os.link(os.path.realpath(source) if os.path.islink(source) else source, path)
    except FileExistsError:
        pass
    # Another file system, one without links, or another user's file.
    except OSError:
        if not os.path.exists(path) and not os.path.isdir(source):
            shutil.copy2(source, path)


def _replace(partial: Path, target: Path) -> None:
    """Move the complete package into place; a package there is moved aside first and deleted last."""
    if _is_free(target):
        os.rename(partial, target)
        return
    previous = target.with_name(f".{target.name}{_PREVIOUS}{uuid.uuid4().hex}")
    os.rename(target, previous)
    os.rename(partial, target)
    shutil.rmtree(previous)
