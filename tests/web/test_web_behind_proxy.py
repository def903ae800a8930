"""The command `serve` behind a reverse proxy: under a path and another host, with its own folder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest
from reverse_proxy import Proxy

HOST = "photos.example"


class Served(NamedTuple):
    """A server behind a proxy. url: public address. port: the server's own. log: its output."""

    url: str
    proxy: Proxy
    port: int
    log: Path
    process: subprocess.Popen


@pytest.fixture(scope="module")
def served(server, address, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Run `serve --index` without a model, on images of which some are unreadable."""
    folder = tmp_path_factory.mktemp("proxied")
    images = folder / "images"
    images.mkdir()
    for i, drawing in enumerate(server.drawings()[:8]):
        (images / f"{i}.jpg").write_bytes(drawing.read_bytes())
    (images / "0-cut.jpg").write_bytes(server.drawings()[0].read_bytes()[:900])
    (images / "0-none.jpg").symlink_to(folder / "nowhere.jpg")
    (images / "3-text.jpg").write_bytes(b"no picture")
    subset = folder / "subset.csv"
    subset.write_text("phylum\nArthropoda\nChordata\nBasidiomycota\nNothing\n")
    log = folder / "log"
    with Proxy("/bio", {"Host": HOST}) as proxy:
        url = f"http://{HOST}:{proxy.port}/bio"
        serve = [
            "serve",
            "--index",
            server.folder / "index",
            "--images",
            images,
            "--subset",
            subset,
            "--skip-unknown",
        ]
        more = ["--within", "Animalia", "--temperature", "2", "--root-path", url, "--port", "0"]
        command = [sys.executable, "-m", "bioclip_jax.cli", *map(str, [*serve, *more])]
        environment = os.environ | {"TMPDIR": str(folder), "XDG_CACHE_HOME": str(server.folder / "cache")}
        with open(log, "wb") as file:
            process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, env=environment)
        try:
            proxy.upstream = int(address(process, log).rsplit(":", 1)[1])
            yield Served(url, proxy, proxy.upstream, log, process)
        finally:
            process.kill()
            process.wait(30)


def test_model_of_the_index_and_selected_taxa(server, served):
    about = httpx.get(f"http://127.0.0.1:{served.proxy.port}/bio/api").json()
    every = httpx.get(server.url + "/api").json()
    assert about["model"] == every["model"] and about["fingerprint"] == every["fingerprint"]
    assert 0 < about["taxa"] < every["taxa"]
    drawing = server.drawings()[0].read_bytes()

    def scores(url: str) -> dict[str, float]:
        response = httpx.post(f"{url}/api/predict?k=100", files={"file": ("a.jpg", drawing)}, timeout=120)
        rows = response.json()["results"][0]["predictions"]
        assert {row["phylum"] for row in rows} <= {"Arthropoda", "Chordata"} or url == server.url, rows
        return {row["species"]: row["score"] for row in rows}

    selected, everything = scores(f"http://127.0.0.1:{served.proxy.port}/bio"), scores(server.url)
    # Temperature 2 takes the square root of ratios of scores, for any selection of taxa.
    first, second = list(selected)[:2]
    ratio = everything[first] / everything[second]
    assert selected[first] / selected[second] == pytest.approx(ratio**0.5, rel=1e-3)


def test_unreadable_examples_are_skipped_and_reported(served):
    log = served.log.read_text()
    (line,) = [line for line in log.splitlines() if "skipped unreadable images as examples" in line]
    assert "0-cut.jpg" in line or "0-none.jpg" in line or "3-text.jpg" in line
    assert "Traceback" not in log
    page = httpx.get(f"http://127.0.0.1:{served.proxy.port}/bio/config").json()
    buttons = [
        block for block in page["components"] if str(block["props"].get("elem_id")).startswith("bj-example-")
    ]
    assert len(buttons) == 6


def test_page_works_under_its_path(browser, server, served):
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    errors: list[str] = []
    page.on("response", lambda it: it.status >= 400 and errors.append(f"{it.status} {it.url}"))
    page.on("pageerror", lambda error: errors.append(str(error)))
    # Without the last slash, as people type it.
    page.goto(served.url)
    page.locator("#bj-drop input[type=file]").set_input_files(server.drawings()[0])
    page.locator(".bj-photo").first.wait_for()
    assert "within Animalia" in page.locator(".bj-title").inner_text()
    page.get_by_role("tab", name="Map").click()
    page.wait_for_function("[...document.querySelectorAll('.bj-point img')].length == 8", timeout=60_000)
    page.wait_for_function(
        "[...document.querySelectorAll('.bj-point img')].every((one) => one.naturalWidth > 0)"
    )
    page.get_by_text("Use from a program").click()
    page.wait_for_function(f"document.querySelector('.bj-address').textContent == '{served.url}'")
    # Gradio requests the progress of finished uploads, and the manifest of a progressive web app.
    expected = ("/upload_progress", "manifest.json")
    assert not [error for error in errors if not any(part in error for part in expected)], errors

    other = httpx.get(f"http://127.0.0.1:{served.port}/api", headers={"Host": "evil.example"})
    assert other.status_code == 403 and "--root-path" in other.json()["error"]

    # Ctrl-C while the page is open.
    served.process.send_signal(signal.SIGINT)
    assert served.process.wait(30) == 0
    context.close()
    log = served.log.read_text()
    assert "Traceback" not in log and "Error" not in log and "ERROR" not in log, log
