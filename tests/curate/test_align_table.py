"""Alignment of table files: archive formats, the cache, reports, invalid input."""

import importlib
import json
import shutil
import sys
import zipfile

import polars as pl
import pytest
from made_backbone import BEAR, CASES, align_taxa, write_col, write_gbif

import bioclip_jax.curate.align
from bioclip_jax.curate.align import Backbone, align_names, align_table
from bioclip_jax.curate.align.report import alignment_report
from bioclip_jax.errors import UserError
from bioclip_jax.text import Taxon


@pytest.fixture(scope="module", params=["gbif", "col"])
def folder(request, tmp_path_factory):
    """A Darwin Core Archive as a folder, with a cache for these tests."""
    cache = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(cache))
        writer = {"gbif": write_gbif, "col": write_col}[request.param]
        yield writer(tmp_path_factory.mktemp(request.param))


def test_archives_csv_and_parquet_give_the_same_backbone(folder, tmp_path):
    taxa = [CASES["accepted"], CASES["synonym"]]
    expected = align_taxa(taxa, Backbone(folder))
    with zipfile.ZipFile(tmp_path / "archive.zip", "w") as archive:
        for name in ("Taxon.tsv", "VernacularName.tsv"):
            archive.write(folder / name, f"../{name}")
    table = pl.read_csv(folder / "Taxon.tsv", separator="\t", quote_char=None, infer_schema=False)
    table.write_parquet(tmp_path / "Taxon.parquet")
    table.write_csv(tmp_path / "Taxon.csv")
    assert align_taxa(taxa, Backbone(tmp_path / "archive.zip")) == expected
    for name in ("Taxon.parquet", "Taxon.csv"):
        assert align_taxa(taxa, Backbone(tmp_path / name, folder / "VernacularName.tsv")) == expected
    assert sorted(path.name for path in tmp_path.iterdir()) == ["Taxon.csv", "Taxon.parquet", "archive.zip"]


def described_archive(folder, target, *, name, separator=",", quote="&quot;", header=True, encoding="UTF-8"):
    """Write a zipped archive of the folder's Taxon.tsv in another format, described by meta.xml."""
    table = pl.read_csv(folder / "Taxon.tsv", separator="\t", quote_char=None, infer_schema=False)
    terms = [column.rpartition(":")[2] for column in table.columns]
    options = {
        "separator": separator,
        "include_header": header,
        "quote_style": "necessary" if quote else "never",
    }
    text = table.write_csv(**options)
    fields = "".join(
        f'<field index="{number}" term="http://rs.tdwg.org/dwc/terms/{term}"/>'
        for number, term in enumerate(terms)
        if term != "taxonID"
    )
    meta = (
        '<?xml version="1.0"?><archive xmlns="http://rs.tdwg.org/dwc/text/"><core '
        f'encoding="{encoding}" fieldsTerminatedBy="{separator if separator != chr(9) else chr(92) + "t"}" '
        f'fieldsEnclosedBy="{quote}" ignoreHeaderLines="{int(header)}" '
        f'rowType="http://rs.tdwg.org/dwc/terms/Taxon">'
        f"<files><location>{name}</location></files>"
        f'<id index="{terms.index("taxonID")}"/>{fields}</core></archive>'
    )
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("archive/meta.xml", meta)
        archive.writestr(f"archive/{name}", text.encode(encoding))
        archive.writestr("archive/eml.xml", "<eml/>")
    return target


@pytest.mark.parametrize(
    "written",
    [
        {"name": "classification.csv"},
        {"name": "classification.txt", "separator": "\t", "quote": ""},
        {"name": "names.dat", "separator": "|"},
        {"name": "names.txt", "separator": ";", "header": False},
        {"name": "names.txt", "header": False, "encoding": "ISO-8859-1"},
        {"name": "names.tsv", "separator": "\t", "quote": "", "encoding": "UTF-16"},
    ],
)
def test_meta_xml_describes_the_format(folder, tmp_path, written):
    taxa = [CASES["accepted"], CASES["synonym"]]
    target = described_archive(folder, tmp_path / "archive.zip", **written)
    expected = align_taxa(taxa, Backbone(folder / "Taxon.tsv"))
    assert align_taxa(taxa, Backbone(target)) == expected
    with zipfile.ZipFile(target) as archive:
        archive.extractall(tmp_path / "unpacked")
    assert align_taxa(taxa, Backbone(tmp_path / "unpacked" / "archive")) == expected


def test_table_without_meta_xml_is_recognized_by_its_columns(folder, tmp_path):
    """As in World Flora Online's classification.csv."""
    taxa = [CASES["accepted"], CASES["synonym"]]
    table = pl.read_csv(folder / "Taxon.tsv", separator="\t", quote_char=None, infer_schema=False)
    for separator in ("\t", ",", ";"):
        with zipfile.ZipFile(tmp_path / f"{ord(separator)}.zip", "w") as archive:
            archive.writestr("README.txt", "Names of plants, by taxonID")
            archive.writestr(
                "classification.csv", table.write_csv(separator=separator, quote_style="necessary")
            )
        result = align_taxa(taxa, Backbone(tmp_path / f"{ord(separator)}.zip"))
        assert result == align_taxa(taxa, Backbone(folder / "Taxon.tsv")), separator


@pytest.mark.parametrize(
    "meta",
    [
        "<archive",
        "<archive/>",
        '<archive><core rowType="Taxon"><files><location>../a.txt</location></files><id '
        'index="0"/></core></archive>',
        '<!DOCTYPE a [<!ENTITY b "c">]><archive/>',
    ],
)
def test_invalid_meta_xml_is_ignored(folder, tmp_path, meta):
    shutil.copy(folder / "Taxon.tsv", tmp_path)
    (tmp_path / "meta.xml").write_text(meta)
    expected = align_taxa([CASES["accepted"]], Backbone(folder / "Taxon.tsv"))
    assert align_taxa([CASES["accepted"]], Backbone(tmp_path)) == expected


def test_archive_without_a_taxon_table_is_reported(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("occurrence.txt", "occurrenceID\tscientificName\n1\tMalus\n")
    with pytest.raises(UserError, match=r"a\.zip holds no Taxon\.tsv, nor a table with the columns"):
        Backbone(tmp_path / "a.zip")


def test_prepared_backbone_is_cached_until_the_table_changes(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    taxon = tmp_path / "Taxon.tsv"
    shutil.copy(folder / "Taxon.tsv", taxon)
    Backbone(taxon)
    (kept,) = (tmp_path / "cache" / "bioclip_jax" / "backbone").iterdir()
    written = (kept / "names.parquet").stat().st_mtime_ns
    Backbone(taxon)
    assert (kept / "names.parquet").stat().st_mtime_ns == written
    changed = taxon.read_text(encoding="utf-8").replace("Ursus arctos", "Ursus novus")
    taxon.write_text(changed.replace("\tarctos\t", "\tnovus\t"), encoding="utf-8")
    assert align_taxa([Taxon(genus="Ursus", species="novus")], Backbone(taxon))[0].status == "exact"
    assert len(list(kept.parent.iterdir())) == 2


def test_backbone_without_a_writable_cache(folder, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert align_taxa([CASES["accepted"]], Backbone(folder))[0].taxon == BEAR


def test_table_is_aligned_and_reported(folder, tmp_path):
    table = tmp_path / "metadata.csv"
    rows = [
        vars(taxon) | {"filepath": f"{n:03}.jpg", "images": 1 + n % 3}
        for n, taxon in enumerate(CASES.values())
    ]
    # In an annotation table, `class` is a label.
    frame = pl.DataFrame(rows).rename({"class_": "cls"}).with_columns(pl.lit("007").alias("class"))
    pl.concat([frame, frame]).write_csv(table)
    options = {"backbone": folder, "count_column": "images"}
    result = align_table(table, tmp_path / "aligned.csv", **options)
    assert result["rows"] == 2 * len(CASES) and json.dumps(result)
    # One name fewer than cases: a common name does not make another name.
    assert result["names"] == {"exact": 24, "synonym": 5, "fuzzy": 7, "ambiguous": 4, "unresolved": 7}
    assert sum(result["names"].values()) == len(CASES) - 1
    assert sum(result["images"].values()) == 2 * sum(row["images"] for row in rows)

    aligned = pl.read_csv(tmp_path / "aligned.csv", infer_schema=False)
    assert aligned.height == 2 * len(CASES)
    bear = aligned.row(0, named=True)
    assert (bear["filepath"], bear["class"], bear["cls"], bear["given_cls"]) == (
        "000.jpg",
        "007",
        "Mammalia",
        "",
    )
    listing = pl.read_csv(result["names_report"])
    assert listing.height == sum(result["names"].values())
    text = (tmp_path / "aligned.report.md").read_text(encoding="utf-8")
    assert "| Ursus arctus |" in text and "| Ursus arctos | 0.917 |" in text

    first = [(tmp_path / f"aligned{suffix}").read_bytes() for suffix in (".csv", ".report.md", ".report.csv")]
    align_table(table, tmp_path / "again.csv", **options)
    assert [
        (tmp_path / f"again{suffix}").read_bytes() for suffix in (".csv", ".report.md", ".report.csv")
    ] == first
    assert not [path.name for path in tmp_path.iterdir() if "partial" in path.name]

    # Aligned names are exact, and the original names are kept.
    align_table(tmp_path / "aligned.csv", tmp_path / "twice.csv", **options)
    twice = pl.read_csv(tmp_path / "twice.csv", infer_schema=False)
    unchanged = [*(name for name in aligned.columns if name.startswith("given_")), "cls", "genus", "species"]
    assert twice.select(unchanged).equals(aligned.select(unchanged))
    assert set(twice.filter(aligned["status"] == "synonym")["status"]) == {"exact"}


def test_empty_tables_are_aligned(folder):
    assert align_taxa([], Backbone(folder)) == []
    assert align_names(pl.DataFrame({"genus": []}), Backbone(folder)).height == 0


def test_column_of_scientific_names(folder):
    names = [
        "Ursus arctos Linnaeus, 1758",
        "Mentha × piperita L.",
        "Oenanthe L.",
        "URSUS ARCTUS",
        None,
        "Ursidae",
    ]
    result = align_names(
        pl.DataFrame({"scientific_name": names, "species": ["arctos", *[None] * 5]}), Backbone(folder)
    )
    assert result["status"].to_list() == ["exact", "exact", "exact", "fuzzy", "unresolved", "exact"]
    assert result["family"].to_list() == ["Ursidae", "Lamiaceae", "Apiaceae", "Ursidae", "", "Ursidae"]
    text, table = alignment_report(result)
    assert table.filter(pl.col("status") == "fuzzy")["name"].to_list() == ["URSUS ARCTUS"]
    assert "| fuzzy | 1 | 1 |" in text


def test_invalid_arguments_are_reported_in_one_line(folder, tmp_path):
    table = tmp_path / "names.csv"
    table.write_text("genus,species\nUrsus,arctos\n")
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "headless.tsv").write_text("taxonID\tscientificName\ttaxonRank\n")
    (tmp_path / "folder").mkdir()
    mistakes = [
        (table, {"backbone": tmp_path / "nowhere.tsv"}, "nowhere.tsv does not exist; give"),
        (table, {"backbone": tmp_path / "other.csv"}, "other.csv has no column taxonID"),
        (table, {"backbone": tmp_path / "headless.tsv"}, "headless.tsv has no rows"),
        (table, {"backbone": tmp_path / "empty.csv"}, "empty.csv cannot be read"),
        (table, {"backbone": tmp_path / "folder"}, "holds no Taxon.tsv"),
        (
            table,
            {"backbone": folder, "vernacular": tmp_path / "other.csv"},
            "other.csv has no column taxonID",
        ),
        (
            table,
            {"backbone": folder, "vernacular": tmp_path / "nowhere.tsv"},
            "nowhere.tsv does not exist; give",
        ),
        (table, {"backbone": folder, "count_column": "genus"}, "'genus' of whole numbers"),
        (tmp_path / "other.csv", {"backbone": folder}, "no column with names"),
        (tmp_path / "empty.csv", {"backbone": folder}, "empty.csv is empty"),
        (tmp_path / "nowhere.csv", {"backbone": folder}, "nowhere.csv does not exist; give"),
    ]
    for source, options, message in mistakes:
        with pytest.raises(UserError, match=message) as raised:
            align_table(source, tmp_path / "out.csv", **options)
        assert "\n" not in str(raised.value)
        assert not (tmp_path / "out.csv").exists()
    with pytest.raises(UserError, match="out.xlsx has no known format"):
        align_table(table, tmp_path / "out.xlsx", backbone=folder)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("q.tsv", 'species\tremark\n"Ursus arctos"\t"open\nUrsus arctos\t"a" b\nUrsus arctos\tx\t\n'),
        (
            "gbif.csv",
            "taxonKey\tscientificName\tspecies\n" + "1\tUrsus arctos Linnaeus, 1758\tUrsus arctos\n" * 3,
        ),
        ("semicolon.csv", "Genus; Species\n" + "Ursus; arctos\n" * 3),
        ("list.txt", "Scientific Name\n" + "Ursus arctos Linnaeus, 1758\n" * 3),
    ],
)
def test_table_formats(folder, tmp_path, name, content):
    (tmp_path / name).write_text(content)
    result = align_table(tmp_path / name, tmp_path / "out.csv", backbone=folder)
    assert result["rows"] == 3
    aligned = pl.read_csv(tmp_path / "out.csv")
    assert aligned["status"].to_list() == ["exact"] * 3 and aligned["genus"].to_list() == ["Ursus"] * 3
    if name == "q.tsv":
        assert aligned["remark"].to_list() == ['"open', '"a" b', "x"]


def test_row_with_too_many_cells_is_reported_by_line(folder, tmp_path):
    (tmp_path / "n.csv").write_text("genus,author,species\nUrsus,L.,arctos\nUrsus,L., 1758,arctos\n")
    with pytest.raises(
        UserError, match="n.csv, line 3: 4 cells under a header of 3; put a cell that holds a comma"
    ):
        align_table(tmp_path / "n.csv", tmp_path / "out.csv", backbone=folder)


def test_missing_package_is_reported(monkeypatch):
    monkeypatch.setitem(sys.modules, "rapidfuzz", None)
    with pytest.raises(UserError, match=r"needs rapidfuzz; install it: pip install 'bioclip-jax\[curate\]'"):
        importlib.reload(bioclip_jax.curate.align)
