"""The inputs of a run of `predict`, read and checked before its model is loaded."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bioclip_jax.files import file_sha256

from .capture import read_times
from .darwin_core import DWC
from .events import FrameEvents, find_events
from .input_columns import InputColumns
from .inputs import ImageFile, Skipped, find_images
from .options import MEGADETECTOR, PredictOptions

if TYPE_CHECKING:
    from bioclip_jax.predict.detections import Classifications, DetectedImages


@dataclass(frozen=True)
class Plan:
    """The photographs of a run, and everything that inputs say about them.

    skipped: number of files of other kinds, by suffix. columns: of input tables. detected: the photographs
    with a detector's boxes. classifications: collects the names of boxes for the detector's file. events: of
    the photographs; with the format "dwc" also without --events, since occurrences have a date.
    """

    inputs: Sequence[str | os.PathLike[str]]
    options: PredictOptions
    images: list[ImageFile]
    columns: InputColumns
    detected: DetectedImages | None = None
    classifications: Classifications | None = None
    events: FrameEvents | None = None
    skipped: Skipped = field(default_factory=Skipped)

    @classmethod
    def read(cls, inputs: Sequence[str | os.PathLike[str]], options: PredictOptions) -> Plan:
        """Find the images of INPUTS, their boxes and their events; report the numbers on standard error.

        Raises UserError as find_images, InputColumns, read_detections and DetectedImages.
        """
        skipped = Skipped()
        images = find_images(inputs, options.every, skipped)
        columns = InputColumns(inputs, images)
        detected, classifications = _detect(images, options)
        events = None
        if options.events is not None or options.format == DWC:
            # Without --events each time of a place is an event.
            events = find_events(images, columns.table, options.events or 0.0, read_times)
            _report_untimed(events, options)
        return cls(inputs, options, images, columns, detected, classifications, events, skipped)

    @property
    def parts(self) -> Sequence[ImageFile]:
        """The images to predict: crops of animals, or whole photographs."""
        return self.images if self.detected is None else self.detected.crops

    @property
    def count(self) -> int:
        """Number of images and boxes that have rows."""
        return len(self.images if self.detected is None else self.detected)

    @property
    def files_read(self) -> dict[str, Any]:
        """Files that no output may replace."""
        return {"an input": itertools.chain(self.inputs, (image.path for image in self.images))}

    def digest(self) -> str:
        """Return a hash of everything in the output that images and options do not determine."""
        digest = self.columns.digest() + ("" if self.detected is None else self.detected.digest())
        if self.classifications is not None:
            # All of this file goes to the output.
            digest += file_sha256(self.options.detections)
        return digest


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
    if options.format != MEGADETECTOR:
        return detected, None
    if absent := detected.counts["absent"]:
        print(f"note: {absent:,} images without an entry in the file get none", file=sys.stderr)
    return detected, Classifications(detections)


def _report_untimed(events: FrameEvents, options: PredictOptions) -> None:
    if count := events.untimed:
        effect = "an event of its own" if options.events is not None else "an occurrence without eventDate"
        print(f"note: {count:,} without a time in a table or EXIF, each {effect}", file=sys.stderr)
