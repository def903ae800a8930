"""What evaluations found, on disk: results.json, which an unfinished run leaves as well, and a CSV a table."""

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
from bioclip_jax.files import Reads, atomic_write, check_folder, check_not_read
from bioclip_jax.pipeline.sources import METADATA_FILES

from .protocol import Score
from .protocols import options_of
from .suite import Entry

RESULTS_FILE = "results.json"


def check_results_folder(output: Path | None, reads: Reads = {}, tables: str = "*.csv") -> None:
    """UserError if results cannot be written to the folder, or would overwrite files that are read.

    reads: as check_not_read. tables: the pattern of the names of the tables that will be written.
    """
    if output is None:
        return
    check_folder(output, parents=True)
    written = [output / RESULTS_FILE, *(output.glob(tables) if output.is_dir() else ())]
    check_not_read({f"{path.name} in --output": path for path in written}, reads)


def prepare_folder(output: Path) -> Path:
    """The folder that results go to, made if it is not there. UserError if it cannot be made."""
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"the output folder {output} cannot be made ({error.strerror}); name another"
        ) from None
    return output


def write_json(path: Path, content: Any) -> None:
    """JSON that any reader takes: a figure that is no number is null."""
    with atomic_write(path) as beside:
        beside.write_text(json.dumps(plain(content), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """What was written there, {} if nothing was. UserError if it cannot be read."""
    if not path.exists():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError("it is no object")
        return content
    except (OSError, ValueError) as error:
        raise UserError(
            f"the earlier results {path} cannot be read ({error}); remove the file or name another"
        ) from None


def plain(value: Any) -> Any:
    """Figures as JSON has them."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, (np.generic, np.ndarray)):
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, (str, int, float, bool)) else str(value)


def write_table(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """A CSV with the columns of all rows. An empty table is no file."""
    import csv

    if not rows:
        return
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with atomic_write(path) as beside, open(beside, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def write_tables(folder: Path, name: str, score: Score) -> None:
    """NAME_TABLE.csv for each table of a score."""
    for table, rows in score.tables.items():
        write_table(folder / f"{name}_{table}.csv", rows)


def entry_result(entry: Entry, score: Score, seconds: Mapping[str, float]) -> dict[str, Any]:
    """What results.json says of one entry."""
    about = {"published": entry.published, "group": entry.group, "score": entry.protocol.score}
    about["also"] = getattr(entry.protocol, "also", {})
    result = identity(entry) | about | {"figures": score.figures, "seconds": dict(seconds)}
    return plain(result)


def identity(entry: Entry) -> dict[str, Any]:
    """What a figure depends on beside the model: if all of it is as it was, so is the figure.

    "content" tells data from others by their place, their number and the time of the table that labels them;
    an image that was replaced by another of the same name goes unnoticed.
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
    about = {"protocol": entry.protocol.name, "options": options_of(entry.protocol)}
    if revision := getattr(entry.protocol, "revision", None):
        about["revision"] = revision
    return plain(about | {"data": str(location), "content": content})


def is_same(result: Mapping[str, Any], entry: Entry) -> bool:
    """Whether an earlier result is of this entry as it is now."""
    now = identity(entry)
    return "figures" in result and {key: result.get(key) for key in now} == now


def versions() -> dict[str, str]:
    """Of what decides on a figure's last digits."""
    from bioclip_jax import __version__

    return {"bioclip_jax": __version__, "jax": version("jax"), "scikit-learn": version("scikit-learn")}
