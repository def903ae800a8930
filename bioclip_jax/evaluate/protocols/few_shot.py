"""Few-shot classification by nearest centroid (SimpleShot) from k images per class.

Protocol of BioCLIP and BioCLIP 2 (https://arxiv.org/abs/2505.23883): shuffle the images of each class, train
on the first k, test on the others, and average over folds.
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
from bioclip_jax.evaluate.class_names import check_text_type, no_label, sample_class, unambiguous_names
from bioclip_jax.intervals import t_interval
from bioclip_jax.predict.embedding import LabeledEmbeddings, unit

from .base import ModelOutputs, Score

# Test vectors classified at a time.
_CHUNK = 4096


@dataclass(frozen=True)
class FewShot:
    """Few-shot accuracy, for each number of shots.

    shots: training images per class, one result each. folds: number of draws. text_type: naming that
    identifies the classes, as in zero-shot. skip_small: skip classes with fewer images than shots instead of
    raising an error.
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
            raise UserError(f"few-shot with shots {self.shots} and {self.folds} folds; give at least 1 each")

    def __call__(self, sets: Mapping[str, LabeledEmbeddings], model: ModelOutputs) -> Score:
        """Score sets["test"].

        Figures: "few_shot", by shots {"mean", "std" over folds, "interval", "folds", "small_classes"
          skipped}; "top1" and "interval" of the first of `shots`; "n", "classes", "bad". Table "classes":
          accuracy by class.
        Errors: UserError for images without labels, and for too few images per class.
        """
        test = sets["test"]
        classes = self._classes(test)
        by_shots: dict[str, dict[str, Any]] = {}
        table = [{"class": name, "images": len(rows)} for name, rows in classes]
        for shots in self.shots:
            chosen = self._large_enough(classes, shots)
            members = [classes[number][1] for number in chosen]
            accuracies, hits_by_class = _run_folds(test.unit, members, shots, self.folds)
            by_shots[str(shots)] = {
                "mean": float(np.mean(accuracies)),
                "std": float(np.std(accuracies)),
                "interval": t_interval(accuracies),
                "folds": accuracies,
                "small_classes": len(classes) - len(chosen),
            }
            for number, hits, rows in zip(chosen, hits_by_class, members):
                if tested := self.folds * (len(rows) - shots):
                    table[number][f"accuracy_{shots}"] = float(hits / tested)
        first = by_shots[str(self.shots[0])]
        n = sum(len(rows) for _, rows in classes)
        bad = dict(test.skipped)
        if unlabeled := len(test) - n:
            bad["no_label"] = unlabeled
        figures = {"top1": first["mean"], "interval": first["interval"], "few_shot": by_shots}
        return Score(figures | {"n": n, "classes": len(classes), "bad": bad}, {"classes": table})

    def _classes(self, test: LabeledEmbeddings) -> list[tuple[str, Int[np.ndarray, " rows"]]]:
        """Return the short name and the rows of each class, both in order of appearance."""
        rows: defaultdict[str, list[int]] = defaultdict(list)
        short_names: dict[str, str] = {}
        for row, sample in enumerate(test.samples):
            label = sample_class(sample, self.text_type)
            if label is not None:
                rows[label.name].append(row)
                short_names.setdefault(label.name, label.short_name)
        if not rows:
            raise no_label(self.text_type)
        return [(name, np.array(rows[text])) for text, name in unambiguous_names(short_names).items()]

    def _large_enough(self, classes: Sequence[tuple[str, Int[np.ndarray, " rows"]]], shots: int) -> list[int]:
        """Return the indices of classes with enough images.

        Raises UserError if there are others that may not be skipped, or if no image is left to test.
        """
        small = [(name, len(rows)) for name, rows in classes if len(rows) < shots]
        if small and not self.skip_small:
            listed = ", ".join(f"{name} ({count})" for name, count in small[:3])
            more = ", …" if len(small) > 3 else ""
            raise UserError(
                f"{len(small)} of the {len(classes)} classes have fewer than {shots} images: {listed}{more}; "
                "give fewer --shots, or --skip-small-classes"
            )
        if all(len(rows) <= shots for _, rows in classes):
            raise UserError(
                f"no class has more than {shots} images, so none is left to test; give fewer --shots"
            )
        return [number for number, (_, rows) in enumerate(classes) if len(rows) >= shots]


def draw_fold(
    classes: Sequence[Int[np.ndarray, " rows"]], shots: int, fold: int
) -> tuple[list[list[int]], list[list[int]]]:
    """Return training and test rows by class, as the reference draws them.

    Python's generator is seeded with the fold, and shuffles one class after another.
    """
    generator = random.Random(fold)
    train, test = [], []
    for rows in classes:
        shuffled = rows.tolist()
        generator.shuffle(shuffled)
        train.append(shuffled[:shots])
        test.append(shuffled[shots:])
    return train, test


def _run_folds(
    vectors: Float32[np.ndarray, "n dim"], members: Sequence[Int[np.ndarray, " rows"]], shots: int, folds: int
) -> tuple[list[float], Int[np.ndarray, " classes"]]:
    """Return the accuracy of each fold, and the hits of each class over all folds."""
    train_classes = np.repeat(np.arange(len(members)), shots)
    accuracies, hits = [], np.zeros(len(members), np.int64)
    for fold in range(folds):
        train, test = draw_fold(members, shots, fold)
        true = np.repeat(np.arange(len(members)), [len(rows) for rows in test])
        test_rows = [row for rows in test for row in rows]
        predicted = nearest_centroids(
            vectors[np.concatenate(train)], train_classes, vectors[test_rows], len(members)
        )
        accuracies.append(float((predicted == true).mean()))
        hits += np.bincount(true[predicted == true], minlength=len(members))
    return accuracies, hits


def nearest_centroids(
    train: Float32[np.ndarray, "shots dim"],
    train_classes: Int[np.ndarray, " shots"],
    test: Float32[np.ndarray, "n dim"],
    classes: int,
) -> Int[np.ndarray, " n"]:
    """Predict the class (0 to `classes` - 1) of each test vector by SimpleShot (https://arxiv.org/abs/1911.04623).

    All vectors are centered by the training mean and normalized; centroids are class means, not normalized
    again; the nearest by Euclidean distance wins, the first of equals. Every class has a training vector.
    """
    mean = train.mean(axis=0)
    # The single vector of a single class equals the mean, and stays 0.
    centered = unit(train - mean)
    centroids = np.zeros((classes, train.shape[1]), np.float64)
    np.add.at(centroids, train_classes, centered)
    centroids /= np.bincount(train_classes, minlength=classes)[:, None]
    # |x - c|^2 without |x|^2, which is the same for every class.
    offsets = (centroids**2).sum(axis=1)
    predicted = np.empty(len(test), np.int64)
    for start in range(0, len(test), _CHUNK):
        rows = unit(test[start : start + _CHUNK] - mean).astype(np.float64)
        predicted[start : start + _CHUNK] = (offsets - 2 * rows @ centroids.T).argmin(axis=1)
    return predicted
