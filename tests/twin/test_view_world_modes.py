"""The views of the living world in the page of a run: by keys and touch, in two languages, day and night."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

PATIENCE_MS = 90_000
KEYS = ("ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "Enter", "n", "Backspace")


@contextmanager
def opened(browser: Any, path: Path, query: str, **options: Any) -> Iterator[Any]:
    """A page on a view of the world whose scene is drawn; fails on errors of its script."""
    problems: list[str] = []
    context = browser.new_context(**{"locale": "en-US", "viewport": {"width": 640, "height": 480}} | options)
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: _note(problems, message))
    page.goto(f"{path.as_uri()}?start=0&{query}")
    page.locator(".world-stage canvas").wait_for()
    page.locator(".world-note").wait_for(state="hidden")
    yield page
    context.close()
    assert not problems, problems


def _note(problems: list[str], message: Any) -> None:
    # Software rendering is slow and says so.
    if message.type in ("error", "warning") and "WebGL" not in message.text:
        problems.append(message.text)


def frames(page: Any, count: int = 3) -> None:
    """Wait until the page has drawn so many frames."""
    page.evaluate(
        "count => new Promise((done) => {"
        " const step = () => (count-- > 0 ? requestAnimationFrame(step) : done()); step(); })",
        count,
    )


def test_world_follows_animals_by_keys_and_by_touch(browser: Any, page_file: Path) -> None:
    with opened(browser, page_file, "view=world&hour=noon") as page:
        name = page.locator(".world-name").inner_text()
        assert name, "no animal is followed"
        page.locator(".stage").focus()
        for key in KEYS:
            page.keyboard.press(key)
        frames(page)
        page.keyboard.press("n")
        frames(page)
        assert page.locator(".world-name").inner_text() != name, "the key n follows no other animal"
        page.locator(".control.next").click()
        page.mouse.move(300, 300)
        page.mouse.down()
        page.mouse.move(360, 310)
        page.mouse.up()
        page.mouse.wheel(0, 200)
        frames(page)
        page.locator(".tool.hour").click()
        frames(page)
        page.locator(".world-note").wait_for(state="hidden")


@pytest.mark.parametrize(("view", "hour"), [("herd", "dusk"), ("lion", "night")])
def test_views_of_hunter_and_hunted_in_french_without_motion(
    browser: Any, page_file: Path, view: str, hour: str
) -> None:
    query = f"view={view}&hour={hour}&lang=fr"
    with opened(browser, page_file, query, reduced_motion="reduce") as page:
        page.locator(".stage").focus()
        for key in KEYS:
            page.keyboard.press(key)
            frames(page, 1)
        card = page.locator(".world-card")
        if card.is_visible():
            assert card.inner_text().strip(), f"the view {view} asks and says nothing"
        assert "{" not in page.locator(".world-stage").inner_text(), "a text has a gap that is not filled"
        page.locator("#tab-map").click()
        page.locator(".world-stage").wait_for(state="detached")
