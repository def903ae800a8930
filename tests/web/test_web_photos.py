"""Photos and results: names, queue, downloads, labels, decoding, vectors."""

from __future__ import annotations

import csv
import io
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from bioclip_jax import file_kinds
from bioclip_jax.convert import ModelBundle
from bioclip_jax.errors import UserError
from bioclip_jax.models import get_config, init_params
from bioclip_jax.pipeline.images import Preprocess, ReadOptions
from bioclip_jax.predict import Model

pytest.importorskip("gradio", reason="the page needs the extra [web]")

sys.path.append(str(Path(__file__).parents[1] / "pipeline"))
from make_pictures import dng, halves, heic, video

from bioclip_jax.web.api import split_labels
from bioclip_jax.web.cards import csv_url, sentence
from bioclip_jax.web.cards import html as page_parts
from bioclip_jax.web.language import language
from bioclip_jax.web.photos import read_photo
from bioclip_jax.web.queue import Busy, RequestQueue
from bioclip_jax.web.service import PhotoService
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
    while queue.present < 2:
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


@given(st.lists(st.text(min_size=1, max_size=20), min_size=1, max_size=5))
def test_downloads_contain_the_rows_and_no_formula(names: list[str]):
    from base64 import b64decode

    url = csv_url([{"file_name": name, "score": 0.5} for name in names])
    link = page_parts("en").download(url, 'a".csv')
    content = b64decode(link.split("base64,")[1].split('"')[0]).decode("utf-8-sig")
    rows = list(csv.DictReader(io.StringIO(content, newline="")))
    assert len(rows) == len(names)
    for row in rows:
        assert row["file_name"][:1] not in ("=", "+", "-", "@", "\t") and row["score"] == "0.5"


def test_percentages():
    scores = (0, 0.00001, 0.005, 0.5, 0.9995, 0.99999, 1, 1.0000001)
    shown = [language("en").percent(score).replace("\u00a0", " ") for score in scores]
    assert shown == ["0 %", "< 0.1 %", "0.5 %", "50.0 %", "> 99.9 %", "> 99.9 %", "100 %", "100 %"]
    assert (
        language("fr").percent(0.995) == "99,5\u202f%" and language("de").percent(0.00001) == "< 0,1\u00a0%"
    )


def test_labels_are_split_by_line_or_comma():
    assert split_labels("a,b") == ["a", "b"] and split_labels("a, with comma\nb") == ["a, with comma", "b"]


def test_messages_are_sentences():
    assert sentence("the index holds none; did you mean a?") == "The index holds none; did you mean a?"
    assert sentence("it is empty") == "It is empty." and sentence("It is.") == "It is."
    assert "<script>" not in page_parts("en").failed("<script>")


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
    picture = Image.new("RGB", (64, 48), "red")
    picture.paste("blue", (0, 0, 64, 24))
    # Stored with blue at the top; rotated clockwise by a quarter it has blue on the right.
    for read, blue in ((ReadOptions(), np.s_[:, 20:]), (ReadOptions(exif="ignore"), np.s_[:12])):
        pixels, thumbnail = read_photo(
            upload(picture, exif=exif), 10**6, Preprocess(32, resize_mode="squash", read=read)
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
    assert [name for name, _ in bad] == ["empty.jpg"] and len(photos) == 1, bad
    stream = io.BytesIO()
    picture.save(stream, "JPEG")
    np.testing.assert_allclose(photos[0].vector, model.encode_image([stream.getvalue()])[0], atol=1e-6)
    assert PhotoService(model, limits=Limits()).read([Upload("empty.jpg", io.BytesIO())])[0] == []


def test_photographs_of_iphones_are_read_and_camera_raw_is_not(monkeypatch):
    photo = heic(halves(64, 48), orientation=6)
    pixels, thumbnail = read_photo(Upload("a.HEIC", io.BytesIO(photo)), 10**6, Preprocess(32))
    assert pixels.shape == (32, 32, 3) and Image.open(io.BytesIO(thumbnail)).size == (48, 64)
    for name, content, message in (
        ("a.dng", dng(halves()), "a.dng is not an image; choose a JPEG, HEIC"),
        ("a.mp4", video([halves()]), "a.mp4 is not an image"),
        ("a.heic", photo[: len(photo) // 2], "a.heic is damaged or cut off"),
    ):
        error = read_photo(Upload(name, io.BytesIO(content)), 10**9, Preprocess(32))
        assert isinstance(error, UserError) and str(error).startswith(message), error
    limited = Preprocess(32, read=ReadOptions(max_pixels=1000))
    error = read_photo(Upload("a.heic", io.BytesIO(photo)), 10**6, limited)
    assert "million pixels; shrink it" in str(error)
    monkeypatch.setattr(file_kinds.importlib.util, "find_spec", lambda name: None)
    file_kinds.has_extra.cache_clear()
    try:
        error = read_photo(Upload("a.heic", io.BytesIO(photo)), 10**6, Preprocess(32))
        assert str(error) == "a.heic is HEIC, which this server does not read; choose a JPEG or PNG"
    finally:
        monkeypatch.undo()
        file_kinds.has_extra.cache_clear()
