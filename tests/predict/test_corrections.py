"""The table of corrections: what the browser writes is what Python writes and reads."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from bioclip_jax.errors import UserError
from bioclip_jax.html import render
from bioclip_jax.pipeline.sources import Sample, open_source
from bioclip_jax.predict import find_images, predict_files
from bioclip_jax.predict.crop import Box
from bioclip_jax.predict.learn.labels import label_photographs
from bioclip_jax.predict.review import (
    COLUMNS,
    Correction,
    complete_ranks,
    corrections_csv,
    latest,
    measure_agreement,
    merge_corrections,
    read_corrections,
)
from bioclip_jax.predict.taxa import TaxaNames, build_taxa
from bioclip_jax.text import RANKS, Taxon, clean_text

APPLE = Taxon(
    "Plantae", "Tracheophyta", "Magnoliopsida", "Rosales", "Rosaceae", "Malus", "domestica", "apple"
)
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


def table_of(path: Path, *rows: dict[str, str]) -> Path:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, columns, restval="")
        writer.writeheader()
        writer.writerows(rows)
    return path


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


def test_agreement_of_two_reviewers(tmp_path: Path):
    random = np.random.default_rng(3)
    first = random.choice(["Malus domestica", "Pyrus communis", ""], 120)
    second = np.where(random.random(120) < 0.3, random.choice(["malus  domestica", ""], 120), first)

    def rows(labels) -> list[Correction]:
        return [
            Correction(f"{index}.jpg", label, "corrected" if label else "rejected")
            for index, label in enumerate(labels.tolist())
        ]

    for name, labels in (("one", first), ("two", second[:100])):
        (tmp_path / f"{name}.csv").write_bytes(corrections_csv(rows(labels)))
    [agreement] = measure_agreement({"one": rows(first), "two": rows(second[:100])})
    folded = [" ".join(label.lower().split()) for label in second[:100]]
    expected = cohen_kappa_score([label.lower() for label in first[:100]], folded)
    assert agreement.kappa == pytest.approx(expected) and agreement.photographs == 100
    assert agreement.kappa_interval[0] < expected < agreement.kappa_interval[1]
    result = merge_corrections([tmp_path / "one.csv", tmp_path / "two.csv"], tmp_path / "both.csv")
    assert result["photographs"] == 120 and result["conflicts"] > 0
    assert len(read_corrections(tmp_path / "both.csv")) == 120
    same = [Correction("a.jpg", "x", "corrected")]
    assert measure_agreement({"one": same, "two": same})[0].kappa is None
    with pytest.raises(UserError, match="given twice"):
        merge_corrections([tmp_path / "one.csv", tmp_path / "one.csv"])


def test_final_names_of_predictions(tmp_path: Path):
    def rows(file: str, *species: str) -> list[dict]:
        return [
            {"file_name": file, "genus": name.split()[0], "species_epithet": name.split()[1], "species": name}
            | {"common_name": name.lower(), "score": f"0.{9 - index}", "site": "A1"}
            for index, name in enumerate(species)
        ]

    predictions = table_of(
        tmp_path / "names.csv",
        *(row for file in "abcde" for row in rows(f"{file}.jpg", "Malus domestica", "Pyrus communis")),
    )
    corrections = [
        Correction("a.jpg", "Malus domestica", "confirmed", predicted="Malus domestica"),
        Correction("b.jpg", "Pyrus communis", "corrected", predicted="Malus domestica"),
        Correction("c.jpg", "Cydonia oblonga", "corrected", Taxon(genus="Cydonia", species="oblonga")),
        Correction("d.jpg", "", "rejected"),
        Correction("gone.jpg", "Malus domestica", "confirmed"),
    ]
    table = tmp_path / "corrections.csv"
    table.write_bytes(corrections_csv(corrections))
    result = merge_corrections([table], tmp_path / "final.csv", predictions=predictions)
    with open(tmp_path / "final.csv", newline="") as file:
        final = list(csv.DictReader(file))
    assert [(row["file_name"], row["species"], row["score"], row["verified"]) for row in final] == [
        ("a.jpg", "Malus domestica", "0.9", "confirmed"),
        ("b.jpg", "Pyrus communis", "0.8", "corrected"),
        ("c.jpg", "Cydonia oblonga", "", "corrected"),
        ("d.jpg", "unknown", "", "rejected"),
        ("e.jpg", "Malus domestica", "0.9", ""),
    ]
    assert final[2]["species_epithet"] == "oblonga" and final[2]["common_name"] == ""
    assert {row["site"] for row in final} == {"A1"} and result["unused"] == 1 and result["verified"] == 4
    with pytest.raises(UserError, match="none of the corrections"):
        table.write_bytes(corrections_csv(corrections[-1:]))
        merge_corrections([table], tmp_path / "other.csv", predictions=predictions)
    assert not (tmp_path / "other.csv").exists()


def test_a_downloaded_table_finds_its_photographs(tmp_path: Path, monkeypatch):
    """Beside the table, then where the command runs, then in --images."""
    trip, downloads, moved = tmp_path / "trip", tmp_path / "downloads", tmp_path / "moved"
    for folder in (trip / "photos" / "A1", trip / "photos" / "B2", downloads, moved / "A1", moved / "B2"):
        folder.mkdir(parents=True)
    for name in ("A1/1.jpg", "B2/1.jpg"):
        (trip / "photos" / name).write_bytes(b"photo")
        (moved / name).write_bytes(b"photo")
    table = downloads / "names-corrections.csv"
    table.write_bytes(
        corrections_csv(Correction(f"photos/{name}/1.jpg", "x", "corrected", APPLE) for name in ("A1", "B2"))
    )
    monkeypatch.chdir(trip)
    assert [image.path for image in find_images([str(table)])] == ["photos/A1/1.jpg", "photos/B2/1.jpg"]
    source = open_source(table)
    assert [source[index].image for index in range(2)] == [b"photo"] * 2
    assert source[0].taxon.scientific_name == "Malus domestica"
    monkeypatch.chdir(tmp_path)
    merge_corrections([table], downloads / "found.csv", images=moved)
    assert [one.filepath for one in read_corrections(downloads / "found.csv")] == [
        str(moved / "A1" / "1.jpg"),
        str(moved / "B2" / "1.jpg"),
    ]
    with pytest.raises(UserError, match="none of the 2 photographs"):
        merge_corrections([table], downloads / "found.csv", images=downloads)
    # Both would be the one file that is there.
    (moved / "A1" / "1.jpg").rename(moved / "1.jpg")
    result = merge_corrections([table], downloads / "found.csv", images=moved)
    assert result["missing"] == ["photos/A1/1.jpg"]


def test_results_are_json(tmp_path: Path):
    (tmp_path / "one.csv").write_bytes(
        corrections_csv([Correction("a.jpg", "x", "confirmed", predicted="x")])
    )
    result = merge_corrections([tmp_path / "one.csv"])
    assert json.loads(json.dumps(result))["right"]["share"] == 1


@pytest.mark.shared_data
def test_occurrences_have_the_names_of_a_review(photographs, model, model_directory, tmp_path, monkeypatch):
    """Darwin Core from the corrections themselves, and from the final table; typed names too."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    typed = Correction(
        str(photographs[0]), "Crataegus monogyna", "corrected", reviewed_at="2026-12-01T10:00:00.000Z"
    )
    known = replace(typed, filepath=str(photographs[1]), label="Malus domestica", taxon=APPLE)
    rejected = replace(typed, filepath=str(photographs[2]), label="", status="rejected")
    table = tmp_path / "corrections.csv"
    table.write_bytes(corrections_csv([typed, known, rejected]))
    rows = [
        {
            "file_name": one.filepath,
            "genus": "Pyrus",
            "species_epithet": "communis",
            "species": "Pyrus communis",
        }
        | {"score": "0.5"}
        for one in (typed, known, rejected)
    ]
    predictions = table_of(tmp_path / "names.csv", *rows)
    merge_corrections([table], tmp_path / "final.csv", predictions=predictions)
    pear = Taxon(*APPLE.lineage()[:5], "Pyrus", "communis", "pear")
    names = (dict(zip(RANKS, taxon.lineage())) for taxon in (APPLE, pear))
    build_taxa(table_of(tmp_path / "taxa.csv", *names), model, tmp_path / "taxa.safetensors")
    options = {"taxa": tmp_path / "taxa.safetensors", "format": "dwc", "as_result": True}
    for source in (table, tmp_path / "final.csv"):
        occurrences = predict_files([str(source)], str(model_directory), **options)["predictions"]
        assert [
            (
                one["scientificName"],
                one["genus"],
                one["specificEpithet"],
                one["identificationVerificationStatus"],
            )
            for one in occurrences
        ] == [
            ("Crataegus monogyna", "Crataegus", "monogyna", "verified using recorded media"),
            ("Malus domestica", "Malus", "domestica", "verified using recorded media"),
        ], source
        assert {one["dateIdentified"] for one in occurrences} == {"2026-12-01T10:00:00.000Z"}


@pytest.mark.shared_data
def test_predict_skips_rejected_rows(photographs, model_directory, tmp_path, capsys):
    kept = Correction(str(photographs[0]), "Malus domestica", "confirmed", APPLE)
    rejected = replace(kept, filepath=str(photographs[1]), label="", status="rejected", taxon=Taxon())
    table = tmp_path / "corrections.csv"
    table.write_bytes(corrections_csv([rejected, kept, rejected]))
    result = predict_files([str(table)], str(model_directory), labels="apple,pear", k=1, as_result=True)
    [row] = result["predictions"]
    assert row["file_name"] == str(photographs[0])
    assert (row["label"], row["input_species"] if "input_species" in row else row["species"]) == (
        "Malus domestica",
        "domestica",
    ), "the row has the columns of another"
    assert f"skipped: 2 rejected rows of {table}\n" in capsys.readouterr().err
    table.write_bytes(corrections_csv([rejected]))
    with pytest.raises(UserError, match="all rows of .* are rejected; confirm or correct some"):
        find_images([str(table)])
    own = table_of(tmp_path / "own.csv", {"filepath": str(photographs[0]), "status": "rejected"})
    assert len(find_images([str(own)])) == 1, "a status without a label is no review"


def test_corrections_of_photographs_elsewhere_name_the_way_to_find_them(tmp_path, capsys):
    table = tmp_path / "corrections.csv"
    away = [Correction(f"card/{index}.jpg", "x", "corrected") for index in range(5)]
    table.write_bytes(corrections_csv(away))
    with pytest.raises(UserError) as error:
        find_images([str(table)])
    message = str(error.value)
    assert f"review {table} --images FOLDER" in message and "5 photographs" in message, message
    assert "\n" not in message and capsys.readouterr().err == ""
    (tmp_path / "card").mkdir()
    (tmp_path / "card" / "3.jpg").write_bytes(b"")
    assert len(find_images([str(table)])) == 5, "only some are missing, each of which is reported"
