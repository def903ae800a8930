"""Verification and repair: all defects are reported and counted, and nothing is written elsewhere."""

import csv
import io
import json
import os
import subprocess
import sys
import tarfile
from collections import Counter
from dataclasses import fields
from pathlib import Path

import pytest
from bad_shards import OTHERS, bad_shards, encoded, make_bad_folder, picture, sample, tar, taxon
from hypothesis import given, settings
from hypothesis import strategies as st

from bioclip_jax.curate.verify import print_report, verify_shards
from bioclip_jax.curate.verify.checks import find_disagreement
from bioclip_jax.curate.verify.findings import ERRORS, NOTES
from bioclip_jax.curate.verify.raw_samples import read_key, safe_key, unsafe
from bioclip_jax.curate.verify.shards import Shard, check_shard
from bioclip_jax.errors import UserError
from bioclip_jax.pipeline import train_batches
from bioclip_jax.pipeline.images import CAUSES
from bioclip_jax.pipeline.sources import RecordWriter, Sample, open_source
from bioclip_jax.text import Taxon, captions_from_taxon, complete_captions, known_text


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


def listing(folder: Path) -> dict[str, tuple]:
    """Mode, size and time of everything below a folder."""
    status_of = {}
    for path in [folder, *folder.rglob("*")]:
        status = path.lstat()
        changed = status.st_mtime_ns if not path.is_dir() else None
        size = status.st_size if changed else None
        status_of[str(path.relative_to(folder))] = (status.st_mode, size, changed)
    return status_of


def test_all_defects_are_reported_and_counted(tmp_path):
    folder = make_bad_folder(tmp_path)
    before = listing(tmp_path)
    result = verify_shards(folder, report=tmp_path / "report.csv", processes=0)
    after = listing(tmp_path)
    assert after.pop("report.csv") and after == before, "verify wrote more than its report"

    shards = bad_shards()
    with (tmp_path / "report.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    reported = {name: Counter() for name in {*shards, *OTHERS}}
    for row in rows:
        reported[row["shard"]][row["kind"]] += int(row["count"])
        assert row["severity"] == ("error" if row["kind"] in ERRORS else "note") and row["message"], row
    for name, bad in shards.items():
        assert reported[name] == Counter(bad.errors | bad.notes), name
    for name, kinds in OTHERS.items():
        assert reported[name] == Counter(kinds), name

    expected = Counter()
    for kinds in [*(bad.errors | bad.notes for bad in shards.values()), *OTHERS.values()]:
        expected.update(kinds)
    assert Counter(result["error_counts"]) == Counter({k: n for k, n in expected.items() if k in ERRORS})
    assert Counter(result["note_counts"]) == Counter({k: n for k, n in expected.items() if k not in ERRORS})
    assert result["errors"] == sum(result["error_counts"].values())
    assert result["notes"] == sum(result["note_counts"].values())
    assert result["shards"] == len(shards)
    assert result["samples"] == sum(bad.samples for bad in shards.values())
    assert result["sound"] == sum(bad.sound for bad in shards.values())
    # The folder has every kind of error of tars, except those that need 256 MB or a failing disk.
    assert set(ERRORS) - set(expected) == {
        "unreadable_file",
        "not_an_array_record",
        "damaged_record",
        "member_too_large",
        "unreadable",
    }
    json.dumps(result)


def test_repaired_shards_are_sound_and_nothing_else_is_written(tmp_path, capsys):
    folder = make_bad_folder(tmp_path)
    before = listing(tmp_path)
    repaired = tmp_path / "clean"
    result = verify_shards(folder, repair=repaired, processes=0)
    after = listing(tmp_path)
    written = {name for name in after if name not in before}
    assert {name: after[name] for name in before} == before
    sound = {name: bad.sound for name, bad in bad_shards().items() if bad.sound}
    assert written == {"clean", "clean/sizes.json", *(f"clean/{name}" for name in sound)}
    assert result["repaired"] == {
        "output": str(repaired),
        "shards": len(sound),
        "samples": sum(sound.values()),
    }
    print_report(result)
    assert f"{sum(sound.values())} samples written to" in capsys.readouterr().err

    again = verify_shards(repaired, report=tmp_path / "again.json", processes=0)
    assert again["errors"] == 0, json.loads((tmp_path / "again.json").read_text())
    assert set(again["note_counts"]) <= set(NOTES) | {"png", "webp", "gif", "tiff"}
    assert "wrong_extension" not in again["note_counts"] and "caption_missing" not in again["note_counts"]
    assert again["samples"] == again["sound"] == sum(sound.values())
    assert json.loads((repaired / "sizes.json").read_text()) == sound

    source = open_source(repaired)
    samples = {loaded.key: loaded for loaded in (source[number] for number in range(len(source)))}
    assert not any(unsafe(key) for key in samples)
    assert {"s0", "s1", "s300", "a folder/fine é", safe_key("../escaped"), safe_key("/tmp/absolute")} <= set(
        samples
    )
    assert samples["s300"].image, "the copy of s300 without an image was kept"
    # Invalid, empty and missing captions are rebuilt from the others.
    assert samples["s400"].captions["common_name"] == "finch 400"
    assert samples["s401"].captions == captions_from_taxon(taxon(401))
    assert samples["s402"].captions["taxon_com"].endswith("Geospiza sp402 with common name Geospiza sp402.")

    shared = verify_shards(folder, repair=tmp_path / "twice", processes=2)
    same = {*result} - {"seconds", "repaired"}
    assert {name: shared[name] for name in same} == {name: result[name] for name in same}
    for name in sound:
        assert (tmp_path / "twice" / name).read_bytes() == (repaired / name).read_bytes(), f"{name} differs"


def test_training_skips_what_verify_reports(tmp_path):
    folder = make_bad_folder(tmp_path)
    outside = listing(tmp_path / "outside")
    source = open_source(folder, bad_shards="skip")
    skipped = {Path(shard).name for shard in source.skipped_shards}
    assert {"cut-off.tar", "cut-between.tar", "damaged.tar", "empty.tar", "packed.tar", "page.tar"} <= skipped
    batches = train_batches(source, image_size=32, seed=0, global_batch_size=16)
    bad = sum(next(batches)["bad"] for _ in range(8))
    batches.close()
    for cause in ("no_image", "no_caption", "not_an_image", "truncated", "too_large"):
        assert bad[CAUSES.index(cause)], f"no sample was skipped as {cause}: {dict(zip(CAUSES, bad))}"
    assert listing(tmp_path / "outside") == outside


def test_verify_imports_neither_jax_nor_tensorflow():
    code = "import bioclip_jax.curate.verify, sys; print(*{'jax', 'tensorflow', 'torch'} & set(sys.modules))"
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert process.stdout.strip() == ""


@pytest.mark.shared_data
def test_real_shards_are_sound(shared_data):
    result = verify_shards(shared_data / "produce/tol_shards/val/shard-00000.tar")
    assert (result["samples"], result["sound"], result["errors"], result["notes"]) == (196, 196, 0, 0), result


def test_array_records_are_verified_and_repaired(tmp_path):
    good = [
        Sample(f"k{n}", dict(sample(n))[f"s{n}.jpg"], captions_from_taxon(taxon(n)), taxon(n), {"n": n})
        for n in range(4)
    ]
    with RecordWriter(tmp_path / "a.array_record") as writer:
        for record in good:
            writer.write(record)
        writer.write(Sample("../out", good[0].image, good[0].captions))
        writer.write(Sample("k2", good[0].image, good[0].captions))
        writer.write(Sample("none", b"", good[0].captions))
        writer._writer.write(b"\x81\xa3key\xa1k")
    (tmp_path / "b.array_record").write_bytes(b"no record")
    result = verify_shards(tmp_path, repair=tmp_path.with_name(tmp_path.name + "-clean"), processes=0)
    assert result["error_counts"] == {
        "not_an_array_record": 1,
        "damaged_record": 1,
        "unsafe_member_name": 1,
        "duplicate_key": 1,
        "no_image": 1,
    }
    repaired = open_source(result["repaired"]["output"])
    assert [repaired[number].key for number in range(len(repaired))] == [
        "k0",
        "k1",
        "k2",
        "k3",
        safe_key("../out"),
    ]
    assert repaired[3] == good[3]
    assert verify_shards(result["repaired"]["output"])["errors"] == 0


def test_oversized_members_are_not_read(tmp_path, monkeypatch):
    """A sparse member of 20 GB is skipped by its size."""
    monkeypatch.setattr("bioclip_jax.curate.verify.raw_samples.LARGEST_TEXT", 100)
    huge = tarfile.TarInfo("huge.jpg")
    huge.size = 20 << 30
    with (tmp_path / "a.tar").open("wb") as file:
        file.write(huge.tobuf(tarfile.GNU_FORMAT))
        file.seek(huge.size, os.SEEK_CUR)
        file.write(tar(*sample(0), ("s0.json", b'{"a": "' + b"b" * 100 + b'"}'), *sample(1)))
    result = verify_shards(tmp_path)
    assert result["error_counts"] == {"member_too_large": 2 + 2 * 2}
    # Captions of more than 100 bytes are rebuilt from the shorter ones.
    assert (result["samples"], result["sound"]) == (3, 2)


def test_invalid_arguments_are_refused(tmp_path):
    shards = tmp_path / "shards"
    shards.mkdir()
    with pytest.raises(UserError, match="holds no shards"):
        verify_shards(shards)
    (shards / "a.tar").symlink_to("/nowhere.tar")
    with pytest.raises(UserError, match="1 symbolic links were not followed"):
        verify_shards(shards)
    (shards / "b.tar").write_bytes(tar(*sample(0, image=b"")))
    with pytest.raises(UserError, match="does not exist"):
        verify_shards(tmp_path / "nowhere")
    with pytest.raises(UserError, match="not named like a shard"):
        verify_shards(__file__)
    with pytest.raises(UserError, match="not on this machine"):
        verify_shards("s3://bucket/shards")
    for inside in (shards, shards / "clean", tmp_path):
        with pytest.raises(UserError, match="not repaired in place"):
            verify_shards(shards, repair=inside)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    with pytest.raises(UserError, match="not an empty folder"):
        verify_shards(shards, repair=tmp_path / "full")
    with pytest.raises(UserError, match="end it in .csv or .json"):
        verify_shards(shards, report=tmp_path / "report.txt")
    with pytest.raises(UserError, match="processes is -1"):
        verify_shards(shards, processes=-1)
    with pytest.raises(UserError, match="no sample is sound"):
        verify_shards(shards, repair=tmp_path / "clean", report=tmp_path / "report.json")
    assert sorted(os.listdir(tmp_path)) == ["full", "shards"], "a partial file was left"
    assert verify_shards(f"{shards}/b*.tar")["error_counts"] == {"no_image": 1}


SMALL = tar(*sample(0), *sample(1, "a folder/" + "x" * 120, captions=("sci", "com")))


@settings(max_examples=150)
@given(st.data())
def test_verify_survives_any_damage(tmp_path_factory, data):
    content = bytearray(SMALL)
    kind = data.draw(st.sampled_from(["flip", "cut", "random", "overwrite"]))
    if kind == "cut":
        content = content[: data.draw(st.integers(0, len(content)))]
    elif kind == "random":
        content = data.draw(st.binary(max_size=3000))
    else:
        # Half of the damage goes to headers, the sensitive part of a tar.
        headers = [member.offset for member in tarfile.open(fileobj=io.BytesIO(SMALL))]
        positions = st.one_of(
            st.integers(0, len(content) - 40),
            st.builds(int.__add__, st.sampled_from(headers), st.integers(0, 470)),
        )
        for position in data.draw(st.lists(positions, min_size=1, max_size=5)):
            if kind == "flip":
                content[position] ^= 1 << data.draw(st.integers(0, 7))
            else:
                damage = data.draw(st.binary(min_size=1, max_size=40))
                content[position : position + len(damage)] = damage
    path = tmp_path_factory.mktemp("damage") / "a.tar"
    path.write_bytes(content)
    result = check_shard(Shard(path, "a.tar"))
    assert len(result.keys) == len(result.positions) == len(result.sound)
    assert all(name in ERRORS or name in NOTES or name in ("png", "gif") for name in result.findings.counts)
    if kind == "cut" and len(content) <= len(SMALL.rstrip(b"\0")):
        assert {"cut_off_tar", "empty_file"} & set(result.findings.counts), "a truncated tar was not reported"


stems = st.text("abé/. -", min_size=1, max_size=110).filter(
    lambda stem: stem.strip("/.") and not stem.endswith("/")
)


@settings(max_examples=40)
@given(
    st.lists(
        st.tuples(stems, st.sampled_from(["jpg", "sci.txt", "txt", "png", "cls"])), min_size=1, max_size=12
    ),
    st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]),
)
def test_samples_are_indexed_as_in_training(tmp_path_factory, names, format):
    folder = tmp_path_factory.mktemp("same")
    (folder / "a.tar").write_bytes(
        tar(*((f"{stem}.{kind}", b"content") for stem, kind in names), format=format)
    )
    result = check_shard(Shard(folder / "a.tar", "a.tar"))
    keys = [read_key(folder / "a.tar", int(position)) for position in result.positions]
    if keys:
        source = open_source(folder)
        assert keys == [source[number].key for number in range(len(source))]


words = st.text("abcdefgé×-", min_size=1, max_size=8).map(known_text)
taxa = st.builds(Taxon, **{field.name: st.one_of(st.just(""), words) for field in fields(Taxon)})


@given(taxa.filter(lambda taxon: taxon.taxonomic_name), st.data())
def test_captions_of_one_taxon_agree_and_of_two_disagree(taxon, data):
    captions = captions_from_taxon(taxon)
    assert find_disagreement(captions) is None
    some = {
        name: captions[name] for name in data.draw(st.sets(st.sampled_from(sorted(captions)), min_size=1))
    }
    assert find_disagreement(complete_captions(some)) is None
    changed = data.draw(st.sampled_from(sorted(captions)))
    other = captions_from_taxon(Taxon(genus="Zzz", species="zzz", common_name="zzz"))
    assert find_disagreement(captions | {changed: other[changed]})


@pytest.mark.parametrize(
    ("scientific", "taxonomic", "agree"),
    [
        ("Malus domestica Borkh.", "Plantae Rosaceae Malus domestica", True),
        ("Canis lupus familiaris", "Animalia Canidae Canis familiaris", True),
        ("Canis lupus familiaris", "Animalia Canidae Canis lupus", True),
        ("Rosa × alba", "Plantae Rosaceae Rosa alba", True),
        ("Parus caeruleus", "Animalia Paridae Cyanistes caeruleus", True),
        ("Rosaceae Juss.", "Plantae Rosaceae", True),
        ("Malus sylvestris", "Plantae Rosaceae Malus domestica", False),
        ("Felis catus", "Plantae Rosaceae Malus domestica", False),
        ("Fabaceae", "Plantae Rosaceae", False),
    ],
)
def test_scientific_name_agrees_with_taxonomic_name(scientific, taxonomic, agree):
    captions = {"sci": f"a photo of {scientific}.", "taxon": f"a photo of {taxonomic}."}
    assert (find_disagreement(captions) is None) is agree


def test_words_for_unknown_in_captions_are_noted(tmp_path):
    captions = {"sci": "a photo of Felis Unknown.", "taxon": "a photo of Animalia NA Felis Unknown."}
    members = [
        ("a.jpg", encoded(picture(1))),
        *((f"a.{name}.txt", text.encode()) for name, text in captions.items()),
    ]
    unknown = [
        ("b.jpg", encoded(picture(2))),
        ("b.sci.txt", b"a photo of Unknown."),
        ("b.taxon.txt", b"a photo of ."),
    ]
    (tmp_path / "a.tar").write_bytes(tar(*members, *unknown))
    result = check_shard(Shard(tmp_path / "a.tar", "a.tar"))
    counts = result.findings.counts
    assert {kind: counts[kind] for kind in ("caption_unknown", "no_caption")} == {
        "caption_unknown": 1,
        "no_caption": 1,
    }


@given(st.text(max_size=50))
def test_safe_keys_are_safe_and_distinct(key):
    assert unsafe(safe_key(key)) is None
    assert safe_key(safe_key(key)) == safe_key(key)
    assert safe_key(key) == key or safe_key(key) != safe_key(key + "x")
