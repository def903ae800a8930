"""Scanning by spans finds what reading header by header finds, or leaves it to that."""

import io
import tarfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_shards import good_sample, write_tar

from bioclip_jax.pipeline.sources.tar import scan
from bioclip_jax.pipeline.sources.tar.format import BLOCK, BadTar, members, split_name
from bioclip_jax.pipeline.sources.tar.scan import scan_spans


def reader(content: bytes):
    return lambda offset, size: content[offset : offset + size]


def header_by_header(content: bytes) -> tuple[list[int], int]:
    starts, last, finish = [], None, 0
    for member in members(reader(content), len(content)):
        if parts := split_name(member.name):
            if parts[0] != last:
                starts.append(member.start)
            last, finish = parts[0], -(-(member.offset + member.size) // BLOCK) * BLOCK
    return starts, finish


def archive(files: list[tuple[str, bytes]], format: int, mtime: float) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=format) as tar:
        for name, content in files:
            member = tarfile.TarInfo(name)
            member.size, member.mtime = len(content), mtime
            tar.addfile(member, io.BytesIO(content))
    return stream.getvalue()


@pytest.fixture
def small_spans(monkeypatch):
    """Spans of some headers only, so that a small tar has several."""
    monkeypatch.setattr(scan, "_SPAN", 12 * BLOCK)
    monkeypatch.setattr(scan, "_FEW", 1)


keys = st.text("ab1-_", min_size=1, max_size=5)
files = st.lists(
    st.tuples(keys, st.sampled_from(["jpg", "sci.txt", "cls"]), st.binary(max_size=1400)), max_size=12
)


@settings(max_examples=150)
@given(
    files,
    st.sampled_from([tarfile.USTAR_FORMAT, tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]),
    st.sampled_from([0, 1.5]),
    st.sampled_from([12, 40, 1 << 15]),
)
def test_it_finds_what_reading_every_header_finds(files, format, mtime, span):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scan, "_SPAN", span * BLOCK)
        patch.setattr(scan, "_FEW", 1)
        content = archive([(f"{key}.{kind}", data) for key, kind, data in files], format, mtime)
        found = scan_spans(reader(content), len(content))
    assert found is not None, "an ordinary tar was left to the slow way"
    starts, finish = header_by_header(content)
    assert (found[0].tolist(), found[1]) == (starts, finish)


def test_real_shards_go_the_fast_way(shards, small_spans):
    for path in sorted(shards.glob("*.tar")):
        content = path.read_bytes()
        found = scan_spans(reader(content), len(content))
        # A picture fills a span of this size, so it gives up or is right.
        assert found is None or (found[0].tolist(), found[1]) == header_by_header(content)
    scan._SPAN = 1 << 20
    found = scan_spans(reader(content), len(content))
    assert found is not None and (found[0].tolist(), found[1]) == header_by_header(content)


@pytest.mark.parametrize(
    "name, format",
    [("folder/a.jpg", 0), ("x" * 120 + ".jpg", 1), ("x" * 120 + ".jpg", 2), ("nodot", 0), (".hidden.jpg", 0)],
)
def test_what_is_out_of_the_ordinary_is_left_to_the_slow_way(name, format):
    content = archive([("a.jpg", b"x"), (name, b"y"), ("b.jpg", b"z")], format, 0)
    assert scan_spans(reader(content), len(content)) is None


def test_a_tar_within_a_tar_is_left_to_the_slow_way():
    inner = archive([("a.jpg", b"x" * 700), ("b.jpg", b"y")], tarfile.USTAR_FORMAT, 0)
    content = archive([("c.tar", inner), ("d.jpg", b"z")], tarfile.USTAR_FORMAT, 0)
    assert scan_spans(reader(content), len(content)) is None


@settings(max_examples=100)
@given(st.data())
def test_damage_is_never_taken_for_sound(tmp_path_factory, data):
    folder = tmp_path_factory.getbasetemp() / "scan"
    path = folder / "a.tar"
    if not path.exists():
        write_tar(path, [good_sample(number) for number in range(4)])
    content = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    noise = data.draw(st.binary(min_size=1, max_size=40))
    content[place : place + len(noise)] = noise
    content = bytes(content[: data.draw(st.sampled_from([len(content), place]))])
    found = scan_spans(reader(content), len(content))
    if found is None:
        return
    try:
        starts, finish = header_by_header(content)
    except BadTar as error:
        raise AssertionError(f"{len(found[0])} samples were found, but {error}") from None
    np.testing.assert_array_equal(found[0], starts)
    assert found[1] == finish


def test_a_damaged_end_of_a_checksum_is_left_to_the_slow_way(tmp_path):
    content = bytearray(
        write_tar(tmp_path / "a.tar", [good_sample(number) for number in range(3)]).read_bytes()
    )
    content[154] = 1
    assert scan_spans(reader(bytes(content)), len(content)) is None
