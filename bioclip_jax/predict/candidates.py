"""The classifier that the options of `predict` ask for, with its candidates."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bioclip_jax.predict.classifiers import BaseClassifier

    from .model import Model
    from .options import PredictOptions


def make_classifier(model: Model, options: PredictOptions, candidates: Any) -> BaseClassifier:
    """Return the classifier of the options, with its candidates, of PredictOptions.read_candidates."""
    from bioclip_jax.predict import classifiers
    from bioclip_jax.predict.taxa import prior_warning, read_temperature

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
    if options.temperature is not None and (
        warning := prior_warning(str(options.temperature), classifier.prior)
    ):
        print(f"warning: {warning}", file=sys.stderr)
    return classifier


def warn_about_candidates(classifier: Any, options: PredictOptions) -> None:
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
