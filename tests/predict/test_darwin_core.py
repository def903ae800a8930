"""Darwin Core occurrences (`--format dwc`), against the standard's own list of terms."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from exif_bytes import ORIGINAL, exif, photograph, place, text

from bioclip_jax.cli import main
from bioclip_jax.predict import PredictOptions, predict_files
from bioclip_jax.predict.taxa import build_taxa

# The terms of the occurrence core that this mapping may use: dist/dwc_occurrence_core_horizontal.csv of
# github.com/tdwg/dwc, without those of specimens, organisms and geology.
STANDARD = set(
    """type modified language license rightsHolder accessRights bibliographicCitation references institutionID
    collectionID datasetID institutionCode collectionCode datasetName ownerInstitutionCode basisOfRecord
    informationWithheld dataGeneralizations dynamicProperties feedbackURL occurrenceID recordedBy recordedByID
    individualCount organismQuantity organismQuantityType sex lifeStage reproductiveCondition caste behavior
    vitality establishmentMeans degreeOfEstablishment pathway substrate occurrenceStatus associatedMedia
    associatedOccurrences associatedReferences associatedTaxa occurrenceRemarks eventID parentEventID
    eventCategory eventType fieldNumber eventDurationValue eventDurationUnit eventDate eventTime
    startDayOfYear endDayOfYear year month day verbatimEventDate habitat samplingProtocol sampleSizeValue
    sampleSizeUnit samplingEffort fieldNotes eventRemarks locationID decimalLatitude decimalLongitude
    geodeticDatum
    coordinateUncertaintyInMeters coordinatePrecision identificationID identificationType
    verbatimIdentification isAcceptedIdentification identificationQualifier typeStatus identifiedBy
    identifiedByID dateIdentified identificationReferences identificationVerificationStatus
    identificationRemarks taxonID scientificNameID acceptedNameUsageID parentNameUsageID scientificName
    acceptedNameUsage parentNameUsage nameAccordingTo higherClassification kingdom phylum class order
    superfamily family subfamily tribe subtribe genus genericName subgenus infragenericEpithet specificEpithet
    infraspecificEpithet cultivarEpithet taxonRank verbatimTaxonRank scientificNameAuthorship vernacularName
    nomenclaturalCode taxonomicStatus nomenclaturalStatus taxonRemarks""".split()
)
# What GBIF requires of an occurrence.
REQUIRED = ("occurrenceID", "basisOfRecord", "scientificName", "eventDate")


@pytest.fixture(scope="module")
def taxa_file(model, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("taxa")
    (folder / "names.csv").write_text(
        "kingdom,phylum,class,order,family,genus,species,common_name\n"
        "Animalia,Chordata,Mammalia,Carnivora,Canidae,Vulpes,vulpes,Red Fox\n"
        "Animalia,Chordata,Mammalia,Carnivora,Canidae,Canis,lupus,Gray Wolf\n"
        "Animalia,Chordata,Aves,Strigiformes,Strigidae,Strix,aluco,Tawny Owl\n"
    )
    build_taxa(folder / "names.csv", model, folder / "taxa.safetensors")
    return folder / "taxa.safetensors"


@pytest.fixture
def card(tmp_path: Path) -> Path:
    folder = tmp_path / "card"
    folder.mkdir()
    for index, time in enumerate(("2020:05:30 04:57:37", "2020:05:30 04:57:40", "2020:05:31 01:00:00")):
        block = exif(camera=[text(ORIGINAL, time)], gps=place(51.496, 4.774))
        (folder / f"{index}.jpg").write_bytes(photograph(block, quality=60 + index))
    return folder


def occurrences(inputs, model_directory, output: Path, **options) -> list[dict[str, str]]:
    predict_files([inputs], str(model_directory), format="dwc", output=output, **options)
    with open(output, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t" if output.suffix == ".tsv" else ","))


def test_one_row_per_image_in_the_terms_of_the_standard(card, model_directory, taxa_file, tmp_path):
    rows = occurrences(card, model_directory, tmp_path / "o.tsv", taxa=taxa_file, k=3)
    assert len(rows) == 3 and set(rows[0]) <= STANDARD
    assert all(row[name] for row in rows for name in REQUIRED)
    assert [row["eventDate"] for row in rows] == [
        "2020-05-30T04:57:37",
        "2020-05-30T04:57:40",
        "2020-05-31T01:00:00",
    ]
    assert {row["basisOfRecord"] for row in rows} == {"MachineObservation"}
    assert {row["identificationVerificationStatus"] for row in rows} == {"unverified"}
    assert {row["taxonRank"] for row in rows} == {"species"}
    for row in rows:
        genus, epithet = row["scientificName"].split()
        assert (genus, epithet) == (row["genus"], row["specificEpithet"])
    assert len({row["occurrenceID"] for row in rows}) == 3
    assert "decimalLatitude" not in rows[0], "coordinates are not asked for"
    assert [row["associatedMedia"] for row in rows] == [str(card / f"{index}.jpg") for index in range(3)]


def test_identifiers_are_those_of_the_photograph_and_not_of_the_model(
    card, model_directory, taxa_file, tmp_path
):
    options = {"taxa": taxa_file, "k": 1}
    first = occurrences(card, model_directory, tmp_path / "a.csv", **options)
    again = occurrences(card, model_directory, tmp_path / "b.csv", taxa=taxa_file, rank="family")
    assert [row["occurrenceID"] for row in first] == [row["occurrenceID"] for row in again]
    assert {row["taxonRank"] for row in again} == {"family"}
    assert all(row["scientificName"] == row["family"] and not row["genus"] for row in again)
    (card / "0.jpg").write_bytes((card / "1.jpg").read_bytes())
    changed = occurrences(card, model_directory, tmp_path / "c.csv", **options)
    assert [a["occurrenceID"] == b["occurrenceID"] for a, b in zip(first, changed)] == [False, True, True]


def test_an_event_is_one_occurrence_with_its_interval(card, model_directory, taxa_file, tmp_path):
    rows = occurrences(card, model_directory, tmp_path / "o.csv", taxa=taxa_file, events=60, add="place")
    assert [row["eventDate"] for row in rows] == [
        "2020-05-30T04:57:37/2020-05-30T04:57:40",
        "2020-05-31T01:00:00",
    ]
    assert rows[0]["associatedMedia"] == f"{card / '0.jpg'} | {card / '1.jpg'}"
    assert {(row["decimalLatitude"], row["decimalLongitude"], row["geodeticDatum"]) for row in rows} == {
        ("51.496", "4.774", "EPSG:4326")
    }
    assert "pooled over 2 frames" in rows[0]["identificationRemarks"]
    with open(tmp_path / "o.frames.csv", newline="") as file:
        assert "score" in next(csv.DictReader(file)), "the frames' own answers are an ordinary table"


def test_unknown_animals_are_no_occurrences(card, model_directory, taxa_file, tmp_path, capsys):
    result = predict_files(
        [card],
        str(model_directory),
        PredictOptions(format="dwc", taxa=taxa_file, unknown=1.0, output=tmp_path / "o.csv"),
    )
    assert result["output"] is None and not (tmp_path / "o.csv").exists()
    assert "predictions that are no occurrences were skipped: 3 unknown" in capsys.readouterr().err


def test_a_corrected_name_is_verified_and_a_recorder_named(card, model_directory, taxa_file, tmp_path):
    with open(card / "t.csv", "w", newline="") as file:
        rows = [["filepath", "label", "genus", "species", "status", "reviewed_at", "Recorded By"]]
        rows += [
            ["0.jpg", "Mustela erminea", "Mustela", "erminea", "corrected", "2026-01-02T03:04:05Z", "A. N."]
        ]
        rows += [["1.jpg", "", "", "", "rejected", "2026-01-02T03:04:05Z", ""], ["2.jpg", *[""] * 6]]
        csv.writer(file).writerows(rows)
    rows = occurrences(card / "t.csv", model_directory, tmp_path / "o.csv", taxa=taxa_file)
    assert [row["identificationVerificationStatus"] for row in rows] == [
        "verified using recorded media",
        "unverified",
    ]
    assert (rows[0]["scientificName"], rows[0]["taxonRank"]) == ("Mustela erminea", "species")
    assert (rows[0]["dateIdentified"], rows[0]["recordedBy"]) == ("2026-01-02T03:04:05Z", "A. N.")
    assert not rows[0]["identifiedBy"], "a person named it, and the table does not say who"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--cls", "a,b"], "--format dwc needs names of taxa, and --cls has labels; drop one of them"),
        (["--output", "o.json"], "--format dwc writes a table; name it with --output NAME.csv or NAME.tsv"),
    ],
)
def test_what_dwc_cannot_write_is_one_line(arguments, message, card, capsys):
    assert main(["predict", str(card), "--format", "dwc", *arguments]) == 2
    assert capsys.readouterr().err == f"error: {message}\n"
