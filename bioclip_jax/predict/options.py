"""Options of `predict`, checked against each other."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from bioclip_jax.errors import UserError
from bioclip_jax.files import check_outputs, files_below, is_stream

from .capture import check_added
from .darwin_core import DWC
from .events import check_gap, frames_path
from .frames import check_every
from .rank import Rank, as_rank
from .results import check_format, is_delimited
from .selection import DEFAULT_K, Selection

if TYPE_CHECKING:
    from bioclip_jax.pipeline.images import ReadOptions
    from bioclip_jax.predict.learn import LearnedHead

PathLike = str | os.PathLike[str]

# The format of a detector's file, which no other verb writes.
MEGADETECTOR = "megadetector"

Precision = Literal["fp32", "bf16"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)


@dataclass(frozen=True, kw_only=True)
class PredictOptions:
    """All options of `predict` but its inputs and MODEL.

    Candidates, one of:
      labels: "a,b,c" or a text file of labels, as read_labels; labels_as_given keeps blank and repeated ones.
      bins: a table of labels and their bins, as read_bins. head: a folder that `taxa learn` wrote.
      Otherwise the taxa at `rank` (default: species) of the embeddings in `taxa` (default: the model's own).
      subset: only the taxa of a checklist, as read_checklist; within: only taxa within this one. prior: a
      table of weights of taxa, as read_prior. backbone: a taxonomy whose synonyms are looked up for both, and
      whose taxonIDs the format "dwc" has.
      skip_unknown: ignore names in them that the embeddings lack.
    Parts of images:
      detections: boxes of animals, as read_detections, that are predicted instead of the images;
      detection_threshold: their least confidence.
    Predictions per image:
      k: their number (default: 5 taxa, all labels). min_confidence, unknown: as Selection, and with a head
      min_familiarity. temperature: of the softmax over taxa, a number or a file that `taxa calibrate` wrote.
    Inputs:
      every: seconds between the frames that are read of a video; None skips videos.
    Outputs:
      format: of the rows, as check_format; "megadetector", the file of `detections` with names; or "dwc",
      occurrences of Darwin Core, with coordinates only if "place" is added. output: None is standard output,
      or with as_result the returned dictionary. log: provenance, as save_recorded_predictions. report: an
      HTML page. resume: keep finished images in a journal beside `output`, and continue from it. add: columns
      from EXIF, of "date", "place" and "camera", as a list or separated by commas. events: seconds; frames of
      one place without a longer pause between them are one event, which has one answer (see find_events,
      EventPredictions).
    Model: as load_model.

    Raises UserError for options that are out of range or exclude each other. No file is read.
    """

    rank: Rank | str | None = None
    labels: str | None = None
    labels_as_given: bool = False
    bins: PathLike | None = None
    head: PathLike | None = None
    subset: PathLike | None = None
    within: str | None = None
    prior: PathLike | None = None
    backbone: PathLike | None = None
    skip_unknown: bool = False
    taxa: PathLike | None = None

    detections: PathLike | None = None
    detection_threshold: float = 0.2

    k: int | None = None
    min_confidence: float | None = None
    unknown: float | None = None
    min_familiarity: float | None = None
    temperature: float | str | None = None

    format: str | None = None
    output: PathLike | None = None
    log: PathLike | None = None
    report: PathLike | None = None
    resume: bool = False
    as_result: bool = False
    add: str | Sequence[str] = ()
    every: float | None = None
    events: float | None = None

    pretrained: str | None = None
    device: str | None = None
    batch_size: int | None = None
    precision: Precision = "fp32"
    transform: str | None = None
    reading: ReadOptions | None = None

    def __post_init__(self) -> None:
        for name in ("output", "log", "report"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, Path(getattr(self, name)))
        object.__setattr__(self, "add", check_added(self.add))
        check_every(self.every)
        if isinstance(self.rank, str):
            object.__setattr__(self, "rank", as_rank(self.rank))
        if self.format == MEGADETECTOR:
            self._check_megadetector()
        elif self.format == DWC:
            self._check_dwc()
        elif not self.as_result or self.output is not None:
            check_format(self.format, self.output)
        for option, count in (("--k", self.k), ("--batch-size", self.batch_size)):
            if count is not None and count < 1:
                raise UserError(f"{option} is {count}; it must be at least 1")
        probabilities = ("min_confidence", "unknown", "min_familiarity", "detection_threshold")
        for option, value in (("--" + name.replace("_", "-"), getattr(self, name)) for name in probabilities):
            if value is not None and not 0 < value <= 1:
                raise UserError(f"{option} is {value}; it is a probability, above 0 and at most 1")
        if self.events is not None:
            check_gap(self.events)
            if self.format == "megadetector":
                raise UserError(
                    "--format megadetector has one entry per photograph, and --events one answer per event; "
                    "drop one of them"
                )
        self._check_combinations()

    def _check_dwc(self) -> None:
        if self.labels is not None or self.bins is not None:
            option = "--cls" if self.bins is None else "--bins"
            raise UserError(f"--format dwc needs names of taxa, and {option} has labels; drop one of them")
        if self.output is not None and not is_delimited(self.output):
            raise UserError("--format dwc writes a table; name it with --output NAME.csv or NAME.tsv")

    def _check_megadetector(self) -> None:
        if self.detections is None:
            raise UserError(
                "--format megadetector writes the names into a detector's file; give --detections"
            )
        if self.output is None or is_stream(self.output) or self.output.suffix.lower() != ".json":
            raise UserError("--format megadetector writes JSON; name the file with --output NAME.json")

    def _check_combinations(self) -> None:
        if self.labels is not None and self.bins is not None:
            raise UserError("--cls and --bins both set the candidates; give only one")
        if self.head is not None:
            for name in ("labels", "bins", "subset", "within", "prior", "taxa", "temperature"):
                if getattr(self, name) is not None:
                    option = "--" + ("cls" if name == "labels" else name)
                    raise UserError(f"--head brings its own classes and temperature; drop it or {option}")
        elif self.min_familiarity is not None:
            raise UserError("--min-familiarity needs --head, whose photographs it compares with; give both")
        elif not self.predicts_taxa:
            other = "--cls" if self.bins is None else "--bins"
            for name in ("rank", "subset", "within", "prior", "taxa", "temperature", "min_confidence"):
                if getattr(self, name) is not None:
                    option = "--" + name.replace("_", "-")
                    raise UserError(f"{option} applies to taxa, and {other} to labels; give only one of them")
        if self.labels_as_given and self.labels is None:
            raise UserError("--labels-as-given needs --cls; give it, or drop the flag")
        for option, given in (("--skip-unknown", self.skip_unknown), ("--backbone", self.backbone)):
            if given and self.subset is None and self.prior is None:
                if option == "--backbone" and self.format == DWC:
                    continue  # for the taxonIDs
                raise UserError(f"{option} needs --subset or --prior; give one of them, or drop {option}")
        if self.k is not None and self.min_confidence is not None:
            raise UserError("--min-confidence returns one prediction per image; drop it or --k")
        if self.resume and (self.output is None or is_stream(self.output)):
            raise UserError("--resume needs an output file; name it with --output")
        if self.report is not None and self.report.suffix.lower() not in (".html", ".htm"):
            raise UserError(f"the report {self.report} is an HTML page; end its name in .html")

    @cached_property
    def learned_head(self) -> LearnedHead | None:
        """The head of `head`, read when it is first needed. Raises UserError as open_head."""
        if self.head is None:
            return None
        from bioclip_jax.predict.learn import open_head

        learned = open_head(self.head)
        if learned.rank is None and (self.rank is not None or self.min_confidence is not None):
            option = "--rank" if self.rank is not None else "--min-confidence"
            raise UserError(f"{option} applies to taxa, and the classes of {self.head} are labels; drop it")
        if learned.rank is not None and self.rank is not None:
            learned.check_rank(self.rank)
        return learned

    @property
    def predicts_taxa(self) -> bool:
        """False with labels, bins, or a head of labels."""
        if self.head is not None:
            return self.learned_head.rank is not None
        return self.labels is None and self.bins is None

    @property
    def selection(self) -> Selection:
        """The options that a classifier takes for a stream."""
        k = DEFAULT_K if self.k is None and self.predicts_taxa else self.k
        own = self.learned_head.rank if self.head is not None else None
        rank = self.rank or own or Rank.SPECIES
        names = ("min_confidence", "unknown", "min_familiarity")
        return Selection(rank=rank, k=k, **{name: getattr(self, name) for name in names})

    @property
    def row_format(self) -> str | None:
        """The format of the rows, None if they are returned."""
        if self.format in (MEGADETECTOR, DWC):
            return self.format
        return None if self.as_result and self.output is None else check_format(self.format, self.output)

    @property
    def loading(self) -> dict[str, Any]:
        """Keyword arguments for load_model."""
        names = ("pretrained", "device", "batch_size", "precision", "transform", "reading")
        return {name: getattr(self, name) for name in names}

    @property
    def outputs(self) -> dict[str, Path | None]:
        """Files to write, by option."""
        outputs = {"--output": self.output, "--log": self.log, "--report": self.report}
        return outputs | ({} if self.frames is None else {"the frames of --events": self.frames})

    @property
    def frames(self) -> Path | None:
        """The file of the frames' own answers with events."""
        if self.events is None or self.output is None or is_stream(self.output):
            return None
        return frames_path(self.output)

    @property
    def files_read(self) -> dict[str, Any]:
        """Files to read, by option; a value may also be a text instead of a file."""
        return {
            "--head": None if self.head is None else list(files_below(self.head)),
            "--cls": self.labels,
            "--bins": self.bins,
            "--subset": self.subset,
            "--prior": self.prior,
            "--backbone": self.backbone,
            "--taxa": self.taxa,
            "--temperature": self.temperature,
            "--detections": self.detections,
        }

    def check_files(self) -> None:
        """Raise UserError for an output that cannot be written."""
        check_outputs(self.outputs)
        if self.format == DWC and not self.predicts_taxa:
            raise UserError(f"--format dwc needs names of taxa, and {self.head} has labels; drop one of them")
        if self.log is not None:
            from bioclip_jax.predict.classifiers import verify_recorder_path

            verify_recorder_path(self.log)

    def read_candidates(self) -> Any:
        """Read the candidates: labels, label -> bin, a LearnedHead or a TaxaChoice; None without any."""
        from bioclip_jax.predict.classifiers import read_bins, read_labels

        if self.head is not None:
            return self.learned_head
        if self.labels is not None:
            return read_labels(self.labels, as_given=self.labels_as_given)
        if self.bins is not None:
            return read_bins(self.bins)
        if self.taxa is not None and not Path(self.taxa).is_file():
            raise UserError(f"no taxa embeddings at {self.taxa}; build them with `bioclip-jax taxa build`")
        from bioclip_jax.predict.taxa import Synonyms, TaxaChoice

        if self.backbone is not None:
            Synonyms(self.backbone)  # raises if it does not exist
        names = ("subset", "within", "prior", "backbone", "skip_unknown")
        return TaxaChoice.read(**{name: getattr(self, name) for name in names})
