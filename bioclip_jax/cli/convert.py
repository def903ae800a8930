"""The verbs that convert models: export, import."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from .options import MODEL, Result, add_verb


def export(arguments: argparse.Namespace) -> Result:
    """Write an open_clip directory."""
    from bioclip_jax.convert import export_model

    path = export_model(arguments.model, arguments.output, format=arguments.format)
    print(
        f"wrote {path}; load it with open_clip.create_model_and_transforms('local-dir:{path}')",
        file=sys.stderr,
    )
    return {"output": str(path)}


def import_(arguments: argparse.Namespace) -> Result:
    """Read open_clip weights."""
    from bioclip_jax.convert import import_model

    path = import_model(arguments.source, arguments.output, model=arguments.model)
    print(f"wrote {path}; use it as MODEL, or as config.init_from", file=sys.stderr)
    return {"output": str(path)}


def add_verbs(verbs: Any) -> None:
    """Declare the verbs."""
    output = {"type": Path, "metavar": "OUT", "help": "a directory that does not exist or is empty"}
    verb = add_verb(verbs, "export", export, "write a directory that open_clip, pybioclip and the Hub load")
    verb.add_argument("model", metavar="MODEL", help=MODEL)
    verb.add_argument("output", **output)
    verb.add_argument("--format", choices=["open_clip"], default="open_clip")

    verb = add_verb(verbs, "import", import_, "read open_clip weights from safetensors or a pickle")
    verb.add_argument(
        "source", metavar="SOURCE", help="a directory, a weights file, local-dir:PATH or hf-hub:ORG/NAME"
    )
    verb.add_argument("output", **output)
    verb.add_argument(
        "--model", metavar="NAME", help="the architecture's open_clip name, if SOURCE does not contain it"
    )
