"""Everything that `twin observe` reads and checks before it opens a photograph."""

from __future__ import annotations

import json
import os
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bioclip_jax.errors import UserError, first_line
from bioclip_jax.files import file_sha256

from .assign import candidate_deployments
from .deployments import Deployments, read_deployments
from .detections import Detections, read_detections
from .labels import Labels, read_labels
from .options import ObserveOptions, PathLike
from .photos import Photos, find_photos
from .predictions import Predictions, read_predictions
from .work_folder import check_target

if TYPE_CHECKING:
    import polars as pl

    from .privacy import Sensitivity


@dataclass(frozen=True)
class Inputs:
    """Photographs, deployments and what is known of them.

    candidates: of candidate_deployments. model: name and version of the model of predictions. project: what
    new_descriptor takes as metadata. sensitivity: of species, for the shared package.
    """

    photos: Photos
    deployments: Deployments
    candidates: pl.DataFrame
    predictions: Predictions | None
    detections: Detections | None
    labels: Labels | None
    model: str
    project: dict[str, Any]
    sensitivity: Sensitivity | None

    @property
    def unmatched(self) -> int:
        """Rows of predictions, detections and labels that are about other photographs."""
        sources = (self.predictions, self.detections, self.labels)
        return sum(source.unmatched for source in sources if source is not None)


def read_inputs(
    photos: PathLike, deployments: PathLike, output: Path, options: ObserveOptions, *, predicts: bool
) -> Inputs:
    """Read and check all inputs, the small ones first. predicts: photographs are to be given to a model.

    Raises UserError as observe does.
    """
    check_target(output, overwrite=options.overwrite, reads=[photos, deployments, *options.files_read])
    _check_folders(photos, output, options)
    project = _read_project(options.project)
    fingerprint = _read_fingerprint(options.reliability)
    sensitivity = _read_sensitivity(options.sensitive)
    read = read_deployments(deployments, options.timezone)
    taken = find_photos(photos)
    candidates = candidate_deployments(taken, read)
    _check_readable(taken, candidates, predicts)
    frame, predictions, detections, labels = taken.frame, None, None, None
    model = ""
    if options.predictions is not None:
        predictions = read_predictions(options.predictions, frame)
        model = _model_name(options.predictions, fingerprint)
    if options.detections is not None:
        detections = read_detections(options.detections, frame, options.detection_threshold)
    if options.human is not None:
        labels = read_labels(options.human, frame)
    for option, source in (("predictions", predictions), ("detections", detections), ("human", labels)):
        if source is not None and source.unmatched:
            print(
                f"note: {source.unmatched:,} rows of {getattr(options, option)} are about no photograph "
                "of the survey",
                file=sys.stderr,
            )
    return Inputs(taken, read, candidates, predictions, detections, labels, model, project, sensitivity)


def _check_folders(photos: PathLike, output: Path, options: ObserveOptions) -> None:
    """Raise UserError for a package inside the photographs, and a shared one that cannot be written."""
    source, target = (Path(os.path.realpath(path)) for path in (photos, output))
    if source.is_dir() and target.is_relative_to(source):
        raise UserError(f"the output {output} is inside the photographs {photos}; name a folder beside them")
    if options.share is None:
        return
    from .privacy import check_shared_folder

    share = Path(options.share)
    if source.is_dir() and Path(os.path.realpath(share)).is_relative_to(source):
        raise UserError(f"the shared package {share} is inside the photographs {photos}; name another folder")
    check_shared_folder(share, output)


def _read_project(path: PathLike | None) -> dict[str, Any]:
    """Read the descriptor's properties. Raises UserError for a file that is not TOML."""
    if path is None:
        return {}
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"the project {path} does not exist; give a TOML file") from None
    except ValueError as error:
        raise UserError(f"the project {path} is not TOML ({first_line(error)}); correct it") from None


def _read_fingerprint(path: PathLike | None) -> str | None:
    """Read the fingerprint of the model that the reliability is of; None without a file.

    Raises UserError for anything but a file of `taxa calibrate`.
    """
    if path is None:
        return None
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        fingerprint, after = content["fingerprint"], content["after"]
    except FileNotFoundError:
        raise UserError(f"the reliability {path} does not exist; make it with taxa calibrate") from None
    except (ValueError, KeyError, TypeError):
        fingerprint, after = None, None
    if not (isinstance(fingerprint, str) and isinstance(after, dict) and "reliability" in after):
        raise UserError(f"the reliability {path} is not a file of `bioclip-jax taxa calibrate`; give one")
    return fingerprint


def _read_sensitivity(path: PathLike | None) -> Sensitivity | None:
    if path is None:
        return None
    from .privacy import read_sensitivity

    return read_sensitivity(path)


def _check_readable(photos: Photos, candidates: pl.DataFrame, predicts: bool) -> None:
    """Raise UserError for a photograph that must be opened and is not on this machine."""
    import polars as pl

    if not predicts and photos.frame["timestamp"].ne("").all():
        return
    rows = photos.frame.with_row_index("row")
    needed = rows.filter(pl.col("row").is_in(candidates["row"].implode()))
    if not predicts:
        needed = needed.filter(pl.col("timestamp") == "")
    why = "named by a model" if predicts else "asked for its time"
    remote = needed.filter(~pl.col("is_local"))
    if remote.height:
        raise UserError(
            f"{photos.source}, row {remote['row'][0] + 2:,}: {remote['path'][0]} is not on this machine and "
            f"cannot be {why}; download it, or give predictions and timestamps"
        )
    # If some photographs of a table exist, find_photos has made sure of all.
    if needed.height and photos.root is None:
        raise UserError(
            f"{photos.source} lists {needed['path'][0]}, which does not exist and cannot be {why}; "
            "restore it, or delete its row"
        )


def _model_name(predictions: PathLike, fingerprint: str | None) -> str:
    """Name the model of a table of predictions by what is known of it."""
    if fingerprint is not None:
        return f"bioclip-jax, model {fingerprint[:12]}"
    return f"bioclip-jax, predictions {file_sha256(predictions)[:12]}"
