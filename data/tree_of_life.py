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
    KEY.TYPE.txt), in sub-folders train, val (or validation) and test, or else in the folder itself, which is
    then train. The features beside the common ones are the ten captions, what is missing made from what is
    there.
    """

    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "TreeOfLife shards (.tar), made as https://huggingface.co/datasets/imageomics/TreeOfLife-200M says "
        "or by "
        "bioclip-jax shards build"
    )
    LOOK_FOR = ("train",)
    HOMEPAGE = "https://huggingface.co/datasets/imageomics/TreeOfLife-200M"
    FEATURES = dict.fromkeys((name for name in CAPTION_FILES if name != "common_name"), str)

    def read(self, root: Path) -> Mapping[str, Iterable[Row]]:
        found = {}
        for split, names in _FOLDERS.items():
            for name in names:
                if (root / name).is_dir():
                    found[split] = root / name
        found = found or {"train": root}
        shards = {split: sorted(folder.rglob("*.tar")) for split, folder in found.items()}
        for split, folder in found.items():
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
                    f"{self.name}: sample {index:,} of {shards[0].parent} cannot be read ({error}); find "
                    f"what is wrong "
                    "with bioclip-jax shards verify"
                ) from None


def _row(sample: Sample) -> Row:
    try:
        captions = complete_captions(sample.captions)
    except MissingCaption:
        captions = dict.fromkeys(CAPTION_FILES, "")
    taxon = sample.taxon or Taxon()
    # The shards repeat the scientific name where there is no common one; the taxon knows the difference.
    labels = taxon_features(taxon) | {"class": taxon.scientific_name}
    return (
        {name: captions[name] for name in CAPTION_FILES} | labels | {"image": sample.image, "key": sample.key}
    )
