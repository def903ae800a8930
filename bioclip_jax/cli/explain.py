"""The verb explain."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

from .candidates import add_candidates, add_temperature
from .options import (
    Result,
    add_inputs,
    add_model,
    add_reading,
    add_transform,
    add_verb,
    loading,
    positive,
    report_done,
)


def explain(arguments: argparse.Namespace) -> Result:
    """Explain the answers for some photographs."""
    from bioclip_jax.predict import PredictOptions
    from bioclip_jax.predict.attribution import explain_files

    given = vars(arguments) | loading(arguments) | {"as_result": True, "output": None}
    names = {field.name for field in dataclasses.fields(PredictOptions)}
    options = PredictOptions(**{name: value for name, value in given.items() if name in names})
    result = explain_files(
        arguments.inputs,
        arguments.model,
        arguments.output,
        options,
        index=arguments.index,
        method=arguments.method,
        window=arguments.window,
        pictures=arguments.pictures,
    )
    report_done(arguments, result, "images", "explained")
    return result


def add_verbs(verbs: Any) -> None:
    """Declare the verb."""
    verb = add_verb(
        verbs,
        "explain",
        explain,
        "show which parts of a photograph decided on its name, beside reference pictures",
    )
    add_inputs(verb)
    add_model(verb)
    add_transform(verb)
    add_reading(verb)
    candidates = add_candidates(verb)
    candidates.add_argument("--k", type=positive, help="candidates per photograph (default: 5)")
    add_temperature(candidates)
    verb.add_argument(
        "--index", type=Path, metavar="DIR", help="index of labeled images, from index build, for references"
    )
    verb.add_argument(
        "--pictures", type=positive, default=3, metavar="N", help="references per candidate (default: 3)"
    )
    verb.add_argument(
        "--method",
        choices=("occlusion", "gradient"),
        help="leave patches out, or integrate gradients (default: occlusion where it takes seconds)",
    )
    verb.add_argument(
        "--window", type=positive, metavar="PATCHES", help="side of the part that occlusion leaves out"
    )
    verb.add_argument("--output", required=True, type=Path, metavar="HTML", help="the page to write")
