"""How much the server takes on, and what it says when that is too much."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from bioclip_jax.errors import UserError


@dataclass(frozen=True)
class Limits:
    """What one request may bring.

    file_mb: megabytes of one file. files: files of one request, and photos that a page holds. request_mb:
    megabytes of all files of a request. waiting: requests that may wait for the model. labels: labels to
    choose from, of at most label_length characters each.
    """

    file_mb: int = 20
    files: int = 100
    request_mb: int = 200
    waiting: int = 16
    labels: int = 100
    label_length: int = 120


class Busy(UserError):
    """Too many wait for the model already; the same request may go through a little later."""


class Turns:
    """Lets one at a time work with the model, and only so many wait for it.

    Decoding is part of a turn, so that the largest pictures of many people are never in memory together.
    """

    def __init__(self, waiting: int) -> None:
        self._most = waiting + 1
        self._present = 0
        self._counting = threading.Lock()
        self._model = threading.Lock()

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Waits for the model and holds it. Busy where too many wait already."""
        with self._counting:
            if self._present >= self._most:
                raise Busy(f"the server is busy with {self._present} requests; try again in a few seconds")
            self._present += 1
        try:
            with self._model:
                yield
        finally:
            with self._counting:
                self._present -= 1
