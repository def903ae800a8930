"""Few-shot classification: classes known from a few images each, by their nearest centroid.

Protocol of BioCLIP and BioCLIP 2 (https://arxiv.org/abs/2505.23883): the images of each class are shuffled,
the first k are learned from, and all others are told apart; the mean over folds.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float32, Int

from bioclip_jax.errors import UserError
from bioclip_jax.predict.embedding import LabeledEmbeddings

from .class_names import AS_IS, check_text_type, label_of, unambiguous
from .intervals import mean_interval
from .nearest_centroid import nearest_centroids
from .protocol import Score, Towers


@dataclass(frozen=True)
class FewShot:
    """shots: images a class that are learned from, a result each. folds: how often they are drawn. text_type: what
    tells classes apart, as in zero-shot. skip_small: leave out classes with fewer images than shots, which
    are an error otherwise.
    """

    name: ClassVar[str] = "few-shot"
    score: ClassVar[str] = "top1"
    splits: ClassVar[tuple[str, ...]] = ("test",)
    # 2: classes are class texts.
    revision: ClassVar[int] = 2

    shots: tuple[int, ...] = (1, 5)
    folds: int = 5
    text_type: str = "taxon_com"
    skip_small: bool = False

    def __post_init__(self) -> None:
        check_text_type(self.text_type)
        if not self.shots or min(self.shots) < 1 or self.folds < 1:
            raise UserError(
                f"few-shot with shots {self.shots} and {self.folds} folds learns nothing; give at least 1 "
                f"each"
            )

    def __call__(self, sets: Mapping[str, LabeledEmbeddings], towers: Towers) -> Score:
        """Figures: "few_shot", by shots {"mean", "std" over folds, "interval", "folds", "small_classes" left out}; "top1"
        and "interval", those of the first of `shots`; "n", "classes", "bad". Table "classes": each one's
        accuracy.
        """
        labelled = sets["test"]
        classes = self._classes(labelled)
        by_shots: dict[str, dict[str, Any]] = {}
        table = [{"class": name, "images": len(rows)} for name, rows in classes]
        for shots in self.shots:
            chosen = self._large_enough(classes, shots)
            members = [classes[number][1] for number in chosen]
            accuracies, right = _folds(labelled.unit, members, shots, self.folds)
            by_shots[str(shots)] = {
                "mean": float(np.mean(accuracies)),
                "std": float(np.std(accuracies)),
                "interval": mean_interval(accuracies),
                "folds": accuracies,
                "small_classes": len(classes) - len(chosen),
            }
            for number, hits, rows in zip(chosen, right, members):
                if tested := self.folds * (len(rows) - shots):
                    table[number][f"accuracy_{shots}"] = float(hits / tested)
        first = by_shots[str(self.shots[0])]
        labelled_images = sum(len(rows) for _, rows in classes)
        bad = dict(labelled.skipped)
        if unlabelled := len(labelled) - labelled_images:
            bad["no_label"] = unlabelled
        figures = {"top1": first["mean"], "interval": first["interval"], "few_shot": by_shots}
        return Score(
            figures | {"n": labelled_images, "classes": len(classes), "bad": bad}, {"classes": table}
        )

    def _classes(self, labelled: LabeledEmbeddings) -> list[tuple[str, Int[np.ndarray, " rows"]]]:
        """Classes by their short names, in order of appearance, each with its images in the source's order."""
        rows: defaultdict[str, list[int]] = defaultdict(list)
        short_names: dict[str, str] = {}
        for row, sample in enumerate(labelled.samples):
            label = label_of(sample, self.text_type)
            if label is not None:
                rows[label.name].append(row)
                short_names.setdefault(label.name, label.short_name)
        if not rows:
            wanted = "class column" if self.text_type == AS_IS else "taxon"
            raise UserError(
                f"no sample has a {wanted}, which --text-type {self.text_type} needs; give labeled data"
            )
        return [(name, np.array(rows[text])) for text, name in unambiguous(short_names).items()]

    def _large_enough(self, classes: Sequence[tuple[str, Int[np.ndarray, " rows"]]], shots: int) -> list[int]:
        """Which classes have images enough. UserError where others are not to be left out, or nothing could be tested."""
        small = [(name, len(rows)) for name, rows in classes if len(rows) < shots]
        if small and not self.skip_small:
            told = ", ".join(f"{name} ({count})" for name, count in small[:3]) + (
                ", …" if len(small) > 3 else ""
            )
            raise UserError(
                f"{len(small)} of the {len(classes)} classes have fewer than {shots} images: {told}; give "
                f"fewer --shots, "
                "or --skip-small-classes"
            )
        if all(len(rows) <= shots for _, rows in classes):
            raise UserError(
                f"no class has more than {shots} images, so none is left to test; give fewer --shots"
            )
        return [number for number, (_, rows) in enumerate(classes) if len(rows) >= shots]


def draw(
    classes: Sequence[Int[np.ndarray, " rows"]], shots: int, fold: int
) -> tuple[list[list[int]], list[list[int]]]:
    """The rows to learn from and the others, class by class, as the reference draws them: Python's generator is seeded
    with the fold, and shuffles one class after another.
    """
    generator = random.Random(fold)
    train, test = [], []
    for rows in classes:
        shuffled = rows.tolist()
        generator.shuffle(shuffled)
        train.append(shuffled[:shots])
        test.append(shuffled[shots:])
    return train, test


def _folds(
    unit: Float32[np.ndarray, "n dim"], members: Sequence[Int[np.ndarray, " rows"]], shots: int, folds: int
) -> tuple[list[float], Int[np.ndarray, " classes"]]:
    """The accuracy of each fold, and how many images of each class were right over all folds."""
    learned = np.repeat(np.arange(len(members)), shots)
    accuracies, right = [], np.zeros(len(members), np.int64)
    for fold in range(folds):
        train, test = draw(members, shots, fold)
        true = np.repeat(np.arange(len(members)), [len(rows) for rows in test])
        answers = nearest_centroids(
            unit[np.concatenate(train)], learned, unit[[r for rows in test for r in rows]], len(members)
        )
        accuracies.append(float((answers == true).mean()))
        right += np.bincount(true[answers == true], minlength=len(members))
    return accuracies, right
