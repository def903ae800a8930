"""Progress bars on a terminal's standard error, never among results."""

import os
import pty
import subprocess
import sys

import pytest

from bioclip_jax.errors import UserError
from bioclip_jax.predict.progress import FailureLog

CODE = """
import sys
from bioclip_jax.predict.progress import track
from bioclip_jax.predict.results import write_rows
done = 4 if sys.argv[1] == "resumed" else 0
rows = track(range(3), "counting", done + 3, results_on_stdout=sys.argv[1] == "results", done=done)
rows = ({"n": n} for n in rows)
write_rows(rows, "csv")
"""


def run(stdout_is_terminal: bool, kind: str) -> tuple[str, str]:
    """Count to three in a process; return its standard output, and its standard error on a terminal."""
    reader, terminal = pty.openpty()
    out = terminal if stdout_is_terminal else subprocess.PIPE
    process = subprocess.run([sys.executable, "-c", CODE, kind], stdout=out, stderr=terminal, timeout=60)
    os.close(terminal)
    shown = b""
    try:
        while part := os.read(reader, 4096):
            shown += part
    except OSError:  # Linux's error for a terminal without a writer
        pass
    os.close(reader)
    assert process.returncode == 0, shown.decode()
    return (process.stdout or b"").decode(), shown.decode()


def test_results_go_to_the_pipe_and_the_bar_to_the_terminal():
    results, terminal = run(stdout_is_terminal=False, kind="results")
    assert results == "n\n0\n1\n2\n"
    assert "counting" in terminal


def test_no_bar_among_results_on_a_terminal():
    _, terminal = run(stdout_is_terminal=True, kind="results")
    assert terminal.split() == ["n", "0", "1", "2"]
    assert "counting" in run(stdout_is_terminal=True, kind="other")[1]


def test_a_resumed_bar_ends_at_the_full_count():
    _, terminal = run(stdout_is_terminal=False, kind="resumed")
    assert terminal.count("7/7") >= 1, f"the bar's last state is another: {terminal!r}"
    assert "3/7" not in terminal, "it counts the images of this run only"


def test_failures_are_reported_until_no_image_is_left(capsys):
    failures = FailureLog(2)
    failures(0, UserError("a.jpg cannot be read"))
    assert capsys.readouterr().err == "skipped: a.jpg cannot be read\n"
    with pytest.raises(UserError, match="none of the 2"):
        failures(1, UserError("b.jpg cannot be read"))
    with pytest.raises(UserError, match="only.jpg"):
        FailureLog(1)(0, UserError("only.jpg cannot be read"))
