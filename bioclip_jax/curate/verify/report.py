"""Report of a verification: counts by kind, a CSV or JSON file of findings, and a table for terminals."""

import csv
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from bioclip_jax.errors import UserError
from bioclip_jax.files import atomic_write, check_output

from .findings import ERRORS, NOTES, Finding, Findings

SUFFIXES = (".csv", ".json")


class FindingCounts:
    """Counts of findings by kind and the first finding of each; writes all listed findings to a file."""

    def __init__(self, file: "FindingsFile | None"):
        self.errors: Counter[str] = Counter()
        self.notes: Counter[str] = Counter()
        self.first: dict[str, Finding] = {}
        self._file = file

    def add(self, findings: Findings) -> None:
        """Add the findings of one shard."""
        for kind, count in findings.counts.items():
            (self.errors if kind in ERRORS else self.notes)[kind] += count
        listed = findings.listed()
        for finding in listed:
            self.first.setdefault(finding.kind, finding)
        if self._file:
            self._file.write(listed)


class FindingsFile:
    """Writer of findings as CSV rows or as a JSON list of objects."""

    def __init__(self, file: TextIO, is_json: bool):
        self._file = file
        self._rows = None if is_json else csv.writer(file, lineterminator="\n")
        self._separator = "[\n"
        if self._rows:
            self._rows.writerow(Finding._fields)

    def write(self, findings: Iterable[Finding]) -> None:
        """Append findings."""
        for finding in findings:
            if self._rows:
                self._rows.writerow(finding)
            else:
                self._file.write(self._separator + json.dumps(finding._asdict(), ensure_ascii=False))
                self._separator = ",\n"

    def finish(self) -> None:
        """Close the JSON list."""
        if not self._rows:
            self._file.write("[]\n" if self._separator == "[\n" else "\n]\n")


@contextmanager
def findings_file(path: Path | None) -> Iterator[FindingsFile | None]:
    """Open a file of findings, written whole or not at all; yields None without a path."""
    if path is None:
        yield None
        return
    check_report(path)
    with atomic_write(path) as partial:
        # Names in a tar may hold any bytes, even lone surrogates.
        with partial.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
            findings = FindingsFile(file, path.suffix.lower() == ".json")
            yield findings
            findings.finish()


def check_report(path: Path) -> None:
    """Raise UserError if the report cannot be written."""
    if path.suffix.lower() not in SUFFIXES:
        raise UserError(f"the report {path} has no known format; end it in {' or '.join(SUFFIXES)}")
    check_output(path, "the report")


def print_report(result: Mapping[str, Any]) -> None:
    """Print the result of verify_shards to standard error."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(stderr=True)
    table = Table("", "kind", "count", "meaning", "first")
    table.columns[2].justify = "right"
    for severity, style in (("error", "red"), ("note", "yellow")):
        for kind, count in result[f"{severity}_counts"].items():
            first = result["first"][kind]
            where = ", ".join(part for part in (first["shard"], first["where"]) if part)
            example = Text(f"{where}: {first['message']}", overflow="fold")
            meaning = ERRORS.get(kind) or NOTES.get(kind) or "not JPEG"
            table.add_row(Text(severity, style), kind, f"{count:,}", meaning, example)
    if table.row_count:
        console.print(table)
    lines = [
        f"{result['shards']:,} shards, {result['samples']:,} samples, {result['sound']:,} of them sound: "
        f"{result['errors']:,} errors, {result['notes']:,} notes"
    ]
    if repaired := result["repaired"]:
        lines.append(f"{repaired['samples']:,} samples written to {repaired['output']}")
    elif result["errors"]:
        lines.append("--repair OUT writes the sound samples to a new folder")
    console.print(Text("\n".join(lines)), soft_wrap=True)
