"""Herbarium19: herbarium sheets clustered into species, half of them without a single label.

Data of Tan et al. 2019 (https://arxiv.org/abs/1906.05372); generalized category discovery of Vaze et al. 2022
(https://arxiv.org/abs/2201.02609), as in BioCLIP 2 (https://arxiv.org/abs/2505.23883).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Bool, Int

from bioclip_jax.errors import UserError
from bioclip_jax.intervals import wilson_interval
from bioclip_jax.pipeline.sources import Sample
from bioclip_jax.predict import track
from bioclip_jax.predict.embedding import LabeledEmbeddings
from bioclip_jax.text import Taxon

from .base import ModelOutputs, Score, check_seeds
from .category_discovery import cluster_hits, semi_supervised_kmeans

CLASSES = 683
# Old classes, which are partly labeled: bit i is for class i, in order of the folder names. The split
# published with the benchmark's code (Vaze et al. 2022).
_OLD_BITS = int(
    "76c02d86e801f8bcd37003fe680af02710c78ea92f207bfee27f0da55fa8b9b1e51b35e29e61482ef4d"
    "c54e7ca0fb64bc6028c19de41eedbae3c0ed75165e2cbcaeba015250e44339f31620f89751d76164c436d5cb",
    16,
)
OLD = tuple(index for index in range(CLASSES) if _OLD_BITS >> index & 1)

_INDEX = "class_index"
# The choice of labeled images is part of the benchmark, and the same in every run.
_LABELED_SEED = 0


@dataclass(frozen=True)
class Herbarium19:
    """Clustering accuracy, with labels for some images of the Old classes only.

    labelled_share: share of the Old classes' images that is labeled. iterations: of k-means, at most. seeds:
    one run each. old: indices of the Old classes; None takes the benchmark's, for data with its 683 classes.
    Errors: UserError for invalid options.
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
            raise UserError(f"labelled_share is {self.labelled_share}; give a number above 0 and up to 1")
        if self.iterations < 1:
            raise UserError(f"the number of iterations is {self.iterations}; give 1 or more")
        check_seeds(self.seeds)

    def __call__(self, sets: Mapping[str, LabeledEmbeddings], model: ModelOutputs) -> Score:
        """Cluster the images of "train" (the benchmark's small-train), and score the unlabeled ones.

        An image's class is in the column "class_index", or else "class", indexed in sorted order.

        Figures: "accuracy" over the unlabeled images, the mean over seeds, with "std", "by_seed" and
          "interval" (over images); "accuracy_old" and "accuracy_new", over those of Old and New classes,
          each matched to clusters separately (None if there are none); "n" and "n_old", unlabeled images;
          "n_labelled"; "classes" and "old_classes", their numbers.
        Errors: UserError for data without classes, unknown or absent Old classes, and too few images.
        """
        data = sets["train"]
        classes = read_classes(data)
        old = self._old_classes(classes)
        is_old = np.isin(classes, old)
        labeled = self._labeled(is_old)
        unlabeled = ~labeled
        true, is_old = classes[unlabeled], is_old[unlabeled]
        k = len(np.unique(classes))
        hits = np.empty((len(self.seeds), len(true)), bool)
        for seed, run in zip(track(self.seeds, "clustering images", len(self.seeds)), hits):
            clusters = semi_supervised_kmeans(
                data.unit[unlabeled],
                data.unit[labeled],
                classes[labeled],
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
            "interval": wilson_interval(round(by_image.sum()), len(true)),
            "accuracy_old": float(by_image[is_old].mean()) if is_old.any() else None,
            "accuracy_new": float(by_image[~is_old].mean()) if not is_old.all() else None,
            "n": len(true),
            "n_old": int(is_old.sum()),
            "n_labelled": int(labeled.sum()),
            "classes": k,
            "old_classes": len(set(old)),
        }
        rows = []
        for index in np.unique(true).tolist():
            part = true == index
            row = {"class_index": index, "old": bool(is_old[part][0]), "images": int(part.sum())}
            rows.append(row | {"accuracy": float(by_image[part].mean())})
        return Score(figures, {"classes": rows})

    def _old_classes(self, classes: Int[np.ndarray, " n"]) -> Sequence[int]:
        present = np.unique(classes)
        if self.old is not None:
            if missing := sorted(set(self.old) - set(present.tolist())):
                raise UserError(
                    f"the Old class {missing[0]} has no image; give indices of classes in the data"
                )
            return self.old
        if not np.array_equal(present, np.arange(CLASSES)):
            raise UserError(
                f"the Old classes of {len(present)} classes are unknown, except for the {CLASSES} of "
                "Herbarium19; give their indices with --old-classes, in a suite as old"
            )
        return OLD

    def _labeled(self, is_old: Bool[np.ndarray, " n"]) -> Bool[np.ndarray, " n"]:
        """Return the mask of images whose label may be used."""
        rows = np.flatnonzero(is_old)
        size = int(self.labelled_share * len(rows))
        if not 0 < size < len(is_old):
            raise UserError(
                f"{size} of {len(is_old)} images would be labeled ({self.labelled_share:g} of the Old "
                "classes' images); give data or a share with labeled and unlabeled images"
            )
        labeled = np.zeros(len(is_old), bool)
        labeled[np.random.RandomState(_LABELED_SEED).choice(rows, size, replace=False)] = True
        return labeled


def read_classes(data: LabeledEmbeddings) -> Int[np.ndarray, " n"]:
    """Return each image's class index, as Herbarium19 does. Raises UserError for an image without one."""
    if not any(_INDEX in sample.metadata for sample in data.samples):
        names = [_class_name(sample) for sample in data.samples]
        if "" in names:
            key = data.samples[names.index("")].key
            raise UserError(f"image {key} has no class; give all images a {_INDEX} or a class")
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
    """Return the class column, which is read as the rank class in a table without other ranks."""
    taxon = sample.taxon
    name = str(sample.metadata.get("class", "")).strip()
    return name or (taxon.class_ if taxon is not None and taxon == Taxon(class_=taxon.class_) else "")
