"""Animals with Attributes 2: fifty animal classes with binary attributes."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from bioclip_jax.datasets.manual import ManualBuilder, Row, images_by_class
from bioclip_jax.errors import UserError


class AwA2(ManualBuilder):
    """37,322 images of 50 animal classes with 85 binary attributes.

    Layout of the archive Animals_with_Attributes2: JPEGImages/CLASS/*.jpg, classes.txt (NUMBER NAME, or NAME
    alone), predicates.txt (NUMBER NAME), predicate-matrix-binary.txt (one line per class, 0 or 1 per
    attribute), trainclasses.txt and testclasses.txt, which define the splits. `attributes` are the class's 0s
    and 1s as one text, in the order of predicates.txt.
    """

    name = "awa2"
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "JPEGImages/, classes.txt, predicates.txt, predicate-matrix-binary.txt, trainclasses.txt and "
        "testclasses.txt of https://cvml.ista.ac.at/AwA2"
    )
    LOOK_FOR = ("JPEGImages",)
    HOMEPAGE = "https://cvml.ista.ac.at/AwA2"
    FEATURES = {"attributes": str, "class_id": np.int64}

    def read(self, root: Path) -> Mapping[str, Iterable[Row]]:
        names = [line.split()[-1] for line in self.lines(root / "classes.txt")]
        matrix = ["".join(line.split()) for line in self.lines(root / "predicate-matrix-binary.txt")]
        width = len(self.lines(root / "predicates.txt"))
        if len(matrix) != len(names) or any(len(line) != width or set(line) - set("01") for line in matrix):
            raise UserError(
                f"{self.name}: {root / 'predicate-matrix-binary.txt'} must have {len(names)} lines of "
                f"{width} zeros or ones, as many as classes.txt and predicates.txt; download them again"
            )
        split_of = {
            name: split for split in ("train", "test") for name in self.lines(root / f"{split}classes.txt")
        }
        if unknown := sorted(set(split_of) - set(names)):
            raise UserError(
                f"{self.name}: {root / 'classes.txt'} has no class {', '.join(unknown)}; download it again"
            )
        for name in split_of:
            self.require(root / "JPEGImages" / name)
        number = {name: index for index, name in enumerate(names)}
        splits: dict[str, list[Row]] = {"train": [], "test": []}
        for label, image in images_by_class(root / "JPEGImages"):
            if label in split_of:
                splits[split_of[label]].append(
                    {
                        "image": image,
                        "key": f"{label}/{image.name}",
                        "class": label,
                        "attributes": matrix[number[label]],
                        "class_id": number[label],
                    }
                )
        return splits
