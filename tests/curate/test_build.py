"""Builds from all input formats: contents of the shards, and identical bytes for any workers."""

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow_datasets as tfds
import webdataset
from build_inputs import contents, encoded, make_folder, photograph, row, taxon
from build_process import loaded_modules
from PIL import Image

from bioclip_jax.curate.build import BuildSettings, build_shards
from bioclip_jax.curate.build import build as build_module
from bioclip_jax.curate.build.ingest import prepare_chunk, shard_key
from bioclip_jax.curate.build.resize import decode_reduced
from bioclip_jax.curate.executors import open_executor
from bioclip_jax.curate.tar_writer import TarShardWriter
from bioclip_jax.pipeline.sources import RecordWriter, Sample, TarSource, open_source
from bioclip_jax.text import CAPTION_FILES, RANKS, Taxon, captions_from_taxon

COUNT = 70  # two chunks


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(tmp_path_factory.mktemp("inputs") / "photos", COUNT)


@pytest.fixture(scope="module")
def built(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder built as tars of 25 samples."""
    output = tmp_path_factory.mktemp("built") / "shards"
    result = build_shards(folder, output, BuildSettings(samples_per_shard=25), processes=0)
    assert (result["samples"], result["shards"], result["counts"]) == (COUNT, 3, {"kept": COUNT})
    assert result["output"] == str(output) and result["prepared"] == COUNT
    return output


def catalog(output: Path) -> list[dict]:
    return pq.read_table(output / "catalogue.parquet").to_pylist()


def test_shards_follow_the_tree_of_life_layout(folder, built):
    names = [f"shard-{number:05d}.tar" for number in range(3)]
    assert sorted(path.name for path in built.iterdir()) == [
        "build.json",
        "catalogue.parquet",
        *names,
        "sizes.json",
    ]
    assert json.loads((built / "sizes.json").read_text()) == dict(zip(names, (25, 25, 20)))
    dataset = webdataset.WebDataset([str(built / name) for name in names], shardshuffle=False)
    samples = {sample["__key__"]: sample for sample in dataset}
    source = open_source(built)
    assert isinstance(source, TarSource) and len(source) == len(samples) == COUNT
    rows = {row["key"]: row for row in catalog(built)}
    for number in range(COUNT):
        sample, labels = source[number], rows[source[number].key]
        index = int(labels["source_key"][6:9])
        assert sample.key == shard_key(f"photo-{index:03d}.jpg")
        assert dict(sample.captions) == captions_from_taxon(taxon(index)) and sample.taxon == taxon(index)
        kinds = {f"{name}.txt".lower() for name in CAPTION_FILES} | {"jpg"}  # as webdataset names them
        assert {kind for kind in samples[sample.key] if not kind.startswith("__")} == kinds
        image = np.asarray(Image.open(io.BytesIO(sample.image)))
        assert image.shape == (224, 224, 3)
        original = Image.fromarray(photograph(index)).resize((224, 224), Image.Resampling.LANCZOS)
        difference = np.abs(image.astype(int) - np.asarray(original)).mean()
        assert difference < 4, f"{sample.key} shows another picture: {difference:.1f} gray levels off"


def test_catalog_locates_every_sample(folder, built):
    rows = catalog(built)
    assert [row["source_key"] for row in rows] == [f"photo-{number:03d}.jpg" for number in range(COUNT)]
    shards = {path.name: open_source(path) for path in built.glob("*.tar")}
    for number, line in enumerate(rows):
        assert shards[line["shard"]][line["position"]].key == line["key"]
        assert Taxon.from_row(line) == taxon(number)
        original = (folder / line["source_key"]).read_bytes()
        assert (line["width"], line["height"], line["bytes"]) == (160, 120, len(original))
        assert (line["decision"], line["source"], line["pdq"], line["alignment"]) == (
            "kept",
            "photos",
            None,
            "",
        )
    order = [line["key"] for line in sorted(rows, key=lambda line: (line["shard"], line["position"]))]
    assert order != [line["key"] for line in rows], "the samples are not shuffled"


def test_worker_processes_write_identical_shards_without_jax(folder, built, tmp_path):
    output = tmp_path / "shards"
    build_shards(folder, output, BuildSettings(samples_per_shard=25), processes=2)
    assert contents(output) == contents(built)
    job = build_module._job(str(folder), tmp_path / "other", BuildSettings(), None)
    (job.folder / "prepared").mkdir(parents=True)
    workers = open_executor("local", job, 1)
    assert list(workers.map(prepare_chunk, range(job.chunks))) == [64, 6]
    assert list(workers.map(loaded_modules, ["jax", "jaxlib", "tensorflow"])) == [False] * 3
    assert list(workers.map(loaded_modules, ["pyarrow"])) == [True], (
        "loaded_modules does not see the worker's modules"
    )
    workers.close()


def test_ray_workers_write_identical_shards(folder, built, tmp_path):
    output = tmp_path / "shards"
    build_shards(folder, output, BuildSettings(samples_per_shard=25), engine="ray", processes=2)
    assert contents(output) == contents(built)


def test_seed_changes_the_order_only(folder, built, tmp_path):
    output = tmp_path / "shards"
    build_shards(folder, output, BuildSettings(samples_per_shard=25, seed=1), processes=0)
    keys = [[line["key"] for line in catalog(folder)] for folder in (built, output)]
    assert keys[0] == keys[1]
    locations = [
        [(line["shard"], line["position"]) for line in catalog(folder)] for folder in (built, output)
    ]
    assert locations[0] != locations[1]


def as_parquet(folder: Path, target: Path) -> Path:
    target.mkdir()
    source = open_source(folder)
    samples = [source[number] for number in range(len(source))]
    ranks = {rank: [sample.taxon.rank(rank) for sample in samples] for rank in RANKS}
    table = {
        "key": [sample.key for sample in samples],
        "image": [sample.image for sample in samples],
        **ranks,
    }
    table["common_name"] = [sample.taxon.common_name for sample in samples]
    pq.write_table(pa.table(table), target / "images.parquet", row_group_size=9)
    return target


def as_tars(folder: Path, target: Path) -> Path:
    target.mkdir()
    source = open_source(folder)
    for part in range(2):
        with TarShardWriter(target / f"{part}.tar") as writer:
            for number in range(part * COUNT // 2, (part + 1) * COUNT // 2):
                sample = source[number]
                writer.write(Sample(f"key_{number}", sample.image, sample.captions))
    return target


def as_records(folder: Path, target: Path) -> Path:
    target.mkdir()
    source = open_source(folder)
    with RecordWriter(target / "all.array_record") as writer:
        for number in range(COUNT):
            writer.write(source[number])
    return target


def as_folder_with_parquet(folder: Path, target: Path) -> Path:
    shutil.copytree(folder, target, ignore=shutil.ignore_patterns("metadata.csv"))
    rows = [row(f"photo-{number:03d}.jpg", taxon(number)) for number in range(COUNT)]
    pq.write_table(pa.Table.from_pylist(rows), target / "metadata.parquet")
    return target


class Roses(tfds.core.GeneratorBasedBuilder):
    """TFDS builder over the folder `photos` in the manual directory."""

    VERSION = tfds.core.Version("1.0.0")
    MANUAL_DOWNLOAD_INSTRUCTIONS = "The test writes them."

    def _info(self) -> tfds.core.DatasetInfo:
        labels = {name: tfds.features.Text() for name in ("key", *RANKS, "common_name")}
        features = tfds.features.FeaturesDict({"image": tfds.features.Image(), **labels})
        return tfds.core.DatasetInfo(builder=self, features=features)

    def _split_generators(self, manager: tfds.download.DownloadManager) -> dict:
        return {"train": self._generate_examples(manager.manual_dir / "photos")}

    def _generate_examples(self, folder: Path):
        for number in range(COUNT):
            labels = row("", taxon(number))
            del labels["filepath"]
            yield (
                number,
                {"image": str(folder / f"photo-{number:03d}.jpg"), "key": f"rose-{number}", **labels},
            )


def as_tfds(folder: Path, target: Path) -> str:
    builder = tfds.builder("roses", data_dir=target, file_format="array_record")
    config = tfds.download.DownloadConfig(manual_dir=folder.parent)
    builder.download_and_prepare(file_format="array_record", download_config=config)
    return "roses:train"


@pytest.mark.parametrize("convert", [as_parquet, as_tars, as_records, as_folder_with_parquet, as_tfds])
@pytest.mark.parametrize("format", ["tar", "array_record"])
def test_all_input_formats_give_the_same_samples(folder, built, tmp_path, convert: Callable, format: str):
    output = tmp_path / "shards"
    settings = BuildSettings(format=format, samples_per_shard=40)
    location = convert(folder, tmp_path / "input")
    result = build_shards(location, output, settings, processes=0, tfds_dir=tmp_path / "input")
    assert result["counts"] == {"kept": COUNT}
    suffix = {"tar": "tar", "array_record": "array_record"}[format]
    assert sorted(path.name for path in output.glob("shard-*")) == [f"shard-0000{n}.{suffix}" for n in (0, 1)]

    def samples(target: Path) -> dict[str, tuple]:
        source, hashes = open_source(target), {line["key"]: line["content_hash"] for line in catalog(target)}
        loaded = (source[number] for number in range(len(source)))
        return {hashes[each.key]: (each.image, each.captions, each.taxon) for each in loaded}

    assert samples(output) == samples(built)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_large_images_are_reduced_before_they_are_resized(kind):
    large = photograph(8, 1800, 1350)
    reduced = decode_reduced(encoded(large, kind), 448)
    assert 448 <= reduced.shape[0] < 896 and abs(reduced.shape[1] * 3 - reduced.shape[0] * 4) <= 4
    expected = np.asarray(Image.fromarray(large).resize(reduced.shape[1::-1], Image.Resampling.BOX))
    assert np.abs(reduced.astype(int) - expected).mean() < 2
