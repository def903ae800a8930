"""Fixtures of the page: a real server in its own process."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest
from PIL import Image

if TYPE_CHECKING:
    from twin_visits import TwinServed
    from visits import Server

_START_SECONDS = 240


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    pytest.importorskip("gradio", reason="the page needs the extra [web]")
    pytest.importorskip("lancedb", reason="similar images need the extra [search]")
    from visits import Server

    folder = tmp_path_factory.mktemp("server")
    log, temporary = folder / "log", folder / "tmp"
    temporary.mkdir()
    environment = os.environ | {"TMPDIR": str(temporary), "XDG_CACHE_HOME": str(folder / "cache")}
    with open(log, "wb") as file:
        command = [sys.executable, str(Path(__file__).with_name("web_server.py")), str(folder)]
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, env=environment)
    try:
        yield Server(_address(process, log), folder, log, psutil.Process(process.pid))
    finally:
        process.terminate()
        process.wait(30)
    assert not any(temporary.iterdir()), "uploads remain after the end"


def _address(process: subprocess.Popen, log: Path) -> str:
    """Wait until the server prints its address."""
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if address := re.search(r"http://\S+", log.read_text()):
            return address[0]
        if process.poll() is not None:
            break
        time.sleep(0.2)
    raise AssertionError(f"the server did not start:\n{log.read_text()}")


@pytest.fixture(scope="session")
def address() -> Callable[[subprocess.Popen, Path], str]:
    """Function from a server's process and its log to the printed address."""
    return _address


@pytest.fixture(scope="session")
def hostile_files() -> dict[str, bytes]:
    """Files that are not photos, by name."""
    jpeg = io.BytesIO()
    Image.linear_gradient("L").resize((400, 300)).save(jpeg, "JPEG")
    return {
        "empty.jpg": b"",
        "drawing.svg": b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'><rect width='9' "
        b"height='9'/></svg>",
        "drawing.jpg": b"<?xml version='1.0'?><svg xmlns='http://www.w3.org/2000/svg'/>",
        "program.jpg": b"\x7fELF" + bytes(4000),
        "letter.png": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(/etc/passwd) (r) file\n",
        "half.jpg": jpeg.getvalue()[: len(jpeg.getvalue()) // 2],
        "bomb.png": bomb(20_000),
        "smaller_bomb.png": bomb(11_000),
        "large.jpg": bytes(50_000_000),
    }


def bomb(side: int) -> bytes:
    """Decompression bomb: a PNG of a few kB with side x side pixels."""
    file = io.BytesIO()
    Image.new("1", (side, side)).save(file, "PNG", compress_level=9)
    return file.getvalue()


@pytest.fixture(scope="session")
def twin_served(address, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TwinServed]:
    pytest.importorskip("gradio", reason="the page needs the extra [web]")
    from twin_visits import TwinServed, Waiting, wait_for

    folder = tmp_path_factory.mktemp("twin_server")
    log = folder / "log"
    with open(log, "wb") as file:
        command = [sys.executable, str(Path(__file__).with_name("twin_server.py")), str(folder)]
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)
    try:
        url = address(process, log)
        wait_for(lambda: "photo page is at" in log.read_text())
        port = re.search(r"photo page is at port (\d+)", log.read_text())[1]
        yield TwinServed(url, f"http://127.0.0.1:{port}", folder, log)
        # Ctrl-C while a visitor waits.
        (folder / "hold").touch()
        wait_for((folder / "held").exists)
        waiting = Waiting(TwinServed(url, "", folder, log), "10.0.0.9", 77)
        wait_for(lambda: bool(waiting.places()))
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0, log.read_text()
        waiting.end()
        assert "Traceback" not in log.read_text() and "BLOCKED" not in log.read_text(), log.read_text()
    finally:
        process.kill()
        process.wait(30)
