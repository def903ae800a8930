"""Labels and bins as a person writes them down."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from bioclip_jax.errors import InvalidValue, UserError
from bioclip_jax.text.names import clean_text


def read_labels(labels: str) -> list[str]:
    """Labels from "a,b,c", or from a text file with one a line. UserError if there is none."""
    path = Path(labels)
    try:
        texts = path.read_text(encoding="utf-8-sig").splitlines() if path.is_file() else labels.split(",")
    except UnicodeDecodeError as error:
        raise UserError(f"the file of labels {path} is not UTF-8 text; write one label a line") from error
    except OSError:  # a text too long or odd to be a path
        texts = labels.split(",")
    if len(texts) == 1 and path.suffix in (".txt", ".csv") and not path.is_file():
        raise UserError(f"the file of labels {path} does not exist; give one with a label a line, or labels a,b,c")
    found = [text.strip() for text in texts if text.strip()]
    if not found:
        raise UserError(f"--cls {labels!r} names no label; give a,b,c or a file with one a line")
    return found


def read_bins(path: str | os.PathLike[str]) -> dict[str, str]:
    """The bin of each label from a CSV with a header: the label in its first column, the bin in its second.

    Errors: UserError where it cannot be read, holds no label, or has a row without a bin.
    """
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            rows = [row for row in csv.reader(file) if any(cell.strip() for cell in row)]
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} cannot be read as CSV ({error}); give comma separated text in UTF-8") from error
    except OSError as error:
        raise UserError(f"the bins {path} cannot be read ({error.strerror}); name a CSV of labels and bins") from error
    if rows and len(rows[0]) < 2:
        raise InvalidValue(
            f"{path} has one column, {rows[0][0]!r}; give the label in the first and its bin in the second"
        )
    if len(rows) < 2:
        raise UserError(f"{path} names no label; give a header, then a label and its bin a line")
    return checked_bins(((row[0], row[1] if len(row) > 1 else "") for row in rows[1:]), where=str(path))


def distinct_labels(labels: Iterable[str]) -> list[str]:
    """The labels as names.clean_text, empty ones left out and doubles once. UserError if there is none."""
    found = [label for label in dict.fromkeys(map(clean_text, labels)) if label]
    if not found:
        raise UserError("there is no label to choose from; name some, separated by commas")
    return found


def checked_bins(bins: Mapping[str, Any] | Iterable[tuple[str, Any]], where: str = "the bins") -> dict[str, Any]:
    """Label to bin, as distinct_labels; texts are taken without surrounding blanks.

    Errors: InvalidValue for a bin that is empty, None or NaN; UserError for a label in two bins, and if there is none.
    """
    found: dict[str, Any] = {}
    for label, bin in bins.items() if isinstance(bins, Mapping) else bins:
        label = clean_text(label)
        if not label:
            continue
        bin = clean_text(bin) if isinstance(bin, str) else bin
        # Tables give NaN, which is not itself, or pandas' NA for an empty cell.
        if bin is None or type(bin).__name__ == "NAType" or bin != bin or not bin:
            raise InvalidValue(
                f"{where}: the label {label!r} has no bin ({bin!r}); give it one, or leave the label out"
            )
        if found.setdefault(label, bin) != bin:
            raise UserError(f"{where}: the label {label!r} is in two bins, {found[label]!r} and {bin!r}; keep one")
    if not found:
        raise UserError(f"{where}: there is no label; give each its bin")
    return found
