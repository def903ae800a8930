"""PlantDoc: leaves, healthy and diseased, told apart from one image a class by SimpleShot.

Protocol of BioCLIP 2 (https://arxiv.org/abs/2505.23883). The reference's loader shuffles the images that it
draws from, so its own draws cannot be repeated; these are drawn from the publisher's order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Int

from bioclip_jax.errors import UserError
from bioclip_jax.predict.embedding import LabeledEmbeddings

from .intervals import mean_interval
from .nearest_centroid import nearest_centroids
from .protocol import Score, Towers


@dataclass(frozen=True)
class PlantDoc:
    """shots: images a class to learn from. repeats: how often they are drawn, with the seeds 0, 1, 2 and so on."""

    name: ClassVar[str] = "plantdoc"
    score: ClassVar[str] = "top1"
    splits: ClassVar[tuple[str, ...]] = ("train", "test")

    shots: int = 1
    repeats: int = 5

    def __post_init__(self) -> None:
        if self.shots < 1 or self.repeats < 1:
            raise UserError(
                f"plantdoc with {self.shots} shots and {self.repeats} repeats learns nothing; give at least "
                f"1 each"
            )

    def __call__(self, sets: Mapping[str, LabeledEmbeddings], towers: Towers) -> Score:
        """Figures: "top1" (mean over repeats), "std", "interval", "repeats", "n", "classes", "bad". Table "classes"."""
        train, test = sets["train"], sets["test"]
        names = sorted(set(map(str, train.column("class"))))
        number = {name: place for place, name in enumerate(names)}
        if unknown := sorted(set(map(str, test.column("class"))) - set(names)):
            raise UserError(
                f"the class {unknown[0]!r} of the test images has none to learn from; complete the train "
                f"images"
            )
        own = np.array([number[str(name)] for name in train.column("class")])
        true = np.array([number[str(name)] for name in test.column("class")])
        if len(small := np.flatnonzero(np.bincount(own) < self.shots)):
            raise UserError(
                f"the class {names[small[0]]!r} has fewer than {self.shots} images to learn from; give "
                f"fewer --shots"
            )
        right = np.zeros((self.repeats, len(true)), bool)
        for repeat in range(self.repeats):
            rows = draw(own, self.shots, repeat)
            right[repeat] = nearest_centroids(train.unit[rows], own[rows], test.unit, len(names)) == true
        accuracies = right.mean(axis=1).tolist()
        table = [
            {
                "class": name,
                "images": int((true == place).sum()),
                "accuracy": float(right[:, true == place].mean()),
            }
            for place, name in enumerate(names)
            if (true == place).any()
        ]
        figures = {"top1": float(np.mean(accuracies)), "std": float(np.std(accuracies))}
        figures |= {"interval": mean_interval(accuracies), "repeats": accuracies}
        figures |= {"n": len(test), "classes": len(names), "bad": dict(test.skipped)}
        return Score(figures, {"classes": table})


def draw(classes: Int[np.ndarray, " n"], shots: int, seed: int) -> Int[np.ndarray, " rows"]:
    """Rows to learn from: of each class, in the order of their numbers, the first `shots` of a shuffle."""
    random = np.random.RandomState(seed)
    chosen = []
    for number in np.unique(classes):
        rows = np.flatnonzero(classes == number)
        random.shuffle(rows)
        chosen.append(rows[:shots])
    return np.concatenate(chosen)
