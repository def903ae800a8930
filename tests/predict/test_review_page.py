"""Review of a report in a browser, by keyboard and touch: kept over a reload, downloaded, merged, learned."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from accessibility import axe_violations, focused, low_contrast
from PIL import Image

from bioclip_jax.predict import predict_files
from bioclip_jax.predict.crop import Box
from bioclip_jax.predict.inputs import ImageFile
from bioclip_jax.predict.learn import learn_head
from bioclip_jax.predict.report import Report, write_page
from bioclip_jax.predict.review import (
    corrections_csv,
    latest,
    merge_corrections,
    read_corrections,
)
from bioclip_jax.text import Taxon

RANKS = ("kingdom", "phylum", "class", "order", "family", "genus", "species")
LINEAGE = ("Plantae", "Tracheophyta", "Magnoliopsida", "Rosales", "Rosaceae")
# Genera of each photograph's predictions, and the confidence of the best one.
PREDICTIONS = (
    (["Malus", "Pyrus", "Prunus"], 0.9),
    (["Pyrus", "Malus", "Rubus"], 0.4),
    (["Prunus", "Rosa", "Malus"], 0.6),
    (["Rosa", "Rubus", "Malus"], 0.3),
    (["Malus", "Cydonia", "Rosa"], 0.8),
)
LARGE = 480


def row(file: str, genus: str, score: float) -> dict:
    names = dict(zip(RANKS, (*LINEAGE, genus))) | {"species_epithet": "alba", "species": f"{genus} alba"}
    return {"file_name": file, **names, "common_name": f"white {genus.lower()}", "score": score}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report beside its photographs; the last one is a crop."""
    folder = tmp_path_factory.mktemp("trip")
    (folder / "photos").mkdir()
    random = np.random.default_rng(0)
    predictions = []
    for index, (genera, score) in enumerate(PREDICTIONS):
        path = folder / "photos" / f"{index} ü,é.jpg"
        pixels = np.kron(random.integers(0, 256, (6, 8, 3), np.uint8), np.ones((60, 60, 1), np.uint8))
        Image.fromarray(pixels).save(path)
        box = Box(0.25, 0.25, 0.5, 0.5) if index == 4 else None
        name = f"photos/{path.name}"
        rows = [row(name, genus, score / 2**number) for number, genus in enumerate(genera)]
        predictions.append((ImageFile(name, str(path), box=box), rows))
    classifier = SimpleNamespace(model_str="a test", model=SimpleNamespace(fingerprint="f00d" * 16))
    report = Report(classifier, {"rank": "species", "k": 3})
    assert len(list(report.watch(iter(predictions)))) == 5
    write_page(report, folder / "names.html", 5, [])
    return folder


class Visitor:
    """A browser of one person; requests: addresses outside of the report's folder."""

    def __init__(self, browser, report: Path, **options) -> None:
        self.context = browser.new_context(accept_downloads=True, **options)
        self.problems: list[str] = []
        self.requests: list[str] = []
        self.report = report
        self.open()

    def open(self) -> None:
        """Open the report in a new tab."""
        self.page = self.context.new_page()
        self.page.on("console", lambda message: self.problems.append(message.text))
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(self.report.as_uri())

    def start(self) -> None:
        """Open the review by keyboard alone."""
        for _ in range(8):
            self.page.keyboard.press("Tab")
            if self.page.evaluate("document.activeElement.id") == "review":
                break
        assert focused(self.page)["visible"]
        self.page.keyboard.press("Enter")
        self.page.get_by_role("dialog").wait_for()

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def text(self, kind: str) -> str:
        return self.page.locator(f".review-{kind}").inner_text()

    def photo(self) -> str:
        return self.page.locator(".review-picture figcaption").text_content()

    def download(self, target: Path) -> Path:
        with self.page.expect_download() as waiting:
            self.page.get_by_role("button", name="Download corrections").click()
        assert waiting.value.suggested_filename == "names-corrections.csv"
        waiting.value.save_as(target)
        return target

    def close(self) -> None:
        inside = self.report.parent.as_uri()
        assert not self.problems, self.problems
        assert [url for url in self.requests if not url.startswith((inside, "data:", "blob:"))] == []
        self.context.close()


@pytest.fixture
def visit(browser, folder: Path) -> Iterator:
    visitors: list[Visitor] = []

    def opened(report: Path = folder / "names.html", **options) -> Visitor:
        visitors.append(Visitor(browser, report, **options))
        return visitors[-1]

    yield opened
    for visitor in visitors:
        visitor.close()


def suggested(page) -> list[str]:
    """The names below the field for another name."""
    return page.get_by_role("listbox", name="Suggested names").get_by_role("option").all_inner_texts()


@pytest.mark.parametrize(("width", "height", "scheme"), [(390, 844, "dark"), (1280, 860, "light")])
def test_review_by_keyboard_alone(
    visit, artefacts: Path, tmp_path: Path, width: int, height: int, scheme: str
):
    one = visit(viewport={"width": width, "height": height}, color_scheme=scheme)
    one.start()
    page = one.page
    assert one.photo() == "photos/3 ü,é.jpg", "the least confident comes first"
    assert one.text("progress") == "0 of 5 reviewed"
    assert focused(page)["name"].startswith("h2 Photo 1 of 5")
    page.wait_for_selector(".review-stage img[src^='photos/']")
    assert page.evaluate("document.querySelector('.review-stage img').naturalWidth") == LARGE
    one.press("Enter")
    assert one.text("status") == "Confirmed: Rosa alba. 1 of 5 reviewed. Next: white pyrus, 40.0 %."
    one.press("2", "n")
    assert one.text("status").startswith("None of these. 3 of 5 reviewed.")
    # The crop: its box is drawn on the photograph, and its name is typed.
    assert one.photo() == "photos/4 ü,é.jpg"
    page.locator(".review-box rect").wait_for()
    page.screenshot(path=artefacts / f"review-{width}.png", animations="disabled")
    one.press("e")
    page.keyboard.type("RUB")
    assert suggested(page) == ["white rubus Rubus alba"]
    page.screenshot(path=artefacts / f"review-typing-{width}.png", animations="disabled")
    assert not axe_violations(page), "with suggestions"
    one.press("ArrowDown", "Enter")
    assert one.text("status").startswith("Corrected: Rubus alba. 4 of 5 reviewed.")
    one.press("u")
    assert one.photo() == "photos/4 ü,é.jpg" and one.text("progress") == "3 of 5 reviewed"
    one.press("/")
    page.keyboard.type("  Crataegus   monogyna ")
    one.press("Enter")
    assert one.text("status").startswith("Corrected: Crataegus monogyna. 4 of 5")
    one.press("ArrowLeft")
    assert one.text("decision") == "Corrected: Crataegus monogyna"
    one.press("e")
    page.keyboard.type("crat")
    assert suggested(page) == ["Crataegus monogyna"], "a name typed before"
    one.press("Escape", "Escape", "?")
    assert page.get_by_role("dialog", name="Keys").is_visible()
    assert not axe_violations(page), "keys"
    one.press("Escape")
    assert not page.get_by_role("dialog", name="Keys").is_visible()
    assert not axe_violations(page) and not low_contrast(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    small = page.evaluate(
        "[...document.querySelectorAll('dialog.review button, dialog.review select')]"
        ".filter((one) => one.checkVisibility())"
        ".map((one) => [one.innerText, one.getBoundingClientRect().height])"
        ".filter(([, height]) => height < 43.5)"
    )
    assert not small, f"targets below 44 pixels: {small}"
    page.reload()
    assert page.locator(".reviewed").all_inner_texts() == [
        "Corrected: Malus alba",
        "None of these",
        "Confirmed: Rosa alba",
        "Corrected: Crataegus monogyna",
    ]
    assert not axe_violations(page) and not low_contrast(page), "the list"
    one.start()
    assert one.photo() == "photos/0 ü,é.jpg", "the first that is not reviewed"
    one.press("y")
    assert one.text("status").endswith("All 5 photos are reviewed. Download the corrections to use them.")
    assert focused(page)["name"] == "button Download corrections"
    table = one.download(tmp_path / "names-corrections.csv")
    read = read_corrections(table)
    assert [(c.filepath, c.label, c.status, c.predicted, c.score) for c in read] == [
        ("photos/0 ü,é.jpg", "Malus alba", "confirmed", "Malus alba", 0.9),
        ("photos/1 ü,é.jpg", "Malus alba", "corrected", "Pyrus alba", 0.4),
        ("photos/2 ü,é.jpg", "", "rejected", "Prunus alba", 0.6),
        ("photos/3 ü,é.jpg", "Rosa alba", "confirmed", "Rosa alba", 0.3),
        ("photos/4 ü,é.jpg", "Crataegus monogyna", "corrected", "Malus alba", 0.8),
    ]
    assert read[1].taxon == Taxon(*LINEAGE, "Malus", "alba", "white malus") and read[4].box[0] == 0.25
    assert table.read_bytes() == corrections_csv(read), "Python writes the same bytes"
    one.press("Escape")
    assert page.locator("dialog[open]").count() == 0
    page.get_by_role("combobox", name="Show").select_option("rejected")
    assert page.locator(".card").count() == 1


def test_names_for_screen_readers(visit):
    one = visit()
    one.start()
    page = one.page
    assert page.get_by_role("dialog", name="Photo 1 of 5 3 ü,é.jpg").is_visible()
    tree = page.get_by_role("dialog").aria_snapshot()
    for part in (
        'button "white rosa Rosa alba 30.0 %"',
        'button "None of these"',
        'combobox "Another name"',
        'combobox "Order"',
        'checkbox "skip reviewed photos" [checked]',
        'button "Load corrections"',
        "status",
        'list "Predictions"',
        'progressbar "Review"',
    ):
        assert part in tree, f"{part} is not in\n{tree}"
    one.press("2")
    one.press("k")
    pressed = page.get_by_role("button", name="white rubus Rubus alba 15.0 %", pressed=True)
    assert pressed.is_visible()


def test_review_by_touch(visit):
    one = visit(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page = one.page
    page.get_by_role("button", name="Review 2 ü,é.jpg").tap()
    assert one.photo() == "photos/2 ü,é.jpg", "a picture opens large"
    assert page.locator(".review kbd").first.is_hidden()
    page.get_by_role("button", name="white rosa").tap()
    page.get_by_label("Another name").tap()
    page.keyboard.type("cyd")
    page.get_by_role("option", name="white cydonia").tap()
    page.get_by_role("button", name="None of these").tap()
    assert one.text("progress") == "3 of 5 reviewed"
    page.get_by_role("button", name="Undo").tap()
    assert one.text("progress") == "2 of 5 reviewed"
    page.get_by_role("button", name="Back to the list").tap()
    page.locator(".reviewed").nth(1).wait_for()
    assert page.locator(".reviewed").count() == 2


def test_corrections_of_two_reviewers_are_merged(visit, tmp_path: Path):
    first, second = visit(), visit()
    for one, keys in ((first, ["Enter", "Enter", "n"]), (second, ["Enter", "2", "n", "Enter"])):
        one.start()
        one.press(*keys)
    tables = [one.download(tmp_path / f"{name}.csv") for name, one in (("one", first), ("two", second))]
    result = merge_corrections(tables, tmp_path / "both.csv")
    assert (result["photographs"], result["conflicts"]) == (4, 1)
    assert result["agreement"][0]["same"] == 2 and result["agreement"][0]["photographs"] == 3
    expected, _ = latest(correction for table in tables for correction in read_corrections(table))
    assert read_corrections(tmp_path / "both.csv") == expected
    # The first reviewer goes on with the second one's table, which a spreadsheet has saved with semicolons.
    rows = list(csv.reader(tables[1].read_text("utf-8-sig").splitlines()))
    with open(tmp_path / "excel.csv", "w", newline="", encoding="utf-8-sig") as file:
        csv.writer(file, delimiter=";").writerows(rows)
    chooser = first.page.locator("input[type=file]")
    chooser.set_input_files(tmp_path / "excel.csv")
    said = "Loaded: 1 new, 3 newer, 0 already here, 0 of photos that this page lacks."
    first.page.get_by_text(said).wait_for()
    assert first.text("progress") == "4 of 5 reviewed"
    merged = {one.key: one for one in read_corrections(first.download(tmp_path / "merged.csv"))}
    assert merged == {one.key: one for one in read_corrections(tables[1])}
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    chooser.set_input_files(tmp_path / "other.csv")
    first.page.get_by_text("other.csv is not a table of corrections").wait_for()
    assert first.text("progress") == "4 of 5 reviewed"


def test_a_report_in_two_tabs_loses_nothing(visit):
    one = visit()
    before = one.page
    one.start()
    one.open()
    one.start()
    one.press("Enter")
    other, one.page = one.page, before
    before.locator(".review-progress", has_text="1 of 5 reviewed").wait_for()
    before.bring_to_front()
    one.press("j", "2")
    assert one.text("progress") == "2 of 5 reviewed"
    other.locator(".review-progress", has_text="2 of 5 reviewed").wait_for()


@pytest.mark.parametrize("storage", ["forbidden", "full"])
def test_a_browser_that_keeps_nothing_says_so(visit, browser, folder: Path, tmp_path: Path, storage: str):
    one = visit()
    if storage == "forbidden":
        forbid = "Object.defineProperty(window, 'localStorage', {get() { throw new DOMException('no'); }})"
        one.page.add_init_script(forbid)
        one.page.reload()
    else:
        one.page.evaluate(
            "() => { for (let size = 1 << 22; size; size >>= 1) { try { for (let n = 0; ; n++)"
            " localStorage.setItem(`${size} ${n}`, 'x'.repeat(size)); } catch {} } }"
        )
    one.start()
    one.press("Enter", "2")
    assert "does not keep the corrections" in one.text("note")
    assert one.text("progress") == "2 of 5 reviewed"
    with one.page.expect_event("dialog") as asked:
        one.page.close(run_before_unload=True)
    assert asked.value.type == "beforeunload", "the browser asks before decisions are lost"
    asked.value.dismiss()
    assert len(read_corrections(one.download(tmp_path / "kept.csv"))) == 2


def test_texts_are_complete_in_every_language(visit):
    one = visit()
    texts = one.page.evaluate(
        "() => Object.fromEntries(['en', 'fr', 'de', 'es'].map((lang) => [lang, bioclipReviewTexts(lang)]))"
    )
    english = texts["en"]
    for language, own in texts.items():
        assert own["language"] == language and own.keys() == english.keys(), language
        for name in english.keys() - {"fill", "language"}:
            text = own[name]
            assert text, (language, name)
            holes = {part.split("}")[0] for part in text.split("{")[1:]}
            assert holes == {part.split("}")[0] for part in english[name].split("{")[1:]}, (language, name)
    assert one.page.evaluate("bioclipReviewTexts('fr-CA').fill('progress', {done: 1200, total: 3400})") == (
        "Vérifiées\u00a0: 1\u202f200 sur 3\u202f400"
    )
    assert one.page.evaluate("bioclipReviewTexts('pt').language") == "en"


@pytest.mark.shared_data
def test_reviewed_photographs_teach_a_head(
    visit, shared_data: Path, model_directory: Path, tmp_path, monkeypatch
):
    """From `predict --report` to `predict --head`, as a person runs them in the folder of a trip."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    trip = tmp_path / "trip"
    (trip / "photos").mkdir(parents=True)
    monkeypatch.chdir(trip)
    labels = ("Banana", "Kiwi", "Red-Bell-Pepper")
    truth = {}
    for label in labels:
        for number, file in enumerate(
            sorted((shared_data / "produce/train/images" / label).glob("*.jpg"))[:10]
        ):
            name = f"photos/{label[0]}{number:02}.jpg"
            (trip / name).write_bytes(file.read_bytes())
            truth[name] = label
    options = {"labels": ",".join(labels), "output": trip / "names.csv", "report": trip / "names.html"}
    predict_files(["photos"], str(model_directory), **options)
    with open(trip / "names.csv", newline="") as file:
        best = {entry["file_name"]: entry["classification"] for entry in reversed(list(csv.DictReader(file)))}
    before = sum(best[name] == label for name, label in truth.items())
    one = visit(trip / "names.html")
    one.start()
    for _ in truth:
        shown = one.page.locator(".review-candidates .review-name").all_inner_texts()
        one.press(str(shown.index(truth[one.photo()]) + 1))
    table = one.download(tmp_path / "names-corrections.csv")
    assert {correction.filepath: correction.label for correction in read_corrections(table)} == truth
    learn_head(table, str(model_directory), tmp_path / "mine")
    result = predict_files([str(table)], str(model_directory), head=tmp_path / "mine", as_result=True)
    names = {}
    for entry in result["predictions"]:
        names.setdefault(entry["file_name"], entry["classification"])
    after = sum(names[name] == label for name, label in truth.items())
    assert after > before, f"{after} right with the head, {before} without"
    final = merge_corrections([table], trip / "final.csv", predictions=trip / "names.csv")
    assert (final["verified"], final["rows"]) == (len(truth), len(truth))
    with open(trip / "final.csv", newline="") as file:
        assert {entry["file_name"]: entry["classification"] for entry in csv.DictReader(file)} == truth
