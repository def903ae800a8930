"""Rare Species: 400 species of the IUCN Red List, held out of BioCLIP's training data."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from bioclip_jax.datasets.manual import ManualBuilder, Row, first_file, images_by_name, taxon_features
from bioclip_jax.errors import UserError
from bioclip_jax.text import Taxon

_IDS = ("rarespecies_id", "eol_content_id", "eol_page_id")


class RareSpecies(ManualBuilder):
    """400 animal species that are near threatened or worse, with about 30 photographs each.

    Layout as on the Hugging Face Hub (imageomics/rare-species): metadata.csv (file_name, rarespecies_id,
    eol_content_id, eol_page_id, kingdom, phylum, class, order, family, genus, species, sciName, common), and
    dataset/KINGDOM-...-SPECIES/*.jpg or the images in data/*.parquet. The metadata.csv of BioCLIP 2's
    data/annotation/rare_species (filepath, the ranks with cls, common_name, class) works as well, with
    dataset/.
    """

    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "metadata.csv and dataset/ (or data/*.parquet) of "
        "https://huggingface.co/datasets/imageomics/rare-species"
    )
    LOOK_FOR = ("dataset",)
    HOMEPAGE = "https://huggingface.co/datasets/imageomics/rare-species"
    LICENSE = "The compilation is CC0-1.0; every image has its own license, in metadata/licenses.csv."
    FEATURES = dict.fromkeys(_IDS, str)

    def read(self, root: Path) -> Mapping[str, Iterable[Row]]:
        table = self.table(root / "metadata.csv", "kingdom", "genus", "species")
        shards = sorted((root / "data").glob("*.parquet"))
        if shards and not (root / "dataset").is_dir():
            return {"test": self._from_parquet(table, shards, root)}
        images = self.require(root / "dataset")
        names = {} if "file_name" in table[0] else images_by_name(images)
        rows = []
        for line in table:
            path = line.get("file_name") or line.get("filepath", "")
            image = names.get(Path(path).name) or first_file(path, root)
            rows.append({"image": image, "key": path} | _labels(line))
        return {"test": rows}

    def _from_parquet(self, table: list[dict[str, str]], shards: list[Path], root: Path) -> Iterator[Row]:
        import pyarrow.parquet as pq

        labels = {line.get("rarespecies_id"): line for line in table}
        for shard in shards:
            file = pq.ParquetFile(shard)
            column = next((name for name in ("file_name", "image") if name in file.schema_arrow.names), None)
            if column is None or "rarespecies_id" not in file.schema_arrow.names:
                raise UserError(
                    f"{self.name}: {shard} has no columns file_name and rarespecies_id; it needs "
                    f"{self.MANUAL_DOWNLOAD_INSTRUCTIONS}"
                )
            # The photographs have full size, so few are read at a time.
            for batch in file.iter_batches(batch_size=16, columns=[column, "rarespecies_id"]):
                for row in batch.to_pylist():
                    line = labels.get(row["rarespecies_id"])
                    if line is None:
                        raise UserError(
                            f"{self.name}: {root / 'metadata.csv'} does not list rarespecies_id "
                            f"{row['rarespecies_id']} of {shard}; download both again"
                        )
                    yield {"image": row[column]["bytes"], "key": line["file_name"]} | _labels(line)


def _labels(line: dict[str, str]) -> Row:
    taxon = Taxon.from_row(line | {"common_name": line.get("common_name") or line.get("common", "")})
    return (
        taxon_features(taxon) | {"class": taxon.scientific_name} | {name: line.get(name, "") for name in _IDS}
    )
