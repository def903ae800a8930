"""The page's ES modules as one script, so that a single file can run them.

Modules import by name from relative paths and export declarations, one import a line; nothing else of the
module syntax is used. Top-level names share one scope in the script, and so must be unique.
"""

from __future__ import annotations

import posixpath
import re
from importlib import resources

_IMPORT = re.compile(r'^import \{([^}]*)\} from "([^"]+)";$', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?(?:function\*?|const|let|class) )", re.MULTILINE)
_NAME = re.compile(r"^(export )?(?:async )?(?:function\*?|const|let|class) ([\w$]+)", re.MULTILINE)
_COMMENT = re.compile(r"^[ \t]*//.*\n", re.MULTILINE)
_LEFT = re.compile(r"^(import|export)\b.*", re.MULTILINE)


def bundle_scripts(entry: str = "main.js") -> str:
    """Return the script of `entry` and all that it imports, below page/, in an order that runs.

    Raises ValueError, for the developer, if modules import in a circle, import a name that is not exported,
    share a top-level name, or use other syntax of modules.
    """
    order: dict[str, str] = {}
    _collect(entry, order, ())
    owners: dict[str, str] = {}
    for module, text in order.items():
        for _, name in _NAME.findall(text):
            if name in owners:
                raise ValueError(f"{module} and {owners[name]} both define {name}; rename one")
            owners[name] = module
    scripts = (_plain(module, text) for module, text in order.items())
    return '(() => {\n"use strict";\n' + "\n".join(scripts) + "\n})();\n"


def _collect(module: str, order: dict[str, str], importing: tuple[str, ...]) -> None:
    """Add a module to `order` after all modules that it imports."""
    if module in importing:
        raise ValueError("modules import in a circle: " + " -> ".join((*importing, module)))
    if module in order:
        return
    text = (resources.files(__package__) / "page" / module).read_text(encoding="utf-8")
    for names, path in _IMPORT.findall(text):
        source = posixpath.normpath(posixpath.join(posixpath.dirname(module), path))
        _collect(source, order, (*importing, module))
        exported = {name for export, name in _NAME.findall(order[source]) if export}
        if missing := {name.strip() for name in names.split(",") if name.strip()} - exported:
            raise ValueError(f"{module} imports {', '.join(sorted(missing))}, which {source} does not export")
    order[module] = text


def _plain(module: str, text: str) -> str:
    """Return a module's text without imports, exports and lines of comments."""
    text = _COMMENT.sub("", _EXPORT.sub("", _IMPORT.sub("", text)))
    if left := _LEFT.search(text):
        raise ValueError(
            f"{module}: {left[0].strip()}: only named imports, one a line, and exported declarations"
        )
    return f"// {module}\n{text.strip()}\n"
