"""Agreement of reviewers, final names of predictions, and tables of corrections as inputs."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from review_tables import APPLE, table_of
from sklearn.metrics import cohen_kappa_score

from bioclip_jax.errors import UserError
from bioclip_jax.pipeline.sources import open_source
from bioclip_jax.predict import find_images, predict_files
from bioclip_jax.predict.review import (
    Correction,
    corrections_csv,
    measure_agreement,
    merge_corrections,
    read_corrections,
)
from bioclip_jax.predict.taxa import build_taxa
from bioclip_jax.text import RANKS, Taxon


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
