"""PlantDoc: healthy and diseased plant leaves from the web."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from bioclip_jax.datasets.manual import ManualBuilder, Row, images_by_class


class PlantDoc(ManualBuilder):
    """2,598 leaves of 13 plant species with up to 17 classes of disease.

    Layout of the repository: train/CLASS/*.jpg and test/CLASS/*.jpg.
    """

    name = "plantdoc"
    MANUAL_DOWNLOAD_INSTRUCTIONS = "train/ and test/ of https://github.com/pratikkayal/PlantDoc-Dataset"
    LOOK_FOR = ("train",)
    HOMEPAGE = "https://github.com/pratikkayal/PlantDoc-Dataset"
    LICENSE = "CC BY 4.0"

    def read(self, root: Path) -> Mapping[str, Iterable[Row]]:
        return {
            split: [
                {"image": image, "key": str(image.relative_to(root)), "class": label}
                for label, image in images_by_class(self.require(root / split))
            ]
            for split in ("train", "test")
        }
