"""Fingerprint of a build, which decides if it may be resumed: its settings and the state of its inputs."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bioclip_jax.pipeline.sources import SEPARATOR, find_metadata

from .layout import Job

# Increase when the same settings give different bytes.
VERSION = 1


def build_fingerprint(location: str, job: Job) -> dict[str, Any]:
    """Return the settings and hashes of the names, sizes and times of all input files.

    Images listed in a metadata table are represented by the table, TFDS data by the builder's name.
    """
    settings = job.settings
    plain = {
        name: list(value) if isinstance(value, tuple) else value for name, value in asdict(settings).items()
    }
    data = {f"leakage data {path}": _hash_status(_files(path), path) for path in settings.leakage}
    files = (*settings.files, *(detector.model for detector in job.detectors))
    tables = {f"file {path}": _hash_status([path], path.name) for path in files}
    source = {
        "provider": job.provider,
        "samples": len(job.source),
        "files": _hash_status(_files(location), location),
    }
    return {
        "version": VERSION,
        **plain,
        **{f"source {name}": value for name, value in source.items()},
        **data,
        **tables,
    }


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Describe the entries that changed between two fingerprints."""
    names = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    return [
        f"{name} changed"
        if name.startswith(("source files", "leakage data", "file "))
        else f"{name} was {before.get(name)!r} and is {now.get(name)!r}"
        for name in names
    ]


def _files(location: str) -> list[Path]:
    if SEPARATOR in location:
        return [file for part in location.split(SEPARATOR) for file in _files(part.strip())]
    path = Path(location).expanduser()
    if path.is_file():
        return [path]
    if path.is_dir():
        table = find_metadata(path)
        return [table] if table else sorted(file for file in path.rglob("*") if file.is_file())
    if any(character in location for character in "*?["):
        return sorted(Path(path.anchor or ".").glob(str(path.relative_to(path.anchor))))
    return []


def _hash_status(files: Iterable[Path], name: str) -> str:
    """Hash the files' names, sizes and times; without files, the name."""
    lines = []
    for file in files:
        # A tar's index is written when the tar is first opened.
        if file.suffix != ".index":
            status = file.stat()
            lines.append(f"{file.name} {status.st_size} {status.st_mtime_ns}")
    return hashlib.blake2b("\n".join(lines or [name]).encode(), digest_size=16).hexdigest()
