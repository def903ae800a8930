"""Result rows in every format, written atomically."""

import contextlib
import csv
import gzip
import io
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from bioclip_jax.errors import UserError
from bioclip_jax.files import atomic_write, check_output, is_stream
from bioclip_jax.predict import results
from bioclip_jax.predict.results import check_format, write_rows

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


@given(st.lists(st.dictionaries(TEXT, st.one_of(TEXT, st.floats(0, 1), st.none())), min_size=1, max_size=4))
def test_streamed_json_equals_a_dump_of_all_rows(rows):
    with contextlib.redirect_stdout(io.StringIO()) as out:
        write_rows(rows, "json")
    assert out.getvalue() == json.dumps(rows, indent=2) + "\n"


@pytest.mark.parametrize("rows_a_group", [1, 2, 100])
def test_parquet_reads_back_as_written(tmp_path, monkeypatch, rows_a_group):
    monkeypatch.setattr(results, "_GROUP_ROWS", rows_a_group)
    rows = [*ROWS, ROWS[0]]
    assert write_rows(iter(rows), "parquet", tmp_path / "r.parquet") == 3
    assert pq.read_table(tmp_path / "r.parquet").to_pylist() == rows
    assert pq.ParquetFile(tmp_path / "r.parquet").num_row_groups == -(-3 // rows_a_group)


def test_names_that_are_not_unicode_are_written(tmp_path):
    rows = [{"file_name": os.fsdecode(b"odd \xff.jpg"), "score": 1.0}]
    for format in ("csv", "json", "parquet", "table"):
        assert write_rows(rows, format, tmp_path / format) == 1
    assert b"odd \xff.jpg,1.0\n" in (tmp_path / "csv").read_bytes()
    assert pq.read_table(tmp_path / "parquet")["file_name"].to_pylist() == ["odd ?.jpg"]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_long_table_is_cut_on_a_terminal_but_not_in_a_file(tmp_path, monkeypatch):
    monkeypatch.setattr(results, "MOST_TABLE_ROWS", 2)
    monkeypatch.setenv("COLUMNS", "200")
    with contextlib.redirect_stdout(Terminal()) as out:
        assert write_rows(ROWS * 3, "table") == 6
    assert out.getvalue().count(".jpg") == 2 and "and 4 more rows" in out.getvalue().splitlines()[-1]
    assert write_rows(ROWS * 3, "table", tmp_path / "r.txt") == 6
    assert (tmp_path / "r.txt").read_text().count(".jpg") == 6


def test_a_table_in_a_file_does_not_fold_cells(tmp_path):
    rows = [
        {"file_name": "森/" + "long " * 100 + ".jpg", "score": 0.5},
        {"file_name": "a.jpg", "score": 0.25},
    ]
    write_rows(rows, "table", tmp_path / "r.txt")
    lines = (tmp_path / "r.txt").read_text().splitlines()
    assert len(lines) == 2 + len(rows) and lines[2] == f"{rows[0]['file_name']} │ 0.5000"
    assert {cell_len(line) for line in lines} == {cell_len(lines[2])}, "the columns are not straight"


def test_a_table_shows_cells_without_markup(tmp_path):
    write_rows(ROWS, "table", tmp_path / "r.txt")
    text = (tmp_path / "r.txt").read_text()
    for cell in ("file_name", "a, b [red].jpg", "ü/c.jpg", "Pyrus", "0.7500"):
        assert cell in text, f"{cell!r} is not in the table:\n{text}"


def test_no_rows_write_no_file(tmp_path):
    assert write_rows([], "csv", tmp_path / "r.csv") == 0
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_only_the_old_file(tmp_path):
    (tmp_path / "r.csv").write_text("old")

    def rows():
        yield ROWS[0]
        raise RuntimeError("half way")

    with pytest.raises(RuntimeError):
        write_rows(rows(), "csv", tmp_path / "r.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["r.csv"]
    assert (tmp_path / "r.csv").read_text() == "old"


def test_a_links_target_is_replaced_and_the_link_kept(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    target, link = tmp_path / "elsewhere" / "target.csv", tmp_path / "link.csv"
    link.symlink_to(target)
    for rows in (ROWS, ROWS[:1]):
        write_rows(rows, "csv", link)
        assert link.is_symlink() and len(target.read_text().splitlines()) == 1 + len(rows)
    assert [path.name for path in target.parent.iterdir()] == ["target.csv"]
    target.parent.rename(tmp_path / "gone")
    with pytest.raises(UserError, match="does not exist"):
        write_rows(ROWS, "csv", link)


def test_pipes_and_devices_are_written_directly(tmp_path):
    pipe = tmp_path / "pipe.csv"
    os.mkfifo(pipe)
    with ThreadPoolExecutor(1) as pool:
        read = pool.submit(pipe.read_text)
        assert write_rows(ROWS, "csv", pipe) == 2
        assert len(read.result().splitlines()) == 3
    assert not pipe.is_file() and [path.name for path in tmp_path.iterdir()] == ["pipe.csv"]
    write_rows(ROWS, "csv", Path("/dev/null"))
    assert Path("/dev/null").is_char_device()
    assert is_stream(Path("/dev/stdout")) and not is_stream(tmp_path / "x.csv")


def test_format_follows_the_output(tmp_path):
    assert check_format(None, None) == "csv"
    assert check_format(None, tmp_path / "x.PARQUET") == "parquet"
    assert check_format("table", tmp_path / "x.csv") == "table"
    for name in ("x.txt", "x.doc", "x"):
        assert check_format(None, tmp_path / name) == "csv", "pybioclip writes CSV to any name"


@pytest.mark.parametrize("name", ["x.csv.gz", "x.tsv", "x.TSV.GZ", "x.json.gz"])
def test_compressed_and_tab_separated_files_follow_their_suffix(tmp_path, name):
    output = tmp_path / name
    for _ in range(2):
        assert write_rows(ROWS, check_format(None, output), output) == len(ROWS)
        content = output.read_bytes()
        text = gzip.decompress(content).decode() if name.lower().endswith(".gz") else content.decode()
        if "json" in name:
            assert json.loads(text) == ROWS
        else:
            separator = "\t" if "tsv" in name.lower() else ","
            read = list(csv.DictReader(io.StringIO(text), delimiter=separator))
            assert read == [{key: str(value) for key, value in row.items()} for row in ROWS]
        # The time is not in the file, so that a resumed run gives the same bytes.
        assert output.read_bytes() == content


@pytest.mark.parametrize("format, output", [("xml", None), ("parquet", None)])
def test_an_invalid_format_is_an_error(tmp_path, format, output):
    with pytest.raises(UserError):
        check_format(format, None if output is None else tmp_path / output)


def test_invalid_output_paths_are_errors_before_writing(tmp_path):
    for wrong in (tmp_path / "no" / "x.csv", tmp_path):
        with pytest.raises(UserError, match=str(wrong)):
            check_output(wrong)
        with pytest.raises(UserError), atomic_write(wrong):
            pytest.fail("the block must not run")
