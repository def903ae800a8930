"""The file of taxon embeddings, and its names."""

import json
import sys

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.numpy import save_file

from bioclip_jax.errors import UserError
from bioclip_jax.predict.rank import Rank
from bioclip_jax.predict.taxa.embeddings import DTYPES, TaxonEmbeddings, quantize
from bioclip_jax.predict.taxa.names import COLUMNS, TaxaNames

FINGERPRINT = "0123456789abcdef"

# Few values, so that taxa share ranks; some blank, some with letters that other encodings sort differently.
rows = st.lists(st.tuples(*[st.sampled_from(["", "a", "B", "é", "𝕏 y"])] * 8), min_size=1, max_size=12)


def unit_vectors(count, dim, seed=0):
    vectors = np.random.default_rng(seed).standard_normal((count, dim)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def species(count):
    return TaxaNames.from_rows(("Animalia", "", "", "", "", f"G{i % 7}", f"s{i}", "") for i in range(count))


def write(path, names, vectors, dtype="float32", **about):
    blocks = [(np.arange(len(names)), vectors)]
    TaxonEmbeddings.write(
        path, names, blocks, dim=vectors.shape[1], fingerprint=FINGERPRINT, dtype=dtype, about=about
    )
    return path


@pytest.fixture
def taxa_file(tmp_path):
    return write(tmp_path / "taxa.safetensors", species(20), unit_vectors(20, 8), model="the model")


@given(rows)
def test_names_are_sorted_by_lineage_with_their_source_index(rows):
    names = TaxaNames.from_rows(rows)
    table = [tuple(row[name] for name in COLUMNS) for row in names.table.to_pylist()]
    assert table == sorted(rows, key=lambda row: [text.encode() for text in row])
    assert [rows[index] for index in names.source_index] == table
    for rank in Rank:
        lineages = [row[: rank.value + 1] for row in table]
        starts = [i for i, lineage in enumerate(lineages) if i == 0 or lineage != lineages[i - 1]]
        assert names.starts(rank).tolist() == starts
        assert len(starts) == len(set(lineages)), f"a {rank.get_label()} is not contiguous"


@given(rows, st.data())
def test_take_selects_names(rows, data):
    names = TaxaNames.from_rows(rows)
    chosen = sorted(data.draw(st.sets(st.integers(0, len(rows) - 1))))
    some = names.take(np.array(chosen, np.int64))
    assert len(some) == len(chosen)
    assert [some.row(i) for i in range(len(some))] == [names.row(i) for i in chosen]
    assert some.source_index.tolist() == names.source_index[chosen].tolist()
    assert len(some.starts(Rank.GENUS)) == len({rows[index][:6] for index in some.source_index})


def test_row_has_pybioclips_columns():
    names = TaxaNames.from_rows(
        [("Animalia", "Chordata", "Mammalia", "Carnivora", "Felidae", "Felis", "catus", "cat")]
    )
    above = {"kingdom": "Animalia", "phylum": "Chordata", "class": "Mammalia", "order": "Carnivora"}
    assert list(names.row(0, Rank.ORDER).items()) == list(above.items())
    at_species = above | {"family": "Felidae", "genus": "Felis"}
    at_species |= {"species_epithet": "catus", "species": "Felis catus", "common_name": "cat"}
    assert list(names.row(0).items()) == list(at_species.items())
    assert names.label_table().to_pylist() == [at_species]


@given(rows)
def test_label_table_is_in_source_order(rows):
    names = TaxaNames.from_rows(rows)
    table = names.label_table().to_pylist()
    in_order = np.argsort(names.source_index)
    assert table == [names.row(int(i)) for i in in_order]
    assert [tuple(row[c] for c in COLUMNS[:6]) for row in table] == [row[:6] for row in rows]


def test_columns_may_be_missing_null_or_encoded():
    texts = pa.chunked_array([pa.array(["b", None]).dictionary_encode(), pa.array(["a"]).dictionary_encode()])
    names = TaxaNames.from_columns({"genus": texts, "common_name": ["x", "y", None]})
    assert [names.row(i)["genus"] for i in range(3)] == ["", "a", "b"]
    assert [names.row(i)["common_name"] for i in range(3)] == ["y", "", "x"]
    assert names.row(0, Rank.KINGDOM) == {"kingdom": ""}


@settings(max_examples=40, deadline=None)
@given(
    count=st.integers(1, 40),
    dim=st.integers(1, 9),
    dtype=st.sampled_from(sorted(DTYPES)),
    seed=st.integers(0, 99),
)
def test_write_in_any_order_and_read(tmp_path_factory, count, dim, dtype, seed):
    path = tmp_path_factory.mktemp("taxa") / "taxa.safetensors"
    names, vectors = species(count), unit_vectors(count, dim, seed)
    order = np.random.default_rng(seed).permutation(count)
    blocks = ((part, vectors[part]) for part in np.array_split(order, 3))
    TaxonEmbeddings.write(
        path, names, blocks, dim=dim, fingerprint=FINGERPRINT, dtype=dtype, about={"model": "m"}
    )
    taxa = TaxonEmbeddings.open(path, FINGERPRINT)
    assert (len(taxa), taxa.dim, taxa.dtype, taxa.about["taxa"]) == (count, dim, dtype, str(count))
    assert taxa.names.table.equals(names.table)
    step = {"float32": 0, "float16": 2**-11, "int8": 0.51 / 127}[dtype]
    np.testing.assert_allclose(taxa.rows(np.arange(count)), vectors, atol=step)
    stored, scales = taxa.block(1, count)
    expected = stored.astype(np.float32) * (1 if scales is None else scales[:, None])
    np.testing.assert_array_equal(taxa.rows(np.arange(1, count)), expected)
    # XLA's zero-copy transfer needs this alignment.
    assert taxa.block(0, count)[0].ctypes.data % 4096 == 0
    with safe_open(path, "np") as file:
        np.testing.assert_array_equal(file.get_tensor("embeddings"), taxa.block(0, count)[0])
        assert file.metadata() == taxa.about
        table = pa.ipc.open_file(pa.py_buffer(file.get_tensor("names"))).read_all()
    assert table.equals(names.table)


def test_zero_vectors_stay_zero_in_int8():
    stored, scales = quantize(np.zeros((1, 4), np.float32), "int8")
    assert not stored.any() and not scales.any()


def test_names_are_memory_mapped(taxa_file):
    before = pa.total_allocated_bytes()
    taxa = TaxonEmbeddings.open(taxa_file)
    assert len(taxa.names) == 20
    assert pa.total_allocated_bytes() == before, "the names were copied"


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc/self/smaps")
def test_dropped_pages_leave_memory_and_stay_readable(tmp_path):
    vectors = unit_vectors(4000, 256)
    taxa = TaxonEmbeddings.open(write(tmp_path / "taxa.safetensors", species(4000), vectors))

    def resident_kib():
        total, ours = 0, False
        with open("/proc/self/smaps") as file:
            for line in file:
                if "-" in line.split(" ")[0]:
                    ours = line.rstrip().endswith(str(taxa.path))
                elif ours and line.startswith("Rss:"):
                    total += int(line.split()[1])
        return total

    view, _ = taxa.block(0, 4000)
    assert view.sum() == vectors.sum() and resident_kib() >= 4000
    taxa.drop_pages()
    assert resident_kib() < 1000
    np.testing.assert_array_equal(view, vectors)


def test_embeddings_of_another_model_are_refused(taxa_file):
    with pytest.raises(
        UserError, match=r"belongs to the model the model \(01234567\), not to mine \(ffffffff\).*taxa build"
    ):
        TaxonEmbeddings.open(taxa_file, "f" * 16, "mine")
    assert TaxonEmbeddings.open(taxa_file, FINGERPRINT).fingerprint == FINGERPRINT


def test_invalid_files_are_errors(tmp_path, taxa_file):
    with pytest.raises(UserError, match="the taxon embeddings .*nowhere do not exist"):
        TaxonEmbeddings.open(tmp_path / "nowhere")
    (tmp_path / "empty").touch()
    (tmp_path / "text").write_text("kingdom,phylum\n" * 9)
    save_file({"embeddings": np.zeros((2, 3), np.float32)}, tmp_path / "other")
    for name in ("empty", "text", "other", "."):
        with pytest.raises(UserError, match="does not hold taxon embeddings; build them"):
            TaxonEmbeddings.open(tmp_path / name)
    data = taxa_file.read_bytes()
    taxa_file.write_bytes(data.replace(b'"version":"1"', b'"version":"7"', 1))
    with pytest.raises(UserError, match="has version 7 of the format"):
        TaxonEmbeddings.open(taxa_file)


@settings(max_examples=30, deadline=None)
@given(share=st.floats(0, 1, exclude_max=True))
def test_truncated_files_are_errors(tmp_path_factory, share):
    path = tmp_path_factory.getbasetemp() / "cut.safetensors"
    if not path.exists():
        write(path, species(20), unit_vectors(20, 8))
    data = path.read_bytes()
    cut = path.with_name("cut off.safetensors")
    cut.write_bytes(data[: int(share * len(data))])
    with pytest.raises(UserError, match="are damaged|does not hold taxon embeddings"):
        TaxonEmbeddings.open(cut)


@settings(max_examples=100, deadline=None)
@given(
    position=st.floats(0, 1, exclude_max=True),
    value=st.integers(0, 255),
    region=st.sampled_from(["header", "names"]),
)
def test_corrupt_files_never_crash(tmp_path_factory, position, value, region):
    path = tmp_path_factory.getbasetemp() / "whole.safetensors"
    if not path.exists():
        write(path, species(20), unit_vectors(20, 8))
    data = bytearray(path.read_bytes())
    header = json.loads(data[8:4096])
    begin, end = (0, len(json.dumps(header))) if region == "header" else (4096 + 640, len(data))
    data[begin + int(position * (end - begin))] = value
    broken = path.with_name("broken.safetensors")
    broken.write_bytes(data)
    try:
        taxa = TaxonEmbeddings.open(broken)
    except UserError:
        return
    assert all(isinstance(name, str) for i in range(len(taxa)) for name in taxa.names.row(i).values())
    assert len(taxa.names.starts(Rank.SPECIES)) > 0


@pytest.mark.parametrize(("given_rows", "message"), [([0, 1], "1 of 3 rows"), ([0, 1, 1], "repeated row")])
def test_missing_and_repeated_rows_are_errors(tmp_path, given_rows, message):
    blocks = [(np.array([row]), unit_vectors(1, 4)) for row in given_rows]
    with pytest.raises(ValueError, match=message):
        TaxonEmbeddings.write(tmp_path / "x.safetensors", species(3), blocks, dim=4, fingerprint=FINGERPRINT)
    assert not list(tmp_path.iterdir()), "a partial file was left"
