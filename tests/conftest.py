"""Eight CPU devices for every test, and the shared photographs where they lie beside the repository."""

from __future__ import annotations

import os
from pathlib import Path

os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8"
os.environ["JAX_PLATFORMS"] = "cpu"

import pytest

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if SHARED_DATA.is_dir():
        return
    kept = [item for item in items if item.get_closest_marker("shared_data") is None]
    without = len(items) - len(kept)
    if without:
        print(f"\n{SHARED_DATA} is not there: {without} tests on real photographs are left out")
        config.hook.pytest_deselected(items=[item for item in items if item not in kept])
        items[:] = kept


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real photographs, tars and taxa."""
    return SHARED_DATA
