"""launch/twin.sh: a model that does not exist is reported before anything is installed or drawn."""

import os
import subprocess
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[2] / "launch" / "twin.sh"


def test_a_missing_model_is_reported_before_any_work(tmp_path):
    environment = os.environ | {"MODEL": "missing/run"}
    done = subprocess.run(
        ["bash", SCRIPT, "out"], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr == (
        f"error: MODEL is {tmp_path}/missing/run, which does not exist; give a training directory, or none\n"
    )
    assert not list(tmp_path.iterdir()), "something was written"
