"""The HTML of the page: style, data, three.js and script in one file, under a policy that loads nothing."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from importlib import resources
from typing import NamedTuple

from bioclip_jax.html import content_hash

from .blocks import block
from .bundle import bundle_scripts
from .three import ThreeJs


class Page(NamedTuple):
    """A page, its content policy, and the parts of it that are the same whatever is exported."""

    html: str
    policy: str
    has_three: bool
    programs: tuple[str, ...]


def make_page(title: str, blocks: Mapping[str, bytes], three: ThreeJs | None, *, live: bool = False) -> Page:
    """Return the page of data blocks; without three.js it has the two-dimensional views only.

    Scripts and style are allowed by their hashes; nothing may be loaded, embedded, submitted or evaluated.
    live: with what asks the page's own server, and no other, for simulations.
    """
    style, script = _style(), _plain_script(bundle_scripts("live/main.js" if live else "main.js"))
    scripts = [script] if three is None else [_plain_script(three.script), script]
    shell = (resources.files(__package__) / "page" / "page.html").read_text(encoding="utf-8")
    policy = (
        f"default-src 'none'; script-src {' '.join(map(_allowed, scripts))}; style-src {_allowed(style)}; "
        "base-uri 'none'; form-action 'none'"
    )
    if live:
        policy += "; connect-src 'self'"
    license = "" if three is None else three.license.strip()
    parts = {
        "policy": policy,
        "title": escape(title),
        "style": style,
        "license": escape(license),
        "blocks": "\n".join(block(name, content) for name, content in blocks.items()),
        "scripts": "\n".join(f"<script>{text}</script>" for text in scripts),
    }
    for name, text in parts.items():
        before, after = shell.split(f"{{{{{name}}}}}")
        shell = before + text + after
    programs = (style, *scripts, escape(license)) if license else (style, *scripts)
    return Page(shell, policy, three is not None, programs)


def _style() -> str:
    """Return all style sheets below page/, by their names."""
    folder = resources.files(__package__) / "page"
    sheets = [one for one in folder.iterdir() if one.name.endswith(".css")]
    for room in folder.iterdir():
        if room.is_dir():
            sheets += [one for one in room.iterdir() if one.name.endswith(".css")]
    return "\n".join(one.read_text(encoding="utf-8").strip() for one in sorted(sheets, key=str))


def _plain_script(text: str) -> str:
    """Return a script that a script element can hold. Raises ValueError, for the developer, if none can."""
    if "</script" in text.lower() or "<!--" in text:
        raise ValueError("a script has </script or <!--, which would end its element; write it otherwise")
    return text


def _allowed(text: str) -> str:
    return f"'{content_hash(text)}'"
