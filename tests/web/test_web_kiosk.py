"""The page of a museum: camera, large type, no ways out, and a fresh start after a visitor has left."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from visits import Server, visiting

pytest.importorskip("gradio", reason="the page needs the extra [web]")


@pytest.fixture(scope="module")
def kiosk(server, address, tmp_path_factory: pytest.TempPathFactory):
    log = tmp_path_factory.mktemp("kiosk") / "log"
    options = [
        "--model",
        server.folder / "small",
        "--kiosk",
        "12",
        "--port",
        "0",
        "--images",
        server.folder / "drawings",
    ]
    command = [sys.executable, "-m", "bioclip_jax.cli", "serve", *map(str, options)]
    with open(log, "wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, env=os.environ)
    try:
        yield Server(address(process, log), server.folder, log, process)
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture(scope="module")
def camera_browser(chromium: str, browser):
    """Chromium with a camera that shows a test pattern."""
    arguments = ["--no-sandbox", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    other = browser.browser_type.launch(executable_path=chromium, args=arguments)
    yield other
    other.close()


def test_only_a_kiosk_may_use_the_camera(server, kiosk):
    assert "camera=()" in httpx.get(server.url).headers["permissions-policy"]
    assert "camera=(self)" in httpx.get(kiosk.url).headers["permissions-policy"]


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_a_visit_of_a_kiosk(camera_browser, kiosk, artefacts: Path, width: int, scheme: str):
    with visiting(camera_browser, kiosk, width, scheme) as visit:
        page = visit.page
        start = page.get_by_role("button", name="Take a photo").filter(visible=True)
        start.wait_for()
        assert start.bounding_box()["height"] >= 100
        visit.keep(artefacts / f"kiosk-{width}-{scheme}.png", full=False)
        start.click()
        page.locator("#bj-camera video").wait_for()
        page.get_by_role("button", name="Take the photo").click()
        visit.see(".bj-photo")
        assert not page.get_by_role("link").filter(visible=True).count(), "a kiosk has no links and downloads"
        assert not page.get_by_role("tab").filter(visible=True).count()
        small = page.locator("button:visible, select:visible").evaluate_all(
            "(all) => all.filter((one) => one.closest('.gradio-container') && !one.matches('.bj-open'))"
            ".map((one) => [one.className, one.getBoundingClientRect().height])"
            ".filter(([, height]) => height < 60)"
        )
        assert not small, small
        visit.keep(artefacts / f"kiosk-named-{width}-{scheme}.png", full=False)
        # Nobody is here: the page asks, and then forgets.
        page.locator("#bj-idle[open]").wait_for()
        page.get_by_role("button", name="I am still here").click()
        page.locator("#bj-idle[open]").wait_for(state="hidden")
        assert page.locator(".bj-photo").count() == 1
        page.locator(".bj-photo").first.wait_for(state="detached")
        start.wait_for()
        visit.problems.clear()
