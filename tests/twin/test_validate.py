"""The verb `twin validate`: which cases run, and what is said of wrong options and data."""

from __future__ import annotations

import json

import pytest

from bioclip_jax.cli import main
from bioclip_jax.errors import UserError
from bioclip_jax.twin.validate import CASES, Case, Settings, cases, cases_table, validate

PELTS = "Year, Lynx, Hare\n" + "".join(f"{1900 + year}, {4 + year}.0, {30 - year}.0\n" for year in range(8))


@pytest.fixture
def data(tmp_path):
    """A folder of data with a valid table of pelts."""
    (tmp_path / "lynx_hare").mkdir()
    (tmp_path / "lynx_hare" / "hudson-bay-lynx-hare.csv").write_text("# a comment\n" + PELTS)
    return tmp_path


def test_every_case_has_its_functions_and_a_number_of_its_own():
    assert len({case.number for case in CASES}) == len(CASES)
    for case in CASES:
        for name in filter(None, (case.run, case.read)):
            assert callable(case.function(name)), f"case {case.number}: {case.module}.{name}"


def test_cases_run_in_order_without_a_model_and_without_data(capsys):
    assert main(["twin", "validate", "--runs", "3", "--cases", "11", "6", "2", "--json"]) == 0
    out, err = capsys.readouterr()
    lynx, encounters, loop = json.loads(out)["cases"]
    assert lynx["case"] == 2 and lynx["holds"] is None, lynx
    assert lynx["ours"] == "needs DIR/lynx_hare/hudson-bay-lynx-hare.csv; name the folder with --data"
    assert (encounters["case"], encounters["study"]["runs"]) == (6, 3)
    assert loop["case"] == 11 and loop["holds"] is None and "--model" in loop["ours"]
    assert err.count("case 6:") == 2, f"no start and end of case 6 in {err!r}"


def test_the_table_says_what_each_case_must_show(capsys):
    assert main(["twin", "validate", "--runs", "3", "--cases", "6", "2"]) == 0
    table = capsys.readouterr().out
    assert "must: mean bias at most 5 %" in table and "not run" in table, table


def test_a_case_that_fails_does_not_stop_the_others(monkeypatch):
    broken = Case(98, "broken", "nothing", "walks", "no_such_function")
    encounters = next(case for case in CASES if case.number == 6)
    monkeypatch.setattr(cases, "CASES", (broken, encounters))
    result = validate(Settings(runs=3))
    failed, ran = result["cases"]
    assert failed["holds"] is False and "failed with AttributeError" in failed["ours"], failed
    assert ran["study"]["runs"] == 3
    assert "does not hold" in cases_table(result)


@pytest.mark.parametrize(
    ("prepare", "expected"),
    [
        (lambda data: data / "none", "does not exist; name the folder"),
        (lambda data: data / "lynx_hare" / "hudson-bay-lynx-hare.csv", "is a file; name the folder"),
        (lambda data: data / "lynx_hare", "has no data of these cases, such as"),
    ],
)
def test_a_wrong_folder_is_one_line(data, capsys, prepare, expected):
    assert main(["twin", "validate", "--cases", "2", "--data", str(prepare(data))]) == 2
    out, err = capsys.readouterr()
    assert not out and err.startswith("error: --data ") and expected in err and err.count("\n") == 1, err


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "is empty"),
        (b"# only a comment\n", "is empty"),
        (b"Year, Lynx\n1900, 4.0\n", "has no column Hare"),
        (b"Year, Lynx, Hare\n1900, 4.0, many\n", "column Hare"),
        (PELTS.replace(" 4.0", " -4.0").encode(), "column Lynx"),
        (PELTS.replace(" 30.0", " nan").encode(), "column Hare"),
        (PELTS.replace("1903", "1923").encode(), "the years do not follow each other"),
        (b"\x00\xff\xfe\x01" * 50, "hudson-bay-lynx-hare.csv"),
        (None, "cannot be read"),
    ],
)
def test_invalid_data_are_one_line_before_any_case_runs(data, capsys, content, expected):
    path = data / "lynx_hare" / "hudson-bay-lynx-hare.csv"
    path.unlink()
    path.mkdir() if content is None else path.write_bytes(content)
    assert main(["twin", "validate", "--cases", "6", "2", "--data", str(data)]) == 2
    out, err = capsys.readouterr()
    assert not out and err.startswith("error: ") and expected in err and err.count("\n") == 1, err


def test_a_wrong_model_is_one_line_before_any_case_runs(tmp_path, capsys):
    assert main(["twin", "validate", "--cases", "6", "--model", str(tmp_path / "none")]) == 2
    out, err = capsys.readouterr()
    assert not out and err.startswith("error: ") and "none" in err and err.count("\n") == 1, err


def test_an_unknown_case_is_named():
    with pytest.raises(UserError, match="--cases 99 is not a case; the cases are 1, 2, 3"):
        validate(cases=["6", "99"])
