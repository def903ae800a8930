"""The page as `serve` starts it for a proxy: below a path, for a host of another name, with a folder of its own."""

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
from stripping_proxy import Proxy

HOST = "photos.example"


class Shown(NamedTuple):
    """url: the page's, as visitors know it. port: the server's own. log: what it has written. process: it."""

    url: str
    proxy: Proxy
    port: int
    log: Path
    process: subprocess.Popen


@pytest.fixture(scope="module")
def shown(server, address, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    """`serve --index` without a model, and with images of which some cannot be read."""
    folder = tmp_path_factory.mktemp("proxied")
    images = folder / "images"
    images.mkdir()
    for place, drawing in enumerate(server.drawings()[:8]):
        (images / f"{place}.jpg").write_bytes(drawing.read_bytes())
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
            yield Shown(url, proxy, proxy.upstream, log, process)
        finally:
            process.kill()
            process.wait(30)


def test_it_takes_the_model_of_the_index_and_the_chosen_taxa(server, shown):
    about = httpx.get(f"http://127.0.0.1:{shown.proxy.port}/bio/api").json()
    every = httpx.get(server.url + "/api").json()
    assert about["model"] == every["model"] and about["fingerprint"] == every["fingerprint"]
    assert 0 < about["taxa"] < every["taxa"]
    drawing = server.drawings()[0].read_bytes()

    def scores(url: str) -> dict[str, float]:
        answer = httpx.post(
            f"{url}/api/predict?k=100", files={"file": ("a.jpg", drawing)}, timeout=120
        ).json()
        rows = answer["results"][0]["predictions"]
        assert {row["phylum"] for row in rows} <= {"Arthropoda", "Chordata"} or url == server.url, rows
        return {row["species"]: row["score"] for row in rows}

    ours, all_of_them = scores(f"http://127.0.0.1:{shown.proxy.port}/bio"), scores(server.url)
    # At temperature 2 the ratio of two scores is the square root of what it was, whatever else is possible.
    first, second = list(ours)[:2]
    assert ours[first] / ours[second] == pytest.approx(
        (all_of_them[first] / all_of_them[second]) ** 0.5, rel=1e-3
    )


def test_unreadable_examples_are_skipped_and_told(shown):
    log = shown.log.read_text()
    (line,) = [line for line in log.splitlines() if "no example of unreadable images" in line]
    assert "0-cut.jpg" in line or "0-none.jpg" in line or "3-text.jpg" in line
    assert "Traceback" not in log
    page = httpx.get(f"http://127.0.0.1:{shown.proxy.port}/bio/config").json()
    buttons = [
        block for block in page["components"] if str(block["props"].get("elem_id")).startswith("bj-example-")
    ]
    assert len(buttons) == 6


def test_the_page_works_below_its_path(browser, server, shown):
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    wrong: list[str] = []
    page.on("response", lambda answer: answer.status >= 400 and wrong.append(f"{answer.status} {answer.url}"))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    # Without the last slash, as people type it.
    page.goto(shown.url)
    page.locator("#bj-drop input[type=file]").set_input_files(server.drawings()[0])
    page.locator(".bj-photo").first.wait_for()
    assert "within Animalia" in page.locator(".bj-title").inner_text()
    page.get_by_role("tab", name="Map").click()
    page.wait_for_function("[...document.querySelectorAll('.bj-point img')].length == 8", timeout=60_000)
    page.wait_for_function(
        "[...document.querySelectorAll('.bj-point img')].every((one) => one.naturalWidth > 0)"
    )
    page.get_by_text("Ask from a program").click()
    page.wait_for_function(f"document.querySelector('.bj-address').textContent == '{shown.url}'")
    # Gradio asks how far an upload is even when it is over, and for a manifest of an app that this is not.
    assert not [one for one in wrong if "/upload_progress" not in one and "manifest.json" not in one], wrong

    other = httpx.get(f"http://127.0.0.1:{shown.port}/api", headers={"Host": "evil.example"})
    assert other.status_code == 403 and "--root-path" in other.json()["error"]

    # Ctrl-C while the page is open.
    shown.process.send_signal(signal.SIGINT)
    assert shown.process.wait(30) == 0
    context.close()
    log = shown.log.read_text()
    assert "Traceback" not in log and "Error" not in log and "ERROR" not in log, log
