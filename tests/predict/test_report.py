"""The page of predictions: well-formed, self-contained, free of injected markup, and usable in a browser."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from bioclip_jax.html import THUMBNAIL_SIDE, macros
from bioclip_jax.predict.inputs import ImageFile
from bioclip_jax.predict.predict import predict_files
from bioclip_jax.predict.report import Report, report, write_page
from bioclip_jax.predict.report import tree as tree_module
from bioclip_jax.predict.report.page import thumbnails
from bioclip_jax.predict.report.report import Name
from bioclip_jax.predict.report.tree import taxon_tree
from bioclip_jax.predict.results import Prediction

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
EVIL = "</script><script>window.evil = 1</script><img src=x onerror='window.evil = 1'>\"&amp;"
EVIL_FILE = "<script>window.evil = 1<\\script><img src=x onerror='window.evil = 1'>.jpg"
RANKS = ("kingdom", "phylum", "class", "order", "family", "genus", "species")
_VOID = {"meta", "img", "br", "input"}
# Genus and confidence of each image's best prediction.
PREDICTIONS = [("Malus", 0.97), ("Malus", 0.62), ("Pyrus", 0.41), ("Vaccinium", 0.88), (EVIL, 0.08)]


def species(genus: str, score: float, file: str) -> dict:
    lineage = ("Plantae", "P", "C", "Ericales" if genus == "Vaccinium" else "Rosales", f"{genus}aceae", genus)
    names = dict(zip(RANKS, lineage)) | {"species_epithet": "alba", "species": f"{genus} alba"}
    return {"file_name": file, **names, "common_name": f"white {genus}", "score": score}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photographs")
    random = np.random.default_rng(0)
    for index in range(len(PREDICTIONS)):
        pixels = np.kron(random.integers(0, 256, (6, 9, 3), np.uint8), np.ones((40, 40, 1), np.uint8))
        Image.fromarray(pixels).save(folder / (f"{index}.jpg" if index else EVIL_FILE))
    return folder


def predictions_of(folder: Path) -> Iterator[Prediction]:
    for index, (genus, score) in enumerate(PREDICTIONS):
        path = str(folder / (f"{index}.jpg" if index else EVIL_FILE))
        others = [species(f"Other{number}", (1 - score) / 2**number, path) for number in range(1, 8)]
        yield ImageFile(path, path), [species(genus, score, path), *others]


def report_of(predictions: Iterator[Prediction], **settings) -> Report:
    classifier = SimpleNamespace(model_str=EVIL, model=SimpleNamespace(fingerprint="f00d" * 16))
    made = Report(classifier, {"rank": "species", "k": 8} | settings)
    passed = list(made.watch(predictions))
    assert all(rows for _, rows in passed)
    return made


@pytest.fixture(scope="module")
def written(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "page.html"
    write_page(report_of(predictions_of(folder), within=EVIL), path, 6, [f"{EVIL} cannot be read"])
    return path


class Page(HTMLParser):
    """Texts, data and addresses of a page; nesting must be sound."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.loads: list[str] = []
        self.scripts: list[str] = []
        self.feed(text)
        assert self.open == [], f"left open: {self.open}"

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.loads += [
            value for name, value in attributes if name in ("src", "href", "srcset", "onerror", "onclick")
        ]
        if tag not in _VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data):
        (self.scripts if self.open and self.open[-1] == "script" else self.texts).append(data)

    @property
    def data(self) -> dict:
        return next(json.loads(script) for script in self.scripts if script.startswith("{"))


def test_page_is_well_formed_and_self_contained(written: Path):
    page = Page(written.read_text())
    assert page.loads == [] and page.tags.count("script") == 2, "data became markup"
    text = " ".join(page.texts)
    assert (
        "What is in 6 images" in text and f"{EVIL} cannot be read" in text and f"within: {EVIL[:70]}" in text
    )
    cards = page.data["cards"]
    assert [Path(card[0]).name for card in cards] == [EVIL_FILE, "1.jpg", "2.jpg", "3.jpg", "4.jpg"]
    assert [card[1][0][1] for card in cards] == [score for _, score in PREDICTIONS]
    lineage, common = page.data["names"][cards[4][1][0][0]]
    assert lineage[-1] == f"{EVIL} alba" and common == f"white {EVIL}" and len(lineage) == 7


def test_summary_counts_every_image(folder: Path, written: Path):
    made = report_of(predictions_of(folder))
    assert sum(made.confidence) == made.images == 5 and made.ranks == {"species": 5}
    assert sum(made.confidence[16:]) == 2
    assert sorted(made.best.values()) == [1, 1, 1, 2]
    page = written.read_text()
    for shown in (
        "95 to 100 %",
        "1 (20 %)",
        "40 %</b><span>have at least 80 % confidence",
        "4</b><span>genera",
    ):
        assert shown in page, f"{shown!r} is not on the page"


def test_back_off_and_unknown_are_counted_by_rank():
    image = ImageFile("a", "a")
    full = species("Malus", 0.9, "a")
    family = full | {"rank": "family", "genus": "", "species_epithet": "", "species": "", "common_name": ""}
    unknown = {name: "" for name in full} | {"file_name": "a", "score": 0.2}
    rows = [
        full | {"rank": "species"},
        family,
        unknown | {"rank": "unknown"},
        unknown | {"species": "unknown"},
    ]
    made = report_of((image, [row]) for row in rows)
    assert made.ranks == {"species": 1, "family": 1, "unknown": 2}
    assert made.best[Name(("Plantae", "P", "C", "Rosales", "Malusaceae"))] == 1
    labels = [{"file_name": "a", "classification": label, "score": 0.5} for label in ("x", "unknown")]
    assert set(report_of((image, [row]) for row in labels).best) == {Name(("x",)), Name(())}


def test_cards_are_limited_but_include_every_prediction(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(report, "MOST_ROWS", 40)
    monkeypatch.setattr(report, "MOST_THUMBNAILS", 5)
    rare = {300: "Rare", 999: "Rarer"}
    image = [ImageFile(f"{index}.jpg", f"{index}.jpg") for index in range(1000)]
    predictions = (
        (image[index], [species(rare.get(index, f"G{index % 3}"), 0.5, image[index].name)] * 2)
        for index in range(1000)
    )
    made = report_of(predictions)
    cards, pictured = made.cards()
    assert len(cards) == 20 and len(pictured) == 5 and made.images == sum(made.best.values()) == 1000
    assert [card.index for card in cards] == sorted(card.index for card in cards)
    assert {0, 1, 2, 300, 999} == pictured, "the first image of each prediction has a picture"
    write_page(made, tmp_path / "page.html", 1000, [])
    assert "20 of the 1,000 images are here" in " ".join(Page((tmp_path / "page.html").read_text()).texts)


def test_tree_counts_taxa_and_hides_the_rarest(monkeypatch):
    best = {Name(("K", "P", f"C{number}"), ""): number for number in range(1, 10)}
    draw = macros("macros.html").tree
    whole = draw(taxon_tree(best))
    assert whole.count("<details") == 2 and whole.count('class="leaf"') == 9 and "45</span>" in whole
    monkeypatch.setattr(tree_module, "MOST_NODES", 5)
    part = draw(taxon_tree(best))
    assert part.count('class="leaf"') == 3 and "and 6 more" in part and "C9" in part and ">C1<" not in part
    Page(part)


def test_thumbnails_are_small_upright_and_uncropped(folder: Path, tmp_path: Path):
    turned = Image.new("RGB", (600, 300), "red")
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(tmp_path / "turned.jpg", exif=exif)
    paths = [folder / "1.jpg", tmp_path / "turned.jpg", tmp_path / "gone.jpg"]
    first, second, gone = thumbnails([ImageFile(str(path), str(path)) for path in paths])
    assert gone == ""
    sizes = [Image.open(io.BytesIO(_bytes(url))).size for url in (first, second)]
    assert sizes == [
        (THUMBNAIL_SIDE, round(THUMBNAIL_SIDE * 240 / 360)),
        (THUMBNAIL_SIDE // 2, THUMBNAIL_SIDE),
    ]


def _bytes(url: str) -> bytes:
    assert url.startswith("data:image/jpeg;base64,")
    return base64.b64decode(url.split(",", 1)[1])


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
def test_page_in_a_browser(written: Path, tmp_path: Path):
    from playwright.sync_api import sync_playwright

    artefacts = Path(os.environ.get("BIOCLIP_JAX_ARTEFACTS", tmp_path))
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for width, scheme in ((390, "dark"), (1280, "light")):
            console: list[str] = []
            requests: list[str] = []
            context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
            view = context.new_page()
            view.on("console", lambda message, console=console: console.append(message.text))
            view.on("pageerror", lambda error, console=console: console.append(str(error)))
            view.on("request", lambda request, requests=requests: requests.append(request.url))
            view.goto(written.as_uri())
            look_around(view, width)
            view.screenshot(path=artefacts / f"predict-report-{width}.png", full_page=True)
            assert not console, console
            assert [url for url in requests if not url.startswith("data:")] == [written.as_uri()]
            context.close()
        browser.close()


def look_around(view, width: int) -> None:
    """Filter, sort and open the tree by keyboard; no overflow, and no name has run as a script."""
    assert view.evaluate("document.documentElement.scrollWidth") == width
    assert view.evaluate("window.evil") is None
    cards = view.locator(".card")
    assert cards.count() == 5
    assert view.evaluate("[...document.images].every((image) => image.complete && image.naturalWidth > 0)")

    def best() -> list[str]:
        return view.locator(".card .first .name").all_inner_texts()

    view.get_by_label("Order").select_option("lowest")
    assert best()[:2] == [f"{EVIL} alba", "Pyrus alba"]
    view.get_by_label("Order").select_option("highest")
    assert best()[:2] == ["Malus alba", "Vaccinium alba"]
    view.get_by_label("Name or file").fill("ERICALES")
    view.locator("#status", has_text="1 of 5 images").wait_for()
    assert best() == ["Vaccinium alba"]
    view.get_by_label("Name or file").fill("")
    slider = view.get_by_label("Confidence from")
    slider.focus()
    slider.press("End")
    view.locator("#status", has_text="0 of 5 images").wait_for()
    slider.fill("60")
    view.locator("#status", has_text="3 of 5 images").wait_for()
    slider.fill("0")
    view.locator(".card").nth(4).wait_for()
    assert view.locator(".card details summary").first.inner_text() == "3 more"
    first = view.locator(".tree details").first
    opened = first.get_attribute("open")
    first.locator("summary").first.focus()
    view.keyboard.press("Enter")
    assert first.get_attribute("open") != opened
    view.keyboard.press("Enter")


@pytest.mark.shared_data
def test_predict_writes_the_page(photographs: list[Path], model_directory: Path, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    page, log = tmp_path / "page.html", tmp_path / "log.json"
    result = predict_files(
        photographs,
        str(model_directory),
        labels="apple,pear",
        output=tmp_path / "out.csv",
        report=page,
        log=log,
    )
    assert result["report"] == str(page) and result["log"] == str(log)
    cards = Page(page.read_text()).data["cards"]
    assert [card[0] for card in cards] == [str(path) for path in photographs]
    assert all(re.match("data:image/jpeg", picture) for _, _, picture, _ in cards)
    assert json.loads(log.read_text())["top_level_settings"] == {"classes": "apple,pear"}
