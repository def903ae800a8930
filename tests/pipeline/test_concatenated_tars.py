"""Every reader reads tars concatenated by cat to their end; the reference is tarfile's ignore_zeros."""

import io
import json
import tarfile

import pytest
from made_shards import good_sample, write_tar

from bioclip_jax.cli import main
from bioclip_jax.errors import UserError
from bioclip_jax.pipeline.batches import train_batches
from bioclip_jax.pipeline.sources import TarSource, open_source
from bioclip_jax.pipeline.sources.tar import StreamingTarSource
from bioclip_jax.pipeline.sources.tar.format import BLOCK, members, next_tar
from bioclip_jax.pipeline.sources.tar.scan import scan_spans
from bioclip_jax.predict import find_images


def reader(content: bytes):
    return lambda offset, size: content[offset : offset + size]


def tar(tmp_path, *numbers: int) -> bytes:
    return write_tar(tmp_path / "part" / "a.tar", [good_sample(number) for number in numbers]).read_bytes()


def end_mark_of_one_block(content: bytes) -> bytes:
    return content.rstrip(b"\0").ljust(-(-len(content.rstrip(b"\0")) // BLOCK) * BLOCK, b"\0") + bytes(BLOCK)


def joined(tmp_path, case: str) -> bytes:
    first, second = tar(tmp_path, 0, 1, 2), tar(tmp_path, 3, 4)
    return {
        "two": first + second,
        "three": first + second + tar(tmp_path, 5),
        "an empty one first": tar(tmp_path) + first,
        "a lone zero block between": end_mark_of_one_block(first) + second,
        "a megabyte of zeros between": first + bytes(1 << 20) + second,
        "other headers": first + foreign(tmp_path),
    }[case]


def foreign(tmp_path) -> bytes:
    """Samples in GNU format, within a folder."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name, content in good_sample(7).items():
            if name != "__key__":
                content = content.encode() if isinstance(content, str) else content
                member = tarfile.TarInfo(f"a folder/sample-0007.{name}")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    return stream.getvalue()


CASES = ["two", "three", "an empty one first", "a lone zero block between", "a megabyte of zeros between"]
CASES += ["other headers"]


@pytest.mark.parametrize("case", CASES)
def test_every_reader_continues_after_the_end_of_archive_block(tmp_path, case):
    content = joined(tmp_path, case)
    path = tmp_path / "joined" / "joined.tar"
    path.parent.mkdir()
    path.write_bytes(content)
    with tarfile.open(path, ignore_zeros=True) as archive:
        expected = {member.name: archive.extractfile(member).read() for member in archive if member.isfile()}
    actual = {
        member.name: content[member.offset :][: member.size]
        for member in members(reader(content), len(content))
    }
    assert actual == expected, "GNU tar's --ignore-zeros reads other members"
    assert scan_spans(reader(content), len(content)) is None, (
        "the scan must leave concatenated tars to members()"
    )

    images = {name: data for name, data in expected.items() if name.endswith(".jpg")}
    source = open_source(path)
    assert [source[number].image for number in range(len(source))] == list(images.values())
    assert all(len(source[number].captions) == 10 for number in range(len(source)))
    assert [image.read() for image in find_images([path])] == list(images.values()), "predict and embed"
    streamed = StreamingTarSource([path], [len(images)])
    assert [streamed[number].image for number in range(len(images))] == list(images.values())


def test_training_samples_all_tars(tmp_path):
    (tmp_path / "joined.tar").write_bytes(joined(tmp_path, "two"))
    batches = train_batches(open_source(tmp_path / "joined.tar"), image_size=32, seed=0, global_batch_size=5)
    batch = next(batches)
    assert not batch["bad"].any() and len({image.tobytes() for image in batch["image"]}) == 5


def test_verify_reports_and_repairs_concatenated_tars(tmp_path, capsys):
    (tmp_path / "shards").mkdir()
    (tmp_path / "shards" / "a.tar").write_bytes(joined(tmp_path, "three"))
    arguments = ["shards", "verify", str(tmp_path / "shards"), "--processes", "0", "--json"]
    assert main([*arguments, "--repair", str(tmp_path / "whole")]) == 1
    result = json.loads(capsys.readouterr().out)
    assert result["error_counts"] == {"joined_tar": 2}
    assert (result["samples"], result["sound"], result["repaired"]["samples"]) == (6, 6, 6)
    assert "another tar begins after the end marker" in result["first"]["joined_tar"]["message"]
    with tarfile.open(tmp_path / "whole" / "a.tar") as archive:
        assert len([name for name in archive.getnames() if name.endswith(".jpg")]) == 6
    assert main(["shards", "stats", str(tmp_path / "shards"), "--processes", "0", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["samples"] == 6


@pytest.mark.parametrize(
    "rest", [b"", bytes(100), bytes(1 << 20), b"a signature", bytes(700) + b"a signature"]
)
def test_other_data_after_the_end_of_archive_block_is_ignored(tmp_path, rest):
    path = tmp_path / "a.tar"
    path.write_bytes(tar(tmp_path, 0, 1, 2) + rest)
    assert len(TarSource([path])) == 3
    assert (
        next_tar(reader(path.read_bytes()), len(path.read_bytes()) - len(rest) - BLOCK, path.stat().st_size)
        is None
    )


def test_damage_in_the_second_tar_is_an_error(tmp_path):
    path = tmp_path / "a.tar"
    path.write_bytes(joined(tmp_path, "two")[: -8 * BLOCK - 5000])
    with pytest.raises(UserError, match="it is cut off"):
        open_source(path)
