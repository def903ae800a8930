"""Labels and bins as a person writes them down."""

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

# How people head the two columns of --bins.
_LABEL_HEADERS = frozenset(
    {
        "",
        "label",
        "labels",
        "class",
        "classes",
        "class_name",
        "cls",
        "name",
        "names",
        "category",
        "classification",
    }
    | {"taxon", "taxa", "common_name", "scientific_name", "scientificname", "item", "text", "prompt", *RANKS}
)
_BIN_HEADERS = frozenset(
    {
        "bin",
        "bins",
        "bin_name",
        "group",
        "groups",
        "category",
        "categories",
        "class",
        "super_class",
        "superclass",
    }
    | {"type", "parent", *RANKS}
)

# A suffix such as .lst or .txt; longer ones may be an epithet, as in "M.domestica".
_SUFFIX = re.compile(r"\S\.[A-Za-z][A-Za-z0-9]{1,3}$")


def read_labels(labels: str, *, as_given: bool = False) -> list[str]:
    """Labels from "a,b,c", or from a text file with one a line; distinct, unless `as_given`.

    as_given: every label as pybioclip's command reads them, blank and repeated ones too; it also splits a
    file's lines at commas. UserError for a path that is not a file, and if there is no label.
    """
    path = Path(labels)
    try:
        is_file = path.is_file()
        texts = path.read_text(encoding="utf-8-sig").splitlines() if is_file else labels.split(",")
    except UnicodeDecodeError as error:
        raise UserError(f"the file of labels {path} is not UTF-8 text; write one label a line") from error
    except (OSError, ValueError):  # a text too long or odd to be a path
        is_file, texts = False, labels.split(",")
    if not is_file and len(texts) == 1 and _names_a_file(labels):
        raise UserError(
            f"the file of labels {labels} does not exist; give a file with a label a line, or several "
            f"labels as a,b,c"
        )
    if not any(text.strip() for text in texts):
        raise UserError(f"--cls {labels!r} names no label; give a,b,c or a file with one a line")
    if as_given:
        return [text.strip() for text in ",".join(texts).split(",")]
    return distinct_labels(texts)


def _names_a_file(text: str) -> bool:
    """True for a text that is more likely a path than a label: a folder, or with a suffix, or a slash and no blank."""
    folders = any(separator in text for separator in ("/", "\\")) and " " not in text.strip()
    return folders or bool(_SUFFIX.search(text)) or os.path.isdir(text)


def read_bins(path: str | os.PathLike[str]) -> dict[str, str]:
    """The bin of each label from a table: the label in its first column, the bin in its second.

    A header is told by its words (label, bin and the like), and a first line without one by its bin, which
    other labels have too. Errors: UserError where it cannot be read, holds no label, has a row without a bin,
    or a first line that may be a header or not.
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
            f"{path}: its first line, {','.join(first)}, may be a header or a label and its bin; begin it "
            f"with the "
            "line label,bin"
        )
    if not rows:
        raise UserError(f"{path} names no label; give a header, then a label and its bin a line")
    return checked_bins(rows, where=str(path))


def _is_header(row: tuple[str, str]) -> bool:
    return fold_name(row[0]) in _LABEL_HEADERS or fold_name(row[1]) in _BIN_HEADERS


def distinct_labels(labels: Iterable[str]) -> list[str]:
    """Labels as names.clean_text; blank and repeated ones are dropped, and counted on standard error.

    Errors: as label_texts.
    """
    texts = [clean_text(text) for text in label_texts(labels)]
    named = [text for text in texts if text]
    found = list(dict.fromkeys(named))
    if not found:
        raise UserError("there is no label to choose from; name some, separated by commas")
    blank, repeated = len(texts) - len(named), len(named) - len(found)
    if blank or repeated:
        kinds = " and ".join(f"{n} {kind}" for n, kind in ((blank, "blank"), (repeated, "repeated")) if n)
        print(f"note: dropped {kinds} of {len(texts)} labels; labels-as-given keeps them", file=sys.stderr)
    return found


def label_texts(labels: Iterable[str]) -> list[str]:
    """All labels of a list, array, Series or the like, without surrounding blanks.

    UserError if there is none; InvalidValue for one text in place of a list, and for a label that is not
    text.
    """
    if isinstance(labels, (str, bytes)) or not isinstance(labels, Iterable):
        raise InvalidValue(f"the labels are {labels!r}; give a list of texts, such as ['apple', 'nut']")
    texts = list(labels)
    for place, text in enumerate(texts):
        _check_label(text, f"label {place}")
    if not texts:
        raise UserError("there is no label to choose from; name some, separated by commas")
    return [text.strip() for text in texts]


def _check_label(label: Any, where: str) -> None:
    if not isinstance(label, str):
        raise InvalidValue(f"{where} is {label!r}, which is not text; name it, or leave it out")


def checked_bins(
    bins: Mapping[str, Any] | Iterable[tuple[str, Any]], where: str = "the bins"
) -> dict[str, Any]:
    """Label to bin, as distinct_labels; texts are taken without surrounding blanks.

    Errors: InvalidValue for a bin that is empty, None or NaN; UserError for a label in two bins, and if there
    is none.
    """
    # A pandas Series has items, too, and is not a Mapping.
    pairs = list(bins.items() if hasattr(bins, "items") else bins)
    if not all(isinstance(pair, tuple) and len(pair) == 2 for pair in pairs):
        raise InvalidValue(
            f"{where}: {bins!r} give no label its bin; give a dict such as {{'apple': 'fruit'}}"
        )
    found: dict[str, Any] = {}
    for label, bin in pairs:
        _check_label(label, f"{where}: a label")
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
            raise UserError(
                f"{where}: the label {label!r} is in two bins, {found[label]!r} and {bin!r}; keep one"
            )
    if not found:
        raise UserError(f"{where}: there is no label; give each its bin")
    return found
