"""Decisions of a build: removals and their causes, alignment of names, refused settings and folders."""

import fcntl
import io
import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pyarrow.parquet as pq
import pytest
from build_inputs import contents, encoded, jpeg, make_folder, photograph, row, taxon, write_rows
from made_backbone import write_gbif
from onnx import TensorProto, helper
from PIL import Image

from bioclip_jax.curate.build import BuildSettings, build_shards, disk_space
from bioclip_jax.curate.tar_writer import TarShardWriter
from bioclip_jax.errors import UserError
from bioclip_jax.pipeline.sources import Sample, open_source
from bioclip_jax.text import Taxon, captions_from_taxon


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


def build(source: Path, output: Path, **settings) -> dict:
    return build_shards(source, output, BuildSettings(**settings), processes=0)


def catalog(output: Path) -> dict[str, dict]:
    """Read the catalog by source key; of a repeated key, the last row."""
    return {line["source_key"]: line for line in pq.read_table(output / "catalogue.parquet").to_pylist()}


def brightness_detector(folder: Path) -> Path:
    """Write a detector that removes images by their mean brightness."""
    mean = helper.make_node("ReduceMean", ["image", "axes"], ["score"], keepdims=0)
    axes = helper.make_tensor("axes", TensorProto.INT64, [3], [1, 2, 3])
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, 16, 16])
    score = helper.make_tensor_value_info("score", TensorProto.FLOAT, ["n"])
    graph = helper.make_graph([mean], "brightness", [image], [score], [axes])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, folder / "bright.onnx")
    (folder / "bright.toml").write_text(
        'name = "bright"\nmodel = "bright.onnx"\nsize = 16\nthreshold = 0.8\n'
    )
    return folder / "bright.toml"


@pytest.fixture
def everything_bad(tmp_path: Path) -> Path:
    """A folder with every cause of removal, and an evaluation folder beside it."""
    folder = make_folder(tmp_path / "photos", 20)
    lines = [row(f"photo-{number:03d}.jpg", taxon(number), sighting="") for number in range(20)]

    common = taxon(99)

    def add(name: str, image: bytes | None, labels: Taxon = common, **columns: str) -> None:
        if image is not None:
            (folder / name).write_bytes(image)
        lines.append(row(name, labels, **columns))

    add("gone.jpg", None)
    add("text.jpg", b"This is no image." * 20)
    add("cut.jpg", jpeg(photograph(50))[:900])
    add("unnamed.jpg", jpeg(photograph(51)), Taxon())
    add("small.jpg", jpeg(photograph(52, 30, 200)))
    add("gray.jpg", jpeg(np.full((120, 160, 3), 90, np.uint8)))
    add("bright.jpg", jpeg(255 - photograph(53) // 8))
    add("photo-003.jpg", None)
    add("copy.jpg", (folder / "photo-004.jpg").read_bytes())
    add("encoded again.jpg", jpeg(photograph(5), 60))
    add("larger.png", encoded(np.asarray(Image.fromarray(photograph(6)).resize((320, 240))), "PNG"))
    # Two photographs of one animal: too different for copies, near enough within a sighting.
    first = photograph(60)
    second = np.roll(first, 3, axis=1)
    add("sighting a.jpg", jpeg(first), sighting="17")
    add("sighting b.jpg", jpeg(second), sighting="17")
    add("leak.jpg", jpeg(photograph(70), 70))
    write_rows(folder / "metadata.csv", lines)
    evaluation = tmp_path / "evaluation"
    evaluation.mkdir()
    (evaluation / "test 1.jpg").write_bytes(jpeg(photograph(70)[:, ::-1]))
    (evaluation / "test 2.jpg").write_bytes(jpeg(photograph(71)))
    write_rows(evaluation / "metadata.csv", [row(f"test {n}.jpg", taxon(n)) for n in (1, 2)])
    return folder


def test_catalog_holds_the_cause_of_every_removal(everything_bad, tmp_path):
    cleaning = {
        "min_side": 32,
        "min_range": 16,
        "dedup": "near",
        "observation_column": "sighting",
        "leakage": (str(tmp_path / "evaluation"),),
        "filters": (str(brightness_detector(tmp_path)),),
    }
    before = sorted(tmp_path.rglob("*"))
    dry = build_shards(everything_bad, tmp_path / "out", BuildSettings(**cleaning), processes=0, dry_run=True)
    assert sorted(tmp_path.rglob("*")) == before, "a dry run wrote files"
    result = build(everything_bad, tmp_path / "out", **cleaning)
    expected = {
        "duplicate_key": 1,
        "exact_duplicate": 1,
        "filter:bright": 1,
        "kept": 21,
        "leakage": 1,
        "near_duplicate": 2,
        "no_caption": 1,
        "no_image": 1,
        "not_an_image": 1,
        "observation_duplicate": 1,
        "tiny": 1,
        "truncated": 1,
        "uniform": 1,
    }
    rows = catalog(tmp_path / "out")
    decisions = {name: line["decision"] for name, line in rows.items() if line["decision"] != "kept"}
    assert result["counts"] == dry["counts"] == expected, decisions
    assert decisions["gone.jpg"] == "no_image" and decisions["text.jpg"] == "not_an_image"
    assert decisions["cut.jpg"] == "truncated" and decisions["unnamed.jpg"] == "no_caption"
    assert decisions["small.jpg"] == "tiny" and rows["small.jpg"]["detail"] == "30 x 200 pixels"
    assert decisions["gray.jpg"] == "uniform" and decisions["bright.jpg"] == "filter:bright"
    assert decisions["photo-003.jpg"] == "duplicate_key" and decisions["copy.jpg"] == "exact_duplicate"
    assert rows["copy.jpg"]["detail"] == rows["photo-004.jpg"]["key"]
    assert decisions["encoded again.jpg"] == "near_duplicate"
    assert rows["encoded again.jpg"]["detail"] == rows["photo-005.jpg"]["key"]
    # The larger of two copies is kept.
    assert decisions["photo-006.jpg"] == "near_duplicate"
    assert rows["photo-006.jpg"]["detail"] == rows["larger.png"]["key"]
    assert decisions["sighting b.jpg"] == "observation_duplicate"
    assert decisions["leak.jpg"] == "leakage" and rows["leak.jpg"]["detail"].startswith(
        "test 1.jpg, distance "
    )
    written = {open_source(tmp_path / "out")[number].key for number in range(21)}
    kept = {line["key"] for line in rows.values() if line["decision"] in ("kept", "duplicate_key")}
    assert written == kept, "a repeated key is written once"
    for line in rows.values():
        assert (line["shard"] == "") == (line["position"] == -1) == (line["decision"] != "kept"), line


def test_default_settings_remove_unusable_samples_only(everything_bad, tmp_path):
    result = build(everything_bad, tmp_path / "out")
    unusable = {"duplicate_key": 1, "no_caption": 1, "no_image": 1, "not_an_image": 1, "truncated": 1}
    assert result["counts"] == unusable | {"kept": 29}


def test_names_are_aligned_with_a_backbone(tmp_path):
    taxa = [
        Taxon(genus="Malus", species="domestica"),
        Taxon(genus="Pyrus", species="malus"),
        Taxon("Animalia", genus="Ursus", species="arctus", common_name="bear"),
        Taxon("Animalia", genus="Nonsensia", species="nulla"),
    ]
    folder = make_folder(tmp_path / "photos", 4)
    write_rows(folder / "metadata.csv", [row(f"photo-{number:03d}.jpg", taxa[number]) for number in range(4)])
    (tmp_path / "backbone").mkdir()
    backbone = write_gbif(tmp_path / "backbone")
    result = build(folder, tmp_path / "kept", backbone=backbone)
    assert {status: count["images"] for status, count in result["alignment"].items() if count["images"]} == {
        "exact": 1,
        "synonym": 1,
        "fuzzy": 1,
        "unresolved": 1,
    }
    rows = catalog(tmp_path / "kept")
    assert [line["alignment"] for line in rows.values()] == ["exact", "synonym", "fuzzy", "unresolved"]
    source = open_source(tmp_path / "kept")
    samples = {source[number].key: source[number] for number in range(4)}
    names = [samples[line["key"]].taxon for line in rows.values()]
    assert names[0].lineage()[:5] == ("Plantae", "Tracheophyta", "Magnoliopsida", "Rosales", "Rosaceae")
    assert names[1].scientific_name == "Malus sylvestris" and names[1].family == "Rosaceae"
    assert names[2].scientific_name == "Ursus arctus", "a near-miss was applied by default"
    assert all(Taxon.from_row(line) == name for line, name in zip(rows.values(), names))
    assert "Ursus arctos" in (tmp_path / "kept" / "alignment.csv").read_text()
    dropped = build(folder, tmp_path / "dropped", backbone=backbone, unresolved="drop")
    assert dropped["counts"] == {"kept": 2, "unresolved": 2}
    applied = build(folder, tmp_path / "applied", backbone=backbone, unresolved="drop", apply_fuzzy=True)
    assert applied["counts"] == {"kept": 3, "unresolved": 1}


def test_labels_are_joined_from_another_table(tmp_path):
    folder = make_folder(tmp_path / "photos", 3)
    labels = [row(f"photo-{number:03d}.jpg", taxon(50 + number), site="pond") for number in (2, 0)]
    table = write_rows(tmp_path / "labels.csv", labels)
    build(folder, tmp_path / "out", metadata=table)
    rows = catalog(tmp_path / "out")
    named = [rows[f"photo-00{number}.jpg"]["species"] for number in range(3)]
    assert named == ["species50", "species1", "species52"]
    source = open_source(tmp_path / "out")
    assert sorted(str(source[number].metadata) for number in range(3)) == ["{'site': 'pond'}"] * 2 + ["{}"]
    write_rows(table, [*labels, labels[0]])
    with pytest.raises(UserError, match="names the key 'photo-002.jpg' twice"):
        build(folder, tmp_path / "twice", metadata=table)


def test_jpegs_of_the_right_size_are_copied(tmp_path):
    right, wide = jpeg(photograph(1, 64, 64), 70), jpeg(photograph(2, 200, 100))
    own = {"scientific_name": "Rosa", "sci": "a picture of Rosa, as the publisher wrote it."}
    (tmp_path / "tars").mkdir()
    with TarShardWriter(tmp_path / "tars" / "a.tar") as writer:
        writer.write(Sample("right", right, own, metadata={"site": "pond"}))
        writer.write(Sample("wide/and unsafe", wide, captions_from_taxon(taxon(2))))
    build(tmp_path / "tars", tmp_path / "squashed", size=64)
    build(tmp_path / "tars", tmp_path / "shortest", size=64, resize="shortest")
    for folder, wide_size in (("squashed", (64, 64)), ("shortest", (128, 64))):
        source = open_source(tmp_path / folder)
        samples = sorted((source[number] for number in range(2)), key=lambda sample: sample.key != "right")
        assert samples[0].image == right, "an image of the right size was reencoded"
        assert samples[0].captions["sci"] == own["sci"] and samples[0].metadata == {"site": "pond"}
        with Image.open(io.BytesIO(samples[1].image)) as image:
            assert image.size == wide_size
        assert len(samples[1].key) == 36 and "/" not in samples[1].key


def test_foreign_folders_and_changed_settings_are_refused(tmp_path):
    folder = make_folder(tmp_path / "photos", 5)
    output = tmp_path / "out"
    output.mkdir()
    (output / "thesis.txt").write_text("years of work")
    with pytest.raises(UserError, match="out is not empty and not a build"):
        build(folder, output)
    (output / "thesis.txt").unlink()
    first = build(folder, output)
    files = contents(output)
    again = build(folder, output)
    assert again.pop("already_built") and again == first and contents(output) == files
    with pytest.raises(UserError, match="finished build of other settings .size was 224 and is 64"):
        build(folder, output, size=64)
    # As a stopped build leaves it.
    record = json.loads((output / "build.json").read_text())
    (output / "build.json").unlink()
    (output / ".build").mkdir()
    (output / ".build" / "settings.json").write_text(json.dumps(record["settings"]))
    with pytest.raises(UserError, match="began with other settings .quality was 95 and is 50"):
        build(folder, output, quality=50)
    write_rows(folder / "metadata.csv", [row("photo-001.jpg", taxon(1))])
    with pytest.raises(UserError, match="source samples was 5 and is 1; source files changed"):
        build(folder, output)
    assert contents(output) | files == contents(output)


def test_concurrent_builds_in_one_folder_are_refused(tmp_path):
    folder = make_folder(tmp_path / "photos", 2)
    (tmp_path / "out" / ".build").mkdir(parents=True)
    with (tmp_path / "out" / ".build" / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(UserError, match="out: another process is building here"):
            build(folder, tmp_path / "out")
    assert build(folder, tmp_path / "out")["samples"] == 2


def test_build_on_a_file_system_without_locks(no_flock, tmp_path, capsys):
    folder = make_folder(tmp_path / "photos", 2)
    assert build(folder, tmp_path / "out")["samples"] == 2
    assert "has no file locks" in capsys.readouterr().err


def test_missing_disk_space_is_reported_before_anything_is_written(tmp_path, monkeypatch):
    folder = make_folder(tmp_path / "photos", 40)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(disk_space.shutil, "disk_usage", lambda path: usage._replace(free=100_000))
    with pytest.raises(UserError, match=r"the build needs about [\d.]+ MB .* and the disk has 0.1 MB free"):
        build(folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_estimated_disk_space_is_about_what_is_needed(tmp_path):
    folder = make_folder(tmp_path / "photos", 40)
    needed = build_shards(folder, tmp_path / "out", processes=0, dry_run=True)["bytes_needed"]
    build(folder, tmp_path / "out")
    written = sum(path.stat().st_size for path in (tmp_path / "out").glob("*.tar"))
    assert 1.3 * written < needed < 2.5 * written


def test_build_without_any_kept_sample_is_refused(tmp_path):
    folder = make_folder(tmp_path / "photos", 3)
    with pytest.raises(UserError, match="no sample is left to write .tiny 3.; remove less"):
        build(folder, tmp_path / "out", min_side=1000)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"format": "zip"}, "format is 'zip'; choose tar or array_record"),
        ({"size": 4}, "size is 4; it must be a whole number from 8 to 8192"),
        ({"quality": 101}, "quality is 101"),
        ({"samples_per_shard": 0}, "samples_per_shard is 0"),
        ({"dedup": "fuzzy"}, "dedup is 'fuzzy'; choose exact or near"),
        (
            {"dedup": "exact", "observation_column": "event"},
            "observation_column does nothing without dedup near",
        ),
        ({"leakage_distance": 20}, "leakage_distance does nothing without leakage"),
        ({"apply_fuzzy": True}, "apply_fuzzy does nothing without backbone"),
        ({"unresolved": "drop"}, "unresolved=drop needs a backbone"),
    ],
)
def test_invalid_settings_are_refused(settings, message):
    with pytest.raises(UserError, match=message):
        BuildSettings(**settings)


def test_missing_files_and_unknown_engines_are_refused(tmp_path):
    folder = make_folder(tmp_path / "photos", 1)
    with pytest.raises(UserError, match="none.toml does not exist"):
        build(folder, tmp_path / "out", filters=str(tmp_path / "none.toml"))
    with pytest.raises(UserError, match="engine is 'spark'; choose local or ray"):
        build_shards(folder, tmp_path / "out", engine="spark")
