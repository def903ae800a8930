"""The vectorized scan agrees with reading header by header, or declines."""

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
    """Spans of a few headers, so that a small tar has several."""
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
def test_the_scan_matches_reading_every_header(files, format, mtime, span):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scan, "_SPAN", span * BLOCK)
        patch.setattr(scan, "_FEW", 1)
        content = archive([(f"{key}.{kind}", data) for key, kind, data in files], format, mtime)
        scanned = scan_spans(reader(content), len(content))
    assert scanned is not None, "an ordinary tar was not scanned"
    starts, finish = header_by_header(content)
    assert (scanned[0].tolist(), scanned[1]) == (starts, finish)


def test_real_shards_are_scanned(shards, small_spans):
    for path in sorted(shards.glob("*.tar")):
        content = path.read_bytes()
        scanned = scan_spans(reader(content), len(content))
        # A picture fills a span of this size, so the scan declines or is correct.
        assert scanned is None or (scanned[0].tolist(), scanned[1]) == header_by_header(content)
    scan._SPAN = 1 << 20
    scanned = scan_spans(reader(content), len(content))
    assert scanned is not None and (scanned[0].tolist(), scanned[1]) == header_by_header(content)


@pytest.mark.parametrize(
    "name, format",
    [("folder/a.jpg", 0), ("x" * 120 + ".jpg", 1), ("x" * 120 + ".jpg", 2), ("nodot", 0), (".hidden.jpg", 0)],
)
def test_unusual_tars_are_not_scanned(name, format):
    content = archive([("a.jpg", b"x"), (name, b"y"), ("b.jpg", b"z")], format, 0)
    assert scan_spans(reader(content), len(content)) is None


def test_a_tar_within_a_tar_is_not_scanned():
    inner = archive([("a.jpg", b"x" * 700), ("b.jpg", b"y")], tarfile.USTAR_FORMAT, 0)
    content = archive([("c.tar", inner), ("d.jpg", b"z")], tarfile.USTAR_FORMAT, 0)
    assert scan_spans(reader(content), len(content)) is None


@settings(max_examples=100)
@given(st.data())
def test_damage_is_never_scanned_as_valid(tmp_path_factory, data):
    folder = tmp_path_factory.getbasetemp() / "scan"
    path = folder / "a.tar"
    if not path.exists():
        write_tar(path, [good_sample(number) for number in range(4)])
    content = bytearray(path.read_bytes())
    offset = data.draw(st.integers(0, len(content) - 1))
    noise = data.draw(st.binary(min_size=1, max_size=40))
    content[offset : offset + len(noise)] = noise
    content = bytes(content[: data.draw(st.sampled_from([len(content), offset]))])
    scanned = scan_spans(reader(content), len(content))
    if scanned is None:
        return
    try:
        starts, finish = header_by_header(content)
    except BadTar as error:
        raise AssertionError(f"{len(scanned[0])} samples were found, but {error}") from None
    np.testing.assert_array_equal(scanned[0], starts)
    assert scanned[1] == finish


def test_a_damaged_checksum_is_not_scanned(tmp_path):
    content = bytearray(
        write_tar(tmp_path / "a.tar", [good_sample(number) for number in range(3)]).read_bytes()
    )
    content[154] = 1
    assert scan_spans(reader(bytes(content)), len(content)) is None
