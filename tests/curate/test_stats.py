"""Statistics of shards on samples with known counts."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from build_inputs import encoded, jpeg, make_folder, photograph
from hypothesis import given, settings
from hypothesis import strategies as st

from bioclip_jax.curate.build import BuildSettings, build_shards
from bioclip_jax.curate.stats import print_stats, shard_stats
from bioclip_jax.curate.stats.abundance import gini, long_tail, quantiles
from bioclip_jax.curate.stats.counts import SampleCounts, TaxonCounts, count_range, image_header
from bioclip_jax.curate.stats.tree import MAX_CHILDREN, OTHERS, pruned_tree
from bioclip_jax.curate.tar_writer import TarShardWriter
from bioclip_jax.errors import UserError
from bioclip_jax.pipeline.images import BadImage
from bioclip_jax.pipeline.sources import Sample, open_source
from bioclip_jax.text import RANKS, Taxon, Tokenizer, captions_from_taxon

APPLE = Taxon(
    "Plantae", "Tracheophyta", "Magnoliopsida", "Rosales", "Rosaceae", "Malus", "domestica", "apple"
)
PEAR = Taxon("Plantae", "Tracheophyta", "Magnoliopsida", "Rosales", "Rosaceae", "Pyrus", "communis")
# A genus without an order, and a family without lower ranks.
GAP = Taxon("Animalia", "Chordata", "Aves", "", "Turdidae", "Turdus")
FAMILY = Taxon("Animalia", "Chordata", "Aves", "Passeriformes", "Corvidae")


@pytest.fixture(autouse=True, scope="module")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


def write(path: Path, samples: list[Sample]) -> None:
    with TarShardWriter(path) as writer:
        for sample in samples:
            writer.write(sample)


def write_members(path: Path, files: dict[str, bytes]) -> None:
    with tarfile.open(path, "w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two shards: eight apples, two pears, two birds with incomplete ranks, three bad images."""
    folder = tmp_path_factory.mktemp("known")
    big = photograph(1, 320, 200)
    images = [jpeg(photograph(number)) for number in range(8)]
    apples = [Sample(f"apple{n}", image, {}, APPLE, {"source": "GBIF"}) for n, image in enumerate(images)]
    pears = [
        Sample("pear0", encoded(big, "PNG"), {}, PEAR, {"source": "EOL"}),
        Sample("pear1", images[0], {}, PEAR),
    ]
    write(folder / "shard-00000.tar", apples)
    bad = [
        Sample("none", b"", captions_from_taxon(APPLE)),
        Sample("text", b"this is no picture", captions_from_taxon(APPLE)),
        Sample("cut", encoded(big, "PNG")[:20], captions_from_taxon(APPLE)),
    ]
    birds = [Sample("thrush", images[1], {}, GAP), Sample("crow", images[2], {}, FAMILY)]
    write(folder / "shard-00001.tar", pears + birds + bad)
    return folder


def test_counts_of_known_samples(known: Path):
    result = shard_stats(known)
    assert result["samples"] == 15
    assert result["shards"] == {
        "count": 2,
        "bytes": sum(path.stat().st_size for path in known.glob("*.tar")),
        "skipped": [],
    }
    images = result["images"]
    assert images["readable"] == 12
    assert images["unreadable"] == {"no_image": 1, "not_an_image": 1, "truncated": 1}
    assert images["formats"] == {"JPEG": 11, "PNG": 1}
    assert (images["width"]["min"], images["width"]["max"], images["height"]["max"]) == (160, 320, 200)
    assert images["width"]["mean"] == pytest.approx((11 * 160 + 320) / 12)
    taxa = result["taxa"]
    assert taxa["samples"] == 15
    assert taxa["distinct"] == {
        "kingdom": 2,
        "phylum": 2,
        "class": 2,
        "order": 2,
        "family": 3,
        "genus": 3,
        "species": 2,
    }
    assert taxa["known"]["order"] == 14 and taxa["known"]["genus"] == 14 and taxa["known"]["species"] == 13
    assert taxa["gaps"] == dict.fromkeys(RANKS, 0) | {"order": 1}
    assert taxa["samples_with_gaps"] == 1
    assert [(row["name"], row["images"], row["common_name"]) for row in taxa["top"]["species"]] == [
        ("Malus domestica", 11, "apple"),
        ("Pyrus communis", 2, ""),
    ]
    assert [row["name"] for row in taxa["rarest"]] == ["Pyrus communis", "Malus domestica"]
    tail = result["long_tail"]
    assert (tail["species"], tail["images"], tail["half_of_images_in"]) == (2, 13, 1)
    assert tail["fewer_than"] == {"5": 0.5, "10": 0.5, "100": 1.0}
    assert result["sources"] == {
        "GBIF": {"samples": 8, "removed": 0},
        "(not named)": {"samples": 6, "removed": 0},
        "EOL": {"samples": 1, "removed": 0},
    }
    assert result["decisions"] == result["alignment"] == {}
    json.dumps(result)


def test_caption_coverage_and_lengths(known: Path):
    captions = shard_stats(known)["captions"]
    assert captions["stored"] and captions["complete"]
    assert captions["with_common_name"] == 11
    assert captions["samples"]["sci"] == 15 and captions["samples"]["txt"] == 0
    texts = [captions_from_taxon(taxon)["taxon_com"] for taxon in (APPLE, PEAR, GAP, FAMILY)]
    lengths = (Tokenizer()(texts) != 0).sum(axis=1)
    assert captions["tokens"]["taxon_com"]["max"] == max(lengths)
    assert captions["tokens"]["taxon_com"]["cut"] == 0
    assert "txt" not in captions["tokens"]


def test_missing_captions_and_one_over_the_context_length(tmp_path: Path):
    # As the published builder writes shards, without the types that need a common name.
    files = {}
    for key in ("a", "b"):
        sample = {"jpg": jpeg(photograph(3)), "sci.txt": b"a photo of Malus domestica.", "com.txt": b" \n"}
        files |= {f"{key}.{kind}": content for kind, content in sample.items()}
    write_members(tmp_path / "old.tar", files | {"b.taxon.txt": b"apple " * 90})
    result = shard_stats(tmp_path)
    captions = result["captions"]
    assert not captions["complete"]
    assert {name: count for name, count in captions["samples"].items() if count} == {"sci": 2, "taxon": 1}
    assert captions["tokens"]["taxon"] == {
        **dict.fromkeys(("min", "p5", "p25", "median", "p75", "p95", "max"), 92),
        "mean": 92.0,
        "cut": 1,
    }
    assert result["taxa"]["samples"] == 0 and result["long_tail"]["gini"] is None


def test_statistics_are_independent_of_processes(known: Path, tmp_path: Path):
    alone, shared = tmp_path / "alone.html", tmp_path / "shared.html"
    one = shard_stats(known, report=alone, processes=0, seed=3)
    two = shard_stats(known, report=shared, processes=2, seed=3)
    # Including the order of names.
    assert json.dumps(one | {"report": None}) == json.dumps(two | {"report": None})
    assert alone.read_text() == shared.read_text()


def test_labeled_folder_has_no_stored_captions(tmp_path: Path):
    result = shard_stats(make_folder(tmp_path / "photos", 6))
    assert not result["captions"]["stored"]
    assert result["shards"] == {"count": None, "bytes": None, "skipped": []}
    assert result["sources"] == {"photos": {"samples": 6, "removed": 0}}


def test_bad_shard_is_skipped_and_listed(known: Path, tmp_path: Path):
    (tmp_path / "a.tar").write_bytes((known / "shard-00000.tar").read_bytes())
    (tmp_path / "b.tar").write_bytes(b"no tar at all" * 100)
    result = shard_stats(tmp_path)
    assert result["samples"] == 8
    assert result["shards"]["count"] == 1
    assert result["shards"]["skipped"] == [str(tmp_path / "b.tar")]


def test_catalog_of_a_build_gives_decisions(tmp_path: Path):
    photos = make_folder(tmp_path / "photos", 9)
    (photos / "photo-004.jpg").write_bytes((photos / "photo-003.jpg").read_bytes())
    (photos / "photo-005.jpg").write_bytes(b"")
    build_shards(photos, tmp_path / "shards", BuildSettings(size=32, dedup="exact"), processes=0)
    result = shard_stats(tmp_path / "shards")
    assert result["samples"] == 7
    assert result["decisions"] == {"kept": 7, "no_image": 1, "exact_duplicate": 1}
    assert result["sources"] == {"photos": {"samples": 7, "removed": 2}}


def test_foreign_or_damaged_catalog_is_refused(known: Path, tmp_path: Path):
    (tmp_path / "a.tar").write_bytes((known / "shard-00000.tar").read_bytes())
    pq.write_table(pa.table({"x": [1]}), tmp_path / "catalogue.parquet")
    with pytest.raises(UserError, match="catalogue.parquet is not a build.s catalog.*no column source"):
        shard_stats(tmp_path)
    (tmp_path / "catalogue.parquet").write_bytes(b"PAR1 and then nothing")
    with pytest.raises(UserError, match="catalogue.parquet cannot be read"):
        shard_stats(tmp_path)


@pytest.mark.parametrize(
    "location, report, message",
    [
        ("nowhere", None, "does not exist"),
        (".", "page.txt", "end its name in .html"),
        (".", "missing/page.html", "does not exist; make it"),
        (".", None, "holds no tars"),
    ],
)
def test_invalid_arguments_are_refused(tmp_path: Path, location: str, report: str | None, message: str):
    with pytest.raises(UserError, match=message):
        shard_stats(tmp_path / location, report=report and tmp_path / report)


def test_workers_do_not_import_jax(known: Path):
    program = (
        "import sys; from bioclip_jax.curate.stats.stats import count_range, open_source; "
        f"count_range(open_source({str(known)!r}), (0, 0, 3)); print('jax' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"


def test_printed_tables(known: Path):
    result = shard_stats(known) | {"decisions": {"kept": 15, "filter:[b]faces[/b]": 4}}
    stream = io.StringIO()
    print_stats(result, stream)
    text = stream.getvalue()
    for expected in (
        "Malus domestica 11",
        "unreadable: truncated",
        "Gini coefficient",
        "filter:[b]faces",
        "86.7 %",
    ):
        assert expected in text, f"{expected!r} is not in:\n{text}"


def test_printed_names_cannot_control_the_terminal(tmp_path: Path):
    tag = b"a photo of kingdom Plan\x1b]0;mine\x07tae."
    metadata = json.dumps({"source": "half \ud800 \x1b[2J"}).encode()
    write_members(
        tmp_path / "a.tar", {"a.jpg": jpeg(photograph(0)), "a.taxonTag.txt": tag, "a.json": metadata}
    )
    stream = io.StringIO()
    print_stats(shard_stats(tmp_path, report=tmp_path / "page.html"), stream)
    assert "half ? \N{REPLACEMENT CHARACTER}[2J" in stream.getvalue()
    assert "\x1b" not in stream.getvalue() and "\x07" not in stream.getvalue()


@pytest.mark.shared_data
def test_photographs(shared_data: Path):
    result = shard_stats(shared_data / "produce" / "tol_shards" / "train")
    assert result["samples"] == result["images"]["readable"] == 1776
    assert result["taxa"]["distinct"]["species"] == result["long_tail"]["species"] == 35
    assert result["images"]["width"]["min"] == result["images"]["height"]["max"] == 224
    assert sum(row["species"] for row in result["long_tail"]["histogram"]) == 35
    assert result["captions"]["complete"] and result["captions"]["with_common_name"] == 1776


abundances = st.lists(st.integers(1, 5000), min_size=1, max_size=60)


@given(abundances)
def test_gini_equals_the_mean_difference(counts: list[int]):
    values = np.array(counts)
    differences = np.abs(values[:, None] - values[None, :]).mean()
    assert gini(values) == pytest.approx(differences / (2 * values.mean()), abs=1e-9)


@given(abundances)
def test_long_tail_counts_all_species_and_images(counts: list[int]):
    tail = long_tail(np.sort(np.array(counts, np.int64))[::-1])
    assert sum(row["species"] for row in tail["histogram"]) == len(counts)
    assert sum(row["images"] for row in tail["histogram"]) == sum(counts)
    commonest = sorted(counts, reverse=True)
    half = tail["half_of_images_in"]
    assert 2 * sum(commonest[:half]) >= sum(counts) > 2 * sum(commonest[: half - 1])


@given(st.lists(st.integers(0, 300), min_size=1, max_size=80))
def test_quantiles_equal_numpys(values: list[int]):
    counts = {value: values.count(value) for value in values}
    result = quantiles(counts)
    expected = np.quantile(values, [0, 0.05, 0.25, 0.5, 0.75, 0.95, 1], method="inverted_cdf")
    assert [result[name] for name in ("min", "p5", "p25", "median", "p75", "p95", "max")] == expected.tolist()
    assert result["mean"] == pytest.approx(np.mean(values))


MAGIC = [b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"RIFF", b"II*\0", b"BM"]


@given(st.binary(max_size=200), st.sampled_from(MAGIC))
def test_any_bytes_have_a_header_or_a_cause(content: bytes, magic: bytes):
    try:
        _, width, height = image_header(magic + content)
    except BadImage as error:
        assert error.cause in ("no_image", "not_an_image", "truncated", "too_large")
    else:
        assert width >= 0 and height >= 0


def test_huge_image_in_a_small_file_is_too_large():
    header = b"P6\n40000 40000\n255\n"
    with pytest.raises(BadImage) as raised:
        image_header(header)
    assert raised.value.cause == "too_large"


names = st.sampled_from(["", "A", "B", "C"])
lineages = st.tuples(*[names] * 7).filter(any)


@settings(max_examples=50)
@given(st.dictionaries(lineages, st.integers(1, 50), min_size=1, max_size=60), st.integers(0, 9))
def test_children_of_the_tree_add_up(counts: dict, without: int):
    tree = pruned_tree({lineage: TaxonCounts(images) for lineage, images in counts.items()}, without)
    assert tree["i"] == sum(counts.values()) + without
    check_sums(tree)


def test_tree_merges_small_taxa():
    taxa = {
        ("K", "P", "C", "O", "F", f"G{n % 200}", f"s{n}"): TaxonCounts(1 + (n == 7) * 90) for n in range(3000)
    }
    tree = pruned_tree(taxa)
    check_sums(tree)
    family = tree
    while len(family["k"]) == 1:
        family = family["k"][0]
    assert len(family["k"]) == MAX_CHILDREN + 1
    assert family["k"][0]["n"] == "G7"
    assert family["k"][-1] == {"n": "", "i": 160 * 15, "s": 160, "t": OTHERS}


def check_sums(node: dict) -> None:
    if "k" in node:
        assert sum(child["i"] for child in node["k"]) == node["i"], (
            f"the children of {node['n']!r} do not add up"
        )
        assert sum(child["s"] for child in node["k"] if child.get("t") != OTHERS) <= node["s"]
        for child in node["k"]:
            check_sums(child)


@settings(max_examples=15)
@given(st.lists(st.integers(0, 15), max_size=4))
def test_counts_of_ranges_add_up(known: Path, cuts: list[int]):
    source = open_source(known)
    edges = sorted({0, 15, *cuts})
    counts = SampleCounts()
    for first, end in reversed(list(zip(edges, edges[1:]))):
        counts.add(count_range(source, (5, first, end)))
    assert counts == count_range(source, (5, 0, 15))
