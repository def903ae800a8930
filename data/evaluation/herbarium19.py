"""Herbarium 2019: specimens of the flowering plant family Melastomataceae."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from bioclip_jax.datasets.manual import ManualBuilder, Row, images_by_class
from bioclip_jax.errors import UserError
from bioclip_jax.file_kinds import is_hidden, is_image


class Herbarium19(ManualBuilder):
    """Herbarium sheets of 683 species of Melastomataceae, from the FGVC6 challenge of 2019.

    Layout of Kaggle's herbarium-2019-fgvc6: small-train/CATEGORY/*.jpg, small-validation/CATEGORY/*.jpg, and
    optionally small-test/*.jpg without labels (class "", class_index -1); or the full-size archives, whose
    folders lack the "small-". class_index is the index of the category's folder among those of train, sorted
    as text, as in the lists of known and new classes. The class is the category's folder, or its name if a
    COCO file (*.json with categories) beside the folders has one.
    """

    name = "herbarium19"
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "small-train/ and small-validation/ of https://www.kaggle.com/c/herbarium-2019-fgvc6/data"
    )
    LOOK_FOR = ("small-train",)
    HOMEPAGE = "https://www.kaggle.com/c/herbarium-2019-fgvc6"
    FEATURES = {"class_index": np.int64, "category": str}

    def read(self, root: Path) -> Mapping[str, Iterable[Row]]:
        names = self._names(root)
        categories = sorted(path.name for path in self._folder(root, "train").iterdir() if path.is_dir())
        index_of = {category: index for index, category in enumerate(categories)}
        splits = {}
        for split in ("train", "validation"):
            splits[split] = [
                {
                    "image": image,
                    "key": str(image.relative_to(root)),
                    "class": names.get(category, category),
                    "class_index": index_of.get(category, -1),
                    "category": category,
                }
                for category, image in images_by_class(self._folder(root, split))
            ]
        if (root / "small-test").is_dir() or (root / "test").is_dir():
            test = self._folder(root, "test")
            images = sorted(path for path in test.rglob("*") if is_image(path) and not is_hidden(path.name))
            splits["test"] = [
                {"image": p, "key": str(p.relative_to(root)), "class_index": -1} for p in images
            ]
        return splits

    def _folder(self, root: Path, split: str) -> Path:
        full_size = root / split
        return full_size if full_size.is_dir() else self.require(root / f"small-{split}")

    def _names(self, root: Path) -> dict[str, str]:
        names = {}
        for path in sorted(root.glob("*.json")):
            try:
                content = json.loads(path.read_text("utf-8"))
                categories = content.get("categories", []) if isinstance(content, dict) else []
                names |= {
                    str(category["id"]): str(category["name"])
                    for category in categories
                    if "name" in category
                }
            except (ValueError, KeyError, TypeError) as error:
                raise UserError(
                    f"{self.name}: {path} is not an annotation file ({error!r}); download it again, or "
                    f"remove it"
                ) from None
        return names
