"""The page in a real browser: a visit of every tab, uploads that fail, the keyboard, two visitors."""

from __future__ import annotations

import base64
import csv
import io
from pathlib import Path

import pytest
from accessibility import focused
from visits import visiting

from bioclip_jax.text import RANKS

pytest.importorskip("gradio", reason="the page needs the extra [web]")

WIDTHS = [(1280, "light"), (390, "dark")]


@pytest.mark.parametrize(("width", "scheme"), WIDTHS)
def test_a_whole_visit(browser, server, artefacts: Path, width: int, scheme: str):
    """Drop photos and use every tab."""
    drawings = server.drawings()
    with visiting(browser, server, width, scheme) as visit:
        page = visit.page

        def keep(name: str) -> None:
            visit.keep(artefacts / f"{name}-{width}-{scheme}.png")

        assert "No photos yet" in visit.see(".bj-empty").first.inner_text()
        box = page.evaluate(
            "getComputedStyle(document.querySelector('#bj-drop [data-testid=upload-text]'), "
            "'::after').content"
        )
        assert ("Drop photos here" if width > 500 else "Tap to choose photos") in box and page.get_by_text(
            "Drop File Here"
        ).evaluate("(element) => getComputedStyle(element).fontSize") == "0px"
        keep("empty")
        # The server has initial labels, so the tab lacks only photos.
        visit.tab("Labels")
        page.get_by_text("No photos yet").filter(visible=True).wait_for()
        visit.tab("Identify")
        visit.drop(*drawings[:3])
        cards = visit.see(".bj-photo")
        assert cards.count() == 3
        assert cards.first.locator(".bj-ladder .bj-rank").all_inner_texts() == list(RANKS)
        assert cards.first.locator(".bj-bars li").count() == 5
        names = [path.name for path in drawings[:3]]
        assert cards.locator(".bj-file").all_inner_texts() == names
        assert not page.locator("#bj-drop").is_visible() and not page.locator("#bj-examples").is_visible()
        # Prediction and confidence are visible without scrolling.
        headline = cards.first.locator(".bj-headline").bounding_box()
        assert headline["y"] + headline["height"] < page.viewport_size["height"]
        assert page.get_by_role("columnheader").first.inner_text() == "Confidence"
        keep("identify")

        link = visit.see("#component-none, .bj-download").first
        content = base64.b64decode(link.get_attribute("href").split("base64,")[1]).decode("utf-8-sig")
        rows = list(csv.DictReader(io.StringIO(content)))
        assert [row["file_name"] for row in rows] == names

        visit.tab("Labels")
        # The server's initial labels, until the visitor writes others.
        assert visit.see(".bj-label-card").first.locator("li").count() == 2
        page.get_by_label("Names to choose from").fill("fish\nflower <b>\nbird")
        page.get_by_role("button", name="Compare").click()
        page.wait_for_function("document.querySelectorAll('.bj-label-card li').length == 9")
        cards = visit.see(".bj-label-card")
        assert "flower <b>" in cards.first.inner_text()
        keep("labels")

        visit.tab("Similar")
        figures = visit.see(".bj-similar figure")
        assert drawings[0].name in figures.first.inner_text()
        assert "similarity 1.000" in figures.nth(1).inner_text() and "›" in figures.nth(1).inner_text()
        # A long name must not overlap the arrow of its box.
        overlap = (
            "(box) => box.getBoundingClientRect().right - parseFloat(getComputedStyle(box).paddingRight) > "
            + ("box.parentElement.querySelector('svg').getBoundingClientRect().left")
        )
        assert not page.get_by_role("combobox", name="Photo").evaluate(overlap)
        keep("similar")
        within = page.get_by_label("Only within")
        # The suggested taxon is in the index, and leaving the box applies it.
        suggestion = within.get_attribute("placeholder").removeprefix("any taxon, such as ")
        within.fill(suggestion)
        within.blur()
        page.wait_for_function(
            "(name) => { const figures = [...document.querySelectorAll('.bj-similar figure:not(.bj-query)')];"
            "return figures.length && figures.every((figure) => figure.innerText.includes(name)) }",
            arg=suggestion,
        )
        # An error replaces older results, and is one sentence.
        within.fill("Mamalia")
        within.press("Enter")
        problem = visit.see(".bj-failed").inner_text()
        assert "holds no image of 'Mamalia'" in problem and not problem.endswith(("?.", "..")), problem
        assert page.locator(".bj-similar").count() == 0
        within.fill("Fungi")
        within.press("Enter")
        page.wait_for_function(
            "document.querySelector('.bj-similar') && "
            "[...document.querySelectorAll('.bj-similar figure:not(.bj-query)')]"
            ".every((figure) => figure.innerText.includes('Fungi'))"
        )

        visit.tab("Map")
        points = visit.see(".bj-point")
        page.wait_for_function(f"document.querySelectorAll('.bj-point').length == {len(drawings)}")
        points.first.focus()
        assert page.locator("#bj-tip").inner_text()
        page.wait_for_function("document.querySelector('#bj-tip img').naturalWidth > 0")
        page.screenshot(path=artefacts / f"map-{width}-{scheme}.png", full_page=True)
        page.get_by_label("Your photos").check()
        page.wait_for_function("document.querySelectorAll('.bj-point').length == 3")
        page.get_by_label("t-SNE").check()
        keep("own-map")

        page.get_by_text("Use from a program").click()
        page.wait_for_function(f"document.querySelector('.bj-address').textContent == '{server.url}'")
        page.get_by_role("button", name="Clear all").click()
        page.wait_for_function("document.querySelectorAll('.bj-tools').length == 0")


def test_files_that_are_not_photos(browser, server, artefacts: Path, hostile_files, tmp_path: Path):
    for name, content in hostile_files.items():
        (tmp_path / name).write_bytes(content)
    evil = tmp_path / "<img src=x onerror=alert(1)>.jpg"
    evil.write_bytes(b"no picture")
    with visiting(browser, server) as visit:
        small = [tmp_path / name for name, content in hostile_files.items() if len(content) < 20_000_000]
        visit.drop(*small, evil, server.drawings()[0])
        notices = visit.see(".bj-notice").inner_text()
        for name in (
            "empty.jpg is empty",
            "drawing.svg is not an image",
            "bomb.png has more than 89 million pixels",
        ):
            assert name in notices, notices
        assert "Skipped 9 files" in notices and "Traceback" not in notices
        assert visit.see(".bj-photo").count() == 1
        visit.page.screenshot(path=artefacts / "bad-files.png", full_page=True)
        visit.drop(tmp_path / "large.jpg")
        visit.page.get_by_text("large.jpg has 50 MB; the limit is 20 MB per file").wait_for()
        visit.page.screenshot(path=artefacts / "large-file.png")


def test_request_above_the_size_limit(browser, server, artefacts: Path, tmp_path: Path):
    huge = tmp_path / "huge.jpg"
    with open(huge, "wb") as file:
        file.truncate(201_000_000)
    with visiting(browser, server, watched=False) as visit:
        visit.drop(huge)
        visit.said("at most 200 MB at once")
        visit.page.screenshot(path=artefacts / "huge-file.png", animations="disabled")
        visit.drop(server.drawings()[1])
        assert visit.see(".bj-photo").count() == 1
        (rejected,) = visit.problems
        assert rejected.startswith(f"413 {server.url}/gradio_api/upload?")
        visit.problems.clear()


def test_table_adds_columns_to_the_map(browser, server, tmp_path: Path):
    photos = server.drawings()[:6]
    table = tmp_path / "sites.csv"
    lines = [f"some/folder/{path.name},{'north' if i < 3 else 'south'}" for i, path in enumerate(photos)]
    table.write_text("\n".join(["filepath,site", *lines]))
    with visiting(browser, server) as visit:
        visit.drop(*photos, table)
        visit.see(".bj-photo")
        visit.tab("Map")
        visit.page.get_by_label("Your photos").check()
        visit.page.wait_for_function("document.querySelectorAll('.bj-point').length == 6")
        visit.page.get_by_label("Color by").click()
        visit.page.get_by_role("option", name="site").click()
        visit.page.wait_for_function("document.querySelector('.bj-legend')?.innerText.includes('south')")
        assert visit.see(".bj-legend li").count() == 2


def test_keyboard_navigation(browser, server):
    """Every control is reachable with a visible focus, and the slider sets the minimum confidence."""
    with visiting(browser, server) as visit:
        page = visit.page
        visit.drop(server.drawings()[0])
        visit.see(".bj-photo")
        reached = []
        while not reached or reached[-1]["type"] != "range":
            page.keyboard.press("Tab")
            reached.append(focused(page))
            if "button Choices" in reached[-1]["name"] and not page.locator("#bj-minimum").is_visible():
                page.keyboard.press("Enter")
                page.locator("#bj-minimum").wait_for()
            assert len(reached) < 40, f"the slider is unreachable: {reached}"
        # The photo has the focus at first, so Tab passes the end of the page.
        hidden = [one["name"] for one in reached if not one["visible"] and not one["name"].startswith("body")]
        assert not hidden, "controls without a visible focus"
        chips = "[...document.querySelectorAll('.bj-chip')].map((chip) => chip.textContent).join()"
        page.keyboard.press("Home")
        page.wait_for_function(f"{chips} == 'species'")
        page.keyboard.press("End")
        # At 99 % the prediction has a wider rank or none.
        page.wait_for_function(f"{chips} != 'species'")
        page.keyboard.press("Home")
        page.wait_for_function(f"{chips} == 'species'")
        number = page.get_by_label("Minimum confidence, in %, number")
        number.fill("99")
        number.press("Tab")
        page.wait_for_function(f"{chips} != 'species'")
        visit.tab("Similar")
        visit.see(".bj-similar")
        page.get_by_label("How many, slider").press("Home")
        page.wait_for_function("document.querySelectorAll('.bj-similar figure:not(.bj-query)').length == 1")


def test_reload_warning_and_upload_without_a_server(browser, server):
    with visiting(browser, server, watched=False) as visit:
        visit.drop(server.drawings()[0])
        visit.see(".bj-photo")
        with visit.page.expect_event("dialog") as dialog:
            visit.page.once("dialog", lambda event: event.dismiss())
            visit.page.evaluate("setTimeout(() => location.reload())")
        assert dialog.value.type == "beforeunload"
        assert visit.page.locator(".bj-photo").count() == 1, "the photos are lost without a warning"
        visit.context.set_offline(True)
        visit.drop(server.drawings()[1])
        visit.said("The server does not answer")
        visit.problems.clear()


def test_visitors_see_only_their_own_photos(browser, server, artefacts: Path):
    first, second = server.drawings()[5], server.drawings()[7]  # not among the examples
    with visiting(browser, server) as one, visiting(browser, server, 390, "dark") as other:
        one.drop(first)
        other.drop(second)
        for visit, own, others in ((one, first, second), (other, second, first)):
            shown = visit.see(".bj-photo")
            assert shown.count() == 1 and own.name in shown.first.inner_text()
            assert others.name not in visit.page.content()
        one.drop(server.drawings()[6])
        one.page.wait_for_function("document.querySelectorAll('.bj-photo').length == 2")
        assert other.page.locator(".bj-photo").count() == 1
        one.page.screenshot(path=artefacts / "visitor-one.png")
        other.page.screenshot(path=artefacts / "visitor-two.png")
    with visiting(browser, server) as third:
        assert "No photos yet" in third.see(".bj-empty").first.inner_text()


def test_server_makes_no_requests(server):
    """web_server.py blocks and logs attempts to connect."""
    log = server.log.read_text()
    assert "BLOCKED" not in log and "Traceback" not in log, log
