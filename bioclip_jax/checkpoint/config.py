"""Build frozen dataclasses from mappings, checking keys and types."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from bioclip_jax.errors import UserError, did_you_mean

T = TypeVar("T")


def build(cls: type[T], values: Mapping[str, Any], *, where: str = "config") -> T:
    """Build the dataclass `cls` from a mapping, nested dataclasses included.

    Raises UserError for an unknown key (naming the nearest known one), for a missing key without a default,
    and for a value of the wrong type or a float that is not finite.
    """
    hints = typing.get_type_hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cls)}
    for key in values:
        if key not in fields:
            raise UserError(f"unknown key {where}.{key}{did_you_mean(key, fields)}")
    arguments = {}
    for name, field in fields.items():
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        # None is an ml_collections placeholder that was not set.
        if name in values and not (required and values[name] is None):
            arguments[name] = _convert(hints[name], values[name], f"{where}.{name}")
        elif required:
            raise UserError(
                f"{where}.{name} is not set; set it in the config file or with --{where}.{name}=VALUE"
            )
    return cls(**arguments)


def to_dict(config: Any) -> dict[str, Any]:
    """Return the dataclass as nested dicts and lists for JSON."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [plain(item) for item in value]
        return value

    return plain(dataclasses.asdict(config))


def _convert(hint: Any, value: Any, where: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        if value is None and type(None) in arguments:
            return None
        hint = next(a for a in arguments if a is not type(None))
        return _convert(hint, value, where)
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, Mapping):
            raise UserError(f"{where} is {value!r}; it must be a group of keys")
        return build(hint, value, where=where)
    if origin is tuple:
        if isinstance(value, (str, bytes)) or not isinstance(value, (list, tuple)):
            raise UserError(f"{where} is {value!r}; it must be a list")
        if arguments[-1] is Ellipsis:
            return tuple(_convert(arguments[0], item, where) for item in value)
        if len(value) != len(arguments):
            raise UserError(f"{where} has {len(value)} values; it must have {len(arguments)}")
        return tuple(_convert(a, item, where) for a, item in zip(arguments, value))
    if origin is typing.Literal:
        if value not in arguments:
            known = ", ".join(str(a) for a in arguments)
            raise UserError(
                f"{where} is {value!r}; it must be one of {known}{did_you_mean(value, arguments)}"
            )
        return value
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint in (int, float, str, bool) and type(value) is not hint:
        raise UserError(f"{where} is {value!r}; it must be {'an' if hint is int else 'a'} {hint.__name__}")
    if hint is float and not math.isfinite(value):
        raise UserError(f"{where} is {value}; it must be a finite number")
    return value
