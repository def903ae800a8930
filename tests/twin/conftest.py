"""A run of the small twin and its page, made once, and modules of the page alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from made_run import Exported, export_small_world

from bioclip_jax.twin.view import bundle_scripts, three_js


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """The world with planted secrets, its run, and its page."""
    return export_small_world(tmp_path_factory.mktemp("exported"))


@pytest.fixture(scope="session")
def page_file(exported: Exported) -> Path:
    """The page that visitors get."""
    return exported.page


@pytest.fixture(scope="module")
def run_module(browser) -> Iterator[Callable[..., Any]]:
    """Function from a module of the page, a script that follows it, and a body to a page that runs both."""
    three = three_js()
    if three is None:
        pytest.skip("three.js is not installed")
    problems: list[str] = []
    pages = []

    def run(entry: str, bench: str, body: str = "") -> Any:
        script = bundle_scripts(entry).replace("\n})();\n", bench + "\n})();\n")
        page = browser.new_page()
        pages.append(page)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.set_content(f"{body}<script>{three.script}</script><script>{script}</script>")
        assert not problems, problems
        return page

    yield run
    assert not problems, problems
    for page in pages:
        page.close()
