"""Defaults of every config key, for experiments to override."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping

from ml_collections import ConfigDict, config_dict

from bioclip_jax.train import TrainConfig


def defaults() -> ConfigDict:
    """Return a config with every key of TrainConfig; keys without a default are typed placeholders."""
    return _from_dataclass(TrainConfig, {})


def _from_dataclass(cls: type, values: Mapping[str, typing.Any]) -> ConfigDict:
    """Return the fields of `cls`, at `values` if given and at their defaults otherwise."""
    config = ConfigDict()
    hints = typing.get_type_hints(cls)
    for field in dataclasses.fields(cls):
        hint, value = hints[field.name], values.get(field.name, _default(field))
        if dataclasses.is_dataclass(hint):
            config[field.name] = _from_dataclass(hint, {} if value is None else vars(value))
            continue
        # An optional or required key needs its type to be set from the command line.
        config[field.name] = config_dict.placeholder(_type(hint)) if value is None else value
    return config


def _default(field: dataclasses.Field) -> typing.Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return None if field.default is dataclasses.MISSING else field.default


def _type(hint: typing.Any) -> type:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        return _type(next(a for a in arguments if a is not type(None)))
    if origin is typing.Literal:
        return type(arguments[0])
    return origin or hint
