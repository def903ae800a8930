"""Visitors of the served page of a twin, without a browser."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx

PATIENCE_S = 120


class TwinServed(NamedTuple):
    """A running server. other: address of the photo page with a link to it."""

    url: str
    other: str
    folder: Path
    log: Path

    def ask(
        self, *events: dict[str, Any], visitor: str = "10.0.0.1", path: str = "what-if"
    ) -> httpx.Response:
        """Ask for a simulation, from an address behind a proxy."""
        content = {"events": list(events)}
        headers = {"X-Forwarded-For": visitor}
        return httpx.post(f"{self.url}/{path}", json=content, headers=headers, timeout=PATIENCE_S)

    def result(self, *events: dict[str, Any], path: str = "what-if") -> dict[str, Any]:
        """What the page adds for a simulation."""
        lines = [json.loads(line) for line in self.ask(*events, path=path).text.splitlines()]
        assert "result" in lines[-1], lines
        return lines[-1]["result"]

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep all simulations waiting."""
        (self.folder / "hold").touch()
        wait_for((self.folder / "held").exists)
        try:
            yield
        finally:
            (self.folder / "hold").unlink(missing_ok=True)
            wait_for(lambda: not (self.folder / "held").exists())


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "the server does not get there"
        time.sleep(0.02)


class Waiting:
    """A request that is waiting; messages: of its lines so far."""

    def __init__(self, served: TwinServed, visitor: str, percent: int) -> None:
        self.messages: list[dict[str, Any]] = []
        self._arguments = served, visitor, percent
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        served, visitor, percent = self._arguments
        event = {"kind": "rain", "percent": percent, "from": 1, "to": 1}
        options = {"json": {"events": [event]}, "headers": {"X-Forwarded-For": visitor}}
        with httpx.stream("POST", f"{served.url}/what-if", timeout=PATIENCE_S, **options) as response:
            for line in response.iter_lines():
                self.messages.append(json.loads(line))

    def places(self) -> list[int]:
        return [message["place"] for message in self.messages if "place" in message]

    def end(self) -> None:
        self._thread.join(PATIENCE_S)
