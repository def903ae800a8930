"""The outputs of `predict`: rows, the frames of events, the report and the log."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from bioclip_jax.files import is_stream

from .capture import CaptureColumns
from .completion import CompletionRecord, record_path
from .darwin_core import DWC, DarwinCoreRows
from .events import EventPredictions, with_event
from .options import PredictOptions
from .plan import Plan
from .progress import FailureLog
from .results import Prediction, Row, write_rows
from .settings import candidate_settings, selection_settings

if TYPE_CHECKING:
    from bioclip_jax.predict.classifiers import BaseClassifier


class PredictionWriter:
    """Write the outputs that the options ask for.

    A prediction becomes a row by these steps: columns of its EXIF, columns of its input table, and, with the
    format "dwc", the terms of an occurrence. The report sees it before the last step.
    """

    def __init__(
        self,
        classifier: BaseClassifier,
        options: PredictOptions,
        plan: Plan,
        record: CompletionRecord | None = None,
    ) -> None:
        """Start the log's time. record: to be written after a resumable run."""
        from bioclip_jax.predict.classifiers import attach_prediction_recorder

        self._classifier, self._options, self._plan, self._record = classifier, options, plan, record
        self._recorder = self._report = None
        if options.log is not None:
            self._recorder = attach_prediction_recorder(classifier, **candidate_settings(options))
        if options.report is not None:
            from bioclip_jax.predict.report import Report

            self._report = Report(classifier, candidate_settings(options) | selection_settings(options))

    def write(
        self, predictions: Iterator[Prediction], failures: FailureLog, answers: EventPredictions | None = None
    ) -> dict[str, Any]:
        """Write predictions in image order; return "output" or "predictions", "frames", "report" and "log".

        answers: of the events of `predictions`, which are then their frames. failures: complete when all
        predictions are consumed.
        """
        options, columns = self._options, self._plan.columns
        result: dict[str, Any] = {}
        capture = CaptureColumns(options.add)
        if answers is None:
            predictions = columns.append_to(capture.append_to(predictions))
        else:
            frames = with_event(predictions, self._plan.images, answers.events)
            result |= self._write_frames(columns.append_to(capture.append_to(frames)))
            predictions = answers.with_columns(CaptureColumns(options.add), columns)
        if self._report is not None:
            self._report.frames_of = None if answers is None else answers.frames_of
            predictions = self._report.watch(predictions)
        result |= self._write_rows(predictions, by_event=answers is not None)
        for note in capture.notes():
            print(note, file=sys.stderr)
        return result | self._write_report(failures) | self._write_log(failures, result.get("output"))

    def _write_frames(self, predictions: Iterator[Prediction]) -> dict[str, Any]:
        """Write the frames' own answers, or return them if the result is returned."""
        options, rows = self._options, _rows_of(predictions)
        if options.as_result and options.output is None:
            return {"frames": list(rows)}
        if options.frames is not None:
            return {"frames": str(options.frames) if write_rows(rows, self._format, options.frames) else None}
        _consume(rows)  # their vectors are needed, their rows have no place on standard output
        return {}

    @property
    def _format(self) -> str | None:
        return "csv" if self._options.format == DWC else self._options.row_format

    def _write_rows(self, predictions: Iterable[Prediction], *, by_event: bool) -> dict[str, Any]:
        options, classifications = self._options, self._plan.classifications
        rows, occurrences = _rows_of(predictions), None
        if options.format == DWC:
            rows, occurrences = self._occurrences(predictions, by_event)
        if options.as_result and options.output is None:
            result = {"predictions": list(rows)}
        else:
            if classifications is not None:
                _consume(rows)
                written = classifications.write(options.output, f"bioclip_jax {self._classifier.model_str}")
            else:
                written = write_rows(rows, self._format, options.output)
            result = {"output": str(options.output) if options.output is not None and written else None}
            self._write_record(bool(written))
        if occurrences is not None and occurrences.skipped:
            kinds = ", ".join(f"{count:,} {kind}" for kind, count in occurrences.skipped.most_common())
            print(f"note: predictions that are no occurrences were skipped: {kinds}", file=sys.stderr)
        return result

    def _occurrences(
        self, predictions: Iterable[Prediction], by_event: bool
    ) -> tuple[Iterator[Row], DarwinCoreRows]:
        """Return the rows of Darwin Core, and their source, which counts what it skips."""
        options, plan = self._options, self._plan
        place = "place" in options.add
        occurrences = DarwinCoreRows(
            self._classifier, plan.images, plan.events, by_event=by_event, place=place
        )
        rows = occurrences.rows(predictions)
        if options.backbone is not None:
            from bioclip_jax.predict.taxa import Synonyms

            rows = Synonyms(options.backbone).fill_taxon_ids(rows)
        return rows, occurrences

    def _write_record(self, written: bool) -> None:
        """Record that the output is finished; remove the record of an output that was replaced."""
        output = self._options.output
        if self._record is not None and written:
            self._record.write()
        elif output is not None and written and not is_stream(output):
            record_path(output).unlink(missing_ok=True)

    def _write_report(self, failures: FailureLog) -> dict[str, Any]:
        if self._report is None:
            return {}
        from bioclip_jax.predict.report import write_page

        write_page(self._report, self._options.report, len(self._plan.images), failures.problems)
        return {"report": str(self._options.report)}

    def _write_log(self, failures: FailureLog, output: str | None) -> dict[str, Any]:
        if self._recorder is None:
            return {}
        from bioclip_jax.predict.classifiers import save_recorded_predictions

        options, recorder = self._options, self._recorder
        details = {"batch_size": options.batch_size, "unreadable": failures.problems}
        recorder.add_prediction(self._plan.images, **selection_settings(options), **details)
        # A stream cannot be read again for its digest.
        recorder.output = options.output if output and not is_stream(options.output) else None
        save_recorded_predictions(self._classifier, options.log)
        return {"log": str(options.log)}


def _rows_of(predictions: Iterable[Prediction]) -> Iterator[Row]:
    return (row for _, rows in predictions for row in rows)


def _consume(rows: Iterable[Row]) -> None:
    deque(rows, maxlen=0)
