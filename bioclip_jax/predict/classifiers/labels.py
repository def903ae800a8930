"""Read and check labels and bins of the user."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from bioclip_jax.errors import InvalidValue, UserError
from bioclip_jax.tables import fold_name, read_table, texts
from bioclip_jax.text import RANKS, clean_text

# Usual headers of the two columns of --bins.
_LABEL_HEADERS = frozenset(
    (
        "label labels class classes class_name cls name names category classification taxon taxa common_name "
        "scientific_name scientificname item text prompt"
    ).split()
) | {"", *RANKS}
_BIN_HEADERS = frozenset(
    ("bin bins bin_name group groups category categories class super_class superclass type parent").split()
) | frozenset(RANKS)

# A suffix such as .lst or .txt; a longer one may be an epithet, as in "M.domestica".
_SUFFIX = re.compile(r"\S\.[A-Za-z][A-Za-z0-9]{1,3}$")


def read_labels(labels: str, *, as_given: bool = False) -> list[str]:
    """Read labels from "a,b,c" or a text file with one per line; distinct, unless `as_given`.

    as_given: keep blank and repeated labels and split a file's lines at commas, as pybioclip's command.
    Raises UserError for a path that is not a file, and without a label.
    """
    path = Path(labels)
    try:
        is_file = path.is_file()
        texts = path.read_text(encoding="utf-8-sig").splitlines() if is_file else labels.split(",")
    except UnicodeDecodeError as error:
        raise UserError(f"the file of labels {path} is not UTF-8 text; write one label per line") from error
    except (OSError, ValueError):  # a text too long or odd to be a path
        is_file, texts = False, labels.split(",")
    if not is_file and len(texts) == 1 and _names_a_file(labels):
        raise UserError(
            f"the file of labels {labels} does not exist; give a file with one label per line, or several "
            "labels as a,b,c"
        )
    if not any(text.strip() for text in texts):
        raise UserError(f"--cls {labels!r} has no label; give a,b,c or a file with one per line")
    if as_given:
        return [text.strip() for text in ",".join(texts).split(",")]
    return distinct_labels(texts)


def _names_a_file(text: str) -> bool:
    """Return True for a likely path: a folder, a text with a suffix, or one with a slash and no blank."""
    folders = any(separator in text for separator in ("/", "\\")) and " " not in text.strip()
    return folders or bool(_SUFFIX.search(text)) or os.path.isdir(text)


def read_bins(path: str | os.PathLike[str]) -> dict[str, str]:
    """Read label -> bin from a table with labels in the first column and bins in the second.

    The first line is a header if it has a usual word (label, bin and the like), and a label if its bin occurs
    again. Raises UserError for an unreadable table, no label, a missing bin, and an ambiguous first line.
    """
    table = read_table(path, has_header=False)
    if table.num_columns < 2:
        raise InvalidValue(
            f"{path} has one column, {table[0][0].as_py()!r}; give the label in the first and its bin in "
            f"the second"
        )
    rows = list(zip(texts(table[0]), texts(table[1])))
    first, *others = [row for row in rows if any(cell.strip() for cell in row)] or [("", "")]
    if _is_header(first) or not others:
        rows = others
    elif clean_text(first[1]) not in {clean_text(bin) for _, bin in others}:
        raise UserError(
            f"{path}: the first line, {','.join(first)}, may be a header, or a label and its bin; add the "
            "header label,bin"
        )
    if not rows:
        raise UserError(f"{path} has no label; give a header, then a label and its bin per line")
    return checked_bins(rows, where=str(path))


def _is_header(row: tuple[str, str]) -> bool:
    return fold_name(row[0]) in _LABEL_HEADERS or fold_name(row[1]) in _BIN_HEADERS


def distinct_labels(labels: Iterable[str]) -> list[str]:
    """Clean labels as clean_text, and drop blank and repeated ones with a note on standard error.

    Raises UserError as label_texts.
    """
    texts = [clean_text(text) for text in label_texts(labels)]
    named = [text for text in texts if text]
    distinct = list(dict.fromkeys(named))
    if not distinct:
        raise UserError("there is no label to choose from; give some, separated by commas")
    blank, repeated = len(texts) - len(named), len(named) - len(distinct)
    if blank or repeated:
        kinds = " and ".join(f"{n} {kind}" for n, kind in ((blank, "blank"), (repeated, "repeated")) if n)
        print(f"note: dropped {kinds} of {len(texts)} labels; labels-as-given keeps them", file=sys.stderr)
    return distinct


def label_texts(labels: Iterable[str]) -> list[str]:
    """Return the labels of a list, array, Series or the like, without surrounding blanks.

    Raises UserError without a label; InvalidValue for one text in place of a list, and for other types.
    """
    if isinstance(labels, (str, bytes)) or not isinstance(labels, Iterable):
        raise InvalidValue(f"the labels are {labels!r}; give a list of texts, such as ['apple', 'nut']")
    texts = list(labels)
    for index, text in enumerate(texts):
        _check_label(text, f"label {index}")
    if not texts:
        raise UserError("there is no label to choose from; give some, separated by commas")
    return [text.strip() for text in texts]


def _check_label(label: Any, where: str) -> None:
    if not isinstance(label, str):
        raise InvalidValue(f"{where} is {label!r}, which is not text; name it, or drop it")


def checked_bins(
    bins: Mapping[str, Any] | Iterable[tuple[str, Any]], where: str = "the bins"
) -> dict[str, Any]:
    """Return label -> bin with cleaned texts.

    Raises InvalidValue for a bin that is empty, None or NaN; UserError for a label in two bins, and without a
    label.
    """
    # A pandas Series has items but is not a Mapping.
    pairs = list(bins.items() if hasattr(bins, "items") else bins)
    if not all(isinstance(pair, tuple) and len(pair) == 2 for pair in pairs):
        raise InvalidValue(
            f"{where}: {bins!r} give no label its bin; give a dict such as {{'apple': 'fruit'}}"
        )
    bin_of: dict[str, Any] = {}
    for label, bin in pairs:
        _check_label(label, f"{where}: a label")
        label = clean_text(label)
        if not label:
            continue
        bin = clean_text(bin) if isinstance(bin, str) else bin
        # An empty cell is NaN, which does not equal itself, or pandas' NA.
        if bin is None or type(bin).__name__ == "NAType" or bin != bin or not bin:
            raise InvalidValue(
                f"{where}: the label {label!r} has no bin ({bin!r}); give it one, or drop the label"
            )
        if bin_of.setdefault(label, bin) != bin:
            raise UserError(
                f"{where}: the label {label!r} is in two bins, {bin_of[label]!r} and {bin!r}; keep one"
            )
    if not bin_of:
        raise UserError(f"{where}: there is no label; give each its bin")
    return bin_of
