"""Zero-shot classification: the nearest class text in 81 templates, the protocol of BioCLIP 2 (arXiv:2505.23883)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from bioclip_jax.errors import UserError
from bioclip_jax.evaluate import class_names
from bioclip_jax.predict import class_embeddings
from bioclip_jax.predict.embedding import LabeledEmbeddings
from bioclip_jax.text import Taxon

from .accuracy import Judged, judge
from .class_names import TEMPLATES, Candidate, true_lineage
from .details import mistakes, tables
from .intervals import share_interval
from .protocol import Score, Towers


@dataclass(frozen=True)
class ZeroShot:
    """The protocol.

    text_type: how classes are named: asis, sci, taxon, com, sci_com or taxon_com. templates: "openai"
    averages the 81 prompts of the reference's evaluation, "one" uses "a photo of {}." alone. candidates: the
    classes that may be the answer; None takes the distinct class texts of the images that are scored.
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

    def __call__(self, sets: Mapping[str, LabeledEmbeddings], towers: Towers) -> Score:
        """Score the images of sets["test"] that have a class.

        Figures: "top1", its "interval", "top3" and "top5" over the images whose class is a candidate (None if
          there is no such image), "n" images, "not_candidates" (how many of them have another class),
          "classes", "bad" (images left out, by cause), and "ece", the expected calibration error of the
          answers' probabilities (Guo et al. 2017), over the images of "top1". Where classes are taxa, by
          rank: "ranks" (the accuracy), "rank_intervals", "n_by_rank", "chance" and "majority", as
          rank_accuracy, and "ece_by_rank"; and what details.mistakes says. An image counts at the ranks at
          which its lineage is that of its class, as class_names.true_lineage. Tables: as details.tables.
        Errors: UserError if no image has a class.
        """
        test = sets["test"]
        pool = self.candidates or class_names.candidates(test.samples, self.text_type)
        named = [class_names.label_of(sample, self.text_type) for sample in test.samples]
        rows = np.array([row for row, label in enumerate(named) if label is not None], np.int64)
        if not len(rows):
            raise UserError(
                f"no image has a label of the kind that --text-type {self.text_type} needs; give labeled data"
            )
        samples = [test.samples[row] for row in rows.tolist()]
        labels = class_names.labels(samples, pool, self.text_type)
        bad = dict(test.skipped)
        if unlabelled := len(named) - len(rows):
            bad["no_label"] = bad.get("no_label", 0) + unlabelled
        names = [candidate.name for candidate in pool]
        classes = class_embeddings(towers.encode_texts, names, TEMPLATES[self.templates])
        taxa = (
            None
            if any(candidate.taxon is None for candidate in pool)
            else [candidate.taxon for candidate in pool]
        )
        own = [named[row].taxon for row in rows.tolist()]
        truths = taxa and [
            true_lineage(taxon, taxa[label]) if label >= 0 else taxon or Taxon()
            for taxon, label in zip(own, labels)
        ]
        images = test.unit if len(rows) == len(test) else test.unit[rows]
        judged = judge(images, classes, labels, towers.logit_scale, truths, taxa)
        figures = _overall(judged) | {"n": len(rows), "not_candidates": int((labels < 0).sum())}
        figures |= {"classes": len(pool), "bad": bad}
        if taxa:
            figures |= _by_rank(judged) | mistakes(judged, labels, pool)
        return Score(figures, dict(tables(judged, labels, pool)))


def _overall(judged: Judged) -> dict[str, Any]:
    from bioclip_jax.predict.taxa import calibration_error, reliability

    known = judged.place >= 0
    right = judged.place[known] == 0
    return {
        "top1": judged.top(1),
        "interval": share_interval(int(right.sum()), len(right)),
        "top3": judged.top(3),
        "top5": judged.top(5),
        "ece": calibration_error(reliability(judged.confidence[known], right)) if len(right) else None,
    }


def _by_rank(judged: Judged) -> dict[str, dict[str, Any]]:
    from bioclip_jax.predict.taxa import calibration_error, reliability

    scores, right = judged.ranks, judged.right
    return {
        "ranks": {rank: score.accuracy for rank, score in scores.items()},
        "rank_intervals": {
            rank: share_interval(int(right[rank].sum()), score.n) for rank, score in scores.items()
        },
        "n_by_rank": {rank: score.n for rank, score in scores.items()},
        "chance": {rank: score.chance for rank, score in scores.items()},
        "majority": {rank: score.majority for rank, score in scores.items()},
        "ece_by_rank": {
            rank: calibration_error(reliability(judged.sure[rank], right[rank])) for rank in scores
        },
    }
