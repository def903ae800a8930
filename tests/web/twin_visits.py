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
LION = "Panthera leo"
NO_LIONS = {"kind": "remove", "species": LION, "percent": 100, "year": 2}
HUNTING = {"kind": "harvest", "species": "Equus quagga", "percent": 50, "from": 2, "to": 2}
MORE_LIONS = {"kind": "introduce", "species": LION, "patch": "C", "individuals": 30, "year": 1}
FENCE = {"kind": "fence", "patches": ["C"], "from": 1, "to": 2}
ORDINARY_RAIN = {"kind": "rain", "percent": 100, "from": 1, "to": 2}
# Bodies of requests that are no scenario.
HOSTILE = {
    "no JSON": b"",
    "half": b'{"events": [',
    "nested": b"[" * 9_000,
    "NaN": b'{"events": [{"kind": "rain", "percent": NaN, "from": 1, "to": 1}]}',
    "infinity": b'{"events": [{"kind": "rain", "percent": 1e999, "from": 1, "to": 1}]}',
    "long number": b'{"events": [{"kind": "rain", "percent": ' + b"9" * 5000 + b', "from": 1, "to": 1}]}',
    "fraction": b'{"events": [{"kind": "rain", "percent": 50.5, "from": 1, "to": 1}]}',
    "bytes": b"\xff\xfe\x00",
    "a number": b"7",
    "no list": b'{"events": {}}',
    "no events": b'{"events": []}',
    "more than events": b'{"events": [{"kind": "fence"}], "seed": 3}',
    "many": json.dumps({"events": [ORDINARY_RAIN] * 5}).encode(),
    "no event": b'{"events": ["remove"]}',
    "kind": b'{"events": [{"kind": "__class__"}]}',
    "series": b'{"events": [{"kind": "rain", "series": "/etc/passwd"}]}',
    "species": json.dumps({"events": [NO_LIONS | {"species": "Tyrannosaurus rex"}]}).encode(),
    "species list": json.dumps({"events": [NO_LIONS | {"species": [LION]}]}).encode(),
    "plant set free": b'{"events": [{"kind": "introduce", "species": "Themeda triandra", "patch": "A", '
    b'"individuals": 1, "year": 1}]}',
    "area": b'{"events": [{"kind": "fence", "patches": ["../A"], "from": 1, "to": 1}]}',
    "all areas": b'{"events": [{"kind": "fence", "patches": ["A", "B", "C"], "from": 1, "to": 1}]}',
    "year": json.dumps({"events": [NO_LIONS | {"year": 3}]}).encode(),
    "truth": json.dumps({"events": [NO_LIONS | {"year": True}]}).encode(),
    "backwards": json.dumps({"events": [ORDINARY_RAIN | {"from": 2, "to": 1}]}).encode(),
    "two rains": json.dumps({"events": [ORDINARY_RAIN, ORDINARY_RAIN]}).encode(),
}  # fmt: skip


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
        """Additions of the page for a simulation."""
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
