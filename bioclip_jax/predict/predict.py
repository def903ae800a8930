"""The verb `predict`: image files to rows of predicted taxa or labels."""

from __future__ import annotations

import contextlib
import itertools
import os
import sys
import tempfile
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bioclip_jax.convert import model_files
from bioclip_jax.errors import Interrupted, UserError
from bioclip_jax.files import check_not_read, file_sha256, is_stream

from .capture import CaptureColumns, read_times
from .completion import CompletionRecord, record_path
from .darwin_core import DWC, DarwinCoreRows
from .events import EventPredictions, FrameEvents, find_events, with_event
from .input_columns import InputColumns
from .inputs import ImageFile, find_images
from .journal import Journal, image_keys
from .options import MEGADETECTOR, PredictOptions
from .progress import FailureLog, report_truncated, track
from .results import Prediction, write_rows

if TYPE_CHECKING:
    from bioclip_jax.predict.classifiers import BaseClassifier
    from bioclip_jax.predict.detections import Classifications, DetectedImages

    from .model import Model


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
    skipped: dict[str, int] = {}
    images = find_images(inputs, options.every, skipped)
    columns = InputColumns(inputs, images)
    detected, classifications = _detect(images, options)
    events = None
    if options.events is not None or options.format == DWC:
        # Occurrences have a date, and without --events each time of a place is an event.
        events = find_events(images, columns.table, options.events or 0.0, read_times)
        _report_untimed(events, options)
    reads = options.files_read | {
        "an input": itertools.chain(inputs, (image.path for image in images)),
        "part of the model": model_files(model),
    }
    check_not_read(options.outputs, reads)

    # Importing JAX takes seconds, so options and inputs are checked first.
    from bioclip_jax.predict.taxa import selection_result

    from .model import load_model

    loaded = load_model(model, **options.loading)
    classifier = make_classifier(loaded, options, candidates)
    _warn_about_candidates(classifier, options)
    parts = images if detected is None else detected.crops
    failures = FailureLog(len(images if detected is None else detected))
    result: dict[str, Any] = {"images": len(images), "skipped": skipped, "transform": loaded.transform}
    result |= {"precision": loaded.precision, "fingerprint": loaded.fingerprint}
    with contextlib.ExitStack() as stack:
        record = None
        if options.resume:
            settings = options.resume_settings(classifier, candidates)
            keys = image_keys(parts)
            form = options.form_settings()
            if options.events is not None:
                settings["vectors"] = True
            rows_digest = columns.digest() + ("" if detected is None else detected.digest())
            if classifications is not None:
                # All of this file goes to the output.
                rows_digest += file_sha256(options.detections)
            record = CompletionRecord(options.output, settings | form, keys, rows_digest)
            whole = options.frames is None or options.frames.exists()
            if record.is_current() and whole and options.log is None and options.report is None:
                print(f"note: {options.output} is finished already", file=sys.stderr)
                return result | {"output": str(options.output), "unreadable": [], "truncated": []}
            # The journal holds predictions, which any output format can use.
            journal = stack.enter_context(Journal.open(options.output, settings, parts, keys))
            predictions = _resume(classifier, options, parts, failures, journal)
        else:
            stack.enter_context(_advise_on_interrupt())
            if options.events is None:
                predictions = _predict(classifier, options, parts, failures)
            else:
                # Frames are pooled in another order than they are read in, so they wait on disk.
                folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="bioclip_jax-events-"))
                journal = stack.enter_context(Journal.open(Path(folder) / "frames", {}, parts))
                predictions = _resume(classifier, options, parts, failures, journal)
        if detected is not None:
            result["detections"] = detected.counts
            on_named = None if classifications is None else classifications.add
            example = partial(classifier.example_row, options.selection)
            predictions = detected.merge(predictions, example, on_named)
        answers = None
        if options.events is not None:
            answers = EventPredictions(classifier, options.selection, images, events, journal, detected)
            result["events"] = len(events)
        result |= _write(
            predictions,
            classifier,
            options,
            images,
            columns,
            failures,
            record,
            classifications,
            answers,
            events,
        )
    print(f"transform: {loaded.transform_note}", file=sys.stderr)
    if options.predicts_taxa and options.head is None:
        result |= selection_result(classifier, options.output)
    return result | {
        "unreadable": failures.problems,
        "truncated": report_truncated(loaded.embedder.truncated),
    }


def _detect(
    images: Sequence[ImageFile], options: PredictOptions
) -> tuple[DetectedImages | None, Classifications | None]:
    """Return the images with the boxes of `detections`, and the collector of names for its file."""
    if options.detections is None:
        return None, None
    from bioclip_jax.predict.detections import Classifications, DetectedImages, read_detections

    detections = read_detections(options.detections, options.detection_threshold)
    detected = DetectedImages(images, detections)
    print(detected.summary(), file=sys.stderr)
    if options.format == MEGADETECTOR and (absent := detected.counts["absent"]):
        print(f"note: {absent:,} images without an entry in the file get none", file=sys.stderr)
    return detected, Classifications(detections) if options.format == MEGADETECTOR else None


def _report_untimed(events: FrameEvents, options: PredictOptions) -> None:
    if count := events.untimed:
        effect = "an event of its own" if options.events is not None else "an occurrence without eventDate"
        print(f"note: {count:,} without a time in a table or EXIF, each {effect}", file=sys.stderr)


def make_classifier(model: Model, options: PredictOptions, candidates: Any) -> BaseClassifier:
    """Return the classifier of the options, with its candidates, of PredictOptions.read_candidates."""
    from bioclip_jax.predict import classifiers
    from bioclip_jax.predict.taxa import read_temperature

    if options.head is not None:
        return classifiers.LearnedClassifier(model, candidates)
    if options.labels is not None:
        return classifiers.CustomLabelsClassifier(candidates, model, labels_as_given=options.labels_as_given)
    if options.bins is not None:
        return classifiers.CustomLabelsBinningClassifier(candidates, model)
    temperature = 1.0
    if options.temperature is not None:
        temperature = read_temperature(str(options.temperature), model.fingerprint)
    classifier = classifiers.TreeOfLifeClassifier(model, options.taxa, temperature=temperature)
    if candidates is not None:
        candidates.apply(classifier)
    return classifier


def _warn_about_candidates(classifier: Any, options: PredictOptions) -> None:
    """Warn on standard error about taxa without a vector, and about a single candidate."""
    if options.head is not None:
        return
    if not options.predicts_taxa:
        count, kind = len(classifier.candidates), "label" if options.bins is None else "bin"
    else:
        from bioclip_jax.predict.taxa import WITHOUT_VECTOR

        rank = options.selection.rank
        count, kind = len(classifier.names.starts(rank)), rank.get_label()
        head = classifier.head
        if missing := int(head.about.get(WITHOUT_VECTOR, 0)):
            print(
                f"note: {missing:,} of the {len(head):,} taxa of {head.path} have no text vector and cannot "
                "be predicted; taxa build --complete adds them",
                file=sys.stderr,
            )
    if count == 1:
        print(
            f"warning: there is only one {kind} to choose from, so its score is 1 for any image; add others",
            file=sys.stderr,
        )


def _predict(
    classifier: BaseClassifier, options: PredictOptions, images: Sequence[ImageFile], failures: FailureLog
) -> Iterator[Prediction]:
    to_stdout = options.output is None and not options.as_result
    tracked = track(enumerate(images), "predicting", len(images), results_on_stdout=to_stdout)
    for index, rows in classifier.stream_indexed(tracked, options.selection, failures):
        if rows:
            yield images[index], rows


def _resume(
    classifier: BaseClassifier,
    options: PredictOptions,
    images: Sequence[ImageFile],
    failures: FailureLog,
    journal: Journal,
) -> Iterator[Prediction]:
    """Predict the images that the journal lacks, then yield all predictions from it."""
    remaining = journal.remaining(classifier.group_size)
    for index, problem in list(journal.failures.items()):
        failures(index, UserError(problem))

    def add_failure(index: int, problem: UserError) -> None:
        journal.add_failure(index, str(problem))
        failures(index, problem)

    if remaining:
        pairs = ((index, images[index]) for index in remaining)
        tracked = track(pairs, "predicting", len(images), done=len(images) - len(remaining))
        pooled = options.events is not None
        stream = classifier.stream_with_vectors(tracked, options.selection, add_failure)
        for index, rows, vector in stream:
            if pooled:
                journal.add(index, rows, vector)
            elif rows:
                journal.add(index, rows)
    journal.finish()
    yield from journal.predictions()


def _write(
    predictions: Iterator[Prediction],
    classifier: BaseClassifier,
    options: PredictOptions,
    images: Sequence[ImageFile],
    columns: InputColumns,
    failures: FailureLog,
    record: CompletionRecord | None,
    classifications: Classifications | None = None,
    answers: EventPredictions | None = None,
    events: FrameEvents | None = None,
) -> dict[str, Any]:
    """Write the rows, report and log of the options; return their part of the result.

    answers: of the events of `predictions`, which are then frames.
    """
    from bioclip_jax.predict.classifiers import attach_prediction_recorder, save_recorded_predictions

    result: dict[str, Any] = {}
    recorder = None
    if options.log is not None:
        recorder = attach_prediction_recorder(classifier, **options.candidate_settings())
    if options.report is not None:
        from bioclip_jax.predict.report import Report, write_page

        report = Report(classifier, options.candidate_settings() | options.selection_settings())
        report.frames_of = None if answers is None else answers.frames_of
    capture = CaptureColumns(options.add)
    if answers is None:
        predictions = columns.append_to(capture.append_to(predictions))
    else:
        frames = with_event(predictions, images, answers.events)
        result |= _write_frames(columns.append_to(capture.append_to(frames)), options)
        predictions = answers.with_columns(CaptureColumns(options.add), columns)
    if options.report is not None:
        predictions = report.watch(predictions)
    rows = (row for _, rows in predictions for row in rows)
    if options.format == DWC:
        place = "place" in options.add
        core = DarwinCoreRows(classifier, images, events, by_event=answers is not None, place=place)
        rows = core.rows(predictions)
        if options.backbone is not None:
            from bioclip_jax.predict.taxa import Synonyms

            rows = Synonyms(options.backbone).fill_taxon_ids(rows)
    output = options.output
    if options.as_result and output is None:
        result["predictions"] = list(rows)
    else:
        if classifications is not None:
            deque(rows, maxlen=0)
            written = classifications.write(output, f"bioclip_jax {classifier.model_str}")
        else:
            written = write_rows(rows, "csv" if options.format == DWC else options.row_format, output)
        result["output"] = str(output) if output is not None and written else None
        if record is not None and written:
            record.write()
        elif result["output"] and not is_stream(output):
            record_path(output).unlink(missing_ok=True)
    if options.format == DWC and core.skipped:
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in core.skipped.most_common())
        print(f"note: predictions that are no occurrences were skipped: {kinds}", file=sys.stderr)
    for note in capture.notes():
        print(note, file=sys.stderr)
    if options.report is not None:
        write_page(report, options.report, len(images), failures.problems)
        result["report"] = str(options.report)
    if recorder is not None:
        details = {"batch_size": options.batch_size, "unreadable": failures.problems}
        recorder.add_prediction(images, **options.selection_settings(), **details)
        # A stream cannot be read again for its digest.
        recorder.output = output if result.get("output") and not is_stream(output) else None
        save_recorded_predictions(classifier, options.log)
        result["log"] = str(options.log)
    return result


def _write_frames(predictions: Iterator[Prediction], options: PredictOptions) -> dict[str, Any]:
    """Write the frames' own answers, or return them if the result is returned."""
    rows = (row for _, rows in predictions for row in rows)
    if options.as_result and options.output is None:
        return {"frames": list(rows)}
    if options.frames is not None:
        written = write_rows(rows, "csv" if options.format == DWC else options.row_format, options.frames)
        return {"frames": str(options.frames) if written else None}
    for _ in rows:  # their vectors are needed, their rows have no place on standard output
        pass
    return {}


@contextlib.contextmanager
def _advise_on_interrupt() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted("nothing is kept; use --resume and --output to make a run resumable") from None
