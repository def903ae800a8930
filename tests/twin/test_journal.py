"""The journal of an interrupted estimate."""

from __future__ import annotations

import pytest
from made_package import made_package, seen

from bioclip_jax.errors import Interrupted, UserError
from bioclip_jax.twin.estimate.journal import Journal, inputs_digest


def _interrupted(output, digest: str, *, torn: bool = False) -> None:
    with (
        pytest.raises(Interrupted, match="2 finished species are kept"),
        Journal.open(output, digest) as journal,
    ):
        journal.add("Vulpes vulpes", {"mean": 0.5})
        journal.add("Lepus europaeus", {})
        raise KeyboardInterrupt
    if torn:
        with open(output.with_name(".out.partial"), "ab") as file:
            file.write(b'["Sus scrofa", {"me')


@pytest.mark.parametrize("torn", [False, True])
def test_finished_species_survive_an_interruption(tmp_path, torn):
    output = tmp_path / "out"
    _interrupted(output, "digest", torn=torn)
    with Journal.open(output, "digest") as journal:
        assert journal.get("Vulpes vulpes") == {"mean": 0.5}
        assert journal.get("Lepus europaeus") == {}
        assert journal.get("Sus scrofa") is None, "a torn line is no result"
        journal.add("Sus scrofa", {"mean": 0.1})
    assert not list(tmp_path.iterdir()), "a finished run leaves no journal"


def test_other_inputs_start_anew(tmp_path):
    _interrupted(tmp_path / "out", "digest")
    with Journal.open(tmp_path / "out", "another") as journal:
        assert journal.get("Vulpes vulpes") is None


def test_two_processes_do_not_write_the_same_output(tmp_path):
    with (
        Journal.open(tmp_path / "out", "digest"),
        pytest.raises(UserError, match="another process is writing"),
    ):
        Journal.open(tmp_path / "out", "digest").__enter__()


def test_a_user_error_removes_the_journal(tmp_path):
    with pytest.raises(UserError, match="wrong"), Journal.open(tmp_path / "out", "digest"):
        raise UserError("wrong")
    assert not list(tmp_path.iterdir())


def test_the_digest_is_of_tables_files_and_options(tmp_path):
    package = made_package([seen("a1", "e1", "2025-06-01T20:00:00Z", "Vulpes vulpes")])
    for name in ("a", "b"):
        (tmp_path / name).write_text("1")
    first = inputs_digest(package, {"--movement": tmp_path / "a", "--sensitive": None}, "options")
    assert inputs_digest(package, {"--movement": tmp_path / "b", "--sensitive": None}, "options") == first
    assert inputs_digest(package, {"--movement": tmp_path / "a", "--sensitive": None}, "others") != first
    other = made_package([seen("a1", "e1", "2025-06-01T20:00:01Z", "Vulpes vulpes")])
    assert inputs_digest(other, {"--movement": tmp_path / "a", "--sensitive": None}, "options") != first
    (tmp_path / "a").write_text("2")
    assert inputs_digest(package, {"--movement": tmp_path / "a", "--sensitive": None}, "options") != first
