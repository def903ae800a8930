"""The protocols by their names, and their options."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Mapping, Sequence
from typing import Any

from bioclip_jax.checkpoint import build
from bioclip_jax.errors import UserError, did_you_mean

from .protocol import Protocol

# Imported when asked for: what one protocol needs should not slow another down.
PROTOCOLS = {
    "zero-shot": ("bioclip_jax.evaluate.zero_shot", "ZeroShot"),
    "few-shot": ("bioclip_jax.evaluate.few_shot", "FewShot"),
    "fishnet": ("bioclip_jax.evaluate.fishnet", "FishNet"),
    "newt": ("bioclip_jax.evaluate.newt", "NeWT"),
    "awa2": ("bioclip_jax.evaluate.awa2", "AwA2"),
    "herbarium19": ("bioclip_jax.evaluate.herbarium19", "Herbarium19"),
    "plantdoc": ("bioclip_jax.evaluate.plantdoc", "PlantDoc"),
}
# Those that score any labelled images, where the others are made for one publisher's.
FOR_ANY_DATA = ("zero-shot", "few-shot")


def protocol_of(
    name: str, options: Mapping[str, Any], *, where: str = "", keys: Sequence[str] = ()
) -> Protocol:
    """The protocol `name` with `options`, which are its fields; a list does for a tuple.

    `where`: the place in a file, for errors. `keys`: what else has its place there. UserError for a protocol
    or an option that does not exist, with the nearest that does, and for a wrong value.
    """
    place = f"{where}: " if where else ""
    if name not in PROTOCOLS:
        hint = did_you_mean(name, PROTOCOLS, f"choose from {', '.join(PROTOCOLS)}")
        raise UserError(f"{place}there is no protocol {name!r}{hint}")
    module, attribute = PROTOCOLS[name]
    protocol = getattr(importlib.import_module(module), attribute)
    known = [item.name for item in dataclasses.fields(protocol)]
    for key in options:
        if key not in known:
            hint = did_you_mean(key, (*known, *keys), f"it has {', '.join(known) or 'none'}")
            raise UserError(f"{place}{name} has no option {key}{hint}")
    values = {key: tuple(value) if isinstance(value, list) else value for key, value in options.items()}
    try:
        return build(protocol, values, where=name)
    except UserError as problem:
        raise UserError(f"{place}{problem}") from problem


def options_of(protocol: Protocol) -> dict[str, Any]:
    """The fields of a protocol as JSON has them; of one that is made of other data, how many there are."""

    def plain(value: Any) -> Any:
        if isinstance(value, (list, tuple)):
            return list(value) if all(isinstance(item, (str, int, float)) for item in value) else len(value)
        return value

    return {item.name: plain(getattr(protocol, item.name)) for item in dataclasses.fields(protocol)}
