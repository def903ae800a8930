"""The report of an analysis and its curves: well-formed, self-contained, free of injected markup."""

from __future__ import annotations

import base64
import csv
import io
import re
import shutil
import urllib.parse
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from bioclip_jax.analyze.figures.curves import plot_curves
from bioclip_jax.analyze.report import Figure, Part, Table, write_page
from bioclip_jax.errors import UserError
from bioclip_jax.plots import new_figure, save_figure, write_csv

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
EVIL = "</script><script>window.evil = 1</script><img src=x onerror='window.evil = 1'>\"&amp;"
_VOID = {"meta", "img"}


class Read(HTMLParser):
    """Tags with attributes and texts by tag of a document; nesting must be sound."""

    def __init__(self, document):
        super().__init__()
        self.tags, self.texts, self._open = [], [], []
        self.feed(document)
        self.close()
        assert not self._open, f"{self._open} are never closed"

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in _VOID:
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open and self._open[-1] == tag, f"</{tag}> closes {self._open[-1:]}"
        self._open.pop()

    def handle_data(self, data):
        self.texts.append((self._open[-1] if self._open else "", data))

    def of(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]

    def text(self, tag):
        return [data for name, data in self.texts if name == tag]


def picture(file, size=(640, 360)):
    Image.new("RGB", size, "white").save(file)
    return file


def page_of(folder, title="Within species", facts=(), parts=()):
    write_page(folder / "report.html", title, facts, parts)
    return (folder / "report.html").read_text(encoding="utf-8")


@pytest.fixture
def figure(tmp_path):
    (tmp_path / "a.csv").write_text("stage,value\none,1\n")
    return Figure("Separability", "Held-out images.", picture(tmp_path / "a.png"), tmp_path / "a.csv")


def test_everything_is_in_the_page(tmp_path, figure):
    table = Table(
        "By factor",
        ["factor", "images", "share", "p"],
        [["sex", 1200, 0.51239, None], ["age", 7, 1e4, np.nan]],
        [1, 2, 3],
    )
    parts = [Part("Separability", ["Two words."], [figure], [table]), Part("Nothing else", ["A word."])]
    read_page = Read(page_of(tmp_path, facts=[("embeddings", "a.parquet")], parts=parts))
    assert read_page.text("h1") == ["Within species"]
    assert read_page.text("h2") == ["Separability", "Nothing else"]
    assert read_page.text("p") == ["Two words.", "A word."]
    assert (read_page.text("dt"), read_page.text("dd")) == (["embeddings"], ["a.parquet"])
    assert read_page.text("td") == ["1,200", "0.512", "–", "7", "10,000", "–"]
    assert read_page.text("caption") == ["By factor"]
    (image,) = read_page.of("img")
    assert image["alt"] == "Separability"
    kind, content = image["src"].split(",", 1)
    assert kind == "data:image/png;base64" and base64.b64decode(content) == (tmp_path / "a.png").read_bytes()
    link, save = read_page.of("a")
    assert link == {"href": "./a.csv"}
    assert save["download"] == "a.csv"
    assert base64.b64decode(save["href"].split(",", 1)[1]) == (tmp_path / "a.csv").read_bytes()


def test_sections_of_equal_titles_have_distinct_ids(tmp_path):
    read_page = Read(page_of(tmp_path, parts=[Part("Sex"), Part("sex"), Part("性")]))
    names = [heading["id"] for heading in read_page.of("h2")]
    assert len(set(names)) == 3, f"two parts are called the same: {names}"
    assert [part["aria-labelledby"] for part in read_page.of("section")] == names


def test_a_large_table_is_linked_but_not_embedded(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"x" * 200_000)
    figure = Figure("Map", "", picture(tmp_path / "a.png"), tmp_path / "a.csv")
    assert Read(page_of(tmp_path, parts=[Part("Map", [], [figure])])).of("a") == [{"href": "./a.csv"}]


@pytest.mark.parametrize("name", ["a b.csv", "50 % of ä?.csv", "a:b#c.csv", "sub/a.csv"])
def test_links_escape_any_file_name(tmp_path, name):
    (tmp_path / "sub").mkdir()
    (tmp_path / name).write_text("x\n")
    figure = Figure("Map", "", picture(tmp_path / "a.png"), tmp_path / name)
    link = Read(page_of(tmp_path, parts=[Part("Map", [], [figure])])).of("a")[0]["href"]
    url = urllib.parse.urljoin(f"file://{tmp_path}/report.html", link)
    parsed = urllib.parse.urlsplit(url)
    assert (parsed.scheme, parsed.query, parsed.fragment) == ("file", "", ""), link
    assert urllib.parse.unquote(parsed.path) == str(tmp_path / name)


@given(st.text(st.characters(codec="utf-8", exclude_characters="\r\0"), min_size=1) | st.just(EVIL))
def test_no_text_becomes_markup(tmp_path_factory, text):
    folder = tmp_path_factory.mktemp("page")
    (folder / "a.csv").write_text(text, encoding="utf-8")
    figure = Figure(text, text, picture(folder / "a.png", (2, 2)), folder / "a.csv")
    table = Table(text, [text], [[text]])
    read_page = Read(page_of(folder, text, [(text, text)], [Part(text, [text], [figure], [table])]))
    plain = Read(
        page_of(
            folder,
            "x",
            [("x", "x")],
            [Part("x", ["x"], [Figure("x", "x", figure.png, figure.csv)], [Table("x", ["x"], [["x"]])])],
        )
    )
    assert [tag for tag, _ in read_page.tags] == [tag for tag, _ in plain.tags], (
        "the page has other tags than with plain text"
    )
    assert read_page.of("img")[0]["alt"] == text
    for tag in ("h1", "h2", "p", "dt", "dd", "caption", "th"):
        assert text in "".join(read_page.text(tag)), f"{tag} does not contain it"


def test_the_page_loads_nothing_and_runs_nothing(tmp_path, figure):
    document = page_of(tmp_path, EVIL, parts=[Part(EVIL, [EVIL], [figure])])
    read_page = Read(document)
    (policy,) = [
        meta["content"]
        for meta in read_page.of("meta")
        if meta.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policy == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    assert not read_page.of("script") and not read_page.of("link")
    assert not [name for _, attributes in read_page.tags for name in attributes if name.startswith("on")]
    style = document[document.index("<style>") : document.index("</style>")]
    assert "@import" not in style and "url(" not in style
    addresses = [
        attributes[name] for _, attributes in read_page.tags for name in ("src", "href") if name in attributes
    ]
    assert all(re.match(r"data:|\./", address) for address in addresses), addresses


def test_a_failed_page_leaves_the_old_one(tmp_path, figure):
    before = page_of(tmp_path)
    (tmp_path / "a.png").unlink()
    with pytest.raises(FileNotFoundError):
        page_of(tmp_path, parts=[Part("x", [], [figure])])
    assert (tmp_path / "report.html").read_text() == before
    assert {path.name for path in tmp_path.iterdir()} == {"report.html", "a.csv"}
    with pytest.raises(UserError, match="the folder of the output .* does not exist"):
        write_page(tmp_path / "none" / "report.html", "x", [], [])


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
def test_the_page_fits_a_phone_and_a_screen_in_light_and_dark(tmp_path, figure):
    from playwright.sync_api import sync_playwright

    wide = Table(
        "Wide",
        [f"a long name {n}" for n in range(14)],
        [[EVIL[:20]] + [n / 7 for n in range(13)]],
        range(1, 14),
    )
    long = [("embeddings", "/a/very/long/path" * 12), (EVIL, EVIL)]
    page_of(tmp_path, f"Within species {EVIL}", long, [Part("Separability", [EVIL], [figure], [wide])])
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            for width, scheme in ((360, "light"), (1280, "dark")):
                page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
                console, requests = [], []
                page.on("console", lambda message, console=console: console.append(message.text))
                page.on("request", lambda request, requests=requests: requests.append(request.url))
                page.goto((tmp_path / "report.html").as_uri())
                overflow = page.evaluate(
                    "document.documentElement.scrollWidth - document.documentElement.clientWidth"
                )
                assert overflow <= 0, f"at {width} pixels the page is {overflow} too wide"
                assert page.evaluate("window.evil") is None, "a text of the data was run"
                assert page.evaluate("document.images[0].naturalWidth") == 640, "the picture is not shown"
                assert not console, f"the browser complains: {console}"
                assert all(url.startswith(("file:", "data:")) for url in requests), requests
                dark = page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(18, 21, 27)"
                assert dark == (scheme == "dark"), f"in the {scheme} the background is not"
                with page.expect_download() as download:
                    page.get_by_text("save a copy").click()
                assert download.value.path().read_bytes() == (tmp_path / "a.csv").read_bytes()
                page.close()
        finally:
            browser.close()


def test_a_figure_and_its_table_are_written(tmp_path):
    save_figure(new_figure(2, 1), tmp_path / "a.png")
    assert Image.open(tmp_path / "a.png").size == (300, 150)
    write_csv(tmp_path / "a.csv", ["name", "value"], [["a, b", None], ["ä \udcff", np.float64(0.5)]])
    assert (tmp_path / "a.csv").read_bytes() == b'name,value\n"a, b",\n\xc3\xa4 \xff,0.5\n'
    assert len(list(tmp_path.iterdir())) == 2, "something half-written is left"


STAGES = [("100 %", 100.0), ("6 %", 6.0), ("25 %", 25.0)]


def lines_of(monkeypatch, tmp_path, *arguments, **options):
    """Return the axes of the figure that plot_curves saves."""
    import bioclip_jax.analyze.figures.curves as module

    kept = []
    monkeypatch.setattr(
        module, "save_figure", lambda figure, path: (kept.append(figure), save_figure(figure, path))
    )
    plot_curves(tmp_path / "a.png", tmp_path / "a.csv", *arguments, title="Title", ylabel="value", **options)
    return kept[0].axes[0]


def test_curves_follow_the_order_of_positions(monkeypatch, tmp_path):
    series, nulls = {"sex": [0.9, 0.5, None], "age": [0.8, 0.6, 0.7]}, {"sex": [0.5, 0.52, 0.51]}
    axes = lines_of(monkeypatch, tmp_path, STAGES, series, nulls=nulls)
    assert axes.get_xscale() == "log", "positions from 6 to 100 are read better as powers"
    drawn = [line.get_xydata() for line in axes.get_lines() if len(line.get_xydata())]
    np.testing.assert_allclose(drawn[0], [[6, 50], [25, np.nan], [100, 90]])
    np.testing.assert_allclose(drawn[1], [[6, 52], [25, 51], [100, 50]])
    np.testing.assert_allclose(drawn[2], [[6, 60], [25, 70], [100, 80]])
    assert [label.get_text() for label in axes.get_xticklabels()] == ["6 %", "25 %", "100 %"]
    assert axes.get_ylim()[0] <= 0 and axes.get_ylim()[1] >= 100
    assert [text.get_text() for text in axes.texts] == ["sex", "age"]
    with open(tmp_path / "a.csv", newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["stage", "position", "sex", "age", "sex by chance"]
    assert rows[1:] == [["100 %", "100.0", "0.9", "0.8", "0.5"], ["6 %", "6.0", "0.5", "0.6", "0.52"],
                        ["25 %", "25.0", "", "0.7", "0.51"]]  # fmt: skip


def test_the_axis_is_linear_unless_log_is_requested_or_the_span_is_large(monkeypatch, tmp_path):
    cases = (
        ((0, 1, 2), None, "linear"),
        ((1, 8), None, "linear"),
        ((1, 9), None, "log"),
        ((1, 9), False, "linear"),
        ((1, 2), True, "log"),
    )
    for positions, asked, scale in cases:
        stages = [(str(position), float(position)) for position in positions]
        axes = lines_of(monkeypatch, tmp_path, stages, {"a": [0.5] * len(stages)}, log_x=asked, percent=False)
        assert axes.get_xscale() == scale, f"positions {positions}, log_x {asked}"
        monkeypatch.undo()


def test_labels_of_curves_and_stages_do_not_touch(monkeypatch, tmp_path):
    stages = [(f"step {step:,}", float(step)) for step in (10, 12, 14, 500, 1000, 1010, 5000, 20000, 20100)]
    series = {f"series {number}": np.linspace(0.3, 0.02 + number / 1000, len(stages)) for number in range(9)}
    axes = lines_of(
        monkeypatch, tmp_path, stages, series, nulls={"series 0": [0.02] * len(stages)}, log_x=False
    )
    figure = axes.figure
    figure.canvas.draw()
    boxes = sorted((text.get_window_extent() for text in axes.texts), key=lambda box: box.y0)
    boxes = sorted([*boxes, axes.get_legend().get_window_extent()], key=lambda box: box.y0)
    for below, above in zip(boxes, boxes[1:]):
        assert below.y1 <= above.y0 + 2, "two names at the ends of curves touch"
    shown = [label.get_text() for label in axes.get_xticklabels()]
    assert shown[-1] == "step 20,100" and len(shown) < len(stages), f"all of {shown} cannot be side by side"
    assert np.diff(axes.transData.transform([(tick, 0) for tick in axes.get_xticks()])[:, 0]).min() > 20


@pytest.mark.parametrize("percent", [True, False])
def test_curves_of_one_stage_and_without_values_are_drawn(tmp_path, percent):
    series = {"a": [0.5], "nothing": [None]}
    plot_curves(
        tmp_path / "a.png", tmp_path / "a.csv", [("only", 0.0)], series, title="Title", ylabel="value",
        nulls={"a": [0.4]}, percent=percent,
    )  # fmt: skip
    picture = np.asarray(Image.open(io.BytesIO((tmp_path / "a.png").read_bytes())).convert("L"))
    assert picture.min() < 100 < picture.mean(), "the picture is empty"
