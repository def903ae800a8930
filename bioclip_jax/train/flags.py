"""Read an experiment from its config file and the `--config.key=value` overrides."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import ConfigDict, config_flags

from bioclip_jax.errors import UserError, did_you_mean


def read_config(file: str, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Return the values of `get_config()` in `file` with the overrides applied.

    Raises UserError for a missing or broken file, an option that is not `--config.KEY=VALUE`, an unknown key
    (suggesting the nearest known one) and a value of the wrong type.
    """
    if not Path(file).is_file():
        raise UserError(f"there is no config file {file}; the experiments are in configs/")
    try:
        known = list(_keys(_parse(file, []), "config"))
    except Exception as error:
        raise UserError(f"the config file {file} cannot be read: {type(error).__name__}: {error}") from error
    for override in overrides:
        if not re.match(r"--config\.[^=]+=", override):
            raise UserError(f"unknown option {override}; keys of the config are set with --config.KEY=VALUE")
        key = re.split(r"[=\[]", override.removeprefix("--"), maxsplit=1)[0]
        if key not in known:
            raise UserError(f"unknown config key {key}{did_you_mean(key, known)}")
    try:
        return _parse(file, overrides).to_dict()
    except (flags.Error, AttributeError, LookupError, TypeError, ValueError) as error:
        raise UserError(f"{' '.join(overrides)} does not fit {file}: {error}") from error


def _parse(file: str, overrides: Sequence[str]) -> ConfigDict:
    values = flags.FlagValues()
    argv = ["train", f"--config={file}", *overrides]
    # By default overrides are read from the arguments of this process.
    config_flags.DEFINE_config_file("config", flag_values=values, sys_argv=argv)
    values(argv)
    return values.config


def _keys(config: ConfigDict, prefix: str) -> Iterator[str]:
    for name, value in config.items():
        yield f"{prefix}.{name}"
        if isinstance(value, ConfigDict):
            yield from _keys(value, f"{prefix}.{name}")
