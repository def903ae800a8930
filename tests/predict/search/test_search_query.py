"""Search by images and texts, filters, and the approximate index."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bioclip_jax.errors import UserError
from bioclip_jax.predict.search.approximate import RECALL, update_index
from bioclip_jax.predict.search.build import delete_images
from bioclip_jax.predict.search.query import search_index
from bioclip_jax.predict.search.table import LINEAGE, ImageIndex
from bioclip_jax.predict.search.writer import make_rows


def paths(rows):
    return [Path(row["path"]).name for row in rows]


def test_neighbors_are_ranked_by_cosine(gallery, built, index_model, tmp_path):
    query = gallery / "2.png"
    result = search_index(built, [query], k=8, as_result=True)
    rows = result["neighbours"]
    assert list(rows[0]) == ["query", "rank", "path", "score", *LINEAGE]
    vectors = index_model.encode_image([gallery / f"{number}.png" for number in range(8)])
    cosines = vectors @ vectors[2]
    assert paths(rows) == [f"{number}.png" for number in np.argsort(-cosines)]
    np.testing.assert_allclose([row["score"] for row in rows], np.sort(cosines)[::-1], atol=1e-5)
    assert rows[0]["species"] == "Malus domestica" and rows[0]["species_epithet"] == "domestica"
    assert [row["rank"] for row in rows] == list(range(1, 9))
    search_index(built, [query], k=8, output=tmp_path / "rows.csv")
    with open(tmp_path / "rows.csv", newline="") as file:
        assert paths(csv.DictReader(file)) == paths(rows)


def test_text_queries(built, index_model, gallery):
    rows = search_index(built, texts=["an apple", "an oak"], k=3, as_result=True)["neighbours"]
    assert [row["query"] for row in rows] == ["an apple"] * 3 + ["an oak"] * 3
    cosines = (
        index_model.encode_text("an oak")
        @ index_model.encode_image([gallery / f"{number}.png" for number in range(8)]).T
    )
    assert paths(rows[3:]) == [f"{number}.png" for number in np.argsort(-cosines[0])[:3]]


@pytest.mark.parametrize(
    "how, expected",
    [
        ({"within": "Rosaceae"}, {0, 1, 2, 3}),
        ({"within": "Quercus robur"}, {4, 5, 6}),
        ({"within": " quercus ROBUR"}, {4, 5, 6}),
        ({"where": "locality = 'St. John''s'"}, {1, 3, 5, 7}),
        ({"within": "Fagales", "where": "locality = 'Kew' OR id_ = 5"}, {4, 5, 6}),
        ({"where": "family = ''"}, {7}),
        ({"where": "`order` = 'Nothing'"}, set()),
    ],
)
def test_filters_keep_the_order_of_matching_images(built, gallery, how, expected):
    rows = search_index(built, [gallery / "0.png"], k=10, as_result=True, **how)["neighbours"]
    assert {int(name[0]) for name in paths(rows)} == expected
    everything = search_index(built, [gallery / "0.png"], k=8, as_result=True)["neighbours"]
    assert paths(rows) == [name for name in paths(everything) if int(name[0]) in expected], (
        "the order changed"
    )


def test_unknown_taxon_suggests_similar_names(built, gallery):
    with pytest.raises(UserError, match="Rosacea'.*did you mean Rosaceae"):
        search_index(built, [gallery / "0.png"], within="Rosacea")
    with pytest.raises(UserError, match="x' OR 'a' = 'a"):
        search_index(built, [gallery / "0.png"], within="x' OR 'a' = 'a")


@pytest.mark.parametrize(
    "where",
    ["family =", "nothing = 3", "genus = 'x') OR (1 = 1", "id_ > 5 +", "id_ > 5; id_ > 6", "id_ > 5 id_"],
)
def test_invalid_filter_is_a_one_line_error(index, gallery, where):
    for act in (
        lambda: search_index(index, texts=["x"], where=where),
        lambda: delete_images(index, where=where),
    ):
        with pytest.raises(UserError) as caught:
            act()
        assert repr(where) in str(caught.value) and "\n" not in str(caught.value)
    assert len(ImageIndex(index)) == 8


def test_empty_result_replaces_an_older_file(built, gallery, tmp_path):
    for name, content in (("r.csv", f"query,rank,path,score,{','.join(LINEAGE)}\n"), ("r.json", "[]\n")):
        (tmp_path / name).write_text("old")
        ask = {"where": "`order` = 'Nothing'", "output": tmp_path / name}
        assert search_index(built, [gallery / "0.png"], **ask)["output"] == str(tmp_path / name)
        assert (tmp_path / name).read_text() == content
    search_index(built, [gallery / "0.png"], k=1, output=tmp_path / "hit.parquet")
    search_index(built, [gallery / "0.png"], where="genus = 'x'", output=tmp_path / "none.parquet")
    hit, none = pq.read_table(tmp_path / "hit.parquet"), pq.read_table(tmp_path / "none.parquet")
    assert none.schema == hit.schema and none.num_rows == 0


def test_results_do_not_overwrite_inputs(gallery, built, tmp_path):
    shutil.copy(gallery / "0.png", tmp_path / "query")
    (tmp_path / "link.csv").symlink_to(tmp_path / "query")
    for output in (tmp_path / "query", tmp_path / "link.csv"):
        with pytest.raises(UserError, match="--output would overwrite .*query, which is an input"):
            search_index(built, [tmp_path / "query"], output=output)
    before = (Path(built) / "index.json").read_bytes()
    with pytest.raises(UserError, match="which is part of the index"):
        search_index(built, [gallery / "0.png"], output=Path(built) / "index.json", format="json")
    assert (Path(built) / "index.json").read_bytes() == before


def clustered(number: int, dim: int = 32, seed: int = 0) -> np.ndarray:
    centers = np.random.default_rng(9).standard_normal((20, dim))
    rng = np.random.default_rng(seed)
    return (centers[rng.integers(0, 20, number)] + 0.6 * rng.standard_normal((number, dim))).astype(
        np.float32
    )


def test_approximate_index_reaches_its_reported_recall(tmp_path):
    vectors = clustered(3000)
    index = ImageIndex.create(tmp_path / "index", 32, fingerprint="f", model=None, source="synthetic")
    names = [str(number) for number in range(3000)]
    columns = pa.table({"family": ["Rosaceae" if number % 50 == 0 else "other" for number in range(3000)]})
    index.add(make_rows(names[:2000], names[:2000], vectors[:2000], columns[:2000]))
    report = update_index(index, exact_below=1000)
    assert report["recall"] >= RECALL and report["count"] == 2000
    index.add(make_rows(names[2000:], names[2000:], vectors[2000:], columns[2000:]))
    assert update_index(index, exact_below=1000)["recall"] >= RECALL, "later images are not found"
    index = ImageIndex(tmp_path / "index")
    assert index.about["nprobes"] and index.table.list_indices(), "there is no approximate index"
    queries = clustered(40, seed=1)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = queries @ unit.T / np.linalg.norm(queries, axis=1, keepdims=True)
    hits = 0
    for row, rows in zip(cosines, index.search(queries, 10)):
        hits += len({int(neighbor["path"]) for neighbor in rows} & set(np.argsort(-row)[:10]))
        assert all(abs(neighbor["score"] - row[int(neighbor["path"])]) < 1e-5 for neighbor in rows), (
            "scores are not the cosines"
        )
    assert hits / 400 >= RECALL, f"recall {hits / 400} on new queries"
    few = np.arange(0, 3000, 50)
    for row, rows in zip(cosines, index.search(queries[:5], 10, where="family = 'Rosaceae'")):
        expected = few[np.argsort(-row[few])[:10]]
        assert [int(neighbor["path"]) for neighbor in rows] == expected.tolist(), (
            "filtered search must be exact"
        )
