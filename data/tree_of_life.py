"""TreeOfLife shards as a TFDS builder: tars of images with ten captions each."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from bioclip_jax.datasets.manual import ManualBuilder, Row, taxon_features
from bioclip_jax.errors import UserError
from bioclip_jax.pipeline.sources import Sample
from bioclip_jax.text import CAPTION_FILES, MissingCaption, Taxon, complete_captions

_FOLDERS = {"train": ("train",), "validation": ("validation", "val"), "test": ("test",)}


class TreeOfLife(ManualBuilder):
    """TreeOfLife images with the captions of their shards.

    Layout: tars as TreeOfLife-200M's toolbox and `bioclip-jax shards build` write them (KEY.jpg and
    KEY.TYPE.txt), in subfolders train, val (or validation) and test, or in the folder itself, which is then
    train. Additional features are the ten captions; missing ones are made from the others.
    """

    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "TreeOfLife shards (.tar), made by bioclip-jax shards build or as described at "
        "https://huggingface.co/datasets/imageomics/TreeOfLife-200M"
    )
    LOOK_FOR = ("train",)
    HOMEPAGE = "https://huggingface.co/datasets/imageomics/TreeOfLife-200M"
    FEATURES = dict.fromkeys((name for name in CAPTION_FILES if name != "common_name"), str)

    def read(self, root: Path) -> Mapping[str, Iterable[Row]]:
        folders = {}
        for split, names in _FOLDERS.items():
            for name in names:
                if (root / name).is_dir():
                    folders[split] = root / name
        folders = folders or {"train": root}
        shards = {split: sorted(folder.rglob("*.tar")) for split, folder in folders.items()}
        for split, folder in folders.items():
            if not shards[split]:
                raise self.missing(folder / "*.tar")
        return {split: self._rows(tars) for split, tars in shards.items()}

    def _rows(self, shards: list[Path]) -> Iterator[Row]:
        from bioclip_jax.pipeline.sources import TarSource

        source = TarSource(shards)
        for index in range(len(source)):
            try:
                yield _row(source[index])
            except (OSError, ValueError) as error:
                raise UserError(
                    f"{self.name}: sample {index:,} of {shards[0].parent} cannot be read ({error}); "
                    "check the shards with bioclip-jax shards verify"
                ) from None


def _row(sample: Sample) -> Row:
    try:
        captions = complete_captions(sample.captions)
    except MissingCaption:
        captions = dict.fromkeys(CAPTION_FILES, "")
    taxon = sample.taxon or Taxon()
    # Shards repeat the scientific name if there is no common name; the taxon distinguishes the two.
    labels = taxon_features(taxon) | {"class": taxon.scientific_name}
    return (
        {name: captions[name] for name in CAPTION_FILES} | labels | {"image": sample.image, "key": sample.key}
    )
