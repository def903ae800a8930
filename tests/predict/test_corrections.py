"""The table of corrections: what the browser writes is what Python writes and reads."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from review_tables import APPLE, table_of

from bioclip_jax.errors import UserError
from bioclip_jax.html import render
from bioclip_jax.pipeline.sources import Sample
from bioclip_jax.predict.crop import Box
from bioclip_jax.predict.learn.labels import label_photographs
from bioclip_jax.predict.review import (
    COLUMNS,
    Correction,
    complete_ranks,
    corrections_csv,
    latest,
    read_corrections,
)
from bioclip_jax.predict.taxa import TaxaNames
from bioclip_jax.text import Taxon, clean_text

# Texts of people and cameras: separators, quotes, line breaks, formulas, any script; no lone surrogates.
texts = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12
) | st.sampled_from(
    ["=1+1", "'=x", "-", '"', ",", "a\nb", "a\r\nb", "\t", "@x", "''+", " a ", 'Übung, "x"', "🦊", "./=a"]
)
shares = st.floats(0, 1)


def csv_rows(table: bytes) -> list[dict[str, str]]:
    """Rows as the standard library reads them."""
    return list(csv.DictReader(io.StringIO(table.decode("utf-8-sig"), newline=""), strict=True))


@pytest.fixture(scope="module")
def script(browser):
    """A page with review.js alone."""
    page = browser.new_page()
    page.set_content("<!doctype html><html lang=en><title>review</title></html>")
    page.add_script_tag(content=str(render.asset("review.js")))
    yield page
    page.close()


def in_browser(page, corrections: list[Correction]) -> str:
    """The CSV of a store that holds these corrections, made by the page's own functions."""
    photos, choices = [], []
    for index, one in enumerate(corrections):
        lineage = list(one.taxon.lineage())
        if lineage[6]:
            lineage[6] = f"{lineage[5]} {lineage[6]}".strip()
        while lineage and not lineage[-1]:
            lineage.pop()
        best = {"label": one.predicted, "lineage": [], "common": "", "score": one.score}
        photos.append({"key": str(index), "filepath": one.filepath, "event": one.event, "candidates": [best]})
        photos[-1]["box"] = None if one.box is None else list(one.box)
        choice = {"label": one.label, "lineage": lineage, "common": one.taxon.common_name}
        choices.append([None if one.status == "rejected" else choice, one.reviewed_at])
    return page.evaluate(
        """([photos, choices]) => {
            const store = bioclipReview.createStore("test", null);
            photos.forEach((photo, index) => store.decide(photo, ...choices[index]));
            return store.csv(photos);
        }""",
        [photos, choices],
    )


@st.composite
def corrections(draw) -> Correction:
    predicted, label = draw(texts), draw(texts)
    status = draw(st.sampled_from(["confirmed", "corrected", "rejected"]))
    label = {"confirmed": predicted, "rejected": ""}.get(status, label)
    if status == "corrected" and label == predicted:
        label += "x"
    ranks = draw(
        st.sampled_from([APPLE, Taxon(), Taxon("Plantae", "", "", "", "Rosaceae"), Taxon(genus="=x")])
    )
    common = "" if status == "rejected" else draw(texts)
    box = draw(st.none() | st.builds(Box, shares, shares, shares, shares))
    taxon = replace(Taxon() if status == "rejected" else ranks, common_name=common)
    return Correction(
        draw(texts),
        label,
        status,
        taxon,
        predicted,
        draw(shares),
        box,
        draw(texts),
        "2026-12-01T10:00:00.000Z",
    )


@settings(max_examples=60)
@given(st.lists(corrections(), max_size=6))
@example(
    [Correction("a.jpg", "x", "confirmed", Taxon(), "x", score) for score in (0.03125, 0.00005, 1.0, 0.5)]
)
@example([Correction("a.jpg", "x", "confirmed", Taxon(), "x", 0.5, Box(0.0234375, 1 / 3, 5e-7, 1))])
def test_browser_and_python_write_the_same_bytes(script, rows: list[Correction]):
    table = corrections_csv(rows)
    assert in_browser(script, rows).encode() == table
    read = csv_rows(table)
    assert [list(row) for row in read] == [list(COLUMNS)] * len(rows)
    for row, one in zip(read, rows):
        for cell in row.values():
            assert not cell.startswith(("=", "+", "-", "@", "\t", "\r")), "a spreadsheet runs this cell"
        assert row["filepath"].removeprefix("./") == one.filepath.removeprefix("./")
        assert float(row["score"]) == pytest.approx(one.score, abs=5.1e-5)


@settings(max_examples=60)
@given(st.lists(corrections(), max_size=6))
def test_the_browser_reads_what_it_wrote(script, rows: list[Correction]):
    """Every cell survives, also after a spreadsheet has saved the table with semicolons."""
    table = corrections_csv(rows).decode()
    parsed = script.evaluate("(text) => bioclipReview.parseCsv(text)", table)
    assert parsed == [list(COLUMNS), *(list(row.values()) for row in csv_rows(table.encode()))]
    stream = io.StringIO()
    csv.writer(stream, delimiter=";", lineterminator="\r\n", quoting=csv.QUOTE_ALL).writerows(parsed)
    assert script.evaluate("(text) => bioclipReview.parseCsv(text)", stream.getvalue()) == parsed


@settings(max_examples=60)
@given(st.lists(corrections(), min_size=1, max_size=6))
def test_python_reads_what_was_written(tmp_path_factory, rows: list[Correction]):
    rows = [
        replace(
            one,
            filepath=f"{one.filepath}x",
            label="" if one.status == "rejected" else f"a{one.label}b",
            box=one.box and one.box._replace(width=0.5, height=0.25),
        )
        for one in rows
    ]
    path = tmp_path_factory.mktemp("read") / "corrections.csv"
    path.write_bytes(corrections_csv(rows))
    for one, read in zip(rows, read_corrections(path), strict=True):
        assert (read.filepath.removeprefix("./"), read.status) == (
            one.filepath.removeprefix("./"),
            one.status,
        )
        assert read.key == one.key and read.event == one.event
        assert read.label == clean_text(one.label), "names are normalized as in every other table"


def test_keys_of_other_keyboards_and_of_controls(script):
    """Digits without Shift in France, and no key while a person types or a button has the focus."""
    keys = [
        {"key": "2", "code": "Digit2"},
        {"key": "é", "code": "Digit2"},
        {"key": "à", "code": "Digit0"},
        {"key": "/", "code": "Digit7", "shiftKey": True},
        {"key": "N", "code": "KeyN", "shiftKey": True},
        {"key": "y", "code": "KeyY", "ctrlKey": True},
        {"key": "x", "code": "KeyX"},
    ]
    assert script.evaluate("(keys) => keys.map(bioclipReview.action)", keys) == [
        {"name": "choose", "index": 1},
        {"name": "choose", "index": 1},
        {"name": "reject"},
        {"name": "type"},
        {"name": "reject"},
        None,
        None,
    ]
    act = "(tag, key) => bioclipReview.action({key, target: document.createElement(tag)})"
    assert script.evaluate(f"({act})('button', 'Enter')") is None, "a button does its own"
    assert script.evaluate(f"({act})('input', 'n')") is None, "a letter of a name"
    assert script.evaluate(f"({act})('button', 'n')") == {"name": "reject"}


def test_boxes_that_a_spreadsheet_saved_with_commas(script):
    correction = Correction("a.jpg", "x", "confirmed", predicted="x", score=0.5, box=Box(0.25, 0, 0.5, 1))
    [header, row] = csv.reader(io.StringIO(corrections_csv([correction]).decode("utf-8-sig")))
    row = [cell.replace("0.25", "0,25") for cell in row]
    saved = ";".join(header) + "\r\n" + ";".join(row) + "\r\n"
    counts = script.evaluate(
        """([text, photo]) => bioclipReview.createStore("commas", null).merge(text, [photo])""",
        [saved, {"key": "0", "filepath": "a.jpg", "box": [0.25, 0, 0.5, 1], "candidates": []}],
    )
    assert counts == {"added": 1, "replaced": 0, "kept": 0, "unknown": 0}


def test_tables_made_by_hand(tmp_path: Path):
    path = table_of(
        tmp_path / "hand.csv",
        {"FilePath": "a.jpg", "Label": "Malus domestica"},
        {"FilePath": "b.jpg", "Label": ""},
    )
    first, second = read_corrections(path)
    assert (first.status, second.status) == ("corrected", "rejected")
    refused = {
        "status 'sure'": {"filepath": "a.jpg", "label": "x", "status": "sure"},
        "without a label": {"filepath": "a.jpg", "label": "", "status": "corrected"},
        "part of a box": {"filepath": "a.jpg", "label": "x", "box_x": "0.1"},
        "outside": {"filepath": "a.jpg", "label": "x"} | dict.fromkeys(COLUMNS[13:17], "2"),
        "not a number": {"filepath": "a.jpg", "label": "x", "score": "high"},
        "no table of corrections": {"filepath": "a.jpg", "genus": "x"},
    }
    for message, row in refused.items():
        with pytest.raises(UserError, match=message):
            read_corrections(table_of(tmp_path / "refused.csv", row))


def test_the_last_correction_of_a_photograph_counts():
    rows = [
        Correction("a.jpg", "old", "corrected", reviewed_at="2026-12-01T10:00:00.000Z"),
        Correction("a.jpg", "new", "corrected", reviewed_at="2026-12-01T10:00:00.001Z"),
        Correction("./=b.jpg", "", "rejected", reviewed_at="2"),
        Correction("=b.jpg", "", "rejected", reviewed_at="1"),
        Correction("a.jpg", "crop", "corrected", box=Box(0, 0, 0.5, 0.5)),
    ]
    last, conflicts = latest(rows)
    assert [one.label for one in last] == ["new", "", "crop"] and conflicts == 1


def test_typed_names_get_ranks():
    names = TaxaNames.from_rows(
        [
            ("Animalia", "Chordata", "Mammalia", "Carnivora", "Canidae", "Vulpes", "vulpes", "Red Fox"),
            ("Animalia", "Chordata", "Mammalia", "Carnivora", "Canidae", "Vulpes", "lagopus", "Arctic Fox"),
            ("Animalia", "Chordata", "Aves", "Passeriformes", "Fringillidae", "Morus", "alba", "one"),
            ("Plantae", "Tracheophyta", "Magnoliopsida", "Rosales", "Moraceae", "Morus", "nigra", "two"),
        ]
    )
    typed = ["vulpes  LAGOPUS", "red fox", "canidae", "Morus", "Nessie"]
    rows, unknown = complete_ranks([Correction(name, name, "corrected") for name in typed], names)
    assert [row.taxon.scientific_name for row in rows] == [
        "Vulpes lagopus",
        "Vulpes vulpes",
        "Canidae",
        "",
        "",
    ]
    assert rows[1].taxon.common_name == "Red Fox" and rows[2].taxon.common_name == ""
    assert unknown == ["Morus", "Nessie"], "a name of two genera is not one taxon"


def test_typed_names_are_learned_as_species():
    """Also a species that the model does not have; other labels without ranks are left out."""
    names = TaxaNames.from_rows([(*APPLE.lineage(), "apple")])
    pear = Taxon(*APPLE.lineage()[:5], "Pyrus", "communis", "pear")
    samples = [
        Sample(str(index), b"", {}, taxon, {"label": label})
        for index, (label, taxon) in enumerate(
            [("Pyrus communis", pear), ("Apple", None), ("Cydonia oblonga", Taxon()), ("apple pie 2", None)]
        )
    ]
    labels = label_photographs(samples, known=names)
    assert labels.kept.tolist() == [0, 1, 2]
    assert {labels.names[label] for label in labels.labels.tolist()} == {
        "Cydonia oblonga",
        "Malus domestica",
        "Pyrus communis",
    }
    assert any("new species: Cydonia oblonga" in note for note in labels.notes)
