"""Names of members and shards, in any case and with dots, as read by train, verify and taxa build."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import pytest
from made_shards import encoded, good_sample, picture, plain_tar

from bioclip_jax.curate.stats import shard_stats
from bioclip_jax.curate.verify import verify_shards
from bioclip_jax.errors import UserError
from bioclip_jax.pipeline.batches import train_batches
from bioclip_jax.pipeline.sources import open_source


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


def capital(number: int = 0) -> dict[str, bytes]:
    """A sample whose suffixes are in upper case."""
    sample = good_sample(number)
    key = sample.pop("__key__")
    files = {
        name: content if isinstance(content, bytes) else content.encode() for name, content in sample.items()
    }
    return {f"{key}.{name.upper()}": content for name, content in files.items()}


def test_kinds_of_members_in_any_case(tmp_path):
    plain_tar(tmp_path / "S.TAR", {**capital(), "sample-0000.JSON": b'{"sex": "female"}'})
    sample = open_source(tmp_path)[0]
    expected = good_sample(0)
    assert sample.image == expected["jpg"] and sample.metadata == {"sex": "female"}
    assert sample.captions == {name[:-4]: text for name, text in expected.items() if name.endswith(".txt")}
    result = verify_shards(tmp_path, processes=0)
    assert (result["shards"], result["samples"], result["sound"], result["errors"]) == (1, 1, 1, 0), result[
        "first"
    ]
    assert (
        next(train_batches(open_source(tmp_path), image_size=32, seed=0, global_batch_size=1))["bad"].sum()
        == 0
    )
    plain_tar(tmp_path / "S.TAR", {"KEY.JPG": encoded(picture(0)), "KEY.TXT": b"an apple"})
    assert open_source(tmp_path)[0].captions == {"txt": "an apple"}
    assert verify_shards(tmp_path / "S.TAR", processes=0)["errors"] == 0
    assert shard_stats(tmp_path, processes=0)["shards"]["count"] == 1


@pytest.mark.parametrize("kind", ["jfif", "JPE", "mpo", "ppm"])
def test_image_kinds_of_predict_are_read_from_tars(kind, tmp_path):
    plain_tar(
        tmp_path / "s.tar",
        {f"k.{kind}": encoded(picture(0), "PPM" if kind == "ppm" else "JPEG"), "k.txt": b"a"},
    )
    assert open_source(tmp_path)[0].image
    assert verify_shards(tmp_path, processes=0)["errors"] == 0


@pytest.mark.parametrize(
    "image, text", [("IMG.2024.jpg", "IMG.2024.txt"), ("KEY.input.JPG", "KEY.outputs.txt")]
)
def test_a_dot_in_a_name_is_reported(image, text, tmp_path):
    plain_tar(tmp_path / "s.tar", {image: encoded(picture(0)), text: b"an apple"})
    message = "the key of a file ends at the first dot of its name"
    with pytest.raises(UserError, match=message):
        next(train_batches(open_source(tmp_path), image_size=32, seed=0, global_batch_size=1))
    result = verify_shards(tmp_path, processes=0)
    assert message in result["first"]["unknown_file"]["message"] and result["errors"]


def test_hidden_folders_are_skipped(tmp_path):
    for folder in ("a", "@eaDir", "__MACOSX", ".trash"):
        (tmp_path / folder).mkdir()
        plain_tar(tmp_path / folder / "s.tar", capital())
    plain_tar(tmp_path / "a/._s.tar", capital())
    assert len(open_source(tmp_path)) == 1
    assert verify_shards(tmp_path, processes=0)["shards"] == 1


def test_an_unreadable_folder_of_shards_is_reported(tmp_path, monkeypatch):
    for folder in ("open", "closed"):
        (tmp_path / folder).mkdir()
        plain_tar(tmp_path / folder / "s.tar", capital())
    scandir = os.scandir

    def refuse(folder):
        """Refuse the folder as to a user without permission; root is never refused."""
        if str(folder).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(folder))
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(UserError, match=r"closed cannot be read \(Permission denied\)"):
        open_source(tmp_path)
    source = open_source(tmp_path, bad_shards="skip")
    assert len(source) == 1 and source.skipped_shards == [
        f"{tmp_path}/closed cannot be read (Permission denied)"
    ]
    result = verify_shards(tmp_path, processes=0)
    assert result["errors"] == 1 and result["first"]["unreadable_file"]["shard"] == "closed"


@pytest.mark.parametrize("name", ["s.tar.gz", "S.TGZ"])
def test_a_compressed_tar_is_an_error(name, tmp_path):
    plain_tar(tmp_path / "s.tar", capital())
    (tmp_path / name).write_bytes(gzip.compress((tmp_path / "s.tar").read_bytes()))
    (tmp_path / "s.tar").unlink()
    for location in (tmp_path, tmp_path / name):
        with pytest.raises(UserError, match="compressed tars; uncompress them"):
            open_source(location)
    assert verify_shards(tmp_path, processes=0)["error_counts"] == {"compressed_tar": 1}


def test_parquet_and_array_record_in_capital_letters(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    from bioclip_jax.pipeline.sources import RecordWriter

    pq.write_table(pa.table({"image": [encoded(picture(0))], "genus": ["Malus"]}), tmp_path / "X.PARQUET")
    assert len(open_source(tmp_path)) == 1
    plain_tar(tmp_path / "s.tar", capital())
    sample = open_source(tmp_path / "s.tar")[0]
    (tmp_path / "s.tar").unlink()
    with RecordWriter(tmp_path / "x.array_record") as writer:
        writer.write(sample)
    os.rename(tmp_path / "x.array_record", tmp_path / "X.ARRAY_RECORD")
    assert open_source(tmp_path)[0].key == sample.key
    assert json.dumps(verify_shards(tmp_path, processes=0)["error_counts"]) == "{}"
    assert Path(tmp_path / "X.ARRAY_RECORD").exists()
