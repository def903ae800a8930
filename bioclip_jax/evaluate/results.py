"""Evaluation results on disk: results.json, also of an unfinished run, and one CSV per table."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from bioclip_jax.errors import UserError
from bioclip_jax.files import Reads, atomic_write, check_folder, check_not_read, write_text
from bioclip_jax.pipeline.sources import METADATA_FILES

from .protocols import Score, protocol_options
from .suite import Entry

RESULTS_FILE = "results.json"


def check_results_folder(output: Path | None, reads: Reads | None = None, tables: str = "*.csv") -> None:
    """Raise UserError if the folder cannot be written, or if results would overwrite input files.

    reads: as check_not_read. tables: glob pattern of the tables to be written.
    """
    if output is None:
        return
    check_folder(output, parents=True)
    written = [output / RESULTS_FILE, *(output.glob(tables) if output.is_dir() else ())]
    check_not_read({f"{path.name} in --output": path for path in written}, reads or {})


def make_folder(output: Path) -> Path:
    """Create the results folder if it does not exist. Raises UserError if it cannot be created."""
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"the output folder {output} cannot be created ({error.strerror}); choose another"
        ) from None
    return output


def write_json(path: Path, content: Any) -> None:
    """Write strict JSON, with null for NaN and infinity."""
    text = json.dumps(to_json_types(content), indent=2, ensure_ascii=False)
    write_text(path, text + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """Read earlier results, {} if there are none. Raises UserError if they cannot be read."""
    if not path.exists():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError("not a JSON object")
        return content
    except (OSError, ValueError) as error:
        raise UserError(
            f"the earlier results {path} cannot be read ({error}); remove the file or choose another folder"
        ) from None


def to_json_types(value: Any) -> Any:
    """Convert figures to JSON types: arrays to lists, NaN and infinity to None, other objects to str."""
    if isinstance(value, Mapping):
        return {str(key): to_json_types(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_json_types(item) for item in value]
    if isinstance(value, (np.generic, np.ndarray)):
        return to_json_types(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, (str, int, float, bool)) else str(value)


def write_table(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write a CSV with the columns of all rows; no file for an empty table."""
    import csv

    if not rows:
        return
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with atomic_write(path) as partial, open(partial, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def write_tables(folder: Path, name: str, score: Score) -> None:
    """Write NAME_TABLE.csv for each table of a score."""
    for table, rows in score.tables.items():
        write_table(folder / f"{name}_{table}.csv", rows)


def entry_result(entry: Entry, score: Score, seconds: Mapping[str, float]) -> dict[str, Any]:
    """Return one entry of results.json."""
    about = {"published": entry.published, "group": entry.group, "score": entry.protocol.score}
    about["also"] = getattr(entry.protocol, "also", {})
    result = entry_fingerprint(entry) | about | {"figures": score.figures, "seconds": dict(seconds)}
    return to_json_types(result)


def entry_fingerprint(entry: Entry) -> dict[str, Any]:
    """Return everything but the model that figures depend on; equal fingerprints mean equal figures.

    "content" hashes the location of the data, the number of images, and size and time of the table of labels;
    it misses an image replaced by another of the same name.
    """
    location = entry.location
    parts: list[Any] = [
        str(location),
        str(location.root or ""),
        [len(entry.sources[s]) for s in sorted(entry.sources)],
    ]
    start = location.root or Path()
    folders = [] if location.data is None else [start / Path(location.data).expanduser()]
    for path in (
        location.labels,
        *(folder / name for folder in folders for name in METADATA_FILES),
        *folders,
    ):
        if path is not None and path.is_file():
            about = path.stat()
            parts.append([path.name, about.st_size, about.st_mtime_ns])
    content = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]
    about = {"protocol": entry.protocol.name, "options": protocol_options(entry.protocol)}
    if revision := getattr(entry.protocol, "revision", None):
        about["revision"] = revision
    return to_json_types(about | {"data": str(location), "content": content})


def is_current(result: Mapping[str, Any], entry: Entry) -> bool:
    """Check that an earlier result has the entry's present fingerprint."""
    fingerprint = entry_fingerprint(entry)
    return "figures" in result and {key: result.get(key) for key in fingerprint} == fingerprint


def versions() -> dict[str, str]:
    """Return package versions that can affect results."""
    from bioclip_jax import __version__

    return {"bioclip_jax": __version__, "jax": version("jax"), "scikit-learn": version("scikit-learn")}
