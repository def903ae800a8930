"""Compilation with XLA options whose names differ between versions."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from typing import Any

import jax

_UNKNOWN_OPTION = re.compile(r"No such compile option: '([^']+)'")


def compile_lowered(lowered: jax.stages.Lowered, options: Mapping[str, Any]) -> jax.stages.Compiled:
    """Compile with XLA `options`; one that this version does not know is dropped with a warning."""
    options = dict(options)
    while True:
        try:
            return lowered.compile(compiler_options=options or None)
        except Exception as error:
            # Option names differ between XLA versions, and an unknown one is a compilation error.
            unknown = _UNKNOWN_OPTION.search(str(error))
            if unknown is None or unknown[1] not in options:
                raise
            print(f"this version of XLA has no option {unknown[1]}; it is ignored", file=sys.stderr)
            del options[unknown[1]]
