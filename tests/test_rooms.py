"""The structure of the package: which room imports which, and that rooms meet at their faces."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest

import bioclip_jax

PACKAGE = Path(bioclip_jax.__file__).parent

# A room, or a file of the top level, imports only from rows above its own.
LEVELS = (
    ("errors", "__version__"),
    ("files", "file_kinds", "intervals", "locks", "html", "models", "path_matching", "plots", "text"),
    ("tables", "distributed"),
    ("pipeline", "checkpoint"),
    ("convert", "curate"),
    ("train", "predict", "datasets"),
    ("analyze", "evaluate", "twin"),
    ("configs", "web", "bench"),
    ("cli",),
)
LEVEL = {room: level for level, row in enumerate(LEVELS) for room in row}

FILES = sorted(path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py" or path.parent != PACKAGE)
ROOMS = sorted(
    ".".join(path.parent.relative_to(PACKAGE.parent).parts)
    for path in PACKAGE.rglob("__init__.py")
    if path.parent != PACKAGE
)


def _room(path: Path) -> str:
    parts = path.relative_to(PACKAGE).parts
    return parts[0] if len(parts) > 1 else path.stem


def _imports(path: Path) -> list[tuple[int, str, tuple[str, ...]]]:
    """Line, module and names of every absolute import from the package, inside functions too."""
    imports = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names = tuple(alias.name for alias in node.names)
            if node.module == "bioclip_jax":
                imports += [(node.lineno, f"bioclip_jax.{name}", ()) for name in names]
            elif node.module.startswith("bioclip_jax."):
                imports.append((node.lineno, node.module, names))
        elif isinstance(node, ast.Import):
            imports += [(node.lineno, a.name, ()) for a in node.names if a.name.startswith("bioclip_jax.")]
    return imports


def test_every_room_has_a_level():
    rooms = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").is_file()}
    files = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__"}
    assert rooms | files <= LEVEL.keys(), f"give {sorted((rooms | files) - LEVEL.keys())} a row of LEVELS"


def test_imports_lead_down():
    against = [
        f"{path.relative_to(PACKAGE)}:{line} imports {module}"
        for path in FILES
        for line, module, _ in _imports(path)
        if (target := module.split(".")[1]) != (room := _room(path))
        and not (LEVEL[target] < LEVEL[room] or LEVEL[target] == LEVEL[room] == LEVEL["files"])
    ]
    assert not against, "imports of a higher or equal row:\n" + "\n".join(against)


def test_rooms_meet_at_their_faces():
    """`from bioclip_jax.ROOM import NAME`, not from a file of that room."""
    around = [
        f"{path.relative_to(PACKAGE)}:{line} imports {module}"
        for path in FILES
        for line, module, _ in _imports(path)
        if len(parts := module.split(".")) > 2
        and parts[1] != _room(path)
        and (PACKAGE.joinpath(*parts[1:]).with_suffix(".py")).is_file()
    ]
    assert not around, "imports around a face:\n" + "\n".join(around)


@pytest.mark.parametrize("room", ["bioclip_jax", *ROOMS])
def test_every_exported_name_exists(room):
    face = importlib.import_module(room)
    assert face.__doc__, f"{room} has no docstring"
    for name in getattr(face, "__all__", ()):
        assert hasattr(face, name), f"{room} exports {name}, which does not exist"
        # A file of that name would replace it as soon as it is imported.
        assert not (Path(face.__file__).parent / f"{name}.py").exists(), f"{room}.{name} is a file's name too"
