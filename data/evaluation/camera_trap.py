"""BioCLIP 2's five camera-trap sets: the balanced evaluation sets, and LILA's whole sets."""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import tensorflow_datasets as tfds

from bioclip_jax.datasets.manual import ManualBuilder, Row, first_file, taxon_features
from bioclip_jax.errors import UserError
from bioclip_jax.text import RANKS, Taxon

_SETS = {
    "desert-lion": "desert-lion-conservation-camera-traps",
    "ENA24": "ena24detection",
    "island": "island-conservation-camera-traps",
    "ohio-small-animals": "ohio-small-animals",
    "orinoquia": "orinoquia-camera-traps",
}
_TAXONOMY = "lila-taxonomy-mapping_release.csv"
# LILA lists images of people but does not distribute them.
_WITHHELD = frozenset({"human", "humans", "person", "people", "homo sapiens"})


@dataclass
class CameraTrapConfig(tfds.core.BuilderConfig):
    """One set. whole: LILA's whole set, not the balanced part."""

    set: str = ""
    whole: bool = False


class CameraTrap(ManualBuilder):
    """Camera-trap images from LILA BC: desert lion, ENA24, islands, Ohio small animals, Orinoquia.

    camera_trap/NAME is BioCLIP 2's evaluation set. Layout as on the Hugging Face Hub
    (imageomics/IDLE-OO-Camera-Traps): NAME-balanced.csv (filepath, the ranks, common_name) and the images in
    data/test/, under filepath or NAME/filepath.

    camera_trap/NAME-lila is the whole set. Layout: lila/NAME/ with one metadata file in COCO Camera Traps
    format (*.json: images, annotations, categories) and the images under their file_name, in that folder or
    one subfolder. Categories have only a name; ranks come from lila/lila-taxonomy-mapping_release.csv if it
    exists. Images of people, which LILA withholds, and of several categories are skipped; images without an
    animal have the set's own class, mostly "empty".
    """

    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "NAME-balanced.csv and data/test/ of "
        "https://huggingface.co/datasets/imageomics/IDLE-OO-Camera-Traps, or for "
        "NAME-lila the metadata and the images of https://lila.science/datasets in lila/NAME/"
    )
    LOOK_FOR = ("lila", *(f"{name}-balanced.csv" for name in _SETS))
    BUILDER_CONFIGS = [
        CameraTrapConfig(
            name=f"{name}-lila" if whole else name,
            description=f"https://lila.science/datasets/{page}, {'whole' if whole else 'balanced'}.",
            set=name,
            whole=whole,
        )
        for whole in (False, True)
        for name, page in _SETS.items()
    ]
    HOMEPAGE = "https://huggingface.co/datasets/imageomics/IDLE-OO-Camera-Traps"
    FEATURES = {"location": str, "sequence": str}

    def read(self, root: Path) -> Mapping[str, Iterable[Row]]:
        name = self.builder_config.set
        return {
            "test": self._whole(root / "lila", name)
            if self.builder_config.whole
            else self._balanced(root, name)
        }

    def _balanced(self, root: Path, name: str) -> list[Row]:
        folders = [root / "data" / "test", root / "data" / "test" / name, root / "images" / name]
        rows = []
        for line in self.table(root / f"{name}-balanced.csv", "filepath", "genus", "species"):
            taxon = Taxon.from_row(line)
            label = line.get("class", "") if "cls" in line else ""
            rows.append(
                {"image": first_file(line["filepath"], *folders), "key": line["filepath"]}
                | {"class": label or taxon.scientific_name, **taxon_features(taxon)}
            )
        return rows

    def _whole(self, lila: Path, name: str) -> list[Row]:
        folder = self.require(lila / name)
        files = sorted(folder.glob("*.json"))
        if len(files) != 1:
            names = ", ".join(file.name for file in files) or "none"
            raise UserError(f"{self.name}: {folder} must hold one metadata file, *.json; it has {names}")
        images, labels = self._read_coco(files[0])
        taxa = self._taxa(lila / _TAXONOMY, name) if (lila / _TAXONOMY).exists() else {}
        folders = [folder, *sorted(path for path in folder.iterdir() if path.is_dir())]
        rows = []
        for image in images:
            names = labels.get(image["id"], set())
            if len(names) != 1 or _plain(label := next(iter(names))) in _WITHHELD:
                continue
            rows.append(
                {"image": first_file(image["file_name"], *folders), "key": image["file_name"], "class": label}
                | {"location": str(image.get("location", "")), "sequence": str(image.get("seq_id", ""))}
                | taxon_features(taxa.get(_plain(label), Taxon()))
            )
        return rows

    def _read_coco(self, path: Path) -> tuple[list[dict], dict[object, set[str]]]:
        """Read the images, and the category names of each image id."""
        try:
            content = json.loads(path.read_text("utf-8"))
            names = {category["id"]: str(category["name"]) for category in content["categories"]}
            labels = defaultdict(set)
            for annotation in content["annotations"]:
                labels[annotation["image_id"]].add(names[annotation["category_id"]])
            images = content["images"]
            if not all(isinstance(image["file_name"], str) and "id" in image for image in images):
                raise ValueError("an image without a file_name or an id")
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"{self.name}: {path} is not in COCO Camera Traps format ({error!r}); download it again"
            ) from None
        return images, labels

    def _taxa(self, path: Path, name: str) -> dict[str, Taxon]:
        """Read the taxa of the set's categories from LILA's mapping, whose names are in lower case."""
        dataset = name.partition("-")[0].lower()
        taxa = {}
        for line in self.table(path, "dataset_name", "query", "common_name", "kingdom", "species"):
            if line["dataset_name"].lower().startswith(dataset):
                ranks = {rank: line.get(rank, "").capitalize() for rank in RANKS}
                taxa[_plain(line["query"])] = Taxon.from_row(ranks | {"common_name": line["common_name"]})
        return taxa


def _plain(name: str) -> str:
    return name.replace("_", " ").strip().lower()
