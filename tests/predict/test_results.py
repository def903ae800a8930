"""Rows in every format, and files that are whole or not there."""

import contextlib
import csv
import io
import json

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bioclip_jax.errors import UserError
from bioclip_jax.predict.results import check_format, check_output, write_rows, written_beside

ROWS = [
    {"file_name": "a, b [red].jpg", "classification": 'say "Malus"', "score": 0.75},
    {"file_name": "ü/c.jpg", "classification": "Pyrus", "score": 0.25},
]


TEXT = st.text(st.characters(exclude_characters="\r\0", codec="utf-8"))


@given(st.lists(st.tuples(TEXT, st.floats(0, 1)), min_size=1))
def test_csv_reads_back_as_written(values):
    rows = [{"file_name": name, "score": score} for name, score in values]
    with contextlib.redirect_stdout(io.StringIO()) as out:
        assert write_rows(rows, "csv") == len(rows)
    back = list(csv.DictReader(io.StringIO(out.getvalue(), newline="")))
    assert [(row["file_name"], float(row["score"])) for row in back] == values


def test_json_is_a_list_of_rows(tmp_path):
    write_rows(iter(ROWS), "json", tmp_path / "r.json")
    assert json.loads((tmp_path / "r.json").read_text()) == ROWS


def test_parquet_reads_back_as_written(tmp_path):
    write_rows(iter(ROWS), "parquet", tmp_path / "r.parquet")
    assert pq.read_table(tmp_path / "r.parquet").to_pylist() == ROWS


def test_table_shows_every_cell_as_it_is(tmp_path):
    write_rows(ROWS, "table", tmp_path / "r.txt")
    text = (tmp_path / "r.txt").read_text()
    for cell in ("file_name", "a, b [red].jpg", "ü/c.jpg", "Pyrus", "0.7500"):
        assert cell in text, f"{cell!r} is not in the table:\n{text}"


def test_no_row_writes_no_file(tmp_path):
    assert write_rows([], "csv", tmp_path / "r.csv") == 0
    assert list(tmp_path.iterdir()) == []


def test_an_error_half_way_leaves_the_old_file_and_nothing_else(tmp_path):
    (tmp_path / "r.csv").write_text("old")

    def rows():
        yield ROWS[0]
        raise RuntimeError("half way")

    with pytest.raises(RuntimeError):
        write_rows(rows(), "csv", tmp_path / "r.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["r.csv"]
    assert (tmp_path / "r.csv").read_text() == "old"


def test_format_follows_the_output(tmp_path):
    assert check_format(None, None) == "csv"
    assert check_format(None, tmp_path / "x.PARQUET") == "parquet"
    assert check_format("table", tmp_path / "x.csv") == "table"


@pytest.mark.parametrize("format, output", [("xml", None), ("parquet", None), (None, "x.doc")])
def test_wrong_format_is_told(tmp_path, format, output):
    with pytest.raises(UserError):
        check_format(format, None if output is None else tmp_path / output)


def test_output_without_a_folder_or_that_is_one_is_told_before_anything_is_written(tmp_path):
    for wrong in (tmp_path / "no" / "x.csv", tmp_path):
        with pytest.raises(UserError, match=str(wrong)):
            check_output(wrong)
        with pytest.raises(UserError), written_beside(wrong):
            pytest.fail("the block must not run")
