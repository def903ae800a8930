"""Samples from Parquet files: encoded images, the Hub's format, and the toolbox's raw pixels."""

import io
import pickle

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from bioclip_jax.errors import UserError
from bioclip_jax.pipeline.images import decode
from bioclip_jax.pipeline.sources import open_source
from bioclip_jax.text import RANKS, Taxon

FOX = Taxon("Animalia", "Chordata", "Mammalia", "Carnivora", "Canidae", "Vulpes", "vulpes", "red fox")
PIXELS = np.random.default_rng(7).integers(0, 256, (5, 24, 40, 3), dtype=np.uint8)


def labels(count: int) -> dict[str, list[str]]:
    return {rank: [FOX.rank(rank)] * count for rank in RANKS} | {"common_name": [FOX.common_name] * count}


def png(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def test_encoded_images_in_several_files_and_row_groups(tmp_path):
    images = [png(pixels) for pixels in PIXELS]
    for name, rows in (("a", slice(0, 3)), ("b", slice(3, 5))):
        part = images[rows]
        table = pa.table(
            {"key": [f"{name}{n}" for n in range(len(part))], "image": part, **labels(len(part))}
        )
        pq.write_table(
            table.append_column("weight", pa.array([0.5] * len(part))), tmp_path / f"{name}.parquet", 2
        )
    source = pickle.loads(pickle.dumps(open_source(tmp_path)))
    assert source.group_starts.tolist() == [0, 2, 3, 5]
    assert [source[number].key for number in (4, 0, 1, 2, 3)] == ["b1", "a0", "a1", "a2", "b0"]
    for number in range(5):
        assert source[number].image == images[number]
        assert source[number].taxon == FOX and source[number].metadata == {"weight": 0.5}


def test_raw_pixels_of_the_toolbox(tmp_path):
    count = len(PIXELS)
    table = pa.table(
        {
            "uuid": [f"0000-{n}" for n in range(count)],
            "source_id": ["7"] * count,
            "image": [pixels[:, :, ::-1].tobytes() for pixels in PIXELS],
            "original_size": [[480, 800]] * count,
            "resized_size": [[24, 40]] * count,
            "hashsum_original": ["f" * 32] * count,
            **labels(count),
        }
    )
    pq.write_table(table, tmp_path / "successes.parquet")
    source = open_source(tmp_path / "successes.parquet")
    for number in range(count):
        np.testing.assert_array_equal(decode(source[number].image), PIXELS[number])
    assert source[2].key == "0000-2" and source[2].metadata == {"source_id": "7"}


def test_images_of_the_hub_and_rows_without_image(tmp_path):
    images = [{"bytes": png(PIXELS[0]), "path": "x.png"}, {"bytes": None, "path": "y.png"}, None]
    pq.write_table(pa.table({"image": images, "genus": ["Vulpes"] * 3}), tmp_path / "train.parquet")
    source = open_source(tmp_path)
    assert [bool(source[number].image) for number in range(3)] == [True, False, False]
    assert source[1].key == "train.parquet/1" and source[1].taxon == Taxon(genus="Vulpes")


def test_invalid_parquet_files_are_reported(tmp_path):
    (tmp_path / "a.parquet").write_bytes(b"PAR1 and nothing else")
    with pytest.raises(UserError, match="a.parquet is not a readable Parquet file"):
        open_source(tmp_path / "a.parquet")
    pq.write_table(pa.table({"picture": [b"x"]}), tmp_path / "b.parquet")
    with pytest.raises(UserError, match="b.parquet has no column image, only picture"):
        open_source(tmp_path / "b.parquet")
    pq.write_table(pa.table({"image": pa.array([], pa.binary())}), tmp_path / "c.parquet")
    with pytest.raises(UserError, match="c.parquet holds no rows"):
        open_source(tmp_path / "c.parquet")


def test_folder_with_parquet_metadata(tmp_path):
    (tmp_path / "a.png").write_bytes(png(PIXELS[0]))
    table = {"filepath": ["a.png", "gone.png"], "depth": [3, None], **labels(2)}
    pq.write_table(pa.table(table), tmp_path / "metadata.parquet")
    source = pickle.loads(pickle.dumps(open_source(tmp_path)))
    assert source[0].taxon == FOX and source[0].metadata == {"depth": 3} and source[0].image
    assert source[1].image == b"" and source[1].metadata == {}
