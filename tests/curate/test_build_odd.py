"""Builds of unusual inputs: plain evaluation images, foreign metadata, repeated keys, reused folders."""

import io
import json
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from build_inputs import (
    contents,
    encoded,
    jpeg,
    make_folder,
    photograph,
    row,
    taxon,
    write_rows,
)
from PIL import Image

from bioclip_jax.curate.build import BuildSettings, build_shards
from bioclip_jax.curate.build.resize import image_size
from bioclip_jax.errors import UserError
from bioclip_jax.pipeline.sources import open_source
from bioclip_jax.text import captions_from_taxon


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


def build(source: Path | str, output: Path, **settings) -> dict:
    return build_shards(source, output, BuildSettings(**settings), processes=0)


def catalog(output: Path) -> list[dict]:
    return pq.read_table(output / "catalogue.parquet").to_pylist()


def tar_of(path: Path, samples: list[dict[str, bytes]]) -> Path:
    with tarfile.open(path, "w") as tar:
        for files in samples:
            for name, content in files.items():
                member = tarfile.TarInfo(name)
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    return path


def test_second_build_into_a_removed_folder_holds_its_own_samples(tmp_path):
    for number, count in ((1, 8), (2, 5)):
        source = make_folder(tmp_path / str(number), count)
        build(source, tmp_path / "out", samples_per_shard=4)
        built = open_source(tmp_path / "out")
        expected = {line["key"] for line in catalog(tmp_path / "out") if line["decision"] == "kept"}
        assert {built[index].key for index in range(len(built))} == expected and len(built) == count
        shutil.rmtree(tmp_path / "out")


def evaluation_of(folder: Path, images: dict[str, bytes | None]) -> Path:
    folder.mkdir()
    for name, image in images.items():
        if image is not None:
            (folder / name).write_bytes(image)
    write_rows(folder / "metadata.csv", [row(name, taxon(number)) for number, name in enumerate(images)])
    return folder


def test_incomparable_evaluation_images_are_counted_and_unreadable_data_refused(tmp_path):
    source = make_folder(tmp_path / "photos", 6)
    # A dark spot on a plain background has a hash of low quality.
    y, x = np.mgrid[0:300, 0:300]
    plain = np.where((x - 150) ** 2 + (y - 150) ** 2 < 900, 40, 230).astype(np.uint8)
    specimen = jpeg(np.stack([plain] * 3, axis=-1))
    (source / "photo-002.jpg").write_bytes(specimen)
    images = {"a.jpg": specimen, "b.jpg": jpeg(photograph(77)), "gone.jpg": None}
    evaluation = evaluation_of(tmp_path / "evaluation", images)
    result = build(source, tmp_path / "out", leakage=(str(evaluation),))
    assert result["counts"] == {"kept": 5, "leakage": 1}, "equal bytes were not matched"
    assert result["evaluation"] == {"compared": 1, "too_plain": 1, "unreadable": 1}
    missing = evaluation_of(tmp_path / "missing", {"gone.jpg": None})
    with pytest.raises(UserError, match="no image of the evaluation data .*missing can be read"):
        build(source, tmp_path / "out2", leakage=(str(evaluation), str(missing)))


def test_foreign_metadata_is_cleaned(tmp_path):
    captions = {f"{name}.txt": text.encode() for name, text in captions_from_taxon(taxon(1)).items()}
    metadata = json.dumps({"id": 10**25, "source": "half \ud800", "note": "\udcff", "size": 3}).encode()
    files = {"a.jpg": jpeg(photograph(1)), "a.json": metadata} | {
        f"a.{name}": text for name, text in captions.items()
    }
    build(tar_of(tmp_path / "a.tar", [files]), tmp_path / "out")
    assert open_source(tmp_path / "out")[0].metadata == {
        "id": str(10**25),
        "source": "half ?",
        "note": "?",
        "size": 3,
    }


def test_removed_sample_does_not_make_others_duplicate_keys(tmp_path):
    captions = {f"{name}.txt": text.encode() for name, text in captions_from_taxon(taxon(1)).items()}

    def sample(key: str, number: int) -> dict[str, bytes]:
        return {f"{key}.jpg": jpeg(photograph(number))} | {
            f"{key}.{name}": text for name, text in captions.items()
        }

    samples = [sample("k", 70), sample("m", 1), sample("k", 2), sample("z", 4), sample("k", 3)]
    source = tar_of(tmp_path / "a.tar", samples)
    evaluation = evaluation_of(tmp_path / "evaluation", {"test.jpg": jpeg(photograph(70))})
    build(source, tmp_path / "out", leakage=(str(evaluation),))
    decisions = [(line["key"], line["decision"]) for line in catalog(tmp_path / "out")]
    assert decisions == [
        ("k", "leakage"),
        ("m", "kept"),
        ("k", "kept"),
        ("z", "kept"),
        ("k", "duplicate_key"),
    ]


def test_cmyk_jpeg_has_a_size_and_is_built(tmp_path):
    stream = io.BytesIO()
    Image.fromarray(photograph(3)).convert("CMYK").save(stream, "JPEG", subsampling=2)
    assert image_size(stream.getvalue()) == (160, 120)
    assert image_size(encoded(photograph(3), "PNG")) == (160, 120) and image_size(b"none") == (0, 0)
    source = make_folder(tmp_path / "photos", 3)
    (source / "photo-001.jpg").write_bytes(stream.getvalue())
    result = build(source, tmp_path / "out", min_side=32, resize="shortest", size=64)
    assert result["counts"] == {"kept": 3}


def test_labels_without_a_key_are_skipped(tmp_path):
    source = make_folder(tmp_path / "photos", 2)
    table = pa.table({"filepath": ["photo-000.jpg", None], "genus": ["Quercus", "Fagus"]})
    pq.write_table(table, tmp_path / "labels.parquet")
    build(source, tmp_path / "out", metadata=str(tmp_path / "labels.parquet"))
    assert [line["genus"] for line in catalog(tmp_path / "out")] == ["Quercus", taxon(1).genus]


def test_renamed_or_changed_source_is_refused(tmp_path):
    first, second = (make_folder(tmp_path / name, 2) for name in ("a", "b"))
    build(f"{first}::{second}", tmp_path / "out")
    before = contents(tmp_path / "out")
    with (second / "metadata.csv").open("a") as file:
        file.write("\n")
    with pytest.raises(UserError, match="source files changed"):
        build(f"{first}::{second}", tmp_path / "out")
    build(first, tmp_path / "one")
    shutil.move(first, tmp_path / "c")
    with pytest.raises(UserError, match="source provider was 'a' and is 'c'"):
        build(tmp_path / "c", tmp_path / "one")
    assert contents(tmp_path / "out") == before
    (tmp_path / "c" / "metadata.csv").unlink()
    tar_of(
        tmp_path / "c" / "a.tar",
        [{"a.jpg": jpeg(photograph(1)), "a.sci.txt": b"a photo of Malus domestica."}],
    )
    with pytest.raises(UserError, match="is inside"):
        build(f"{tmp_path / 'c'}::{second}", tmp_path / "c" / "out")
