"""A trace of a few steps, for TensorBoard's profiler or Perfetto."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax


class Profile:
    """Traces from before step `steps[0]` until the devices have finished step `steps[1]`; () traces nothing."""

    def __init__(self, steps: tuple[int, ...], directory: Path) -> None:
        self._first, self._last = steps or (0, 0)
        self._directory = directory
        self._tracing = False

    def before(self, step: int) -> None:
        if step == self._first:
            jax.profiler.start_trace(self._directory)
            self._tracing = True

    def after(self, step: int, results: Any) -> None:
        """`results`: what step `step` computes, to be waited for."""
        if step == self._last and self._tracing:
            jax.block_until_ready(results)
            self.close()

    def close(self) -> None:
        """Ends a trace that a run which stopped early has left open."""
        if self._tracing:
            jax.profiler.stop_trace()
            self._tracing = False
