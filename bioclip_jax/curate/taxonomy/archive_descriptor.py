"""meta.xml, in which a Darwin Core Archive says what its tables are and how they are written.

The format is that of https://dwc.tdwg.org/text/: a core and extensions, each with a file, its separators and
terms.
"""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass

NAME = "meta.xml"
# No archive needs more, and one that has more is none.
MAX_BYTES = 1 << 20
_ESCAPES = {"\\t": "\t", "\\n": "\n", "\\r": "\r", "\\\\": "\\"}


@dataclass(frozen=True)
class TableLayout:
    """A table of an archive: its file, how that is written, and the term of each column that has one.

    terms: the number of each term's column; the id of a row is its taxonID. constants: terms that have one
    value in all rows.
    """

    location: str
    separator: str
    quote: str
    header_lines: int
    encoding: str
    terms: dict[str, int]
    constants: dict[str, str]


def read_descriptor(content: bytes) -> dict[str, TableLayout]:
    """The tables by what their rows are, in lower case ("taxon", "vernacularname"); ValueError if it cannot be read."""
    if len(content) > MAX_BYTES or b"<!ENTITY" in content:
        raise ValueError("meta.xml is not one of an archive")
    try:
        root = ElementTree.fromstring(content)
    except ElementTree.ParseError as error:
        raise ValueError(f"meta.xml: {error}") from None
    tables = {}
    for element in root:
        if _local(element.tag) in ("core", "extension") and (layout := _layout(element)):
            tables.setdefault(short_term(element.get("rowType", "")).lower(), layout)
    return tables


def short_term(term: str) -> str:
    """ "dwc:taxonID" or "http://rs.tdwg.org/dwc/terms/taxonID" as taxonID."""
    return term.strip('\ufeff \t\r"').replace("/", ":").replace("#", ":").rsplit(":", 1)[-1]


def _layout(element: ElementTree.Element) -> TableLayout | None:
    location = next(
        (part.text for part in element.iter() if _local(part.tag) == "location" and part.text), ""
    ).strip()
    terms, constants = {}, {}
    for field in element:
        kind, index = _local(field.tag), field.get("index", "")
        if kind in ("id", "coreid") and index.isdigit():
            terms.setdefault("taxonID", int(index))
        elif kind == "field":
            term = short_term(field.get("term", ""))
            if index.isdigit():
                terms[term] = int(index)
            elif field.get("default"):
                constants[term] = field.get("default")
    header = element.get("ignoreHeaderLines", "0")
    if not location or not terms:
        return None
    return TableLayout(
        location,
        _character(element.get("fieldsTerminatedBy", ",")) or ",",
        _character(element.get("fieldsEnclosedBy", '"')),
        int(header) if header.isdigit() else 0,
        element.get("encoding", "utf-8"),
        terms,
        constants,
    )


def _character(text: str) -> str:
    return _ESCAPES.get(text, text)[:1]


def _local(tag: str) -> str:
    return tag.rsplit("}", 1)[-1]
