"""NABirds: photographs of North American birds with a hierarchy of common names."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from bioclip_jax.datasets.manual import ManualBuilder, Row, first_file
from bioclip_jax.errors import UserError

# "(Adult Male)" and the like describe the plumage, not the species.
_PLUMAGE = re.compile(r"\s*\([^)]*\)$")


class NABirds(ManualBuilder):
    """48,562 photographs of North American birds, 555 classes (species, and plumages of some).

    Layout of the Cornell Lab's archive: images.txt (ID PATH), classes.txt (ID NAME), image_class_labels.txt
    (ID CLASS), train_test_split.txt (ID 1 for train), hierarchy.txt (CHILD PARENT), images/. The class is the
    name in classes.txt; the common name lacks the plumage; hierarchy lists the groups above the class from
    the root, joined by " > ". BioCLIP 2 evaluates on both splits: nabirds:train+test.
    """

    name = "nabirds"
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "images.txt, classes.txt, image_class_labels.txt, train_test_split.txt, hierarchy.txt and images/ of "
        "https://dl.allaboutbirds.org/nabirds"
    )
    LOOK_FOR = ("image_class_labels.txt",)
    HOMEPAGE = "https://dl.allaboutbirds.org/nabirds"
    FEATURES = {"class_id": np.int64, "hierarchy": str}

    def read(self, root: Path) -> Mapping[str, Iterable[Row]]:
        names = self.pairs(root / "classes.txt")
        labels = self.pairs(root / "image_class_labels.txt")
        train = self.pairs(root / "train_test_split.txt")
        parents = self.pairs(root / "hierarchy.txt")
        splits: dict[str, list[Row]] = {"train": [], "test": []}
        for image, path in self.pairs(root / "images.txt").items():
            label = labels.get(image, "")
            if label not in names or image not in train:
                raise UserError(
                    f"{self.name}: {root} has no label or no split of image {image}; download "
                    "image_class_labels.txt, classes.txt and train_test_split.txt again"
                )
            splits["train" if train[image] == "1" else "test"].append(
                {
                    "image": first_file(path, root / "images"),
                    "key": path,
                    "class": names[label],
                    "common_name": _PLUMAGE.sub("", names[label]),
                    "class_id": int(label),
                    "hierarchy": " > ".join(_above(label, parents, names)),
                }
            )
        return splits


def _above(label: str, parents: Mapping[str, str], names: Mapping[str, str]) -> list[str]:
    """Names of the groups above the class, from the root."""
    above: list[str] = []
    seen = {label}
    while (label := parents.get(label, "")) and label not in seen:
        seen.add(label)
        above.insert(0, names.get(label, label))
    return above
