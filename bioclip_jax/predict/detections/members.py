"""Read a JSON object member by member, so that a list of 100,000 images is never in memory as objects."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection, Iterator
from typing import Any, Literal, NamedTuple

from bioclip_jax.errors import UserError, first_line

_BLANKS = re.compile(r"[ \t\n\r]*")
_DECODER = json.JSONDecoder()


class Member(NamedTuple):
    """A part of the object: a whole "value", or the "open", an "item" or the "close" of a streamed list."""

    kind: Literal["value", "open", "item", "close"]
    name: str
    value: Any = None


def members(path: str | os.PathLike[str], streamed: Collection[str], advice: str) -> Iterator[Member]:
    """Yield the members of a JSON object in the file's order; the lists named in `streamed` item by item.

    Raises UserError, which ends in `advice`, if there is no such file, and as soon as it is not JSON.
    """
    try:
        with open(path, encoding="utf-8-sig") as file:
            text = file.read()
        yield from _object(text, streamed)
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; {advice}") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); {advice}") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not readable JSON ({first_line(error)}); {advice}") from None


def _object(text: str, streamed: Collection[str]) -> Iterator[Member]:
    position = _skip(text, 0)
    if not text.startswith("{", position):
        # A value of another type is valid JSON, or the decoder says what is wrong.
        _, position = _value(text, position)
        return _end(text, position)
    position = _skip(text, position + 1)
    done = text.startswith("}", position)
    names = set()
    while not done:
        name, position = _value(text, position)
        if not isinstance(name, str):
            raise json.JSONDecodeError("Expecting property name enclosed in double quotes", text, position)
        if name in names:
            raise ValueError(f"{name[:40]!r} is given twice")
        names.add(name)
        position = _skip(text, _expect(text, position, ":"))
        if name in streamed and text.startswith("[", position):
            yield Member("open", name)
            position = yield from _list(text, position, name)
            yield Member("close", name)
        else:
            value, position = _value(text, position)
            yield Member("value", name, value)
        position, done = _next(text, position, "}")
    return _end(text, position if names else position + 1)


def _list(text: str, position: int, name: str) -> Iterator[Member]:
    position = _skip(text, position + 1)
    if text.startswith("]", position):
        return position + 1
    done = False
    while not done:
        value, position = _value(text, position)
        yield Member("item", name, value)
        position, done = _next(text, position, "]")
    return position


def _next(text: str, position: int, bracket: str) -> tuple[int, bool]:
    """Step over a comma or the closing bracket; True for the bracket."""
    position = _skip(text, position)
    if text.startswith(bracket, position):
        return position + 1, True
    return _skip(text, _expect(text, position, ",")), False


def _value(text: str, position: int) -> tuple[Any, int]:
    return _DECODER.raw_decode(text, position)


def _expect(text: str, position: int, token: str) -> int:
    position = _skip(text, position)
    if not text.startswith(token, position):
        raise json.JSONDecodeError(f"Expecting {token!r} delimiter", text, position)
    return position + 1


def _skip(text: str, position: int) -> int:
    return _BLANKS.match(text, position).end()


def _end(text: str, position: int) -> None:
    if _skip(text, position) != len(text):
        raise json.JSONDecodeError("Extra data", text, position)
