"""The map of the code: every file that it names exists, and every room has a row."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "bioclip_jax"
MAP = (PACKAGE / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`([\w./]+(?:\.py|\.yaml|\.sh|/))`", MAP))))
def test_named_files_exist(name):
    homes = (PACKAGE, ROOT, PACKAGE / "pipeline")  # images/ and sources/ are named in their room's row
    assert any((home / name).exists() for home in (*homes, PACKAGE / "predict")), f"{name} does not exist"


def test_every_room_is_on_the_map():
    rooms = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    missing = sorted(room for room in rooms if f"`{room}/`" not in MAP)
    assert not missing, f"bioclip_jax/README.md has no row for {missing}"
