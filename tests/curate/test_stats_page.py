"""HTML report of shards stats: self-contained, robust against markup in names, usable in Chromium."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from build_inputs import jpeg, photograph
from PIL import Image

from bioclip_jax.curate.stats import shard_stats
from bioclip_jax.curate.stats.charts import rank_abundance, size_grid, size_histogram
from bioclip_jax.curate.tar_writer import TarShardWriter
from bioclip_jax.html import number
from bioclip_jax.pipeline.sources import Sample
from bioclip_jax.text import Taxon

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
EVIL = "</script><script>window.evil = 1</script><img src=x onerror='window.evil = 1'>\"&amp;"
SIZES = ((160, 120), (64, 200), (300, 90))
_VOID = {"meta", "img", "br"}


@pytest.fixture(autouse=True, scope="module")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> dict:
    """Statistics and report of 748 samples of 72 species, some with markup in their names."""
    # The folder's name is data too, but cannot contain a slash.
    folder = tmp_path_factory.mktemp("page") / "shards & <b>more"
    folder.mkdir()
    images = [jpeg(photograph(number, *SIZES[number % 3])) for number in range(12)]
    with TarShardWriter(folder / "shard-00000.tar") as writer:
        written = 0
        for species in range(72):
            kingdom = ("Animalia", "Plantae", "Fungi")[species % 3]
            family = f"Family{species % 24}"
            names = (f"O{species % 6}", family, f"Genus{species}", "alba", f"white no. {species}")
            taxon = Taxon(kingdom, "P", "C", *names)
            if species == 0:
                taxon = Taxon(kingdom, "P", "C", "O0", family, EVIL, EVIL, EVIL)
            for _ in range(1 + 144 // (species + 1)):
                source = EVIL if written % 2 else "GBIF"
                writer.write(Sample(f"s{written}", images[written % 12], {}, taxon, {"source": source}))
                written += 1
        writer.write(Sample("plain", images[0], {"txt": EVIL}))
        writer.write(Sample("broken", images[0][:30], {"txt": "cut off"}))
    return shard_stats(folder, report=folder.parent / "page.html")


@pytest.fixture(scope="module")
def page(result: dict) -> str:
    return Path(result["report"]).read_text(encoding="utf-8")


class Reader(HTMLParser):
    """Parsed page: elements with attributes, texts by element, and unbalanced tags as problems."""

    def __init__(self, page: str):
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.problems: list[str] = []
        self._open: list[str] = []
        self.feed(page)
        self.close()
        self.problems += [f"<{tag}> is not closed" for tag in self._open]

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attributes)))
        if tag not in _VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open[-1] != tag:
            self.problems.append(f"</{tag}> at {self.getpos()} closes {self._open[-3:]}")
        else:
            self._open.pop()

    def handle_data(self, data: str) -> None:
        self.texts.append((self._open[-1] if self._open else "", data))

    def words(self) -> str:
        return " ".join(data for tag, data in self.texts if tag not in ("script", "style"))


def test_page_is_well_formed(page: str):
    reader = Reader(page)
    assert not reader.problems
    names = [attributes["id"] for _, attributes in reader.elements if "id" in attributes]
    assert len(names) == len(set(names))
    referred = [
        attributes["aria-labelledby"] for _, attributes in reader.elements if "aria-labelledby" in attributes
    ]
    assert set(referred) <= set(names)
    tags = [tag for tag, _ in reader.elements]
    assert tags.count("h1") == tags.count("main") == 1
    assert all(attributes.get("alt") for tag, attributes in reader.elements if tag == "img")
    assert all(attributes.get("aria-label") for tag, attributes in reader.elements if tag == "svg")


def test_page_loads_no_external_resource(page: str):
    reader = Reader(page)
    for tag, attributes in reader.elements:
        assert tag not in ("link", "iframe", "object", "base", "form", "a"), tag
        for name in ("src", "href", "srcset", "data", "action"):
            assert attributes.get(name) is None or attributes[name].startswith("data:image/jpeg;base64,"), (
                attributes
            )
        assert not any(name.startswith("on") for name in attributes), attributes
    style = next(data for tag, data in reader.texts if tag == "style")
    assert "url(" not in style and "@import" not in style
    (policy,) = [a["content"] for t, a in reader.elements if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; img-src data:;")
    # XML namespaces are not requested.
    assert set(re.findall(r"https?://[^\s\"'<>]+", page)) <= {"http://www.w3.org/2000/svg"}


def test_names_with_markup_are_escaped(page: str, result: dict):
    reader = Reader(page)
    scripts = [attributes for tag, attributes in reader.elements if tag == "script"]
    assert scripts == [{"type": "application/json", "id": "tree-data"}, {}]
    assert "<script>window.evil" not in page and "<img src=x" not in page and "<b>more" not in page
    assert EVIL in reader.words()
    (data,) = [data for tag, data in reader.texts if tag == "script" and data.startswith("{")]
    tree = json.loads(data)["tree"]
    assert tree["i"] == result["samples"]
    assert EVIL[:20] in json.dumps(tree, ensure_ascii=False)


def test_page_shows_the_statistics(page: str, result: dict):
    words = Reader(page).words()
    figures = [result["samples"], result["taxa"]["distinct"]["species"], result["taxa"]["distinct"]["family"]]
    texts = (f"{result['long_tail']['gini']:.2f}", "Genus1 alba", "white no. 1", "truncated")
    for figure in (*map(number, figures), *texts):
        assert figure in words, f"{figure} is not on the page"
    assert result["images"]["unreadable"] == {"truncated": 1}
    for name, row in result["sources"].items():
        assert name in words and number(row["samples"]) in words


def test_contact_sheet_shows_every_family(page: str):
    pictures = [attributes for tag, attributes in Reader(page).elements if tag == "img"]
    assert len(pictures) == 60
    shapes = set()
    for picture in pictures:
        image = Image.open(io.BytesIO(base64.b64decode(picture["src"].partition(",")[2])))
        image.load()
        assert max(image.size) <= 168
        shapes.add(image.width > image.height)
    assert shapes == {True, False}, "thumbnails must keep their aspect ratio"
    genera = {int(genus) for picture in pictures for genus in re.findall(r"Genus(\d+) ", picture["alt"])}
    families = {genus % 24 for genus in genera} | {0}
    assert families == set(range(24))


def test_seed_determines_the_contact_sheet(result: dict, tmp_path: Path):
    pages = {}
    for seed in (0, 1):
        shard_stats(result["location"], report=tmp_path / f"{seed}.html", seed=seed)
        pages[seed] = (tmp_path / f"{seed}.html").read_text()
    assert pages[0] == Path(result["report"]).read_text()
    assert pages[0] != pages[1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0.html", "1.html"]


def test_page_of_samples_without_taxa(tmp_path: Path):
    with TarShardWriter(tmp_path / "a.tar") as writer:
        writer.write(Sample("one", b"", {"txt": "nothing"}))
    result = shard_stats(tmp_path, report=tmp_path / "page.html")
    reader = Reader((tmp_path / "page.html").read_text())
    assert not reader.problems
    assert not any(tag == "script" for tag, _ in reader.elements), "there is no tree to draw"
    assert "No sample has a taxon" in reader.words() and "No image can be read" in reader.words()
    assert result["images"]["width"] is None


@pytest.mark.parametrize("counts", [[1], [7], [1, 1, 1], [10**6, 10, 1], [3] * 5000])
def test_rank_abundance_curve_stays_inside_its_chart(counts: list[int]):
    chart = rank_abundance(np.array(counts, np.int64))
    assert not Reader(chart).problems
    _, _, width, height = (float(part) for part in re.search(r'viewBox="([\d. ]+)"', chart)[1].split())
    (curve,) = re.findall(r'class="curve" d="([^"]+)"', chart)
    x = [float(value) for value in re.findall(r"[HM]([\d.]+)", curve)]
    y = [float(value) for value in re.findall(r"(?:V|M[\d.]+ )([\d.]+)", curve)]
    assert x == sorted(x) and y == sorted(y)
    assert 0 <= min(x) <= max(x) <= width and 0 <= min(y) <= max(y) <= height


def test_size_charts_of_extreme_sizes():
    for shapes in ({(0, 0): 1}, {(31, 31): 5, (33, 30): 1}, {(20, 64): 1, (64, 20): 9}):
        assert size_grid(shapes).count("<rect") == len(shapes)
    for sizes in ({1: 1}, {25_000: 3}, {100: 1, 10**9: 2}, {20_000: 1, 21_000: 4000}):
        chart = size_histogram(sizes)
        assert not Reader(chart).problems
        assert "nan" not in chart and len(re.findall(r"(?:bytes|[kMG]B)</text>", chart)) >= 1


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
def test_page_in_a_browser(result: dict):
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for width, scheme in ((390, "dark"), (1280, "light")):
            errors: list[str] = []
            requests: list[str] = []
            context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
            view = context.new_page()
            view.on("console", lambda message, errors=errors: errors.append(message.text))
            view.on("pageerror", lambda error, errors=errors: errors.append(str(error)))
            view.on("request", lambda request, requests=requests: requests.append(request.url))
            view.goto(Path(result["report"]).as_uri())
            use_page(view, result, width)
            assert not errors, errors
            assert [url for url in requests if not url.startswith("data:")] == [
                Path(result["report"]).as_uri()
            ]
            context.close()
        browser.close()


def use_page(view, result: dict, width: int) -> None:
    """Zoom by keyboard and mouse; nothing overflows, and no name is executed as a script."""
    assert view.evaluate("document.documentElement.scrollWidth") == width
    assert view.evaluate("window.evil") is None
    assert view.evaluate("[...document.images].every((image) => image.naturalWidth > 0)")
    status, path, taxa = view.locator("#tree-status"), view.locator("#tree-path"), view.locator(".taxon")
    assert status.inner_text().startswith(f"All: {number(result['samples'])} images")
    kingdom = result["taxa"]["top"]["kingdom"][0]
    taxa.first.focus()
    view.keyboard.press("ArrowRight")
    assert status.inner_text().startswith(f"{kingdom['name']} (kingdom): {kingdom['images']} images")
    view.keyboard.press("Enter")
    assert path.inner_text().split("\n")[-1].strip() == kingdom["name"]
    assert view.evaluate("document.activeElement.getAttribute('aria-label')").startswith(kingdom["name"])
    view.keyboard.press("Escape")
    assert path.inner_text().strip() == "All"
    taxa.nth(1).click()
    assert path.locator("button").count() == 1
    view.locator("#tree-summary").click()
    view.locator("#tree-list button").first.click()
    assert path.locator("button").count() == 2
    path.locator("button").first.click()
    assert path.inner_text().strip() == "All"
    # Labels stay inside their boxes.
    assert view.evaluate(
        """[...document.querySelectorAll('.taxon')].every((taxon) => {
            const box = taxon.querySelector('rect').getBoundingClientRect();
            return [...taxon.querySelectorAll('text')].every((text) => {
                const words = text.getBoundingClientRect();
                return !text.textContent || words.left >= box.left - 1 && words.right <= box.right + 1
                    && words.top >= box.top - 3 && words.bottom <= box.bottom + 3;
            });
        })"""
    )
