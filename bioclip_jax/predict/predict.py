"""The verb `predict`: image files to rows of predicted taxa or labels."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bioclip_jax.convert import model_files
from bioclip_jax.errors import Interrupted, UserError
from bioclip_jax.files import check_not_read

from .candidates import make_classifier, warn_about_candidates
from .completion import CompletionRecord
from .events import EventPredictions
from .inputs import ImageFile
from .journal import Journal, image_keys
from .options import PredictOptions
from .plan import Plan
from .progress import FailureLog, report_truncated, track
from .results import Prediction
from .settings import form_settings, resume_settings
from .writer import PredictionWriter

if TYPE_CHECKING:
    from bioclip_jax.predict.classifiers import BaseClassifier


def predict_files(
    inputs: Sequence[str | os.PathLike[str]],
    model: str | None = None,
    options: PredictOptions | None = None,
    **keywords: Any,
) -> dict[str, Any]:
    """Predict taxa or labels of image files, and write one row per prediction.

    inputs: as find_images; the other columns of input tables are appended to the rows, and one that a result
    also has, such as species, becomes input_species. model: as load_model. options: everything else; its
    fields can also be given as keyword arguments.

    Returns {"images", "skipped": number of files of other kinds by suffix, "transform": its name,
    "precision", "fingerprint" of the model, "unreadable", "truncated", "output" or "predictions", and if
    requested "log", "report", "detections" (the numbers of DetectedImages), "events" (their number) and
    "frames" (the frames' own rows, or their file)}. Unreadable images are skipped and reported on standard
    error.
    Raises UserError for invalid options, before the model is loaded, and if no image is readable.
    """
    options = replace(options or PredictOptions(), **keywords)
    options.check_files()
    candidates = options.read_candidates()
    plan = Plan.read(inputs, options)
    check_not_read(
        options.outputs, options.files_read | plan.files_read | {"part of the model": model_files(model)}
    )
    plan.skipped.report()

    # Importing JAX takes seconds, so options and inputs are checked first.
    from bioclip_jax.predict.taxa import selection_result

    from .model import load_model

    loaded = load_model(model, **options.loading)
    classifier = make_classifier(loaded, options, candidates)
    warn_about_candidates(classifier, options)
    result: dict[str, Any] = {"images": len(plan.images), "skipped": plan.skipped.by_kind}
    result |= {name: getattr(loaded, name) for name in ("transform", "precision", "fingerprint")}
    settings, record = {}, None
    if options.resume:
        settings = resume_settings(options, classifier, candidates)
        form = settings | form_settings(options)
        record = CompletionRecord(options.output, form, image_keys(plan.parts), plan.digest())
        if record.is_current() and _has_all_files(options):
            print(f"note: {options.output} is finished already", file=sys.stderr)
            return result | {"output": str(options.output), "unreadable": [], "truncated": []}
    if plan.detected is not None:
        result["detections"] = plan.detected.counts
    if options.events is not None:
        result["events"] = len(plan.events)
    failures = FailureLog(plan.count)
    with _journal(plan, settings, record) as journal:
        predictions = _predictions(classifier, plan, failures, journal)
        answers = None
        if options.events is not None:
            answers = EventPredictions(
                classifier, options.selection, plan.images, plan.events, journal, plan.detected
            )
        writer = PredictionWriter(classifier, options, plan, record)
        result |= writer.write(predictions, failures, answers)
    print(f"transform: {loaded.transform_note}", file=sys.stderr)
    if options.predicts_taxa and options.head is None:
        result |= selection_result(classifier, options.output)
    return result | {
        "unreadable": failures.problems,
        "truncated": report_truncated(loaded.embedder.truncated),
    }


def _has_all_files(options: PredictOptions) -> bool:
    """Return True if a finished output is all that the options ask for: a report needs the predictions."""
    frames = options.frames is None or options.frames.exists()
    return frames and options.log is None and options.report is None


@contextlib.contextmanager
def _journal(
    plan: Plan, settings: dict[str, Any], record: CompletionRecord | None
) -> Iterator[Journal | None]:
    """Open the journal of a run that is resumable or that pools events; None for others."""
    if record is not None:
        # The journal holds predictions, which any output format can use.
        with Journal.open(record.output, settings, plan.parts, record.keys) as journal:
            yield journal
        return
    with contextlib.ExitStack() as stack:
        journal = None
        if plan.options.events is not None:
            # Frames are pooled in another order than they are read in, so they wait on disk.
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="bioclip_jax-events-"))
            journal = stack.enter_context(Journal.open(Path(folder) / "frames", {}, plan.parts))
        # Innermost, since the journal would advise to resume from a folder that is removed.
        stack.enter_context(_advise_on_interrupt())
        yield journal


@contextlib.contextmanager
def _advise_on_interrupt() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted("nothing is kept; use --resume and --output to make a run resumable") from None


def _predictions(
    classifier: BaseClassifier, plan: Plan, failures: FailureLog, journal: Journal | None
) -> Iterator[Prediction]:
    """Yield the predictions of all photographs in order; with a detector's file, of boxes and blanks."""
    if journal is None:
        predictions = _stream(classifier, plan, failures)
    else:
        predictions = _resume(classifier, plan, failures, journal)
    if plan.detected is None:
        return predictions
    on_named = None if plan.classifications is None else plan.classifications.add
    example = partial(classifier.example_row, plan.options.selection)
    return plan.detected.merge(predictions, example, on_named)


def _stream(classifier: BaseClassifier, plan: Plan, failures: FailureLog) -> Iterator[Prediction]:
    options, parts = plan.options, plan.parts
    to_stdout = options.output is None and not options.as_result
    tracked = track(enumerate(parts), "predicting", len(parts), results_on_stdout=to_stdout)
    for index, rows in classifier.stream_indexed(tracked, options.selection, failures):
        if rows:
            yield parts[index], rows


def _resume(
    classifier: BaseClassifier, plan: Plan, failures: FailureLog, journal: Journal
) -> Iterator[Prediction]:
    """Predict the images that the journal lacks, then yield all predictions from it."""
    options, parts = plan.options, plan.parts
    remaining = journal.remaining(classifier.group_size)
    for index, problem in list(journal.failures.items()):
        failures(index, UserError(problem))

    def add_failure(index: int, problem: UserError) -> None:
        journal.add_failure(index, str(problem))
        failures(index, problem)

    if remaining:
        pairs: Iterator[tuple[int, ImageFile]] = ((index, parts[index]) for index in remaining)
        tracked = track(pairs, "predicting", len(parts), done=len(parts) - len(remaining))
        pooled = options.events is not None
        for index, rows, vector in classifier.stream_with_vectors(tracked, options.selection, add_failure):
            if pooled:
                journal.add(index, rows, vector)
            elif rows:
                journal.add(index, rows)
    journal.finish()
    yield from journal.predictions()
