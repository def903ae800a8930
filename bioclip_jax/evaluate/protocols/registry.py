"""Registry of the protocols by name, and their options."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Mapping, Sequence
from typing import Any

from bioclip_jax.checkpoint import build
from bioclip_jax.errors import UserError, did_you_mean

from .base import Protocol

# Imported on demand, so that one protocol does not pay for another's dependencies.
PROTOCOLS = {
    "zero-shot": "zero_shot.ZeroShot",
    "few-shot": "few_shot.FewShot",
    "fishnet": "fishnet.FishNet",
    "newt": "newt.NeWT",
    "awa2": "awa2.AwA2",
    "herbarium19": "herbarium19.Herbarium19",
    "plantdoc": "plantdoc.PlantDoc",
}
# Protocols that score any labeled images; the others expect one publisher's data.
ANY_DATA = ("zero-shot", "few-shot")


def make_protocol(
    name: str, options: Mapping[str, Any], *, where: str = "", keys: Sequence[str] = ()
) -> Protocol:
    """Return the protocol `name` with `options` as its fields; lists become tuples.

    where: location in a file, for errors. keys: other keys valid there, for suggestions. Raises UserError
    for an unknown protocol or option, with the nearest known name, and for an invalid value.
    """
    prefix = f"{where}: " if where else ""
    if name not in PROTOCOLS:
        hint = did_you_mean(name, PROTOCOLS, f"choose from {', '.join(PROTOCOLS)}")
        raise UserError(f"{prefix}there is no protocol {name!r}{hint}")
    file, _, attribute = PROTOCOLS[name].partition(".")
    protocol = getattr(importlib.import_module(f"{__package__}.{file}"), attribute)
    known = [item.name for item in dataclasses.fields(protocol)]
    for key in options:
        if key not in known:
            hint = did_you_mean(key, (*known, *keys), f"it has {', '.join(known) or 'none'}")
            raise UserError(f"{prefix}{name} has no option {key}{hint}")
    values = {key: tuple(value) if isinstance(value, list) else value for key, value in options.items()}
    try:
        return build(protocol, values, where=name)
    except UserError as problem:
        raise UserError(f"{prefix}{problem}") from problem


def protocol_options(protocol: Protocol) -> dict[str, Any]:
    """Return the fields of a protocol as JSON values; a sequence of other objects becomes its length."""

    def plain(value: Any) -> Any:
        if isinstance(value, (list, tuple)):
            return list(value) if all(isinstance(item, (str, int, float)) for item in value) else len(value)
        return value

    return {item.name: plain(getattr(protocol, item.name)) for item in dataclasses.fields(protocol)}
