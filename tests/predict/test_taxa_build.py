"""Build taxon embeddings from tables, data and published embeddings."""

import io
import json
import shutil
import tarfile
import unicodedata

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bioclip_jax.errors import UserError
from bioclip_jax.predict.model import Model, load_model
from bioclip_jax.predict.taxa.build import _read_distinct, build_taxa
from bioclip_jax.predict.taxa.embeddings import WITHOUT_VECTOR, TaxonEmbeddings
from bioclip_jax.predict.taxa.names import TaxaNames
from bioclip_jax.predict.taxa.quantization import rounding_effect
from bioclip_jax.predict.zero_shot import class_embeddings
from bioclip_jax.text import Taxon

# One template instead of 80, for speed.
ONE = ("a photo of {}.",)
CAT = "Animalia Chordata Mammalia Carnivora Felidae Felis catus"
TABLE = f"""filepath,kingdom,phylum,cls,order,family,genus,species,common_name,class
a.jpg,Animalia,Chordata,Mammalia,Carnivora,Felidae,Felis,Felis catus,,tabby
b.jpg,{CAT.replace(" ", ",")},domestic cat,
c.jpg,{CAT.replace(" ", ",")},house cat,
d.jpg,,,,,,,,nothing,
e.jpg,Plantae,,,Rosales,,Malus,domestica,,
"""


@pytest.fixture(scope="module")
def model(model_directory):
    return load_model(model_directory)


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "metadata.csv"
    path.write_text(TABLE)
    return path


def texts_of(model, *texts, templates=ONE):
    return class_embeddings(model.encode_text, texts, templates)


def check_table_taxa(path, model):
    taxa = TaxonEmbeddings.open(path, model.fingerprint)
    assert [taxa.names.row(i)["species"] for i in range(len(taxa))] == ["Felis catus", "Malus domestica"]
    assert taxa.names.row(0)["common_name"] == "domestic cat"
    expected = texts_of(model, f"{CAT} domestic cat", "Plantae Rosales Malus domestica")
    np.testing.assert_allclose(taxa.rows(np.arange(2)), expected, atol=1e-5)


def test_current_folder_as_source(model, table, tmp_path, monkeypatch):
    monkeypatch.chdir(table.parent)
    build_taxa(".", model, tmp_path / "t.safetensors", templates=ONE)
    check_table_taxa(tmp_path / "t.safetensors", model)


def test_table_gives_its_distinct_taxa(model, table, tmp_path):
    result = build_taxa(table, model, tmp_path / "t.safetensors", templates=ONE)
    check_table_taxa(tmp_path / "t.safetensors", model)
    expected = {
        "taxa": 2,
        "embed_dim": model.config.embed_dim,
        "dtype": "float32",
        "doubles": 2,
        "unnamed": 1,
    }
    assert result == expected | {"output": str(tmp_path / "t.safetensors"), "notes": []}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["metadata.csv", "t.safetensors"]


def test_other_spellings_of_a_taxon_are_duplicates(tmp_path):
    rows = [
        ("Plantae", "Isoëtes", "lacustris"),
        ("PLANTAE", "isoëtes", "Isoëtes lacustris"),
        (
            "plantae",
            unicodedata.normalize("NFD", "Isoëtes"),
            unicodedata.normalize("NFD", "Isoëtes lacustris"),
        ),
        ("Plantae", "Isoëtes", "I. lacustris"),
        ("Plantae", "Isoëtes\u00a0", "Isoëtes\u00a0lacustris L."),
        ("Plantae", "unknown", "Isoëtes lacustris"),
    ]
    (tmp_path / "names.csv").write_text("\n".join(map(",".join, [("kingdom", "genus", "species"), *rows])))
    names, counts = _read_distinct(str(tmp_path / "names.csv"))
    assert [names.taxon(row) for row in range(len(names))] == [
        Taxon(kingdom="Plantae", genus="Isoëtes", species="lacustris")
    ]
    assert counts == {"doubles": len(rows) - 1, "unnamed": 0}


def test_parquet_and_folder_give_the_same_taxa(model, table, tmp_path):
    rows = [dict(zip(TABLE.split("\n")[0].split(","), line.split(","))) for line in TABLE.splitlines()[1:]]
    images = pa.array([b"unread"] * len(rows), pa.binary())
    pq.write_table(pa.Table.from_pylist(rows).append_column("image", images), tmp_path / "t.parquet")
    for source in (tmp_path / "t.parquet", table.parent):
        build_taxa(source, model, tmp_path / "t.safetensors", templates=ONE)
        check_table_taxa(tmp_path / "t.safetensors", model)


def test_shards_give_the_taxa_of_their_captions(model, tmp_path):
    tags = {
        "a": "a photo of kingdom Animalia genus Felis species catus with common name cat.",
        "b": "no tags",
    }
    with tarfile.open(tmp_path / "0.tar", "w") as tar:
        for key, text in tags.items():
            for suffix, data in (("jpg", b"unread"), ("taxonTag_com.txt", text.encode())):
                member = tarfile.TarInfo(f"{key}.{suffix}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    result = build_taxa(str(tmp_path / "0.tar"), model, tmp_path / "t.safetensors", templates=ONE)
    assert (result["taxa"], result["unnamed"]) == (1, 1)
    taxa = TaxonEmbeddings.open(tmp_path / "t.safetensors")
    np.testing.assert_allclose(
        taxa.rows(np.arange(1)), texts_of(model, "Animalia Felis catus cat"), atol=1e-5
    )


def test_default_output_is_in_the_model_directory_with_80_templates(model_directory, tmp_path):
    directory = shutil.copytree(model_directory, tmp_path / "model")
    model = load_model(directory)
    (tmp_path / "names.csv").write_text("genus,species\nFelis,catus\n")
    result = build_taxa(tmp_path / "names.csv", model)
    assert result["output"] == str(directory / "taxa.safetensors")
    taxa = TaxonEmbeddings.open(directory / "taxa.safetensors")
    label = class_embeddings(model.encode_text, ["Felis catus"])
    np.testing.assert_allclose(taxa.rows(np.arange(1)), label, atol=1e-5)
    assert taxa.about["templates"] == "openai 80" and taxa.about["model"] == model.source


class Published:
    """Twelve unsorted published taxa of a model, with one duplicate."""

    def __init__(self, model, folder):
        names = [
            [[*"KPCO", "F", f"G{i % 3}", f"s{i}"], f"name {i}" if i % 2 else ""]
            for i in (5, 3, 9, 1, 0, 7, 2, 8, 4, 6)
        ]
        self.names = [*names, names[0], [["K", "", "", "", "", "G9", "zz"], ""]]
        texts = [" ".join(filter(None, [*ranks, common])) for ranks, common in self.names]
        self.columns = texts_of(model, *texts).T.copy()
        self.npy = folder / "txt_emb_species.npy"

    def write(self, order="C"):
        np.save(self.npy, np.asarray(self.columns, order=order))
        self.npy.with_suffix(".json").write_text(json.dumps(self.names, indent=1))
        return self.npy


@pytest.fixture
def published(model, tmp_path):
    return Published(model, tmp_path)


@pytest.mark.parametrize("order", ["C", "F"])
def test_published_embeddings_keep_every_column(model, published, tmp_path, order):
    result = build_taxa(published.write(order), model, tmp_path / "t.safetensors", templates=ONE)
    assert (result["taxa"], result["doubles"], result["notes"]) == (12, 0, [])
    taxa = TaxonEmbeddings.open(tmp_path / "t.safetensors", model.fingerprint)
    np.testing.assert_allclose(
        taxa.rows(np.arange(12)), published.columns.T[taxa.names.source_index], atol=1e-6
    )
    species = [f"{ranks[5]} {ranks[6]}" for ranks, _ in published.names]
    assert taxa.names.label_table()["species"].to_pylist() == species


@pytest.mark.parametrize("complete", [False, True])
def test_missing_and_unnormalized_columns_stay_unless_completed(model, published, tmp_path, capsys, complete):
    expected = published.columns.copy()
    published.columns[:, [2, 11]] = 0
    published.columns[0, 4] = np.nan
    published.columns[:, 6] *= 3
    if not complete:
        expected = np.where(np.isnan(published.columns).any(axis=0), 0, published.columns)
    options = {"templates": ONE, "complete": complete}
    result = build_taxa(published.write(), model, tmp_path / "t.safetensors", **options)
    assert len(result["notes"]) == 2
    assert result["notes"][0].startswith("3 of 12 taxa have no embedding in ")
    assert result["notes"][1].startswith("1 of 12 embeddings in ")
    assert capsys.readouterr().err.count("note: ") == 2
    taxa = TaxonEmbeddings.open(tmp_path / "t.safetensors")
    np.testing.assert_allclose(taxa.rows(np.arange(12)), expected.T[taxa.names.source_index], atol=1e-5)
    assert taxa.about.get(WITHOUT_VECTOR) == (None if complete else "3")


def test_names_without_embeddings(model, published, tmp_path):
    published.write()
    result = build_taxa(published.npy.with_suffix(".json"), model, tmp_path / "t.safetensors", templates=ONE)
    assert (result["taxa"], result["doubles"]) == (11, 1)
    taxa = TaxonEmbeddings.open(tmp_path / "t.safetensors")
    once = np.delete(published.columns.T, 10, axis=0)
    np.testing.assert_allclose(taxa.rows(np.arange(11)), once[taxa.names.source_index], atol=1e-5)


def wrong_pairs(published):
    published.columns = np.roll(published.columns, 1, axis=1)


def another_model(published):
    published.columns = np.random.default_rng(0).standard_normal(published.columns.shape).astype(np.float32)


def another_width(published):
    published.columns = published.columns[:-1]


def one_name_less(published):
    published.names.pop()


def only_zeros(published):
    published.columns[:] = 0


def other_json(published):
    published.names[1] = {"species": "x"}


def six_ranks(published):
    published.names[1][0].pop()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (wrong_pairs, "does not fit the model: its embeddings of 12 names"),
        (another_model, "does not fit the model: its embeddings of 12 names"),
        (another_width, r"holds vectors of \d+ numbers, the model's have"),
        (one_name_less, "holds 12 taxa, .*json names 11"),
        (only_zeros, "only zeros"),
        (other_json, "is not a list of"),
        (six_ranks, "is not a list of"),
    ],
)
def test_mismatched_published_embeddings_are_errors(model, published, tmp_path, spoil, message):
    spoil(published)
    path = published.write()
    with pytest.raises(UserError, match=message):
        build_taxa(path, model, tmp_path / "t.safetensors", templates=ONE)
    assert not (tmp_path / "t.safetensors").exists()


def test_damaged_published_files_are_errors(model, published, tmp_path):
    def message(path=published.npy):
        with pytest.raises(UserError) as caught:
            build_taxa(path, model, tmp_path / "t.safetensors", templates=ONE)
        return str(caught.value)

    assert "does not exist" in message()
    published.write()
    text = published.npy.with_suffix(".json").read_text()
    published.npy.with_suffix(".json").write_text(text[:-30])
    assert "ends too early" in message()
    published.npy.with_suffix(".json").unlink()
    assert "has the names of the embeddings" in message()
    published.npy.with_suffix(".json").write_text(text)
    published.npy.write_bytes(b"no array")
    assert "is not a readable .npy" in message()


@pytest.mark.parametrize("dtype", ["float16", "int8"])
def test_quantized_build_reports_its_effect(model, published, tmp_path, dtype):
    result = build_taxa(published.write(), model, tmp_path / "t.safetensors", dtype=dtype, templates=ONE)
    taxa = TaxonEmbeddings.open(tmp_path / "t.safetensors")
    assert taxa.dtype == result["dtype"] == dtype
    assert 0 <= result["top1_agreement"] <= 1 and 0 <= result["max_score_difference"] <= 1
    assert float(taxa.about["top1_agreement"]) == pytest.approx(result["top1_agreement"], rel=1e-4)
    exact = published.columns.T[taxa.names.source_index]
    np.testing.assert_allclose(taxa.rows(np.arange(12)), exact, atol=np.abs(exact).max() / 250)
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".json", ".npy", ".safetensors"], (
        "temporary files remain"
    )


def test_rounding_effect_over_blocks(tmp_path):
    rng = np.random.default_rng(3)
    count, dim, scale = 20_000, 32, 40.0
    vectors = rng.standard_normal((count, dim)).astype(np.float32)
    # Pairs that int8 cannot distinguish.
    vectors[1::2] = vectors[::2] + 0.001 * vectors[1::2]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    names = TaxaNames.from_columns({"species": [f"{i:06}" for i in range(count)]})
    TaxonEmbeddings.write(tmp_path / "t", names, [(np.arange(count), vectors)], dim=dim, fingerprint="f")
    taxa = TaxonEmbeddings.open(tmp_path / "t")
    coarse, fine = (rounding_effect(taxa, dtype, scale) for dtype in ("int8", "float32"))
    assert fine == {"top1_agreement": 1, "max_score_difference": 0}
    assert 0.4 < coarse["top1_agreement"] < 0.9 and 0 < coarse["max_score_difference"] < 0.1


class Interrupting:
    """A model interrupted during encoding."""

    def __init__(self, model):
        self._model, self.calls = model, 0

    def __getattr__(self, name):
        return getattr(self._model, name)

    def encode_text(self, texts):
        self.calls += 1
        if self.calls > 1:
            raise KeyboardInterrupt
        return self._model.encode_text(texts)


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_interrupted_build_leaves_no_file(model, tmp_path, dtype):
    (tmp_path / "names.csv").write_text("genus\n" + "".join(f"G{i}\n" for i in range(300)))
    with pytest.raises(KeyboardInterrupt):
        build_taxa(
            tmp_path / "names.csv",
            Interrupting(model),
            tmp_path / "t.safetensors",
            dtype=dtype,
            templates=ONE,
        )
    assert [path.name for path in tmp_path.iterdir()] == ["names.csv"]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "name,common_name\nx,y\n", "none of the columns kingdom, .*only name, common_name"),
        ("b.csv", "genus,species\n", "has no rows"),
        ("c.csv", "genus,common_name\n,cat\n", "has no taxon"),
        ("d.csv", "", "is empty"),
        ("e.parquet", "no parquet", "not a readable Parquet"),
        ("f.txt", "Felis catus\n", "neither a tar nor"),
        ("missing.csv", None, "does not exist"),
        ("missing", None, "does not exist"),
    ],
)
def test_sources_without_taxa_are_errors(model, tmp_path, name, text, message):
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=message):
        build_taxa(tmp_path / name, model, tmp_path / "t.safetensors")


def test_invalid_arguments_are_errors(model, bundle, table, tmp_path):
    with pytest.raises(UserError, match="taxa cannot be stored as 'int4'"):
        build_taxa(table, model, tmp_path / "t.safetensors", dtype="int4")
    with pytest.raises(UserError, match="give a file with --output"):
        build_taxa(table, Model(bundle))
    with pytest.raises(UserError, match="folder of the output"):
        build_taxa(table, model, tmp_path / "nowhere" / "t.safetensors")


GBIF = (
    "taxonKey\tscientificName\ttaxonRank\tkingdom\tphylum\tclass\torder\tfamily\tgenus\tspecies\n"
    "1\tFelis catus Linnaeus, 1758\tSPECIES\tAnimalia\tChordata\tMammalia\tCarnivora\tFelidae\tFelis\tFelis "
    "catus\n"
    "2\tFelis L.\tGENUS\tAnimalia\tChordata\tMammalia\tCarnivora\tFelidae\tFelis\t\n"
)


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("spaces.csv", "kingdom, genus, species\nPlantae, Malus, domestica\n", ["Plantae Malus domestica"]),
        ("case.csv", "Kingdom;GENUS;Species\nPlantae;Malus;domestica\n", ["Plantae Malus domestica"]),
        (
            "gbif.csv",
            GBIF,
            [f"Animalia Chordata Mammalia Carnivora Felidae Felis{end}" for end in ("", " catus")],
        ),
        ("whole.tsv", 'scientificName\tnote\nFelis catus L.\t"open\nFelis\tx\n', ["Felis catus"]),
        ("long.csv", f"genus,note\nFelis,{'x' * 140_000}\n", ["Felis"]),
    ],
)
def test_lists_of_names_in_many_formats(tmp_path, name, text, expected):
    from bioclip_jax.predict.taxa.build import _read_distinct

    (tmp_path / name).write_text(text)
    names, _ = _read_distinct(str(tmp_path / name))
    assert [names.taxon(row).taxonomic_name for row in range(len(names))] == expected
