"""Random access to tars: samples, the index and its cache, and errors of bad tars."""

import gzip
import io
import os
import pickle
import subprocess
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_shards import encoded, good_sample, picture, plain_tar, write_tar

from bioclip_jax.errors import UserError
from bioclip_jax.pipeline.sources import TarSource, open_source
from bioclip_jax.pipeline.sources.tar import index as tar_index
from bioclip_jax.pipeline.sources.tar.format import BadTar, parse_sample
from bioclip_jax.text import Taxon


def index_file(shard: Path) -> Path:
    return shard.with_name(shard.name + ".index")


def test_samples_equal_the_written_ones(shards):
    source = open_source(shards)
    assert len(source) == 37 and source.skipped_shards == []
    for number in (0, 22, 23, 36):
        sample, written = source[number], good_sample(number)
        assert sample.key == written["__key__"]
        assert sample.image == written["jpg"]
        assert sample.captions == {name[:-4]: text for name, text in written.items() if name.endswith(".txt")}
        assert sample.taxon == Taxon(
            "Plantae",
            "Tracheophyta",
            "Magnoliopsida",
            "Rosales",
            "Rosaceae",
            sample.taxon.genus,
            f"sp{number}",
        )
    for number in (-1, 37):
        with pytest.raises(IndexError):
            source[number]


def test_one_tar_and_a_glob_of_tars(shards):
    assert len(open_source(shards / "shard-00001.tar")) == 14
    assert len(open_source(f"{shards}/shard-*0.tar")) == 23


@pytest.mark.shared_data
def test_real_shards_read_as_tarfile_reads_them(shared_data):
    folder = shared_data / "produce/tol_shards/val"
    source = open_source(folder)
    assert len(source) == 196
    with tarfile.open(folder / "shard-00000.tar") as tar:
        jpegs = [member for member in tar if member.name.endswith(".jpg")]
        for number in (0, 77, 195):
            assert source[number].key + ".jpg" == jpegs[number].name
            assert source[number].image == tar.extractfile(jpegs[number]).read()


contents = st.binary(max_size=1500)
stems = st.text("abcdé/-", min_size=1, max_size=150).filter(
    lambda stem: not stem.startswith("/") and stem[-1] != "/"
)


@settings(max_examples=60)
@given(
    st.dictionaries(stems, st.tuples(contents, contents), min_size=1, max_size=6),
    st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]),
)
def test_any_names_and_sizes_read_back(tmp_path_factory, samples, format):
    folder = tmp_path_factory.mktemp("any")
    files = {}
    for stem, (image, caption) in samples.items():
        files |= {f"{stem}.jpg": image, f"{stem}.readme": b"x", f"{stem}.sci.txt": caption.hex().encode()}
    source = open_source(plain_tar(folder / "a.tar", files, format))
    samples_read = [source[number] for number in range(len(source))]
    assert [(s.key, s.image, s.captions["sci"]) for s in samples_read] == [
        (stem, image, caption.hex()) for stem, (image, caption) in samples.items()
    ]


def test_other_members_are_skipped(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for name in "./ ./README ./b.jpg ./b.sci.txt ./sub ./sub/c.JPEG ./sub/c.json ./sub/c.cls".split():
            member = tarfile.TarInfo(name)
            content = (
                b'{"lens": "macro", "depth": 3.5, "boxes": [1]}' if name.endswith("json") else b"content"
            )
            if name.endswith(("/", "sub")):
                member.type = tarfile.DIRTYPE
                tar.addfile(member)
                continue
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
            link = tarfile.TarInfo(f"{name}.link.jpg")
            link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
            tar.addfile(link)
    source = open_source(tmp_path / "a.tar")
    assert [source[number].key for number in range(len(source))] == ["./b", "./sub/c"]
    assert source[0].image == source[1].image == b"content"
    assert source[1].metadata == {"lens": "macro", "depth": 3.5}


def test_a_source_pickles_and_limits_its_open_files(shards, monkeypatch):
    source = open_source(shards)
    source[0], source[30]
    copy = pickle.loads(pickle.dumps(source))
    assert copy[30] == source[30]
    monkeypatch.setattr(copy._files, "_capacity", 1)
    open_before = len(os.listdir("/proc/self/fd"))
    for number in (0, 30, 1, 31):
        copy[number]
    assert len(os.listdir("/proc/self/fd")) <= open_before


def count_scans(monkeypatch) -> list[int]:
    scans, scan = [], tar_index.scan
    monkeypatch.setattr(tar_index, "scan", lambda read, end: scans.append(end) or scan(read, end))
    return scans


def test_index_is_cached_beside_the_shard_and_rebuilt_when_it_changes(tmp_path, own_cache, monkeypatch):
    scans = count_scans(monkeypatch)
    shard = write_tar(tmp_path / "a.tar", [good_sample(number) for number in range(3)])
    assert len(open_source(shard)) == 3 and index_file(shard).exists() and len(scans) == 1
    assert len(open_source(shard)) == 3 and len(scans) == 1, "the cached index was not used"
    write_tar(shard, [good_sample(number) for number in range(1, 6)])
    assert len(open_source(shard)) == 5 and len(scans) == 2

    # Same size, time and header checksums but other content, which only the index's checksum detects.
    status = shard.stat()
    shard.write_bytes(shard.read_bytes().replace(b"sample-0001", b"sample-0010"))
    os.utime(shard, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert open_source(shard)[0].key == "sample-0010" and len(scans) == 3

    (table,) = own_cache.rglob("*.table")
    for damage in (b"", index_file(shard).read_bytes()[:-3], b"\0" * 40):
        index_file(shard).write_bytes(damage)
        table.write_bytes(table.read_bytes()[:-3])
        assert len(open_source(shard)) == 5
    assert len(scans) == 6


def test_a_read_only_folder_is_indexed_in_the_cache_directory(tmp_path, own_cache, monkeypatch):
    scans = count_scans(monkeypatch)
    shard = write_tar(tmp_path / "shards" / "a.tar", [good_sample(0)])
    shard.parent.chmod(0o555)
    try:
        assert len(open_source(shard)) == 1
        assert os.listdir(shard.parent) == ["a.tar"]
        assert len(list(own_cache.rglob("*.index"))) == 1
        assert len(open_source(shard)) == 1 and len(scans) == 1, (
            "the index in the cache directory was not used"
        )
        # The cache cannot be created, because a file has its directory's name.
        monkeypatch.setenv("XDG_CACHE_HOME", str(shard))
        assert len(open_source(shard)) == 1 and len(scans) == 2
    finally:
        shard.parent.chmod(0o755)


def last_member(shard: Path) -> tarfile.TarInfo:
    with tarfile.open(shard) as tar:
        return tar.getmembers()[-1]


def cut_in_data(shard: Path) -> None:
    shard.write_bytes(shard.read_bytes()[: last_member(shard).offset_data + 10])


def cut_in_header(shard: Path) -> None:
    shard.write_bytes(shard.read_bytes()[: last_member(shard).offset_data - 100])


def cut_in_extended_header(shard: Path) -> None:
    shard.write_bytes(shard.read_bytes()[: last_member(shard).offset + 520])


def cut_at_a_member(shard: Path) -> None:
    shard.write_bytes(shard.read_bytes()[: last_member(shard).offset])


def overwritten(shard: Path) -> None:
    content = bytearray(shard.read_bytes())
    with tarfile.open(shard) as tar:
        header = tar.getmembers()[5].offset_data - 512
    content[header : header + 60] = b"\x7f" * 60
    shard.write_bytes(content)


BAD_TARS = {
    "cut off: the member": cut_in_data,
    "cut off inside the header": cut_in_header,
    "cut off inside the extended header": cut_in_extended_header,
    "cut off: the end-of-archive block is missing": cut_at_a_member,
    "damaged: there is no tar header at byte": overwritten,
    "not a tar": lambda shard: shard.write_bytes(b"<html>404 Not Found</html>" * 100),
    "it is empty": lambda shard: shard.write_bytes(b""),
    "compressed with gzip": lambda shard: shard.write_bytes(gzip.compress(shard.read_bytes())),
}


@pytest.mark.parametrize("message", BAD_TARS)
def test_a_bad_tar_is_an_error_or_skipped(tmp_path, message):
    write_tar(tmp_path / "a.tar", [good_sample(number) for number in range(2)])
    bad = write_tar(tmp_path / "b.tar", [good_sample(number) for number in range(3)])
    write_tar(tmp_path / "c.tar", [good_sample(9)])
    BAD_TARS[message](bad)
    with pytest.raises(UserError, match=message) as error:
        open_source(tmp_path)
    assert str(bad) in str(error.value) and "\n" not in str(error.value)
    source = open_source(tmp_path, bad_shards="skip")
    assert source.skipped_shards == [str(bad)]
    assert [source[number].key for number in range(len(source))] == [
        "sample-0000",
        "sample-0001",
        "sample-0009",
    ]


def test_all_tars_bad_is_an_error_even_when_skipping(tmp_path):
    (tmp_path / "a.tar").write_bytes(b"no tar")
    with pytest.raises(UserError, match="no samples.*1 bad ones were skipped"):
        open_source(tmp_path, bad_shards="skip")


def test_a_tar_cut_off_after_it_was_opened_fails_to_read(tmp_path):
    shard = write_tar(tmp_path / "a.tar", [good_sample(number) for number in range(3)])
    source = open_source(shard)
    cut_in_data(shard)
    with pytest.raises(OSError, match="cut off since it was indexed"):
        source[2]


def test_missing_and_unsupported_locations_are_errors(tmp_path):
    with pytest.raises(UserError, match="nothing/here is neither a path nor"):
        open_source("nothing/here")
    with pytest.raises(UserError, match="/nothing/here does not exist"):
        open_source("/nothing/here")
    with pytest.raises(UserError, match="holds no tars"):
        open_source(tmp_path)
    (tmp_path / "a.tar.gz").write_bytes(b"")
    with pytest.raises(UserError, match="only compressed tars"):
        open_source(tmp_path)
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(UserError, match="neither a tar nor an ArrayRecord file"):
        open_source(tmp_path / "notes.txt")
    with pytest.raises(UserError, match="no data is given"):
        open_source("")


def test_a_tar_of_gnu_tar_reads_too(tmp_path):
    (tmp_path / "files").mkdir()
    for name in ("one", "two"):
        (tmp_path / "files" / f"{name}.jpg").write_bytes(encoded(picture(1)))
        (tmp_path / "files" / f"{name}.txt").write_text(f"caption {name}")
    subprocess.run(
        ["tar", "cf", tmp_path / "a.tar", "--sort=name", "-C", tmp_path / "files", "."], check=True
    )
    source = open_source(tmp_path / "a.tar")
    assert [source[number].captions["txt"] for number in range(2)] == ["caption one", "caption two"]


@given(st.binary(max_size=4096))
def test_no_bytes_break_the_index(content):
    try:
        starts = tar_index.scan(lambda offset, size: content[offset : offset + size], len(content))
        assert not any(content[:512]), f"{content!r} has no tar header, but gave {starts}"
    except BadTar:
        pass


@pytest.mark.parametrize("size", ["-1536", "abc", "9" * 30, "1_0"])
def test_an_invalid_pax_size_is_damage(tmp_path, size):
    with tarfile.open(tmp_path / "a.tar", "w", format=tarfile.PAX_FORMAT) as tar:
        member = tarfile.TarInfo("a.jpg")
        member.pax_headers = {"size": size}
        tar.addfile(member)
    with pytest.raises(UserError, match="damaged"):
        open_source(tmp_path)


@pytest.mark.parametrize("digits", [b"-0000001000", b"+0000000001", b"0000000_010", b"9999999    "])
def test_a_header_without_a_size_is_damage(digits):
    header = bytearray(512)
    header[:5], header[124:135], header[156:157], header[257:263] = b"a.jpg", digits, b"0", b"ustar\0"
    header[148:156] = b" " * 8
    header[148:155] = b"%06o\0" % sum(header)
    content = bytes(header) + bytes(4096)
    with pytest.raises(BadTar, match="has no size"):
        tar_index.scan(lambda offset, size: content[offset : offset + size], len(content))


def test_the_first_of_two_members_with_one_name_is_used(tmp_path):
    sample = {"a.jpg": b"first", "a.sci.txt": b"x"}
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for name, content in [*sample.items(), ("a.jpg", b"second")]:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    (tmp_path / "a.tar").write_bytes(stream.getvalue())
    assert open_source(tmp_path)[0].image == b"first"


def test_deeply_nested_metadata_is_skipped(tmp_path):
    plain_tar(tmp_path / "a.tar", {"a.jpg": b"x", "a.json": b"[" * 100_000})
    assert open_source(tmp_path)[0].metadata == {}


@given(st.integers(0, 20_000), st.binary(min_size=1, max_size=600))
def test_damaged_spans_parse_or_raise_bad_tar(shards, offset, noise):
    span = bytearray((shards / "shard-00000.tar").read_bytes()[:20_480])
    span[offset : offset + len(noise)] = noise
    try:
        parse_sample(bytes(span))
    except BadTar:
        pass


def test_many_shards_show_progress_and_keep_their_order(tmp_path, capsys):
    for number in range(9):
        write_tar(tmp_path / f"{number}.tar", [good_sample(number)])
    source = TarSource(sorted(tmp_path.glob("*.tar")))
    assert [source[number].key for number in range(9)] == [f"sample-{number:04d}" for number in range(9)]
    assert capsys.readouterr().out == ""
