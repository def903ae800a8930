"""Visitors of the page in a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import psutil
from accessibility import low_contrast, skipped_headings

_PATIENCE_MS = 60_000
# WCAG 2 at levels A and AA.
_RULES = {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}


class Server(NamedTuple):
    """A running server. url: its address. folder: its model, taxa, index and images. log: its output."""

    url: str
    folder: Path
    log: Path
    process: psutil.Process

    def memory_mb(self) -> float:
        """Resident memory of the process."""
        return self.process.memory_info().rss / 1e6

    def drawings(self) -> list[Path]:
        """Images of the server's folder."""
        return sorted((self.folder / "drawings").glob("*.jpg"))

    def uploads(self) -> Path:
        """Folder of temporary files, uploads included."""
        return Path(self.process.environ()["TMPDIR"])


class Visit:
    """A visitor's browser context. elsewhere: requests to other hosts. problems: errors in the browser."""

    def __init__(self, context, url: str, watched: bool, query: str = "") -> None:
        self.elsewhere: list[str] = []
        self.problems: list[str] = []
        self.context = context
        self.page = context.new_page()
        self.page.set_default_timeout(_PATIENCE_MS)
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("console", lambda message: self._on_console(message.type, message.text))
        self.page.on("response", lambda response: self._on_response(response.status, response.url))

        def same_origin(route) -> None:
            if route.request.url.startswith((url, "data:", "blob:")):
                route.continue_()
            else:
                self.elsewhere.append(route.request.url)
                route.abort()

        # Chromium cannot pass bodies of hundreds of megabytes through a route.
        if watched:
            context.route("**/*", same_origin)
        # Playwright begins to catch file choosers in the background, so let it begin before any press.
        self.page.on("filechooser", lambda chooser: None)
        self.page.goto(url + query)
        self.page.locator("#bj-drop input[type=file]").wait_for(state="attached")

    def _on_console(self, kind: str, text: str) -> None:
        # _on_response sees failed responses, with their URLs.
        if kind == "error" and text != "Response" and not text.startswith("Failed to load resource"):
            self.problems.append(text)

    def _on_response(self, status: int, url: str) -> None:
        # Gradio requests the progress of finished uploads too.
        if status >= 400 and "/upload_progress" not in url:
            self.problems.append(f"{status} {url}")

    def drop(self, *files) -> None:
        self.page.locator("#bj-drop input[type=file]").set_input_files(list(files))

    def tab(self, name: str) -> None:
        self.page.get_by_role("tab", name=name).click()

    def said(self, text: str) -> None:
        """Wait for a sentence of the status line."""
        self.page.locator("#bj-status", has_text=text).wait_for()

    def keep(self, path: Path, full: bool = True) -> None:
        """Check that the page fits, is readable and accessible, and take a screenshot."""
        from axe_playwright_python.sync_playwright import Axe

        # Wait for transitions of colors.
        self.page.wait_for_function("document.getAnimations().every((one) => one.playState != 'running')")
        assert self.fits(), path.name
        assert not low_contrast(self.page), path.name
        assert not skipped_headings(self.page), path.name
        results = Axe().run(self.page, options={"runOnly": _RULES, "resultTypes": ["violations"]})
        found = [
            f"{one['id']}: {node['html'][:160]} {node['any'][:1]}"
            for one in results.response["violations"]
            for node in one["nodes"]
        ]
        assert not found, (path.name, found)
        self.page.screenshot(path=path, full_page=full, animations="disabled")

    def focused(self) -> dict[str, Any]:
        """Class, tag and data of the focused element."""
        return self.page.evaluate(
            "(({className, tagName, dataset}) => ({className, tagName, ...dataset}))(document.activeElement)"
        )

    def see(self, selector: str):
        """Locator of the selector, once its first element is visible."""
        locator = self.page.locator(selector)
        locator.first.wait_for()
        return locator

    def fits(self) -> bool:
        """Return True if nothing overflows sideways and every picture is loaded."""
        pictures = "[...document.images].every((image) => !image.complete || image.naturalWidth > 0)"
        width = self.page.viewport_size["width"]
        return self.page.evaluate("document.documentElement.scrollWidth") == width and self.page.evaluate(
            pictures
        )


@contextmanager
def visiting(
    browser,
    server,
    width: int = 1280,
    scheme: str = "light",
    watched: bool = True,
    locale: str = "en-US",
    query: str = "",
) -> Iterator[Visit]:
    """Open the page, as on a phone below 500 pixels; check at the end that nothing went wrong."""
    phone = width < 500
    context = browser.new_context(
        viewport={"width": width, "height": 844 if phone else 900},
        color_scheme=scheme,
        locale=locale,
        has_touch=phone,
        is_mobile=phone,
    )
    try:
        visit = Visit(context, server.url, watched, query)
        yield visit
        assert not visit.elsewhere, f"requests to other hosts: {visit.elsewhere}"
        assert not visit.problems, visit.problems
    finally:
        context.close()
