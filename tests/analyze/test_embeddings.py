"""Reading of embeddings: usable vectors, their metadata, and their pictures."""

import io
import tarfile
import tempfile
import unicodedata
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from bioclip_jax.analyze.embeddings import Embeddings, from_labeled, read_embeddings
from bioclip_jax.errors import UserError
from bioclip_jax.pipeline.sources import FolderSource, Sample
from bioclip_jax.predict import ImageFile
from bioclip_jax.predict.embedding import Batch, LabeledEmbeddings, write_batches
from bioclip_jax.text import Taxon

VECTORS = np.array([[3, 4, 0], [0, 0, 2], [1, 1, 1], [-5, 0, 0]], np.float32)


def write(file, vectors=VECTORS, kind="fixed", group=2, **columns):
    """A Parquet file with vectors as lists of a fixed size, of any size, or as they are."""
    if kind == "fixed":
        flat = pa.array(np.ravel(vectors), pa.float32())
        column = pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1])
    else:
        column = pa.array([None if row is None else list(map(float, row)) for row in vectors], kind)
    table = pa.table({"uuid": [str(row) for row in range(len(column))], "emb": column, **columns})
    pq.write_table(table, file, row_group_size=group)
    return file


def encoded(color, kind="PNG"):
    file = io.BytesIO()
    Image.new("RGB", (40, 30), color).save(file, kind)
    return file.getvalue()


def known(**columns):
    rows = len(next(iter(columns.values())))
    return Embeddings(
        np.ones((rows, 1), np.float32), pa.table(columns), lambda row: bytes([row]), "birds.parquet"
    )


def test_vectors_are_normalized_in_order(tmp_path):
    loaded = read_embeddings(write(tmp_path / "a.parquet", sex=["m", "", None, "f"]))
    expected = [row / np.sqrt(sum(float(x) ** 2 for x in row)) for row in VECTORS]
    np.testing.assert_allclose(loaded.vectors, expected, atol=1e-7)
    assert loaded.vectors.dtype == np.float32
    assert loaded.texts("sex").tolist() == ["m", "", "", "f"]
    assert len(loaded) == 4 and loaded.source == str(tmp_path / "a.parquet")


@pytest.mark.parametrize("kind", [pa.list_(pa.float32()), pa.large_list(pa.float64()), pa.list_(pa.int32())])
def test_lists_of_any_type_are_read(tmp_path, kind):
    values = VECTORS.astype(int) if pa.types.is_integer(kind.value_type) else VECTORS
    column = pa.array([list(map(values.dtype.type, row)) for row in values], kind)
    pq.write_table(pa.table({"emb": column}), tmp_path / "a.parquet")
    loaded = read_embeddings(tmp_path / "a.parquet")
    np.testing.assert_allclose(
        loaded.vectors, VECTORS / np.linalg.norm(VECTORS, axis=1, keepdims=True), atol=1e-7
    )


def test_output_of_embed_is_read(tmp_path):
    images = [ImageFile(f"{name}.jpg", f"{name}.jpg") for name in "abc"]
    vectors = np.eye(3, 5, dtype=np.float32)
    columns = pa.table(
        {"genus": pa.array(["Malus", "Pyrus", None], pa.large_string()), "length": [1.5, None, 2.0]}
    )
    batches = [Batch(images[:2], vectors[:2], columns[:2]), Batch(images[2:], vectors[2:], columns[2:])]
    write_batches(batches, "parquet", tmp_path / "a.parquet", {"model": "small", "normalized": True})
    loaded = read_embeddings(tmp_path / "a.parquet")
    np.testing.assert_array_equal(loaded.vectors, vectors)
    assert loaded.texts("path").tolist() == ["a.jpg", "b.jpg", "c.jpg"]
    assert loaded.texts("genus").tolist() == ["Malus", "Pyrus", ""]
    np.testing.assert_array_equal(loaded.numbers("length"), [1.5, np.nan, 2.0])
    assert "emb" not in loaded.columns.column_names


@settings(max_examples=40)
@given(
    st.lists(st.sampled_from(["good", "zero", "nan", "inf", "null", "huge"]), min_size=1, max_size=30),
    st.integers(1, 7),
    st.booleans(),
)
def test_unusable_vectors_are_skipped_at_any_row(kinds, group, any_length):
    rows = [
        {
            "good": [row + 1.0, 1.0],
            "zero": [0, 0],
            "nan": [1, np.nan],
            "inf": [np.inf, 0],
            "huge": [3e30, 4e30],
        }.get(kind)
        for row, kind in enumerate(kinds)
    ]
    kept = [row for row, kind in enumerate(kinds) if kind in ("good", "huge")]
    with tempfile.TemporaryDirectory() as folder:
        list_type = pa.list_(pa.float32()) if any_length else pa.list_(pa.float32(), 2)
        path = write(Path(folder) / "a.parquet", rows, list_type, group, number=list(range(len(kinds))))
        if not kept:
            with pytest.raises(
                UserError, match="has no row with a vector; give the Parquet of `bioclip-jax embed"
            ):
                read_embeddings(path)
            return
        loaded = read_embeddings(path)
    assert loaded.numbers("number").tolist() == kept, f"of {kinds} the wrong rows are kept"
    for row, vector in zip(kept, loaded.vectors):
        expected = [0.6, 0.8] if kinds[row] == "huge" else np.array(rows[row]) / np.hypot(*rows[row])
        np.testing.assert_allclose(vector, expected, atol=1e-6)


def test_skipped_rows_are_counted_on_standard_error(tmp_path, capsys):
    read_embeddings(write(tmp_path / "a.parquet", np.array([[0, 0], [1, 0], [np.nan, 0]])))
    err = capsys.readouterr().err
    assert f"skipped 2 rows of {tmp_path / 'a.parquet'} without a usable vector" in err


def test_vectors_of_different_lengths_are_an_error_even_if_their_total_fits(tmp_path):
    for rows in ([[1.0], [1.0, 2.0, 3.0]], [[1.0, 2.0]] * 4 + [[1.0, 2.0, 3.0, 4.0]] * 4):
        path = write(tmp_path / "a.parquet", rows, pa.list_(pa.float32()), group=4)
        with pytest.raises(
            UserError, match="holds vectors of . and of . numbers; write vectors of one model"
        ):
            read_embeddings(path)


def test_errors_for_other_files_name_the_right_one(tmp_path):
    pq.write_table(pa.table({"vector": [1.0], "path": ["a"]}), tmp_path / "other.parquet")
    pq.write_table(pa.table({"emb": ["[1, 2]"]}), tmp_path / "text.parquet")
    pq.write_table(pa.table({"emb": pa.array([], pa.list_(pa.float32()))}), tmp_path / "empty.parquet")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 and nothing")
    np.save(tmp_path / "a.npy", VECTORS)
    problems = {
        "other.parquet": "has no column emb, only vector, path",
        "text.parquet": "holds string, not lists of numbers",
        "empty.parquet": "has no row with a vector",
        "broken.parquet": "is not a readable Parquet file",
        "a.npy": "is not a Parquet file",
        "missing.parquet": "does not exist",
    }
    for name, problem in problems.items():
        with pytest.raises(UserError, match=f"{problem}.*`bioclip-jax embed") as error:
            read_embeddings(tmp_path / name)
        assert name in str(error.value) and "\n" not in str(error.value)


def test_species_are_scientific_names_of_rows_with_an_epithet():
    loaded = known(
        genus=["Malus", "Malus", "Malus", None, "Malus"],
        species=["Malus domestica", "sylvestris", "", None, "Malus"],
        vernacular=["apple", None, "apple", "pear", " apple "],
    )
    assert loaded.species().tolist() == ["Malus domestica", "Malus sylvestris", "", "", ""]
    assert loaded.species("vernacular").tolist() == ["apple", "", "apple", "pear", "apple"]
    with pytest.raises(
        UserError, match="no columns genus and species; name .* with --species-column, .*: family"
    ):
        known(family=["Rosaceae"]).species()


def test_words_for_unknown_are_missing_species_and_numbers():
    column = ["Malus domestica", "unknown", "NA", "nan", "incertae sedis", "Nonea pulla", "-"]
    loaded = known(kind=column, length=["1", "NA", "n/a", "unknown", "-", "2.5", "NaN"])
    assert loaded.species("kind").tolist() == ["Malus domestica", "", "", "", "", "Nonea pulla", ""]
    np.testing.assert_array_equal(loaded.numbers("length"), [1, *[np.nan] * 4, 2.5, np.nan])


def test_unicode_forms_of_a_species_name_are_equal():
    loaded = known(kind=[unicodedata.normalize(form, "Isoëtes lacustris") for form in ("NFC", "NFD")])
    assert len(set(loaded.species("kind"))) == 1


def test_taxa_follow_the_rules_of_tables():
    loaded = known(
        genus=["Malus", "Malus", None],
        species=["Malus domestica", "alba", None],
        **{"class": ["A", "A", "B"]},
    )
    assert loaded.taxa() == [
        Taxon(class_="A", genus="Malus", species="domestica"),
        Taxon(class_="A", genus="Malus", species="alba"),
        Taxon(class_="B"),
    ]
    with_label = known(cls=["Aves", None], **{"class": ["healthy", "sick"]})
    assert [taxon.class_ for taxon in with_label.taxa()] == ["Aves", ""], (
        "cls is the rank where both are there"
    )
    assert known(sex=["m", "f"]).taxa() == [Taxon(), Taxon()]


def test_numbers_take_what_can_be_read_as_one():
    loaded = known(length=["1.5", "", None, " -2e1 ", "NaN"], flag=[True, False, None, True, True])
    np.testing.assert_array_equal(loaded.numbers("length"), [1.5, np.nan, np.nan, -20, np.nan])
    np.testing.assert_array_equal(loaded.numbers("flag"), [1, 0, np.nan, 1, 1])
    for value in ("long", "inf"):
        with pytest.raises(
            UserError, match=f"column length of birds.parquet holds '{value}' in row 2, which is not a number"
        ):
            known(length=["1", value]).numbers("length")


def test_an_unknown_column_or_value_is_reported_with_the_nearest():
    loaded = known(family=["Thraupidae", "Corvidae", None], sex=["m", "f", "f"])
    with pytest.raises(
        UserError, match=r"has no column 'famly' \(did you mean family\?\); it has family, sex"
    ):
        loaded.texts("famly")
    with pytest.raises(
        UserError, match=r"has family 'Thraupida' \(did you mean Thraupidae\?\); it has Corvidae, Thra"
    ):
        loaded.where("family", "Thraupida")
    two = Embeddings(
        loaded.vectors, pa.table([["a"] * 3, ["b"] * 3], names=["x", "x"]), loaded.picture, "two.parquet"
    )
    with pytest.raises(UserError, match="two.parquet has more than one column 'x'"):
        two.texts("x")


def test_take_keeps_columns_and_pictures():
    loaded = known(sex=["m", "f", "m", ""], age=[1, 2, 3, 4])
    taken = loaded.take(np.array([3, 1, 2])).where("sex", "m").take([0])
    assert taken.numbers("age").tolist() == [3]
    assert taken.picture(0) == bytes([2]), "the picture is another row's"
    assert len(loaded.take([])) == 0


def test_pictures_are_read_from_paths_and_tars(tmp_path, monkeypatch):
    here, there = tmp_path / "here", tmp_path / "there.tar" / "deep"
    for folder, color in ((here, "red"), (there, "blue")):
        folder.mkdir(parents=True)
        (folder / "a.png").write_bytes(encoded(color))
        with tarfile.open(folder / "shard.tar", "w") as tar:
            for name in ("x/b.png", "x/c.tar/d.png"):
                content = encoded("green" if color == "red" else "black") + name.encode()
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))
    (there / "e.png").write_bytes(encoded("white"))
    paths = [
        "a.png",
        "e.png",
        "shard.tar/x/b.png",
        "shard.tar/x/c.tar/d.png",
        str(here / "shard.tar/x/b.png"),
    ]
    paths += ["gone.png", "shard.tar/gone.png", None, "a.png/b", str(here)]
    vectors = np.ones((len(paths), 2), np.float32)
    loaded = read_embeddings(write(there / "emb.parquet", vectors, path=paths))
    monkeypatch.chdir(here)
    members = [encoded("green") + name for name in (b"x/b.png", b"x/c.tar/d.png", b"x/b.png")]
    expected = [encoded("red"), encoded("white"), *members, *[None] * 5]
    for row, content in enumerate(expected):
        assert loaded.picture(row) == content, f"the picture at {paths[row]} is wrong"
    monkeypatch.chdir(tmp_path)
    assert loaded.picture(0) == encoded("blue"), "a missing path starts from the table's folder"
    assert loaded.picture(2) == encoded("black") + b"x/b.png"
    assert read_embeddings(write(tmp_path / "no.parquet")).picture(0) is None


def test_a_source_gives_ranks_and_metadata(tmp_path, capsys):
    for name in ("a", "b"):
        (tmp_path / f"{name}.png").write_bytes(encoded("red") + name.encode())
    rows = ["filepath,cls,class,genus,species,sex,age", "a.png,Aves,sick,Corvus,corax,m,1", "gone.png,,,,,,",
            "b.png,Aves,,Corvus,corone,,2.5", "c.png,,,,,f,"]  # fmt: skip
    (tmp_path / "labels.csv").write_text("\n".join(rows))
    source = FolderSource(tmp_path, tmp_path / "labels.csv")
    vectors = np.array([[2, 0], [0, 3], [0, 0]], np.float32)
    labeled = LabeledEmbeddings(vectors, [source[index] for index in (0, 2, 3)], np.array([0, 2, 3]), {})
    loaded = from_labeled(labeled, source, "MODEL")
    assert "skipped 1 images without a usable vector" in capsys.readouterr().err
    np.testing.assert_array_equal(loaded.vectors, [[1, 0], [0, 1]])
    assert loaded.species().tolist() == ["Corvus corax", "Corvus corone"]
    assert loaded.texts("class").tolist() == ["Aves", "Aves"], "class is a rank"
    assert loaded.texts("label").tolist() == ["sick", ""], "the label that the table calls class is lost"
    assert loaded.numbers("age").tolist() == [1, 2.5]
    assert loaded.texts("sex").tolist() == ["m", ""]
    assert [loaded.picture(row) for row in (0, 1)] == [
        (tmp_path / f"{name}.png").read_bytes() for name in "ab"
    ]
    (tmp_path / "a.png").unlink()
    assert loaded.picture(0) is None


def test_metadata_of_several_types_become_texts():
    samples = [
        Sample(str(n), b"", {}, metadata={"mixed": value, "number": n})
        for n, value in enumerate((1, "x", 2.5))
    ]
    labeled = LabeledEmbeddings(np.ones((3, 2), np.float32), samples, np.arange(3), {})
    loaded = from_labeled(labeled, samples, "MODEL")
    assert loaded.texts("mixed").tolist() == ["1", "x", "2.5"]
    assert loaded.numbers("number").tolist() == [0, 1, 2]
    assert loaded.species().tolist() == ["", "", ""]


def test_thumbnails_are_square_or_none():
    contents = [encoded((10, 200, 30)), b"no image", encoded("red")[:60], None]
    images = Embeddings(np.ones((4, 2), np.float32), pa.table({"x": [0] * 4}), contents.__getitem__, "images")
    picture = images.thumbnail(0, 24)
    assert picture.shape == (24, 24, 3) and picture.dtype == np.uint8
    assert np.abs(picture.astype(int) - [10, 200, 30]).max() <= 2
    assert [images.thumbnail(row) for row in (1, 2, 3)] == [None] * 3
