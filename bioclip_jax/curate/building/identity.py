"""What makes two builds the same: their settings, and what their files were when they began."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bioclip_jax.pipeline.sources import SEPARATOR, find_metadata

from .job import Job

# Raised when the same settings give other bytes than before.
VERSION = 1


def build_identity(location: str, job: Job) -> dict[str, Any]:
    """The settings, and a fingerprint of the names, sizes and times of the files that go in.

    Of a folder with a metadata table, the table stands for the images that it lists; of a TFDS builder, its
    name.
    """
    settings = job.settings
    plain = {
        name: list(value) if isinstance(value, tuple) else value for name, value in asdict(settings).items()
    }
    data = {f"leakage data {place}": _fingerprint(_files(place), place) for place in settings.leakage}
    files = (*settings.files, *(detector.model for detector in job.detectors))
    tables = {f"file {path}": _fingerprint([path], path.name) for path in files}
    own = {
        "provider": job.provider,
        "samples": len(job.source),
        "files": _fingerprint(_files(location), location),
    }
    return {
        "version": VERSION,
        **plain,
        **{f"source {name}": value for name, value in own.items()},
        **data,
        **tables,
    }


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What is not the same, in words."""
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
        return [table] if table else sorted(found for found in path.rglob("*") if found.is_file())
    if any(character in location for character in "*?["):
        return sorted(Path(path.anchor or ".").glob(str(path.relative_to(path.anchor))))
    return []


def _fingerprint(files: Iterable[Path], name: str) -> str:
    """Of the files, or of the name of what lies in no files of its own."""
    lines = []
    for file in files:
        # A tar's index is written when the tar is first opened.
        if file.suffix != ".index":
            status = file.stat()
            lines.append(f"{file.name} {status.st_size} {status.st_mtime_ns}")
    return hashlib.blake2b("\n".join(lines or [name]).encode(), digest_size=16).hexdigest()
