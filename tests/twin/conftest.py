"""A run of the small twin and its page, made once."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_run import Exported, export_small_world


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """The world with planted secrets, its run, and its page."""
    return export_small_world(tmp_path_factory.mktemp("exported"))


@pytest.fixture(scope="session")
def page_file(exported: Exported) -> Path:
    """The page that visitors get."""
    return exported.page
