"""Herbarium19: pressed plants grouped into species, half of which nobody has named yet.

Data of Tan et al. 2019 (https://arxiv.org/abs/1906.05372); generalised category discovery of Vaze et al. 2022
(https://arxiv.org/abs/2201.02609), as BioCLIP 2 runs it (https://arxiv.org/abs/2505.23883).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Bool, Int

from bioclip_jax.errors import UserError
from bioclip_jax.pipeline.sources import Sample
from bioclip_jax.predict import track
from bioclip_jax.predict.embedding import LabeledEmbeddings
from bioclip_jax.text import Taxon

from .category_discovery import cluster_hits, semi_supervised_kmeans
from .herbarium19_classes import CLASSES, OLD
from .intervals import share_interval
from .protocol import Score, Towers

_INDEX = "class_index"
# Which images are labelled is part of the benchmark, the same in every run.
_LABELLED_SEED = 0


@dataclass(frozen=True)
class Herbarium19:
    """Images in as many clusters as there are classes, from some labelled images of the Old classes alone.

    labelled_share: of the Old classes' images. iterations: of k-means, at most. seeds: one run each.
    old: indices of the Old classes; by default, of data with the benchmark's 683 classes, the benchmark's
    own.
    Errors: UserError for options that make no sense.
    """

    name: ClassVar[str] = "herbarium19"
    score: ClassVar[str] = "accuracy"
    splits: ClassVar[tuple[str, ...]] = ("train",)

    labelled_share: float = 0.8
    iterations: int = 10
    seeds: tuple[int, ...] = (0, 1, 2)
    old: Sequence[int] | None = None

    def __post_init__(self) -> None:
        if not 0 < self.labelled_share <= 1:
            raise UserError(
                f"labelled share {self.labelled_share} does not do; give a number above 0 and up to 1"
            )
        if self.iterations < 1:
            raise UserError(f"{self.iterations} iterations are none; give 1 or more")
        if (
            not self.seeds
            or min(self.seeds) < 0
            or max(self.seeds) >= 2**32
            or len(set(self.seeds)) < len(self.seeds)
        ):
            raise UserError(
                f"seeds {list(self.seeds)} do not do; give one or more from 0 to 2**32 - 1, each once"
            )

    def __call__(self, sets: Mapping[str, LabeledEmbeddings], towers: Towers) -> Score:
        """Cluster the images of "train" (the benchmark's small-train), and score those without a label.

        An image's class is in the column "class_index", or else its "class", counted in the order of texts.

        Figures: "accuracy", over the unlabelled images, the mean over seeds, with "std", "by_seed" and
          "interval" (over images); "accuracy_old" and "accuracy_new", over those of these classes, which are
          paired with clusters apart from each other (None where there is none); "n" and "n_old", unlabelled
          images; "n_labelled"; "classes" and "old_classes", how many there are.
        Errors: UserError for data without classes, Old classes that are not known or not there, and too few
        images.
        """
        data = sets["train"]
        classes = read_classes(data)
        old = self._old(classes)
        is_old = np.isin(classes, old)
        labelled = self._labelled(is_old)
        unlabelled = ~labelled
        true, is_old = classes[unlabelled], is_old[unlabelled]
        k = len(np.unique(classes))
        hits = np.empty((len(self.seeds), len(true)), bool)
        for seed, run in zip(track(self.seeds, "clustering images", len(self.seeds)), hits):
            clusters = semi_supervised_kmeans(
                data.unit[unlabelled],
                data.unit[labelled],
                classes[labelled],
                k,
                seed=seed,
                iterations=self.iterations,
            )
            for part in (is_old, ~is_old):
                run[part] = cluster_hits(true[part], clusters[part])
        by_seed, by_image = hits.mean(axis=1), hits.mean(axis=0)
        figures: dict[str, Any] = {
            "accuracy": float(by_seed.mean()),
            "std": float(by_seed.std()),
            "by_seed": by_seed.tolist(),
            "interval": share_interval(round(by_image.sum()), len(true)),
            "accuracy_old": float(by_image[is_old].mean()) if is_old.any() else None,
            "accuracy_new": float(by_image[~is_old].mean()) if not is_old.all() else None,
            "n": len(true),
            "n_old": int(is_old.sum()),
            "n_labelled": int(labelled.sum()),
            "classes": k,
            "old_classes": len(set(old)),
        }
        rows = []
        for index in np.unique(true).tolist():
            part = true == index
            one = {"class_index": index, "old": bool(is_old[part][0]), "images": int(part.sum())}
            rows.append(one | {"accuracy": float(by_image[part].mean())})
        return Score(figures, {"classes": rows})

    def _old(self, classes: Int[np.ndarray, " n"]) -> Sequence[int]:
        there = np.unique(classes)
        if self.old is not None:
            if missing := sorted(set(self.old) - set(there.tolist())):
                raise UserError(
                    f"no image is of class {missing[0]}, one of the Old classes given; give indices that "
                    f"are there"
                )
            return self.old
        if not np.array_equal(there, np.arange(CLASSES)):
            raise UserError(
                f"which of the {len(there)} classes are Old is known for the {CLASSES} of Herbarium19 alone;"
                " give their indices with --old-classes, in a suite as old"
            )
        return OLD

    def _labelled(self, is_old: Bool[np.ndarray, " n"]) -> Bool[np.ndarray, " n"]:
        """Whether an image's label may be used."""
        rows = np.flatnonzero(is_old)
        size = int(self.labelled_share * len(rows))
        if not 0 < size < len(is_old):
            raise UserError(
                f"{size} of {len(is_old)} images would be labelled, {self.labelled_share:g} of the Old "
                f"classes' images;"
                " give data or a share that leave some with and some without a label"
            )
        labelled = np.zeros(len(is_old), bool)
        labelled[np.random.RandomState(_LABELLED_SEED).choice(rows, size, replace=False)] = True
        return labelled


def read_classes(data: LabeledEmbeddings) -> Int[np.ndarray, " n"]:
    """Each image's class, as Herbarium19 reads it. UserError where an image has none."""
    if not any(_INDEX in sample.metadata for sample in data.samples):
        names = [_class_name(sample) for sample in data.samples]
        if "" in names:
            raise UserError(
                f"image {data.samples[names.index('')].key} has no class; give all images a {_INDEX} or a "
                f"class"
            )
        return np.unique(names, return_inverse=True)[1]
    indices = []
    for sample, value in zip(data.samples, data.column(_INDEX)):
        try:
            index = float(value)
        except (TypeError, ValueError):
            index = -1.0
        if index < 0 or not index.is_integer():
            raise UserError(f"{_INDEX} of image {sample.key} is {value!r}; give a whole number from 0 up")
        indices.append(int(index))
    return np.array(indices, np.int64)


def _class_name(sample: Sample) -> str:
    """What the class column says, which is read as a rank where no other rank stands beside it."""
    taxon = sample.taxon
    name = str(sample.metadata.get("class", "")).strip()
    return name or (taxon.class_ if taxon is not None and taxon == Taxon(class_=taxon.class_) else "")
