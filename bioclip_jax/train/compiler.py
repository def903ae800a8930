"""XLA's options for a compiled step; all but the defaults are NVIDIA's alone."""

from __future__ import annotations

import re
import sys
from typing import Any

import jax

from bioclip_jax.models import on_nvidia

from .config import TrainConfig

_TRUTH = {"true": True, "false": False}
_UNKNOWN = re.compile(r"No such compile option: '([^']+)'")


def compile_step(lowered: jax.stages.Lowered, config: TrainConfig) -> jax.stages.Compiled:
    """The lowered step as an executable, with the config's options where the platform has them."""
    options = _options(config)
    while True:
        try:
            return lowered.compile(compiler_options=options or None)
        except Exception as error:
            # Names differ from version to version, and an unknown one is an error of the compiler's.
            unknown = _UNKNOWN.search(str(error))
            if unknown is None or unknown[1] not in options:
                raise
            print(f"this version of XLA has no option {unknown[1]}; it is left out", file=sys.stderr)
            del options[unknown[1]]


def _options(config: TrainConfig) -> dict[str, Any]:
    if not on_nvidia():
        return {}
    options: dict[str, Any] = dict(option.split("=", 1) for option in config.compiler_options)
    # XLA takes "1" for an integer, and for a truth value only a truth value.
    options = {name: _TRUTH.get(value.lower(), value) for name, value in options.items()}
    if config.deterministic:
        options["xla_gpu_deterministic_ops"] = True
    return options
