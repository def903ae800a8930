"""Names out of archives: which could lead out of a folder, and how they are shown and made safe."""

import re
import uuid

# What file systems allow in one part of a path.
_LONGEST = 255
_DRIVE = re.compile(r"[A-Za-z]:").match
_CONTROL = re.compile(r"[\0-\x1f\x7f]").search
_SHOWN = 120


def unsafe(name: str) -> str | None:
    """What makes a member's name one that must not become a path; None if nothing does."""
    if name.startswith("/"):
        return "it is absolute"
    if ".." in name and ".." in name.split("/"):
        return "it leads out of its folder"
    if "\\" in name:
        return "it has a backslash"
    if _DRIVE(name):
        return "it begins with a drive letter"
    if _CONTROL(name):
        return "it has a control character"
    if 4 * len(name) > _LONGEST and any(
        len(part.encode("utf-8", "replace")) > _LONGEST for part in name.split("/")
    ):
        return f"it is longer than {_LONGEST} bytes"
    return None


def safe_key(key: str) -> str:
    """The key itself, or, if it is unsafe or was not UTF-8, a UUID that it determines."""
    if key and unsafe(key) is None and "\ufffd" not in key:
        return key
    return str(uuid.uuid5(uuid.NAMESPACE_URL, key))


def shown(text: str) -> str:
    """The text in quotes for a person's terminal, where a control sequence in a name would do as it likes."""
    text = text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
    return '"' + "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text) + '"'
