"""Experiments: the option --config, a config file and its `--config.key=value` overrides."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bioclip_jax.errors import UserError, did_you_mean

from .options import add_verb

if TYPE_CHECKING:
    from ml_collections import ConfigDict


def add_config_verb(
    verbs: Any, name: str, run: Any, help: str, epilog: str = "", default: str | None = None
) -> argparse.ArgumentParser:
    """Add a verb that takes an experiment. default: the name of one in configs/ that may be omitted."""
    overrides = "Override any key of the config after the other options: --config.learning_rate=1e-4. "
    verb = add_verb(verbs, name, run, help, overrides + epilog)
    verb.set_defaults(takes_overrides=True)
    note = f" (default: {default})" if default else ""
    verb.add_argument(
        "--config",
        required=default is None,
        default=default and str(_configs() / default),
        metavar="FILE",
        help=f"a Python file with get_config(), as in configs/{note}",
    )
    return verb


def _configs() -> Path:
    """Return the folder of the experiments."""
    return Path(find_spec("bioclip_jax.configs").origin).parent


def experiment_config(arguments: argparse.Namespace) -> Any:
    """Return the TrainConfig of --config and its overrides."""
    from bioclip_jax.train import train_config

    return train_config(read_config(arguments.config, arguments.rest))


def read_config(file: str, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Return the mapping from `get_config()` in `file`, with overrides.

    Raises UserError for a missing or broken file, an option that is not `--config.KEY=VALUE`, an unknown key
    (with the nearest known one) and a value of the wrong type.
    """
    from absl import flags

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
    from absl import flags
    from ml_collections import config_flags

    values = flags.FlagValues()
    argv = ["train", f"--config={file}", *overrides]
    # Without sys_argv, it would look for overrides in this process's own arguments.
    config_flags.DEFINE_config_file("config", flag_values=values, sys_argv=argv)
    values(argv)
    return values.config


def _keys(config: ConfigDict, prefix: str) -> Iterator[str]:
    from ml_collections import ConfigDict

    for name, value in config.items():
        yield f"{prefix}.{name}"
        if isinstance(value, ConfigDict):
            yield from _keys(value, f"{prefix}.{name}")
