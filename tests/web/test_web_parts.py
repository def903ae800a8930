"""Parts of the page, without a server: names, queue, map, metadata, middleware, photos."""

from __future__ import annotations

import csv
import html
import io
import os
import subprocess
import sys
import threading
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from bioclip_jax.convert import ModelBundle
from bioclip_jax.errors import UserError
from bioclip_jax.models import get_config, init_params
from bioclip_jax.pipeline.images import Preprocess, ReadOptions
from bioclip_jax.predict import Model

pytest.importorskip("gradio", reason="the page needs the extra [web]")

from bioclip_jax.html import macros
from bioclip_jax.web.api import split_labels
from bioclip_jax.web.cards import csv_url, sentence
from bioclip_jax.web.map import OTHER, Point, draw, methods, project
from bioclip_jax.web.middleware import _GET, _LOCAL_HOST, _POST, SecurityMiddleware
from bioclip_jax.web.photos import Photo, color_columns, default_column, read_metadata, read_photo
from bioclip_jax.web.serve import is_loopback, serve_page
from bioclip_jax.web.service import Busy, PhotoService, RequestQueue
from bioclip_jax.web.uploads import Limits, Upload, clean_name


@given(st.text(max_size=300))
def test_clean_names_are_short_and_have_no_folders(name: str):
    shown = clean_name(name)
    assert 0 < len(shown) <= 80 and shown.isprintable() and not set(shown) & set("/\\")
    assert clean_name(shown) == shown


def test_queue_is_exclusive_and_bounded():
    queue = RequestQueue(max_waiting=1)
    inside, leave = threading.Event(), threading.Event()
    order = []

    def first() -> None:
        with queue.turn():
            inside.set()
            leave.wait(20)
            order.append("first")

    def second() -> None:
        with queue.turn():
            order.append("second")

    threads = [threading.Thread(target=first)]
    threads[0].start()
    assert inside.wait(20)
    threads.append(threading.Thread(target=second))
    threads[1].start()
    while queue._present < 2:
        pass
    with pytest.raises(Busy, match="busy with 2 requests; try again"), queue.turn():
        pass
    leave.set()
    for thread in threads:
        thread.join(20)
    assert order == ["first", "second"]
    with queue.turn():
        pass


def test_turn_ends_with_an_error():
    queue = RequestQueue(max_waiting=0)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), queue.turn():
            raise ZeroDivisionError


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
def test_projections_preserve_neighborhoods(method, tmp_path):
    rng = np.random.default_rng(1)
    centers = rng.normal(size=(2, 16))
    vectors = np.repeat(centers, 20, axis=0) + 0.05 * rng.normal(size=(40, 16))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    points = interpreted_umap(vectors, tmp_path) if method == "UMAP" else project(vectors, method)
    apart = np.linalg.norm(points[:20].mean(0) - points[20:].mean(0))
    assert apart > 2 * points[:20].std()


def interpreted_umap(vectors: np.ndarray, folder: Path) -> np.ndarray:
    """Project in a process without numba's compiler, which would take a minute."""
    assert "UMAP" in methods()
    np.save(folder / "vectors.npy", vectors)
    script = """if True:
        import sys, numpy as np
        from bioclip_jax.web.map import compiles_first, project
        vectors = np.load(sys.argv[1])
        assert compiles_first(len(vectors), "UMAP")
        np.save(sys.argv[2], project(vectors, "UMAP"))
        assert not compiles_first(len(vectors), "UMAP"), "UMAP is compiled by now"
    """
    arguments = [sys.executable, "-c", script, folder / "vectors.npy", folder / "points.npy"]
    subprocess.run(arguments, env=os.environ | {"NUMBA_DISABLE_JIT": "1"}, check=True)
    return np.load(folder / "points.npy")


def test_unknown_projection():
    with pytest.raises(UserError, match="choose from PCA"):
        project(np.eye(3, dtype=np.float32), "<b>")


def test_colors_of_words_and_numbers():
    def colors(values: list[str]) -> list[str]:
        points = [Point(f"{i}", "x", value) for i, value in enumerate(values)]
        page = draw(points, np.zeros((len(points), 2)), "column")
        return [part.split('"')[0] for part in page.split("--color:")[1:]]

    few = colors(["a", "b", "a", ""])
    assert few[0] == few[2] != few[1] and few[3] == OTHER
    many = colors([str(number) for number in range(12)] + [""])
    assert len(set(many[:12])) == 6 and many[12] == OTHER
    assert len(set(colors([chr(97 + number) for number in range(20)]))) == 9


def test_names_on_a_map_are_escaped():
    evil = "<img src=x onerror=alert(1)>\"'"
    page = draw([Point(evil, evil, evil)], np.zeros((1, 2)), evil)
    assert "<img src=x" not in page and 'onerror=alert(1)>"' not in page


def test_metadata_by_path_and_by_name():
    columns = read_metadata(b"\xef\xbb\xbffilepath,site\nfolder/a.jpg,north\nb.jpg,\n", "table.csv")
    assert columns["folder/a.jpg"] == columns["a.jpg"] == {"site": "north"} and columns["b.jpg"] == {
        "site": ""
    }
    columns = read_metadata("File Name;Site\nB\\Ä.jpg;north\n".encode("utf-16"), "table.csv")
    assert columns[unicodedata.normalize("NFD", "Ä.jpg")] == columns["Ä.jpg"] == {"Site": "north"}
    for content, says in (
        (b"name,site\na,b\n", "none of the columns filepath, .*, only name, site"),
        (b"\xff\xfe\x00", "neither UTF-8 nor UTF-16"),
    ):
        with pytest.raises(UserError, match=says):
            read_metadata(content, "table.csv")


def test_columns_of_a_table_precede_predicted_ones():
    photos = [Photo("a", b"", np.ones(2), metadata={"predicted order": "x", "site": "y"})]
    columns = color_columns(photos)
    assert columns == ["site", "predicted order"] and default_column(columns) == "predicted order"
    assert default_column(["site"]) == "site" and default_column([]) is None


@given(st.lists(st.text(min_size=1, max_size=20), min_size=1, max_size=5))
def test_downloads_contain_the_rows_and_no_formula(names: list[str]):
    from base64 import b64decode

    url = csv_url([{"file_name": name, "score": 0.5} for name in names])
    link = macros("web.html").download(url, 'a".csv')
    content = b64decode(link.split("base64,")[1].split('"')[0]).decode("utf-8-sig")
    rows = list(csv.DictReader(io.StringIO(content, newline="")))
    assert len(rows) == len(names)
    for row in rows:
        assert row["file_name"][:1] not in ("=", "+", "-", "@", "\t") and row["score"] == "0.5"


def test_percentages():
    percent = macros("web.html").percent
    shown = [
        html.unescape(percent(score)) for score in (0, 0.00001, 0.005, 0.5, 0.9995, 0.99999, 1, 1.0000001)
    ]
    assert shown == ["0 %", "< 0.1 %", "0.5 %", "50.0 %", "> 99.9 %", "> 99.9 %", "100 %", "100 %"]


def test_labels_are_split_by_line_or_comma():
    assert split_labels("a,b") == ["a", "b"] and split_labels("a, with comma\nb") == ["a, with comma", "b"]


@given(st.text(max_size=40))
def test_middleware_rejects_files_and_proxies(path: str):
    for prefix in ("/gradio_api/file=", "/gradio_api/proxy=", "/etc/"):
        assert not _GET.fullmatch(prefix + path) and not _POST.fullmatch(prefix + path)


def test_local_hosts():
    assert all(_LOCAL_HOST.fullmatch(host) for host in (b"localhost", b"127.0.0.1:7860", b"[::1]:80"))
    assert not any(
        _LOCAL_HOST.fullmatch(host) for host in (b"localhost.evil.example", b"evil", b"", b"127.0.0.1.evil")
    )
    assert is_loopback("127.0.0.1") and is_loopback("::1") and is_loopback("localhost")
    assert not is_loopback("0.0.0.0") and not is_loopback("example.org")


@pytest.mark.parametrize(
    ("root_path", "headers", "path", "status", "root"),
    [
        ("", {}, "/config", 200, ""),
        ("", {"x-forwarded-prefix": "/bio"}, "/config", 200, "/bio"),
        ("", {"x-forwarded-prefix": "/a/b/, /c"}, "/config", 200, "/a/b"),
        ("", {"x-forwarded-prefix": '/"><script>'}, "/config", 200, ""),
        ("", {"x-forwarded-prefix": "//evil.example"}, "/config", 200, ""),
        ("", {}, "/bio/config", 404, None),
        ("/bio", {}, "/config", 200, "/bio"),
        ("/bio/", {}, "/bio/config", 200, "/bio"),
        ("/bio", {"x-forwarded-prefix": "/other"}, "/config", 200, "/bio"),
        ("/bio", {"host": "photos.example"}, "/config", 403, None),
        ("https://photos.example/bio", {"host": "photos.example"}, "/config", 200, "/bio"),
        ("https://photos.example", {"host": "Photos.example:443"}, "/config", 200, ""),
        ("https://photos.example/bio", {"host": "evil.example"}, "/config", 403, None),
        ("https://photos.example/bio", {"host": "photos.example.evil.example"}, "/config", 403, None),
    ],
)
def test_paths_below_a_proxy(root_path: str, headers: dict, path: str, status: int, root: str | None):
    import asyncio

    seen, sent = [], []

    async def app(scope, receive, send) -> None:
        seen.append((scope["path"], scope.get("root_path", "")))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def receive() -> dict:
        return {"type": "http.request", "body": b""}

    async def send(message: dict) -> None:
        sent.append(message)

    headers = {"host": "localhost:7860"} | headers
    encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": "GET", "path": path, "raw_path": path.encode(), "headers": encoded}
    asyncio.run(SecurityMiddleware(app, 200, True, root_path)(scope, receive, send))
    assert sent[0]["status"] == status
    assert seen == ([] if root is None else [("/config", root)])


def test_messages_are_sentences():
    assert sentence("the index holds none; did you mean a?") == "The index holds none; did you mean a?"
    assert sentence("it is empty") == "It is empty." and sentence("It is.") == "It is."
    assert "<script>" not in macros("web.html").failed("<script>")


def test_invalid_options_are_rejected_before_the_model_is_loaded(tmp_path):
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(UserError, match="cannot be used.*choose another --port"):
            serve_page("no model", port=taken.getsockname()[1])
    with pytest.raises(UserError, match="the port is 70000"):
        serve_page("no model", port=70000)
    with pytest.raises(UserError, match="--max-upload-mb is 0"):
        serve_page("no model", max_upload_mb=0)
    for root_path in ("bio", "ftp://a/b", "/a b", "https://", "/a//b"):
        with pytest.raises(UserError, match="--root-path is"):
            serve_page("no model", root_path=root_path)
    with pytest.raises(UserError, match="--skip-unknown needs --subset"):
        serve_page("no model", skip_unknown=True)
    with pytest.raises(UserError, match="--subset .* does not exist"):
        serve_page("no model", subset=tmp_path / "none.csv")
    with pytest.raises(UserError, match="--index .* does not exist"):
        serve_page("no model", index=tmp_path / "none")


def upload(image: Image.Image, **options) -> Upload:
    stream = io.BytesIO()
    image.save(stream, "JPEG", **options)
    return Upload("photo.jpg", stream)


@pytest.mark.parametrize(
    ("size", "sentence"), [((1, 30_000), "too long and thin"), ((30_000, 1), "too long and thin")]
)
def test_thin_picture_is_rejected(size, sentence):
    error = read_photo(upload(Image.new("RGB", size)), 10**7, Preprocess(224))
    assert isinstance(error, UserError) and sentence in str(error) and "million" not in str(error), error
    squash = Preprocess(224, resize_mode="squash")
    assert not isinstance(read_photo(upload(Image.new("RGB", size)), 10**7, squash), UserError)


def test_photo_is_upright_unless_exif_is_ignored():
    exif = Image.Exif()
    exif[0x0112] = 6
    halves = Image.new("RGB", (64, 48), "red")
    halves.paste("blue", (0, 0, 64, 24))
    # Stored with blue at the top; rotated clockwise by a quarter it has blue on the right.
    for read, blue in ((ReadOptions(), np.s_[:, 20:]), (ReadOptions(exif="ignore"), np.s_[:12])):
        pixels, thumbnail = read_photo(
            upload(halves, exif=exif), 10**6, Preprocess(32, resize_mode="squash", read=read)
        )
        assert (pixels[blue][..., 2] > 200).all(), f"exif={read.exif}"
        assert Image.open(io.BytesIO(thumbnail)).size == (48, 64), "thumbnails must be upright"


@pytest.mark.parametrize("transform", ["model", "pybioclip"])
def test_vectors_match_predict_under_either_transform(transform):
    config = get_config("ViT-Test-16")
    bundle = ModelBundle(
        config, init_params(config), Preprocess(config.vision.image_size), "ViT-Test-16", "random"
    )
    model = Model(bundle, transform=transform)
    picture = Image.radial_gradient("L").convert("RGB").resize((90, 60))
    photos, bad = PhotoService(model, limits=Limits()).read(
        [upload(picture), Upload("empty.jpg", io.BytesIO())]
    )
    assert [row["file_name"] for row in bad] == ["empty.jpg"] and len(photos) == 1, bad
    stream = io.BytesIO()
    picture.save(stream, "JPEG")
    np.testing.assert_allclose(photos[0].vector, model.encode_image([stream.getvalue()])[0], atol=1e-6)
    assert PhotoService(model, limits=Limits()).read([Upload("empty.jpg", io.BytesIO())])[0] == []
