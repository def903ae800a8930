"""Ctrl-C, SIGTERM and a scheduler's warning, turned into a wish that the loop can grant between two steps."""

from __future__ import annotations

import signal
from types import FrameType

# SIGUSR1 is what SLURM is asked to send before it takes a job's machines away (sbatch --signal).
_NOTED = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


class Interrupt:
    """While entered, the first SIGINT, SIGTERM or SIGUSR1 is noted in `signal`.

    After it a second SIGINT acts as usual, for a person who does not want to wait; the others change nothing
    more, because a scheduler and a launcher may both send them.
    """

    signal: signal.Signals | None = None

    def __enter__(self) -> Interrupt:
        self._before = {number: signal.getsignal(number) for number in _NOTED}
        for number in self._before:
            signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, _: FrameType | None) -> None:
        if self.signal is None:
            self.signal = signal.Signals(number)
            signal.signal(signal.SIGINT, self._before[signal.SIGINT])
