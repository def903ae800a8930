"""The verb predict."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

from bioclip_jax.predict import DWC, MEGADETECTOR

from .candidates import add_candidates, add_temperature
from .options import (
    Result,
    add_capture,
    add_every,
    add_inputs,
    add_model,
    add_output,
    add_reading,
    add_transform,
    add_verb,
    loading,
    positive,
    probability,
    report_done,
)


def predict(arguments: argparse.Namespace) -> Result:
    """Predict taxa or labels of images."""
    from bioclip_jax.predict import PredictOptions, predict_files

    given = vars(arguments) | loading(arguments) | {"as_result": arguments.json}
    names = {field.name for field in dataclasses.fields(PredictOptions)}
    options = PredictOptions(**{name: value for name, value in given.items() if name in names})
    result = predict_files(arguments.inputs, arguments.model, options)
    report_done(arguments, result, "images", "predicted")
    return result


def add_verbs(verbs: Any) -> None:
    """Declare the verb; options are named as the fields of PredictOptions."""
    verb = add_verb(verbs, "predict", predict, "predict the taxa or labels of images")
    add_inputs(verb)
    add_every(verb)
    add_model(verb)
    add_transform(verb)
    add_reading(verb)
    candidates = add_candidates(verb)
    candidates.add_argument(
        "--labels-as-given",
        action="store_true",
        help="keep blank and repeated labels as separate classes, as pybioclip does",
    )
    parts = verb.add_argument_group("parts of images")
    parts.add_argument(
        "--detections",
        type=Path,
        metavar="JSON",
        help="predict the animals in a file of MegaDetector or SpeciesNet instead of whole images",
    )
    parts.add_argument(
        "--detection-threshold",
        type=probability,
        metavar="P",
        default=0.2,
        help="least confidence of a detection (default: 0.2)",
    )
    confidence = verb.add_argument_group("number and confidence of predictions")
    confidence.add_argument("--k", type=positive, help="predictions per image (default: 5 taxa, all labels)")
    confidence.add_argument(
        "--min-confidence",
        type=probability,
        metavar="P",
        help="one prediction, at the lowest rank whose score reaches P",
    )
    confidence.add_argument(
        "--unknown", type=probability, metavar="P", help='predict "unknown" if the best score is below P'
    )
    confidence.add_argument(
        "--min-familiarity",
        type=probability,
        metavar="P",
        help='with --head, predict "unknown" if the familiarity, the share of learned photographs that '
        "are as far from the others, is below P",
    )
    add_temperature(confidence)
    add_output(verb, MEGADETECTOR, DWC)
    verb.add_argument(
        "--events",
        type=float,
        metavar="SECONDS",
        help="one answer per event: frames of one place without a longer pause, such as 60 or 120",
    )
    add_capture(verb)
    verb.add_argument(
        "--report",
        type=Path,
        metavar="HTML",
        help="also write a page with thumbnails, predictions and the tree",
    )
    verb.add_argument(
        "--log", type=Path, metavar="FILE", help="write provenance: text, or JSON by its suffix"
    )
    verb.add_argument(
        "--resume", action="store_true", help="resume an interrupted run of the same command with --output"
    )
