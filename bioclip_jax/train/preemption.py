"""Defer SIGINT, SIGTERM and SIGUSR1 to the next step boundary."""

from __future__ import annotations

import signal
from types import FrameType

# SLURM sends SIGUSR1 before it takes a job's machines away (sbatch --signal).
_DEFERRED = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


class Preempted(Exception):
    """A run stopped by a signal, after its checkpoint was written; `signal` is its number."""

    def __init__(self, signal: int, step: int) -> None:
        position = (
            f"at step {step}, which is saved; the same command resumes from there"
            if step
            else "before the first step"
        )
        super().__init__(f"stopped {position}")
        self.signal = signal


class DeferredSignals:
    """Context manager that records the first SIGINT, SIGTERM or SIGUSR1 in `received`.

    A second SIGINT acts as usual, for a user who does not want to wait; the other signals do nothing more,
    because a scheduler and a launcher may both send them.
    """

    received: signal.Signals | None = None

    def __enter__(self) -> DeferredSignals:
        self._handlers = {number: signal.getsignal(number) for number in _DEFERRED}
        for number in self._handlers:
            signal.signal(number, self._record)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def _record(self, number: int, _: FrameType | None) -> None:
        if self.received is None:
            self.received = signal.Signals(number)
            signal.signal(signal.SIGINT, self._handlers[signal.SIGINT])
