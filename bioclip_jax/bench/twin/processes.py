"""Sides of a benchmark as processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bioclip_jax.errors import UserError


def run_modules(commands: Sequence[Sequence[Any]]) -> list[dict[str, Any]]:
    """Run modules of this room at the same time and return the JSON that each of them writes.

    commands: a module's name and its arguments, among which one path that ends in .json is the output. Raises
    UserError with the last line of its messages if a module fails.
    """
    threads = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", f"{__package__}.{module}", *map(str, arguments)],
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | threads,
        )
        for module, *arguments in commands
    ]
    messages = [process.communicate()[1] for process in processes]
    for process, message, (module, *_) in zip(processes, messages, commands):
        if process.returncode:
            raise UserError(f"{module} failed: {(message.strip() or 'no message').splitlines()[-1]}")
    outputs = [next(part for part in command if str(part).endswith(".json")) for command in commands]
    return [json.loads(Path(path).read_text()) for path in outputs]
