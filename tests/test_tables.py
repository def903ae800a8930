"""The table reader: separators, quotes, ragged rows, encodings, compression, headers."""

import bz2
import csv
import gzip
import io
import lzma
import re
import zipfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from bioclip_jax.errors import UserError
from bioclip_jax.tables import is_table, read_table


def read(content: str | bytes, *args, **options) -> dict[str, list]:
    content = content.encode() if isinstance(content, str) else content
    return read_table("t.csv", *args, content=content, **options).to_pydict()


SQUARE = {"genus": ["Malus", "Felis"], "note": ["1,5", "x"]}


@pytest.mark.parametrize(
    "content",
    [
        'genus,note\nMalus,"1,5"\nFelis,x\n',
        "genus;note\nMalus;1,5\nFelis;x\n",
        "genus\tnote\nMalus\t1,5\nFelis\tx\n",
        "sep=;\ngenus;note\nMalus;1,5\nFelis;x\n",
        'genus, note\nMalus, "1,5"\nFelis,x\n',
        "\n\ngenus;note\r\n\r\nMalus;1,5\r\nFelis;x",
        "genus;note;\nMalus;1,5;\nFelis;x;\n",
        'genus\tnote\r"Malus"\t"1,5"\rFelis\tx\r',
        "Genus ;note\nMalus;1,5\nFelis;x\n",
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_separators_and_encodings(content, encoding):
    assert read(content.encode(encoding)) == SQUARE


def test_quotation_marks_of_tsv_do_not_swallow_rows():
    content = 'name\tnote\n"open quote\ta\n"Malus" domestica\tb\nx "y"\tc\n"in ""marks"""\td\n'
    names = ['"open quote', '"Malus" domestica', 'x "y"', 'in "marks"']
    assert read(content) == {"name": names, "note": list("abcd")}


def test_a_quoted_line_break():
    for separator in "\t,;":
        table = read(f'a{separator}b\n"one\ntwo"{separator}x\ny{separator}z\n')
        assert table == {"a": ["one\ntwo", "y"], "b": ["x", "z"]}


def test_an_open_quote_in_a_csv_is_text_or_an_error():
    assert read('a,b\n1,"open\n3,4\n') == {"a": ["1", "3"], "b": ['"open', "4"]}
    with pytest.raises(UserError, match="quotation mark in the row of line 3"):
        read('a,b\n"x, y",2\n1,"open\n3,"4,5"\n')


def test_short_rows_are_filled_and_counted(capsys):
    assert read("a,b,c\n1,2,3\n4\n5,6\n") == {"a": ["1", "4", "5"], "b": ["2", "", "6"], "c": ["3", "", ""]}
    assert "2 rows have fewer cells than the header (first in line 3)" in capsys.readouterr().err


def test_long_rows_are_an_error_unless_empty():
    assert read("a,b\n1,2,,\n3,4\n") == {"a": ["1", "3"], "b": ["2", "4"]}
    with pytest.raises(UserError, match="t.csv, line 3: 3 cells under a header of 2; .* comma"):
        read("a,b\n1,2\nMill., 1768,x\n3,4\n1,2,3\n")


def test_one_column_may_contain_any_separator():
    assert read('species\nFelis catus, L.\n"Canis; x"\na\tb\n') == {
        "species": ["Felis catus, L.", "Canis; x", "a\tb"]
    }


def test_long_fields():
    assert read(f"a,b\n{'x' * 300_000},y\n") == {"a": ["x" * 300_000], "b": ["y"]}


def test_latin_1_is_read_with_a_note(capsys):
    assert read("species,n\nIsoëtes,1\n".encode("latin-1"))["species"] == ["Isoëtes"]
    assert capsys.readouterr().err == "note: t.csv is not UTF-8; read as Windows-1252 (Western European)\n"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", "is not text"),
        (b"a,b\n\x81,\x8d\n", "neither UTF-8 nor UTF-16"),
        (b"", "is empty"),
        (b"\xef\xbb\xbf\n\n", "is empty"),
        (b"a,b\n", "has no rows"),
        (gzip.compress(b"a,b\n1,2\n" * 99)[:20], "cannot be read"),
        (b"PK\x03\x04 nothing", "cannot be read"),
        (b"PAR1 nothing", "not a readable Parquet"),
    ],
    ids=["png", "binary", "empty", "byte_order_mark", "header_alone", "half_gzip", "no_zip", "no_parquet"],
)
def test_invalid_tables_are_errors(content, problem):
    with pytest.raises(UserError, match=f"^t.csv .*{problem}"):
        read(content)


def test_header_names():
    assert read("Kingdom, genus ,My Note,Common Name\nPlantae, Malus,x,apple\n") == {
        "kingdom": ["Plantae"],
        "genus": [" Malus"],
        "My Note": ["x"],
        "common_name": ["apple"],
    }
    # The exact name is matched; the other one remains a further column.
    assert read("Genus,genus\nx,y\n") == {"Genus": ["x"], "genus": ["y"]}
    assert read("note,note,\n1,2,3\n") == {"note": ["1"], "note.1": ["2"]}
    assert read(",a\n1,2\n", keep_unnamed=True) == {"Unnamed: 0": ["1"], "a": ["2"]}
    assert read("filePath,mediaID\na.jpg,1\n", ("filepath",)) == {"filepath": ["a.jpg"], "mediaID": ["1"]}
    for header in ("genus,genus", "Genus,GENUS"):
        with pytest.raises(UserError, match="has 2 columns genus"):
            read(f"{header}\n1,2\n")
    with pytest.raises(UserError, match="t.csv has no column filepath, only path, genus; add it"):
        read("path,genus\na,b\n", ("filepath",))


def test_compressed(tmp_path):
    content = b"genus;note\nMalus;1,5\nFelis;x\n"
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("__MACOSX/._0012.csv", b"")
        archive.writestr("0012.csv", content)
    packed = {"gz": gzip.compress(content), "bz2": bz2.compress(content), "xz": lzma.compress(content)}
    for suffix, data in (packed | {"zip": zipped.getvalue()}).items():
        path = tmp_path / f"t.csv.{suffix}"
        path.write_bytes(data)
        assert is_table(path)
        assert read_table(path).to_pydict() == SQUARE
    with zipfile.ZipFile(zipped, "a") as archive:
        archive.writestr("more.csv", content)
    with pytest.raises(UserError, match="holds 2 files"):
        read(zipped.getvalue())
    workbook = io.BytesIO()
    with zipfile.ZipFile(workbook, "w") as archive:
        archive.writestr("[Content_Types].xml", b"")
    with pytest.raises(UserError, match="is an Excel workbook; save its sheet as CSV"):
        read(workbook.getvalue())


def test_parquet(tmp_path):
    table = pa.table(
        {"Genus ": pa.array(["Malus", None]).dictionary_encode(), "filepath": [b"a", b"b"], "n": [1, 2]}
    )
    pq.write_table(table, tmp_path / "t.csv")
    result = read_table(tmp_path / "t.csv")
    assert result.to_pydict() == {"genus": ["Malus", None], "filepath": [b"a", b"b"], "n": [1, 2]}
    assert read_table(tmp_path / "t.csv", only=("genus", "n")).to_pydict() == {
        "genus": ["Malus", None],
        "n": [1, 2],
    }


# Contents of cells. csv.writer cannot write lone surrogates, and other control characters are not text.
_CELLS = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=8) | st.text(
    st.sampled_from(' ab",;\t\n\r×'), max_size=8
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    rows=st.integers(1, 4).flatmap(
        lambda n: st.lists(st.lists(_CELLS, min_size=n, max_size=n), min_size=1, max_size=5)
    ),
    separator=st.sampled_from(",;\t"),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    line_end=st.sampled_from(["\n", "\r\n", "\r"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
)
# Read line by line, the quoted separator would end a cell and add an empty one.
@example(rows=[["\t", ""]], separator="\t", quoting=csv.QUOTE_MINIMAL, line_end="\n", encoding="utf-8")
def test_csv_writer_output_round_trips(rows, separator, quoting, line_end, encoding):
    broken = any("\n" in cell or "\r" in cell for row in rows for cell in row)
    # csv.writer quotes only line breaks of its own kind.
    assume(not broken or quoting == csv.QUOTE_ALL or line_end == "\r\n")
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=separator, quoting=quoting, lineterminator=line_end)
    names = [f"column {index}" for index in range(len(rows[0]))]
    writer.writerows([names, *rows])
    lines = [line for line in re.split("\r\n|\r|\n", text.getvalue()) if line]
    # If every line has the full width, a TSV is read line by line.
    assume(not (broken and separator == "\t" and all(line.count("\t") == len(names) - 1 for line in lines)))
    result = read(text.getvalue().encode(encoding))
    assert result == {name: [row[index] for row in rows] for index, name in enumerate(names)}


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(_CELLS, st.integers(), st.booleans()), min_size=1, max_size=5))
def test_parquet_round_trips(rows):
    rows = [(text, number % 2**63, flag) for text, number, flag in rows]
    columns = dict(zip(("text", "number", "flag"), map(list, zip(*rows))))
    file = io.BytesIO()
    pq.write_table(pa.table(columns), file)
    assert read(file.getvalue()) == columns


def test_labels_and_traits_of_any_kind(tmp_path):
    """As read by LabeledSource for shards build and eval, and by read_traits for analyze between."""
    import numpy as np

    from bioclip_jax.analyze.trait_values import read_traits
    from bioclip_jax.curate.build.labels import LabeledSource
    from bioclip_jax.pipeline.sources import Sample

    class Samples(list):
        skipped_shards = []

    (tmp_path / "labels.csv").write_text("KEY;Genus;note\na;Malus;1,5\n")
    sample = LabeledSource(Samples([Sample("a", b"", {})]), tmp_path / "labels.csv")[0]
    assert sample.taxon.genus == "Malus" and sample.metadata["note"] == "1,5"
    (tmp_path / "traits.tsv").write_text(
        'Species \tmass_g\tnote\nMalus domestica\t3.5\t"open\nFelis catus\t4\tx\n'
    )
    species = ["Felis catus", "Malus domestica"]
    groups = np.array([0, 1])
    traits = read_traits(None, species, groups, species_column=None, table=tmp_path / "traits.tsv")
    assert traits.values["mass_g"].tolist() == [4, 3.5]
