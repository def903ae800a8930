"""PlantDoc: healthy and diseased leaves, classified from one image per class by SimpleShot.

Protocol of BioCLIP 2 (https://arxiv.org/abs/2505.23883). The reference's data loader shuffles the images
before drawing, so its draws cannot be reproduced; these are drawn in the publisher's order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Int

from bioclip_jax.errors import UserError
from bioclip_jax.intervals import t_interval
from bioclip_jax.predict.embedding import LabeledEmbeddings

from .base import ModelOutputs, Score
from .few_shot import nearest_centroids


@dataclass(frozen=True)
class PlantDoc:
    """Few-shot accuracy on a separate test split.

    shots: training images per class. repeats: number of draws, with seeds 0, 1, 2 and so on.
    """

    name: ClassVar[str] = "plantdoc"
    score: ClassVar[str] = "top1"
    splits: ClassVar[tuple[str, ...]] = ("train", "test")

    shots: int = 1
    repeats: int = 5

    def __post_init__(self) -> None:
        if self.shots < 1 or self.repeats < 1:
            raise UserError(
                f"plantdoc with {self.shots} shots and {self.repeats} repeats; give at least 1 each"
            )

    def __call__(self, sets: Mapping[str, LabeledEmbeddings], model: ModelOutputs) -> Score:
        """Train on "train", score "test".

        Figures: "top1" (mean over repeats), "std", "interval", "repeats", "n", "classes", "bad". Table
        "classes".
        """
        train, test = sets["train"], sets["test"]
        names = sorted(set(map(str, train.column("class"))))
        number = {name: index for index, name in enumerate(names)}
        if unknown := sorted(set(map(str, test.column("class"))) - set(names)):
            raise UserError(f"the test class {unknown[0]!r} has no training images; complete them")
        train_classes = np.array([number[str(name)] for name in train.column("class")])
        true = np.array([number[str(name)] for name in test.column("class")])
        if len(small := np.flatnonzero(np.bincount(train_classes) < self.shots)):
            raise UserError(
                f"the class {names[small[0]]!r} has fewer than {self.shots} training images; "
                "give fewer --shots"
            )
        hits = np.zeros((self.repeats, len(true)), bool)
        for repeat in range(self.repeats):
            rows = draw_shots(train_classes, self.shots, repeat)
            predicted = nearest_centroids(train.unit[rows], train_classes[rows], test.unit, len(names))
            hits[repeat] = predicted == true
        accuracies = hits.mean(axis=1).tolist()
        table = []
        for index, name in enumerate(names):
            if (members := true == index).any():
                accuracy = float(hits[:, members].mean())
                table.append({"class": name, "images": int(members.sum()), "accuracy": accuracy})
        figures = {"top1": float(np.mean(accuracies)), "std": float(np.std(accuracies))}
        figures |= {"interval": t_interval(accuracies), "repeats": accuracies}
        figures |= {"n": len(test), "classes": len(names), "bad": dict(test.skipped)}
        return Score(figures, {"classes": table})


def draw_shots(classes: Int[np.ndarray, " n"], shots: int, seed: int) -> Int[np.ndarray, " rows"]:
    """Return training rows: the first `shots` of each class's shuffled rows, in order of the classes."""
    random = np.random.RandomState(seed)
    chosen = []
    for number in np.unique(classes):
        rows = np.flatnonzero(classes == number)
        random.shuffle(rows)
        chosen.append(rows[:shots])
    return np.concatenate(chosen)
