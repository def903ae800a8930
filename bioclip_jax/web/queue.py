"""A queue of requests that are served one at a time."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from .language import VisitorError

# A waiting request is asked this often if it is still wanted.
_ASK_SECONDS = 1.0


class Busy(VisitorError):
    """Error for a full queue; the same request may succeed a little later."""


class RequestQueue:
    """Lock with a bounded number of waiting requests, which take their turns as they came.

    Photos are decoded under the lock of their model too, so that large ones are never in memory together.
    """

    def __init__(self, max_waiting: int) -> None:
        self._max_present = max_waiting + 1
        self._line: deque[object] = deque()
        self._changed = threading.Condition()

    @property
    def present(self) -> int:
        """Number of requests that wait or hold the lock."""
        with self._changed:
            return len(self._line)

    @contextmanager
    def turn(self, on_wait: Callable[[int], None] | None = None) -> Iterator[None]:
        """Wait for the lock and hold it. Raises Busy if the queue is full.

        on_wait: called with the number of requests before this one, about once a second; what it raises
        takes the request out of the queue.
        """
        ticket = object()
        with self._changed:
            if len(self._line) >= self._max_present:
                raise Busy("busy", count=len(self._line))
            self._line.append(ticket)
        try:
            while before := self._before(ticket):
                if on_wait is not None:
                    on_wait(before)
                with self._changed:
                    if self._line[0] is not ticket:
                        self._changed.wait(None if on_wait is None else _ASK_SECONDS)
            yield
        finally:
            with self._changed:
                self._line.remove(ticket)
                self._changed.notify_all()

    def _before(self, ticket: object) -> int:
        with self._changed:
            return self._line.index(ticket)
