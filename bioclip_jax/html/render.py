"""Rendering of the templates in templates/: whole pages, and macros for parts of them.

Every value is escaped unless it is markupsafe.Markup, and an undefined variable is an error.
"""

from __future__ import annotations

import base64
import functools
import hashlib
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from bioclip_jax import __version__
from bioclip_jax.files import atomic_write

from . import formats


def render_page(template: str, **context: Any) -> str:
    """Render a page of templates/, self-contained: with its style, script and images."""
    return _environment().get_template(template).render(context)


def write_page(path: Path, template: str, **context: Any) -> None:
    """Write a page atomically. Text that is not valid Unicode, such as some file names, is backslash-escaped.

    Raises UserError if the folder is missing.
    """
    with atomic_write(Path(path)) as partial:
        partial.write_text(render_page(template, **context), encoding="utf-8", errors="backslashreplace")


def macros(template: str, **variables: Any) -> Any:
    """Return a template's macros as attributes; each returns Markup: `macros("macros.html").bars(...)`.

    variables: names that the macros may use besides their arguments.
    """
    return _environment().get_template(template).make_module(variables)


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(__package__),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"ensure_ascii": False, "separators": (",", ":")}
    for name in ("count_of", "data_size", "data_url", "number", "share"):
        environment.filters[name] = getattr(formats, name)
    environment.filters["sha256"] = content_hash
    environment.globals |= {"asset": asset, "version": __version__}
    return environment


def asset(name: str) -> Markup:
    """Return the text of a style sheet or script of templates/, which is trusted."""
    environment = _environment()
    return Markup(environment.loader.get_source(environment, name)[0])


def content_hash(text: str) -> str:
    """Return the digest of a script or style in the form of a Content-Security-Policy, without quotes."""
    # Browsers hash the text after they have normalized its line ends.
    digest = hashlib.sha256(text.replace("\r\n", "\n").encode()).digest()
    return "sha256-" + base64.b64encode(digest).decode()
