"""FishNet: fish with their taxonomy and functional traits."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from bioclip_jax.datasets.manual import ManualBuilder, Row, first_file, taxon_features
from bioclip_jax.errors import UserError
from bioclip_jax.text import Taxon

_HABITATS = ("Tropical", "Temperate", "Subtropical", "Boreal", "Polar", "freshwater", "saltwater", "brackish")
_UNKNOWN = -1


class FishNet(ManualBuilder):
    """94,532 images of 17,357 aquatic species, with traits.

    Layout: Image_Library/FOLDER/*.jpg of the image archive, and train.csv and test.csv of the repository's
    anns/, in anns/ or beside Image_Library (columns species, image, Genus, Family, Order, Class, Folder,
    FeedingPath and the eight habitats). The nine traits of the published protocol are FeedingPath (pelagic,
    benthic or "") and the habitats (1, 0, or -1 where unknown); the protocol skips images with an
    unknown trait. The class is the family.
    """

    name = "fishnet"
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "Image_Library/ and anns/train.csv and anns/test.csv of https://github.com/faixan-khan/FishNet"
    )
    LOOK_FOR = ("Image_Library",)
    HOMEPAGE = "https://fishnet-2023.github.io"
    FEATURES = {"FeedingPath": str} | dict.fromkeys(_HABITATS, np.int64)

    def read(self, root: Path) -> Mapping[str, Iterable[Row]]:
        return {split: self._split(root, f"{split}.csv") for split in ("train", "test")}

    def _split(self, root: Path, name: str) -> list[Row]:
        path = first_file(name, root / "anns", root)
        rows = []
        for line in self.table(path, "image", "Folder", "Family", "FeedingPath", *_HABITATS):
            # In some versions the column is a path, of which only the last part is in the archive.
            key = f"{line['Folder']}/{line['image'].rpartition('/')[2]}"
            taxon = Taxon.from_row({rank.lower(): value for rank, value in line.items()})
            habitats = {habitat: self._habitat(line[habitat], path, key) for habitat in _HABITATS}
            rows.append(
                {"image": first_file(key, root / "Image_Library"), "key": key, "class": line["Family"]}
                | {"FeedingPath": line["FeedingPath"], **habitats}
                | taxon_features(taxon)
            )
        return rows

    def _habitat(self, value: str, path: Path, key: str) -> int:
        try:
            number = float(value) if value else _UNKNOWN
        except ValueError:
            number = None
        if number not in (0, 1, _UNKNOWN):
            raise UserError(
                f"{self.name}: {path} has {value!r} as a habitat of {key}; it must be 0, 1 or empty"
            )
        return int(number)
