"""The taxa head as a file, and its names."""

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
from bioclip_jax.predict.taxa.head import DTYPES, TaxaHead, quantize
from bioclip_jax.predict.taxa.names import COLUMNS, TaxaNames

FINGERPRINT = "0123456789abcdef"

# Few values, so that taxa share ranks, blanks among them, and letters that sort otherwise in other encodings.
rows = st.lists(st.tuples(*[st.sampled_from(["", "a", "B", "é", "𝕏 y"])] * 8), min_size=1, max_size=12)


def unit_vectors(count, dim, seed=0):
    vectors = np.random.default_rng(seed).standard_normal((count, dim)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def species(count):
    return TaxaNames.from_rows(("Animalia", "", "", "", "", f"G{i % 7}", f"s{i}", "") for i in range(count))


def write(path, names, vectors, dtype="float32", **about):
    blocks = [(np.arange(len(names)), vectors)]
    TaxaHead.write(
        path, names, blocks, dim=vectors.shape[1], fingerprint=FINGERPRINT, dtype=dtype, about=about
    )
    return path


@pytest.fixture
def head_file(tmp_path):
    return write(tmp_path / "taxa.safetensors", species(20), unit_vectors(20, 8), model="the model")


@given(rows)
def test_names_are_sorted_by_lineage_and_know_their_place(rows):
    names = TaxaNames.from_rows(rows)
    table = [tuple(row[name] for name in COLUMNS) for row in names.table.to_pylist()]
    assert table == sorted(rows, key=lambda row: [text.encode() for text in row])
    assert [rows[place] for place in names.place] == table
    for rank in Rank:
        lineages = [row[: rank.value + 1] for row in table]
        starts = [i for i, lineage in enumerate(lineages) if i == 0 or lineage != lineages[i - 1]]
        assert names.starts(rank).tolist() == starts
        assert len(starts) == len(set(lineages)), f"a {rank.get_label()} is in several pieces"


@given(rows, st.data())
def test_some_of_the_names_are_names(rows, data):
    names = TaxaNames.from_rows(rows)
    chosen = sorted(data.draw(st.sets(st.integers(0, len(rows) - 1))))
    some = names.taken(np.array(chosen, np.int64))
    assert len(some) == len(chosen)
    assert [some.row(i) for i in range(len(some))] == [names.row(i) for i in chosen]
    assert some.place.tolist() == names.place[chosen].tolist()
    assert len(some.starts(Rank.GENUS)) == len({rows[place][:6] for place in some.place})


def test_a_row_has_the_columns_of_pybioclip():
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
def test_the_label_table_is_in_the_order_of_the_source(rows):
    names = TaxaNames.from_rows(rows)
    table = names.label_table().to_pylist()
    in_order = np.argsort(names.place)
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
def test_what_is_written_in_any_order_is_read(tmp_path_factory, count, dim, dtype, seed):
    path = tmp_path_factory.mktemp("heads") / "taxa.safetensors"
    names, vectors = species(count), unit_vectors(count, dim, seed)
    order = np.random.default_rng(seed).permutation(count)
    blocks = ((part, vectors[part]) for part in np.array_split(order, 3))
    TaxaHead.write(path, names, blocks, dim=dim, fingerprint=FINGERPRINT, dtype=dtype, about={"model": "m"})
    head = TaxaHead.open(path, FINGERPRINT)
    assert (len(head), head.dim, head.dtype, head.about["taxa"]) == (count, dim, dtype, str(count))
    assert head.names.table.equals(names.table)
    step = {"float32": 0, "float16": 2**-11, "int8": 0.51 / 127}[dtype]
    np.testing.assert_allclose(head.rows(np.arange(count)), vectors, atol=step)
    stored, scales = head.block(1, count)
    expected = stored.astype(np.float32) * (1 if scales is None else scales[:, None])
    np.testing.assert_array_equal(head.rows(np.arange(1, count)), expected)
    # XLA takes the mapping as it is only where it is aligned.
    assert head.block(0, count)[0].ctypes.data % 4096 == 0
    with safe_open(path, "np") as file:
        np.testing.assert_array_equal(file.get_tensor("embeddings"), head.block(0, count)[0])
        assert file.metadata() == head.about
        table = pa.ipc.open_file(pa.py_buffer(file.get_tensor("names"))).read_all()
    assert table.equals(names.table)


def test_a_row_of_zeros_stays_one_in_eight_bits():
    stored, scales = quantize(np.zeros((1, 4), np.float32), "int8")
    assert not stored.any() and not scales.any()


def test_names_are_not_copied_out_of_the_file(head_file):
    before = pa.total_allocated_bytes()
    head = TaxaHead.open(head_file)
    assert len(head.names) == 20
    assert pa.total_allocated_bytes() == before, "the names were copied"


@pytest.mark.skipif(sys.platform != "linux", reason="/proc/self/smaps says what of a file is in memory")
def test_dropped_pages_leave_memory_and_come_back(tmp_path):
    vectors = unit_vectors(4000, 256)
    head = TaxaHead.open(write(tmp_path / "taxa.safetensors", species(4000), vectors))

    def resident_kib():
        total, ours = 0, False
        with open("/proc/self/smaps") as file:
            for line in file:
                if "-" in line.split(" ")[0]:
                    ours = line.rstrip().endswith(str(head.path))
                elif ours and line.startswith("Rss:"):
                    total += int(line.split()[1])
        return total

    view, _ = head.block(0, 4000)
    assert view.sum() == vectors.sum() and resident_kib() >= 4000
    head.drop_pages()
    assert resident_kib() < 1000
    np.testing.assert_array_equal(view, vectors)


def test_a_head_of_another_model_is_refused(head_file):
    with pytest.raises(
        UserError, match=r"belongs to the model the model \(01234567\), not to mine \(ffffffff\).*taxa build"
    ):
        TaxaHead.open(head_file, "f" * 16, "mine")
    assert TaxaHead.open(head_file, FINGERPRINT).fingerprint == FINGERPRINT


def test_what_is_no_head_is_told(tmp_path, head_file):
    with pytest.raises(UserError, match="there is no taxa head .*nowhere"):
        TaxaHead.open(tmp_path / "nowhere")
    (tmp_path / "empty").touch()
    (tmp_path / "text").write_text("kingdom,phylum\n" * 9)
    save_file({"embeddings": np.zeros((2, 3), np.float32)}, tmp_path / "other")
    for name in ("empty", "text", "other", "."):
        with pytest.raises(UserError, match="is no taxa head; build one"):
            TaxaHead.open(tmp_path / name)
    data = head_file.read_bytes()
    head_file.write_bytes(data.replace(b'"version":"1"', b'"version":"7"', 1))
    with pytest.raises(UserError, match="has version 7 of the format"):
        TaxaHead.open(head_file)


@settings(max_examples=30, deadline=None)
@given(share=st.floats(0, 1, exclude_max=True))
def test_a_cut_off_file_is_told(tmp_path_factory, share):
    path = tmp_path_factory.getbasetemp() / "cut.safetensors"
    if not path.exists():
        write(path, species(20), unit_vectors(20, 8))
    data = path.read_bytes()
    cut = path.with_name("cut off.safetensors")
    cut.write_bytes(data[: int(share * len(data))])
    with pytest.raises(UserError, match="is damaged|is no taxa head"):
        TaxaHead.open(cut)


@settings(max_examples=100, deadline=None)
@given(
    place=st.floats(0, 1, exclude_max=True),
    value=st.integers(0, 255),
    region=st.sampled_from(["header", "names"]),
)
def test_a_damaged_file_never_crashes(tmp_path_factory, place, value, region):
    path = tmp_path_factory.getbasetemp() / "whole.safetensors"
    if not path.exists():
        write(path, species(20), unit_vectors(20, 8))
    data = bytearray(path.read_bytes())
    header = json.loads(data[8:4096])
    begin, end = (0, len(json.dumps(header))) if region == "header" else (4096 + 640, len(data))
    data[begin + int(place * (end - begin))] = value
    broken = path.with_name("broken.safetensors")
    broken.write_bytes(data)
    try:
        head = TaxaHead.open(broken)
    except UserError:
        return
    assert all(isinstance(name, str) for i in range(len(head)) for name in head.names.row(i).values())
    assert len(head.names.starts(Rank.SPECIES)) > 0


@pytest.mark.parametrize(("given_rows", "message"), [([0, 1], "1 of 3 rows"), ([0, 1, 1], "given before")])
def test_every_row_is_given_once(tmp_path, given_rows, message):
    blocks = [(np.array([row]), unit_vectors(1, 4)) for row in given_rows]
    with pytest.raises(ValueError, match=message):
        TaxaHead.write(tmp_path / "x.safetensors", species(3), blocks, dim=4, fingerprint=FINGERPRINT)
    assert not list(tmp_path.iterdir()), "a half-written head was left"
