"""The verb `predict`."""

from __future__ import annotations

import contextlib
import itertools
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bioclip_jax.convert import model_files
from bioclip_jax.errors import Interrupted, UserError
from bioclip_jax.files import check_not_read, check_outputs, is_stream

from .carried_columns import CarriedColumns
from .inputs import ImageFile, find_images
from .progress import FailureLog, report_truncated, track
from .question import Question
from .rank import Rank
from .results import check_format, write_rows
from .resume import (
    Answer,
    Journal,
    by_image,
    finished,
    image_keys,
    mentions,
    record_finished,
    record_path,
)

if TYPE_CHECKING:
    from bioclip_jax.pipeline.images import ReadOptions


def predict_files(
    inputs: Sequence[str | os.PathLike[str]],
    model: str,
    *,
    rank: Rank | str | None = None,
    labels: str | None = None,
    labels_as_given: bool = False,
    bins: str | os.PathLike[str] | None = None,
    subset: str | os.PathLike[str] | None = None,
    within: str | None = None,
    skip_unknown: bool = False,
    taxa: str | os.PathLike[str] | None = None,
    k: int | None = None,
    min_confidence: float | None = None,
    unknown: float | None = None,
    temperature: float | str | None = None,
    format: str | None = None,
    output: Path | None = None,
    log: Path | None = None,
    report: Path | None = None,
    resume: bool = False,
    batch_size: int | None = None,
    device: str | None = None,
    pretrained: str | None = None,
    transform: str | None = None,
    reading: ReadOptions | None = None,
    as_result: bool = False,
) -> dict[str, Any]:
    """Write the best answers for each image to `output`, or to standard output.

    What can be an answer:
      labels: "a,b,c" or a file with one a line, as read_labels; labels_as_given: blank and repeated ones too.
      bins: a CSV of labels and their bins, as read_bins. Without these, taxa at `rank`, species if None, of
      the head `taxa`, or else of the model's own; only those that the CSV `subset` names, or that lie
      `within` a taxon, or both;
      skip_unknown: pass over names of the subset that the head lacks.
    Which of them are:
      k: so many an image; None is 5 taxa, or all labels. min_confidence: instead, one at the narrowest rank
      that reaches it. unknown: an image whose best score is below it is "unknown". temperature: a number, or
      a file of `taxa calibrate`, that the scores of taxa are made less sure by.
    Where they go:
      format: as check_format. log: provenance, as save_recorded_predictions. report: a page for people, as
      HTML.
      resume: finished images are kept in a journal beside `output`; after a run was stopped, however hard,
      the same options resume it, also where images were added or removed, and others are refused. as_result:
      without an output, put the rows into the result instead of writing them.
    model, pretrained, device, batch_size, transform, reading: as load_model.

    Rows also have the other columns of a table of images, behind their own; one that they have themselves,
    such as species, is called input_species.

    Returns: {"images", "transform": the name of the one used, "unreadable", "truncated", "output" or
      "predictions", and "log" and "report" where they were asked for}. An image that cannot be read is
      skipped, and named on standard error.
    Errors: UserError for wrong arguments, before the model is loaded, and where no image can be read.
    """
    output, log, report = (None if path is None else Path(path) for path in (output, log, report))
    if not as_result or output is not None:
        format = check_format(format, output)
    _check_files(output, log, report, resume)
    if batch_size is not None and batch_size < 1:
        raise UserError(f"--batch-size is {batch_size}; it must be at least 1")
    names = {"rank": rank, "labels": labels, "bins": bins, "subset": subset, "within": within, "taxa": taxa}
    sureness = {"min_confidence": min_confidence, "unknown": unknown, "temperature": temperature}
    flags = {"labels_as_given": labels_as_given, "skip_unknown": skip_unknown}
    question = Question(k=k, **names, **sureness, **flags)
    images = find_images(inputs)
    carried = CarriedColumns(inputs, images)
    read = {"--cls": labels, "--bins": bins, "--subset": subset, "--taxa": taxa, "--temperature": temperature}
    read["an input"] = itertools.chain(inputs, (image.path for image in images))
    read["part of the model"] = model_files(model)
    check_not_read({"--output": output, "--log": log, "--report": report}, read)

    # JAX is loaded once there is something to do.
    from bioclip_jax.predict.classifiers import attach_prediction_recorder, save_recorded_predictions

    from .model import load_model

    how = {"pretrained": pretrained, "device": device, "batch_size": batch_size, "transform": transform}
    loaded = load_model(model, **how, reading=reading)
    classifier = question.classifier(loaded)
    question.warn(classifier)
    recorder = attach_prediction_recorder(classifier, **question.choice()) if log else None
    unreadable = FailureLog(len(images))
    to_stdout = output is None and not as_result
    result: dict[str, Any] = {"images": len(images), "transform": loaded.transform}
    with contextlib.ExitStack() as stack:
        if resume:
            asked, keys = question.identity(classifier), image_keys(images)
            # What the file holds besides the answers; a journal is of use for any of it.
            written_as = {"format": format}, carried.digest()
            if finished(output, asked, keys, *written_as) and log is None and report is None:
                print(f"note: {output} is finished already", file=sys.stderr)
                return result | {"output": str(output), "unreadable": [], "truncated": []}
            journal = stack.enter_context(Journal.open(output, asked, images, keys))
            answers = _resumed(question, classifier, images, unreadable, journal)
        else:
            stack.enter_context(_nothing_kept())
            answers = _answers(question, classifier, images, unreadable, results_on_stdout=to_stdout)
        if report is not None:
            from bioclip_jax.predict.report import Report, write_page

            seen = Report(classifier, question.choice() | question.details())
            answers = seen.watch(answers)
        rows = (row for _, found in carried.beside(answers) for row in found)
        if as_result and output is None:
            result["predictions"] = list(rows)
        else:
            written = write_rows(rows, format, output)
            result["output"] = str(output) if output is not None and written else None
            if resume and written:
                record_finished(output, asked, keys, *written_as)
            elif result["output"] and not is_stream(output):
                record_path(output).unlink(missing_ok=True)
        if report is not None:
            write_page(seen, report, len(images), unreadable.problems)
            result["report"] = str(report)
        if recorder is not None:
            details = question.details() | {"batch_size": batch_size, "unreadable": unreadable.problems}
            recorder.add_prediction(images, **details)
            # What went through a stream cannot be read again.
            recorder.output = output if result.get("output") and not is_stream(output) else None
            save_recorded_predictions(classifier, log)
            result["log"] = str(log)
    print(f"transform: {loaded.transform_note}", file=sys.stderr)
    return result | {
        "unreadable": unreadable.problems,
        "truncated": report_truncated(loaded.embedder.truncated),
    }


@contextlib.contextmanager
def _nothing_kept() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted("nothing is kept; with --resume and --output a run can be resumed") from None


def _check_files(output: Path | None, log: Path | None, report: Path | None, resume: bool) -> None:
    """UserError where a file cannot be written, before anything is read."""
    check_outputs({"--output": output, "--log": log, "--report": report})
    if log is not None:
        from bioclip_jax.predict.classifiers import verify_recorder_path

        verify_recorder_path(log)
    if report is not None and report.suffix.lower() not in (".html", ".htm"):
        raise UserError(f"the report {report} is a page for a browser; end its name in .html")
    if resume and (output is None or is_stream(output)):
        raise UserError("--resume goes on with a file; name it with --output")


def _answers(
    question: Question,
    classifier: Any,
    images: Sequence[ImageFile],
    unreadable: FailureLog,
    *,
    results_on_stdout: bool = False,
) -> Iterator[Answer]:
    tracked = track(mentions(images), "predicting", len(images), results_on_stdout=results_on_stdout)
    rows = question.rows(classifier, tracked, unreadable)
    for place, found in by_image(rows, images):
        yield images[place], found


def _resumed(
    question: Question, classifier: Any, images: Sequence[ImageFile], unreadable: FailureLog, journal: Journal
) -> Iterator[Answer]:
    """Finishes the journal, and then gives the answers that are in it."""
    rest = journal.rest(classifier.images_together)
    for place, problem in list(journal.bad.items()):
        unreadable(place, UserError(problem))

    def note_bad(place: int, problem: UserError) -> None:
        journal.add_bad(rest[place], str(problem))
        unreadable(rest[place], problem)

    if rest:
        left = [images[place] for place in rest]
        tracked = track(mentions(left), "predicting", len(images), done=len(images) - len(left))
        for place, found in by_image(question.rows(classifier, tracked, note_bad), left):
            journal.add(rest[place], found)
    journal.finish()
    yield from journal.answers()
