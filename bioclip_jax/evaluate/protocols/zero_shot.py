"""Zero-shot classification by class texts in 81 templates, the protocol of BioCLIP 2 (arXiv:2505.23883)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from bioclip_jax.errors import UserError
from bioclip_jax.evaluate import class_names
from bioclip_jax.evaluate.class_names import TEMPLATES, Candidate, sample_class, true_lineage
from bioclip_jax.evaluate.metrics import (
    RankedPredictions,
    confusion_tables,
    error_distances,
    rank_predictions,
)
from bioclip_jax.intervals import wilson_interval
from bioclip_jax.predict import class_embeddings
from bioclip_jax.predict.embedding import LabeledEmbeddings
from bioclip_jax.text import Taxon

from .base import ModelOutputs, Score


@dataclass(frozen=True)
class ZeroShot:
    """Top-k accuracy, accuracy by rank, calibration and errors of zero-shot classification.

    text_type: naming of classes: asis, sci, taxon, com, sci_com or taxon_com. templates: "openai" averages
    the 81 prompts of the reference's evaluation, "one" uses only "a photo of {}.". candidates: classes to
    choose from; None takes the distinct class texts of the scored images.
    """

    name: ClassVar[str] = "zero-shot"
    score: ClassVar[str] = "top1"
    splits: ClassVar[tuple[str, ...]] = ("test",)
    # 2: classes are class texts, and 81 templates.
    revision: ClassVar[int] = 2

    text_type: str = "taxon_com"
    templates: Literal["openai", "one"] = "openai"
    candidates: Sequence[Candidate] | None = None

    def __post_init__(self) -> None:
        class_names.check_text_type(self.text_type)
        if self.templates not in TEMPLATES:
            raise UserError(f"templates {self.templates!r} do not exist; choose from {', '.join(TEMPLATES)}")
        if self.candidates is not None and not self.candidates:
            raise UserError("there is no class to choose from; give candidates that have labels")

    def __call__(self, sets: Mapping[str, LabeledEmbeddings], model: ModelOutputs) -> Score:
        """Score the images of sets["test"] that have a class.

        Figures: "top1", its "interval", "top3" and "top5" over the images whose class is a candidate (None
          without such an image), "n" images, "not_candidates" (those of another class), "classes", "bad"
          (skipped images by cause), and "ece", the expected calibration error (Guo et al. 2017) over the
          images of "top1". If classes are taxa, by rank: "ranks" (accuracy), "rank_intervals", "n_by_rank",
          "chance" and "majority" (metrics.RankScore), and "ece_by_rank"; and metrics.error_distances. An
          image counts at the ranks of class_names.true_lineage. Tables: metrics.confusion_tables.
        Errors: UserError if no image has a class.
        """
        test = sets["test"]
        pool = self.candidates or class_names.candidates(test.samples, self.text_type)
        named = [sample_class(sample, self.text_type) for sample in test.samples]
        rows = np.array([row for row, label in enumerate(named) if label is not None], np.int64)
        if not len(rows):
            raise class_names.no_label(self.text_type)
        samples = [test.samples[row] for row in rows.tolist()]
        labels = class_names.class_indices(samples, pool, self.text_type)
        bad = dict(test.skipped)
        if unlabeled := len(named) - len(rows):
            bad["no_label"] = bad.get("no_label", 0) + unlabeled
        names = [candidate.name for candidate in pool]
        classes = class_embeddings(model.encode_texts, names, TEMPLATES[self.templates])
        taxa = [candidate.taxon for candidate in pool]
        taxa = None if None in taxa else taxa
        own = [named[row].taxon for row in rows.tolist()]
        truths = taxa and [
            true_lineage(taxon, taxa[label]) if label >= 0 else taxon or Taxon()
            for taxon, label in zip(own, labels)
        ]
        images = test.unit if len(rows) == len(test) else test.unit[rows]
        ranked = rank_predictions(images, classes, labels, model.logit_scale, truths, taxa)
        figures = _overall(ranked) | {"n": len(rows), "not_candidates": int((labels < 0).sum())}
        figures |= {"classes": len(pool), "bad": bad}
        if taxa:
            figures |= _by_rank(ranked) | error_distances(ranked, labels, pool)
        return Score(figures, dict(confusion_tables(ranked, labels, pool)))


def _overall(ranked: RankedPredictions) -> dict[str, Any]:
    known = ranked.position >= 0
    correct = ranked.position[known] == 0
    return {
        "top1": ranked.top_k_accuracy(1),
        "interval": wilson_interval(int(correct.sum()), len(correct)),
        "top3": ranked.top_k_accuracy(3),
        "top5": ranked.top_k_accuracy(5),
        "ece": _ece(ranked.confidence[known], correct) if len(correct) else None,
    }


def _by_rank(ranked: RankedPredictions) -> dict[str, dict[str, Any]]:
    scores, correct = ranked.rank_scores, ranked.rank_correct
    return {
        "ranks": {rank: score.accuracy for rank, score in scores.items()},
        "rank_intervals": {
            rank: wilson_interval(int(correct[rank].sum()), score.n) for rank, score in scores.items()
        },
        "n_by_rank": {rank: score.n for rank, score in scores.items()},
        "chance": {rank: score.chance for rank, score in scores.items()},
        "majority": {rank: score.majority for rank, score in scores.items()},
        "ece_by_rank": {rank: _ece(ranked.rank_confidence[rank], correct[rank]) for rank in scores},
    }


def _ece(confidence: np.ndarray, correct: np.ndarray) -> float:
    from bioclip_jax.predict.taxa import calibration_error, reliability_bins

    return calibration_error(reliability_bins(confidence, correct))
