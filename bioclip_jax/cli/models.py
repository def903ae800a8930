"""The verb models."""

from __future__ import annotations

import argparse
from typing import Any

from .options import Result, add_verb


def models(arguments: argparse.Namespace) -> Result:
    """List architectures, or one architecture's published weights."""
    from bioclip_jax.convert import PUBLISHED, tags
    from bioclip_jax.models import get_config, model_names

    if arguments.model:
        get_config(arguments.model)
        names = list(tags(arguments.model))
    else:
        names = [*PUBLISHED, *model_names()]
    if not arguments.json:
        print("\n".join(names) or f"{arguments.model} has no published weights")
    return {"tags" if arguments.model else "models": names}


def add_verbs(verbs: Any) -> None:
    """Declare the verb."""
    verb = add_verb(verbs, "models", models, "list published models and architectures")
    verb.add_argument("--model", metavar="NAME", help="list the published weights of an architecture")
