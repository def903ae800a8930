"""Options of `twin observe`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bioclip_jax.errors import UserError
from bioclip_jax.files import PathLike

from .clock import check_timezone
from .events import GAP_SECONDS

_LONGEST_GAP = 366 * 86_400  # seconds


@dataclass(frozen=True, kw_only=True)
class ObserveOptions:
    """All options of `twin observe` but its photographs, deployments and output.

    predictions: table of `predict`. detections: MegaDetector's JSON; detection_threshold: least confidence of
    its boxes. human: table of people's labels. reliability: file of `taxa calibrate`, for the package.
    unknown: an animal of less probability is of an unknown species.
    gap: seconds between events. timezone: IANA name of the zone of the cameras' clocks (default: that of each
    deploymentStart). people: "drop" leaves their photographs out, "keep" marks them as not public.
    project: TOML of properties of the descriptor, such as title, contributors and project.
    share: folder for a package that others may see; sensitive: its table of sensitive species; precise: with
    exact positions; share_photographs: with copies of the photographs, without metadata and people.
    overwrite: replace a package.

    Raises UserError for options out of range or without effect.
    """

    predictions: PathLike | None = None
    detections: PathLike | None = None
    detection_threshold: float = 0.2
    human: PathLike | None = None
    reliability: PathLike | None = None
    unknown: float | None = None
    gap: float = GAP_SECONDS
    timezone: str | None = None
    people: Literal["drop", "keep"] = "drop"
    project: PathLike | None = None
    share: PathLike | None = None
    sensitive: PathLike | None = None
    precise: bool = False
    share_photographs: bool = False
    overwrite: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.gap <= _LONGEST_GAP:
            raise UserError(f"--gap is {self.gap}; it is a number of seconds, at least 1 and at most a year")
        if not 0 < self.detection_threshold <= 1:
            raise UserError(
                f"--detection-threshold is {self.detection_threshold}; it is above 0 and at most 1"
            )
        if self.unknown is not None and not 0 < self.unknown <= 1:
            raise UserError(f"--unknown is {self.unknown}; it is a probability, above 0 and at most 1")
        if self.people not in ("drop", "keep"):
            raise UserError(f"--people is {self.people!r}; choose drop or keep")
        if self.share is None:
            for name in ("sensitive", "precise", "share_photographs"):
                if getattr(self, name):
                    raise UserError(
                        f"--{name.replace('_', '-')} applies to the package that others may see; give its "
                        "folder with --share"
                    )
        check_timezone(self.timezone)

    @property
    def files_read(self) -> list[PathLike]:
        """Files to read that are given."""
        files = (
            self.predictions, self.detections, self.human, self.reliability, self.project, self.sensitive,
        )  # fmt: skip
        return [file for file in files if file is not None]
