"""Meta-Album: the seven biological sets of BioCLIP's evaluation."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import tensorflow_datasets as tfds

from bioclip_jax.datasets.manual import ManualBuilder, Row, first_file, images_by_name
from bioclip_jax.errors import UserError
from bioclip_jax.text import known_text

_SETS = {
    "PLK": "Plankton",
    "INS": "Insects",
    "INS_2": "Insects 2",
    "PLT_NET": "PlantNet",
    "FNG": "Fungi",
    "PLT_VIL": "PlantVillage",
    "MED_LF": "Medicinal Leaf",
}
_DEFAULT_COLUMNS = {"image": "FILE_NAME", "category": "CATEGORY", "super_category": "SUPER_CATEGORY"}


@dataclass
class MetaAlbumConfig(tfds.core.BuilderConfig):
    """One set; the name is Meta-Album's own."""


class MetaAlbum(ManualBuilder):
    """Plankton, insects, plants, fungi and leaves at 128 px, from Meta-Album.

    Layout, Meta-Album's DataFormat: a folder SET_Mini (or SET) with labels.csv (FILE_NAME, CATEGORY,
    SUPER_CATEGORY; info.json may give other column names), info.json, and the images in images/ or beside
    them. The metadata.csv of BioCLIP 2's data/annotation/meta-album (filepath, class), which lists its
    evaluation subset, takes precedence over labels.csv; its images are in val/, the folder itself, or
    images/.
    """

    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "the folder of each set (such as PLK_Mini) with labels.csv, info.json and images/, from "
        "https://meta-album.github.io"
    )
    LOOK_FOR = tuple(name for short in _SETS for name in (f"{short}_Mini", short))
    BUILDER_CONFIGS = [MetaAlbumConfig(name=short, description=f"{title}.") for short, title in _SETS.items()]
    HOMEPAGE = "https://meta-album.github.io"
    FEATURES = {"super_category": str}

    def read(self, root: Path) -> Mapping[str, Iterable[Row]]:
        short = self.builder_config.name
        folders = [root / f"{short}_Mini", root / short, *sorted(root.glob(f"set*/{short}_Mini"))]
        folder = next((path for path in folders if path.is_dir()), None)
        if folder is None:
            raise self.missing(folders[0])
        return {
            "test": self._evaluated(folder) if (folder / "metadata.csv").exists() else self._labeled(folder)
        }

    def _labeled(self, folder: Path) -> list[Row]:
        columns = _DEFAULT_COLUMNS | self._named_columns(folder / "info.json")
        image, category, group = columns["image"], columns["category"], columns["super_category"]
        return [
            {
                "image": first_file(line[image], folder / "images", folder),
                "key": line[image],
                "class": line[category],
                "super_category": known_text(line.get(group)),
            }
            for line in self.table(folder / "labels.csv", image, category)
        ]

    def _evaluated(self, folder: Path) -> list[Row]:
        by_name = images_by_name(folder / "images")
        rows = []
        for line in self.table(folder / "metadata.csv", "filepath", "class"):
            path = line["filepath"]
            image = by_name.get(Path(path).name) or first_file(path, folder / "val", folder)
            rows.append({"image": image, "key": path, "class": line["class"]})
        return rows

    def _named_columns(self, path: Path) -> dict[str, str]:
        """Read column names from info.json, {} if it does not exist."""
        if not path.exists():
            return {}
        try:
            info = json.loads(path.read_text("utf-8"))
            named = {column: info.get(f"{column}_column_name") for column in _DEFAULT_COLUMNS}
        except (ValueError, AttributeError) as error:
            raise UserError(
                f"{self.name}: {path} is not a JSON object ({error}); download it again"
            ) from None
        return {column: name for column, name in named.items() if isinstance(name, str) and name}
