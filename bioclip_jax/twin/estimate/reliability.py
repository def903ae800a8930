"""What is known of the machine's errors: verified events of the package, or held-out labeled images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from bioclip_jax.errors import UserError

from .confusion import Confusion
from .labeled_events import BLANK
from .survey import Survey

# Fewer verified events say too little about the classifier.
LEAST_VERIFIED = 20
FALSE_POSITIVES_AT_0 = "false-positive rate fixed at 0"


def find_reliability(
    survey: Survey, given: Path | None, packaged: Path | None
) -> tuple[Confusion | None, dict[str, Any]]:
    """Return the confusion matrix of the machine's labels, None if unknown, and a description for the result.

    Events that both a person and the machine have labeled come first, if there are at least LEAST_VERIFIED,
    since they are of this survey; then `given`, a file of `taxa calibrate`; then `packaged`, the one in the
    package. The description has "source", "verified_events", "note" (which also tells that `given` is not
    used), and "classes": precision and recall of each.
    Raises UserError for a file that is not one of `taxa calibrate` with a confusion matrix.
    """
    human, machine = survey.verified
    images = None if given is None else _read_counts(given)
    unused = "" if given is None else "; the file of --reliability is not used"
    description: dict[str, Any] = {"source": "none", "verified_events": len(human), "classes": []}
    if survey.events["certain"].all() and not survey.blanks.any():
        return None, description | {
            "note": f"every event was labeled by a person, or the only label is human; {FALSE_POSITIVES_AT_0}"
            f"{unused}"
        }
    if len(human) >= LEAST_VERIFIED:
        classes = _classes(survey, [*human, *machine])
        confusion = Confusion.from_pairs(human, machine, classes)
        source = "verified events"
        note = f"events labeled by people and machine, taken as a random sample{unused}"
    elif images is not None or packaged is not None:
        names, counts = images or _read_counts(packaged)
        classes = _classes(survey, names)
        index = [classes.index(name) for name in names]
        table = np.zeros((len(classes), len(classes)), np.int64)
        table[np.ix_(index, index)] = counts
        confusion = Confusion(tuple(classes), table, same_survey=False)
        source, note = "labeled images", "of single images; an event of several images is named more reliably"
    else:
        few = f"only {len(human)} events are verified, {LEAST_VERIFIED} are needed" if human else "none known"
        return None, description | {"note": f"reliability of the machine: {few}; {FALSE_POSITIVES_AT_0}"}
    errors = [
        {
            "class": error.name,
            "verified": error.verified,
            "predicted": error.predicted,
            "precision": error.precision,
            "recall": error.recall,
        }
        for error in confusion.errors()
    ]
    return confusion, description | {"source": source, "note": note, "classes": errors}


def _classes(survey: Survey, further: list[str]) -> list[str]:
    names = {*survey.species, *further}
    if survey.blanks.any():
        names.add(BLANK)
    return sorted(names - {BLANK}) + ([BLANK] if BLANK in names else [])


def _read_counts(path: Path) -> tuple[list[str], np.ndarray]:
    advice = "write it with `bioclip-jax taxa calibrate`"
    try:
        confusion = json.loads(Path(path).read_text(encoding="utf-8"))["confusion"]
        names = [str(name) for name in confusion["species"]]
        entries = np.array(confusion["counts"], np.int64).reshape(-1, 3)
        counts = np.zeros((len(names), len(names)), np.int64)
        np.add.at(counts, (entries[:, 0], entries[:, 1]), entries[:, 2])
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); {advice}") from None
    except (ValueError, KeyError, TypeError, IndexError):
        raise UserError(f"{path} is not a calibration with a confusion matrix; {advice}") from None
    return names, counts
