"""ArrayRecord, folder and TFDS sources."""

import pickle
import subprocess
import sys
import textwrap
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_shards import encoded, picture
from tiny_orchard import APPLE, FINCH

from bioclip_jax.errors import UserError
from bioclip_jax.pipeline.batches import train_batches
from bioclip_jax.pipeline.images import CAUSES, decode
from bioclip_jax.pipeline.sampling import Sampling
from bioclip_jax.pipeline.sources import FolderSource, RecordWriter, Sample, open_source
from bioclip_jax.text import RANKS, Taxon, captions_from_taxon

text = st.text(max_size=20)
samples = st.builds(
    Sample,
    key=text,
    image=st.binary(max_size=200),
    captions=st.dictionaries(text, text, max_size=3),
    taxon=st.none() | st.builds(Taxon, *[text] * 8),
    metadata=st.dictionaries(
        text, text | st.floats(allow_nan=False) | st.integers(-(2**60), 2**60), max_size=3
    ),
)


@settings(max_examples=25)
@given(st.lists(samples, min_size=1, max_size=5))
def test_records_round_trip(tmp_path_factory, written):
    folder = tmp_path_factory.mktemp("records")
    with RecordWriter(folder / "part-0.array_record") as writer:
        for sample in written:
            writer.write(sample)
    source = open_source(folder)
    assert [source[number] for number in range(len(source))] == written


def test_record_files_make_one_picklable_source(tmp_path):
    for part in range(3):
        with RecordWriter(tmp_path / f"part-{part}.arrayrecord") as writer:
            for number in range(4):
                writer.write(
                    Sample(f"{part}/{number}", encoded(picture(number)), captions_from_taxon(APPLE), APPLE)
                )
    source = pickle.loads(pickle.dumps(open_source(tmp_path)))
    expected = [f"{part}/{number}" for part in range(3) for number in range(4)]
    assert [source[number].key for number in range(12)] == expected
    assert len(open_source(tmp_path / "part-1.arrayrecord")) == 4
    batch = next(train_batches(source, image_size=32, seed=0, global_batch_size=6))
    assert batch["bad"].sum() == 0


def test_a_window_over_record_files(tmp_path):
    for part, size in enumerate((4, 2, 6)):
        with RecordWriter(tmp_path / f"part-{part}.arrayrecord") as writer:
            for number in range(size):
                writer.write(
                    Sample(f"{part}/{number}", encoded(picture(number)), captions_from_taxon(APPLE), APPLE)
                )
    source = open_source(tmp_path, forward=True)
    assert source.shard_sizes == [4, 2, 6]
    batches = train_batches(source, image_size=32, seed=0, global_batch_size=6, sampling=Sampling(window=3))
    assert sum(next(batches)["bad"].sum() for _ in range(4)) == 0


def test_a_damaged_record_is_a_bad_sample(tmp_path):
    with RecordWriter(tmp_path / "a.array_record") as writer:
        for number in range(8):
            writer.write(Sample(str(number), encoded(picture(number)), captions_from_taxon(APPLE), APPLE))
    content = bytearray((tmp_path / "a.array_record").read_bytes())
    content[4000:4040] = bytes(40)
    (tmp_path / "a.array_record").write_bytes(content)
    source = open_source(tmp_path)
    batch = next(train_batches(source, image_size=32, seed=0, global_batch_size=16))
    assert batch["bad"][CAUSES.index("unreadable")] >= 1


def test_an_invalid_record_file_is_an_error(tmp_path):
    (tmp_path / "a.array_record").write_bytes(b"nothing of that kind" * 10_000)
    with pytest.raises(UserError, match="a.array_record is not a readable ArrayRecord file"):
        open_source(tmp_path)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "images").mkdir()
    for number in range(3):
        (tmp_path / "images" / f"{number}.jpg").write_bytes(encoded(picture(number)))
    ranks = ",".join(RANKS)
    rows = [",".join(taxon.lineage()) + f",{taxon.common_name}" for taxon in (APPLE, FINCH, Taxon(), APPLE)]
    lines = [f"images/{number}.jpg,{row},v{number}" for number, row in enumerate(rows)]
    (tmp_path / "metadata.csv").write_text(
        "\n".join([f"filepath,{ranks},common_name,variant", *lines]), "utf-8-sig"
    )
    return tmp_path


def test_a_folder_with_metadata(folder):
    source = pickle.loads(pickle.dumps(open_source(folder)))
    assert len(source) == 4
    assert source[0].taxon == APPLE and source[0].captions == captions_from_taxon(APPLE)
    assert source[1].captions["com"] == "a photo of Geospiza fortis."
    assert source[0].metadata == {"variant": "v0"}
    np.testing.assert_array_equal(decode(source[1].image), decode(encoded(picture(1))))
    assert source[2].captions == {} and source[3].image == b""
    batches = train_batches(source, image_size=32, seed=0, global_batch_size=4)
    bad = dict(zip(CAUSES, next(batches)["bad"].tolist()))
    assert bad["no_image"] >= 1 and bad["no_caption"] >= 1, bad


def test_a_table_outside_the_folder_with_class_and_cls(folder, tmp_path):
    table = tmp_path / "annotations.csv"
    table.write_text(",filepath,class,cls,genus,species\n0,images/1.jpg,a label,Aves,Geospiza,fortis\n")
    sample = FolderSource(folder, table)[0]
    assert sample.taxon == Taxon(class_="Aves", genus="Geospiza", species="fortis")
    assert sample.metadata == {"class": "a label"} and sample.image


@pytest.mark.parametrize("path", ["images\\1.jpg", " images/1.jpg", "./images/é.jpg"])
@pytest.mark.parametrize("name", ["metadata.csv", "metadata.tsv", "list.csv"])
def test_spellings_of_paths_and_of_columns(folder, path, name):
    (folder / "metadata.csv").unlink()
    (folder / "images" / unicodedata.normalize("NFD", "é.jpg")).write_bytes(encoded(picture(1)))
    (folder / name).write_text(f"FilePath;Genus ;SPECIES\n{path};Geospiza;fortis\n", "latin-1")
    sample = open_source(folder / name if name == "list.csv" else folder)[0]
    assert sample.image == encoded(picture(1))
    assert sample.taxon == Taxon(genus="Geospiza", species="fortis")
    assert sample.captions["sci"] == "a photo of Geospiza fortis."


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"path,genus\na.jpg,Malus\n", "has no column filepath or file_name, only path, genus"),
        (b"filepath,genus\n", "has no rows"),
        (b"", "is empty; give a CSV, TSV or Parquet table with a header"),
        (b"filepath,genus\n\xff\xfe\x00,Malus\n", "is not a readable CSV"),
    ],
)
def test_invalid_tables_are_errors(tmp_path, content, message):
    (tmp_path / "metadata.csv").write_bytes(content)
    with pytest.raises(UserError, match=message):
        open_source(tmp_path)


def test_a_tfds_builder_is_prepared_and_read(tmp_path, capsys):
    source = open_source("tiny_orchard", split="test", tfds_dir=tmp_path)
    printed = capsys.readouterr()
    assert printed.out == "", "stdout is reserved for a command's result"
    assert "preparing tiny_orchard" in printed.err and "Unknown size" not in printed.err, printed.err
    assert len(source) == 2
    assert len(open_source("tiny_orchard/fewer:train", tfds_dir=tmp_path)) == 3
    assert len(open_source("tiny_orchard:train[:34%]", tfds_dir=tmp_path)) == 1, (
        "a slice of a split is not a glob"
    )
    copy = pickle.loads(pickle.dumps(source))
    loaded = sorted((copy[number] for number in range(2)), key=lambda sample: sample.metadata["beak"])
    assert [sample.taxon for sample in loaded] == [APPLE, FINCH]
    assert loaded[0].captions == captions_from_taxon(APPLE)
    assert loaded[1].metadata == {"sex": "female", "beak": 1.25}
    np.testing.assert_array_equal(decode(loaded[0].image), decode(encoded(picture(0))))
    assert len({sample.key for sample in loaded}) == 2
    batch = next(train_batches(source, image_size=32, seed=0, global_batch_size=4))
    assert batch["bad"].sum() == 0


def test_processes_that_start_together_prepare_a_builder_once(tmp_path):
    code = """
        import sys
        import tiny_orchard  # registers the builder
        from bioclip_jax.pipeline.sources import open_source
        print(len(open_source("tiny_orchard:train", tfds_dir=sys.argv[1])))
    """
    command = [sys.executable, "-c", textwrap.dedent(code), tmp_path]
    pipes = {"stdout": subprocess.PIPE, "text": True, "cwd": Path(__file__).parent}
    processes = [subprocess.Popen(command, **pipes) for _ in range(2)]
    assert [process.communicate(timeout=120)[0] for process in processes] == ["3\n", "3\n"]


def test_a_builder_is_prepared_on_a_file_system_without_locks(no_flock, tmp_path, capsys):
    assert len(open_source("tiny_orchard:train", tfds_dir=tmp_path)) == 3
    assert "has no file locks" in capsys.readouterr().err
    assert not list(tmp_path.rglob(".prepare.lock*"))


def test_wrong_tfds_names_are_errors(tmp_path):
    with pytest.raises(
        UserError, match="tiny_orchid is neither a path nor a registered.*did you mean tiny_orchard"
    ):
        open_source("tiny_orchid", tfds_dir=tmp_path)
    with pytest.raises(UserError, match="has no split 'validation'; it has .*train"):
        open_source("tiny_orchard:validation", tfds_dir=tmp_path)
    with pytest.raises(UserError, match="many"):
        open_source("tiny_orchard/many", tfds_dir=tmp_path)
