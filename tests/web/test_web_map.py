"""Map: projections, colors, escaping."""

from __future__ import annotations

import unicodedata

import numpy as np
import pytest

from bioclip_jax.errors import UserError

pytest.importorskip("gradio", reason="the page needs the extra [web]")

from bioclip_jax.web.map import OTHER, Point, compiles_first, draw, methods, project
from bioclip_jax.web.photos import Photo, color_columns, default_column, read_metadata


@pytest.mark.parametrize("method", ["PCA", "t-SNE"])
@pytest.mark.parametrize("count", [1, 2, 3, 6, 40])
def test_projections_are_finite_and_deterministic(method: str, count: int):
    vectors = np.random.default_rng(0).normal(size=(count, 16)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    points = project(vectors, method)
    assert points.shape == (count, 2) and np.isfinite(points).all()
    assert points.min() >= 0 and points.max() <= 1
    np.testing.assert_array_equal(points, project(vectors, method))


def test_projection_of_equal_vectors():
    points = project(np.ones((7, 4), np.float32) / 2, "PCA")
    assert np.isfinite(points).all()


@pytest.mark.parametrize("method", ["PCA", "t-SNE", "UMAP"])
def test_projections_preserve_neighborhoods(method: str):
    rng = np.random.default_rng(1)
    centers = rng.normal(size=(2, 16))
    vectors = np.repeat(centers, 20, axis=0) + 0.05 * rng.normal(size=(40, 16))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    assert method in methods()
    # UMAP runs only here, since compiling it takes longer than all other tests of this file together.
    assert compiles_first(len(vectors), method) == (method == "UMAP")
    points = project(vectors, method)
    assert not compiles_first(len(vectors), method), f"{method} is compiled by now"
    apart = np.linalg.norm(points[:20].mean(0) - points[20:].mean(0))
    assert apart > 2 * points[:20].std()


def test_unknown_projection():
    with pytest.raises(UserError, match="choose from PCA"):
        project(np.eye(3, dtype=np.float32), "<b>")


def test_colors_of_words_and_numbers():
    def colors(values: list[str]) -> list[str]:
        points = [Point(f"{i}", "x", value) for i, value in enumerate(values)]
        page = draw("en", points, np.zeros((len(points), 2)), "column")
        return [part.split('"')[0] for part in page.split("--color:")[1:]]

    few = colors(["a", "b", "a", ""])
    assert few[0] == few[2] != few[1] and few[3] == OTHER
    many = colors([str(number) for number in range(12)] + [""])
    assert len(set(many[:12])) == 6 and many[12] == OTHER
    assert len(set(colors([chr(97 + number) for number in range(20)]))) == 9


def test_names_on_a_map_are_escaped():
    evil = "<img src=x onerror=alert(1)>\"'"
    page = draw("en", [Point(evil, evil, evil)], np.zeros((1, 2)), evil)
    assert "<img src=x" not in page and 'onerror=alert(1)>"' not in page


def test_metadata_by_path_and_by_name():
    columns = read_metadata(b"\xef\xbb\xbffilepath,site\nfolder/a.jpg,north\nb.jpg,\n", "table.csv")
    assert columns["folder/a.jpg"] == columns["a.jpg"] == {"site": "north"} and columns["b.jpg"] == {
        "site": ""
    }
    columns = read_metadata("File Name;Site\nB\\Ä.jpg;north\n".encode("utf-16"), "table.csv")
    assert columns[unicodedata.normalize("NFD", "Ä.jpg")] == columns["Ä.jpg"] == {"Site": "north"}
    for content, message in (
        (b"name,site\na,b\n", "none of the columns filepath, .*, only name, site"),
        (b"\xff\xfe\x00", "neither UTF-8 nor UTF-16"),
    ):
        with pytest.raises(UserError, match=message):
            read_metadata(content, "table.csv")


def test_columns_of_a_table_precede_predicted_ones():
    photos = [Photo("a", b"", np.ones(2), metadata={"predicted order": "x", "site": "y"})]
    columns = color_columns(photos)
    assert columns == ["site", "predicted order"] and default_column(columns) == "predicted order"
    assert default_column(["site"]) == "site" and default_column([]) is None
