"""Options of `twin estimate`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bioclip_jax.errors import UserError
from bioclip_jax.files import PathLike

LEVEL = 0.90
_VISIT_DAYS = 0.01, 36_525


@dataclass(frozen=True, kw_only=True)
class EstimateOptions:
    """All options of `twin estimate` but its package and its output.

    visit_days: length of a visit in days. species: only these, None for all.
    movement: table of speed, detection radius and angle (movement.py); without it, or for a species without a
    row, there is no density. reliability: file of `taxa calibrate`, as find_reliability uses it.
    covariates: table with further columns of deployments. occupancy_covariates, detection_covariates:
    columns, of it or of the deployments, that occupancy and detection may depend on.
    sensitive: table of sensitive species. precise: no coarsening of positions and no withheld species.
    draws, seed: of the bootstrap and of the draws of the confusion matrix.

    Raises UserError for options out of range.
    """

    visit_days: float = 1.0
    species: Sequence[str] | None = None
    movement: PathLike | None = None
    reliability: PathLike | None = None
    covariates: PathLike | None = None
    occupancy_covariates: Sequence[str] = ()
    detection_covariates: Sequence[str] = ()
    sensitive: PathLike | None = None
    precise: bool = False
    draws: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        least, most = _VISIT_DAYS
        if not least <= self.visit_days <= most:
            raise UserError(
                f"--visit-days is {self.visit_days}; it is a number of days, from {least} to {most:,}"
            )
        if self.covariates is not None and not (self.occupancy_covariates or self.detection_covariates):
            raise UserError(
                "--covariates has no effect alone; name its columns with --occupancy-covariates or "
                "--detection-covariates"
            )

    @property
    def files_read(self) -> dict[str, PathLike | None]:
        """Files to read, by option."""
        return {
            "--movement": self.movement,
            "--reliability": self.reliability,
            "--covariates": self.covariates,
            "--sensitive": self.sensitive,
        }
