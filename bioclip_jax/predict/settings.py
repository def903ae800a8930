"""The options of `predict` as logs, reports and the journal of a resumable run have them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .rank import MIN_PROB

if TYPE_CHECKING:
    from bioclip_jax.predict.classifiers import BaseClassifier

    from .options import PredictOptions


def candidate_settings(options: PredictOptions) -> dict[str, Any]:
    """Return the options that set the candidates, for logs, by pybioclip's names where it has one."""
    settings = {
        "classes": options.labels,
        "bins_path": options.bins,
        "head": options.head,
        "subset": options.subset,
        "within": options.within,
        "prior": options.prior,
        "backbone": options.backbone,
        "taxa_file": options.taxa,
        "detections": options.detections,
        "detection_threshold": None if options.detections is None else options.detection_threshold,
        "temperature": options.temperature,
        # An unused flag is not logged.
        "labels_as_given": options.labels_as_given or None,
        "skip_unknown": options.skip_unknown or None,
    }
    return _without_none(settings)


def selection_settings(options: PredictOptions) -> dict[str, Any]:
    """Return the options that select predictions, for logs, by pybioclip's names where it has one."""
    names = ("min_confidence", "unknown", "min_familiarity", "every")
    settings: dict[str, Any] = {name: getattr(options, name) for name in names}
    if options.predicts_taxa:
        settings |= {"rank": options.selection.rank.get_label(), "min_prob": MIN_PROB}
    if options.min_confidence is None:
        settings["k"] = options.selection.k
    return _without_none(settings)


def form_settings(options: PredictOptions) -> dict[str, Any]:
    """Return the options that the output depends on and the predictions of images do not."""
    form: dict[str, Any] = {"format": options.row_format}
    return form | _without_none({"add": list(options.add) or None, "events": options.events})


def resume_settings(options: PredictOptions, classifier: BaseClassifier, candidates: Any) -> dict[str, Any]:
    """Return everything but the images that predictions depend on; a resumed run must have the same."""
    model = classifier.model
    settings = candidate_settings(options) | selection_settings(options) | {"model": model.fingerprint}
    settings |= {"transform": model.transform, "reading": repr(model.preprocess.read)}
    settings["precision"] = model.precision
    if options.events is not None:
        # The journal has vectors to pool.
        settings["vectors"] = True
    if options.head is not None:
        return settings | {"head": options.learned_head.digest}
    if not options.predicts_taxa:
        return settings | {"labels": candidates}
    path = classifier.head.path
    status = path.stat()
    settings["taxa"] = [str(path.absolute()), status.st_size, status.st_mtime_ns]
    settings["temperature"] = classifier.temperature
    return settings | (candidates.settings() if candidates is not None else {})


def _without_none(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: os.fspath(value) if isinstance(value, os.PathLike) else value
        for name, value in settings.items()
        if value is not None
    }
