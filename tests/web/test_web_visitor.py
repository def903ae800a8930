"""Photos on the page, by keyboard alone too: add, enlarge, remove, review, look closer."""

from __future__ import annotations

import csv

import pytest
from visits import visiting

pytest.importorskip("gradio", reason="the page needs the extra [web]")

BY_WIDTH = [(390, "light"), (1280, "dark")]


@pytest.mark.parametrize(("width", "scheme"), BY_WIDTH)
def test_photos_by_keyboard_alone(browser, server, artefacts, width: int, scheme: str):
    drawings = server.drawings()[5:8]
    with visiting(browser, server, width, scheme) as visit:
        page = visit.page

        def tab_to(selector: str) -> None:
            for _ in range(60):
                page.keyboard.press("Tab")
                if page.evaluate("(wanted) => document.activeElement.matches(wanted)", selector):
                    return
            raise AssertionError(f"{selector} is not reached by the Tab key")

        tab_to("#bj-drop button")
        with page.expect_file_chooser() as chooser:
            page.keyboard.press("Enter")
        chooser.value.set_files(drawings[:2])
        visit.see(".bj-photo")
        visit.said("2 photos are named.")
        assert visit.focused()["name"] == drawings[0].name, "the first photo has the focus"
        headline = page.locator(".bj-headline").first.bounding_box()
        assert headline["y"] + headline["height"] < page.viewport_size["height"], "the name is above the fold"
        tab_to("[data-act=add]")
        with page.expect_file_chooser() as chooser:
            page.keyboard.press("Enter")
        chooser.value.set_files(drawings[2])
        page.locator(".bj-photo").nth(2).wait_for()
        assert page.locator(".bj-file").all_inner_texts() == [path.name for path in drawings]
        visit.said("1 photo is named.")
        tab_to(".bj-open")
        opened = visit.focused()["name"]
        page.keyboard.press("Enter")
        page.locator("#bj-dialog[open]").wait_for()
        visit.keep(artefacts / f"large-{width}-{scheme}.png", full=False)
        seen = []
        for _ in drawings:
            seen.append(page.locator("#bj-dialog p").inner_text().split(" · ")[0])
            page.keyboard.press("ArrowRight")
        assert sorted(seen) == sorted(path.name for path in drawings)
        # The visitor's own file, not the thumbnail.
        page.locator("#bj-dialog img[src^='blob:']").wait_for()
        page.keyboard.press("Escape")
        assert visit.focused()["name"] == opened, "the focus returns to the photo"
        page.locator(".bj-photo").nth(1).focus()
        page.keyboard.press("Delete")
        visit.said(f"{drawings[1].name} is removed.")
        assert page.locator(".bj-file").all_inner_texts() == [drawings[0].name, drawings[2].name]
        assert visit.focused()["name"] == drawings[2].name, "the next photo has the focus"
        page.get_by_role("button", name=f"Remove {drawings[0].name}").first.press("Enter")
        visit.said(f"{drawings[0].name} is removed.")
        assert page.locator(".bj-file").all_inner_texts() == [drawings[2].name]


def test_photos_added_during_an_upload(browser, server):
    drawings = server.drawings()[5:8]
    with visiting(browser, server) as visit:
        page = visit.page
        held, holding = [], [True]
        page.route(
            "**/gradio_api/upload?*", lambda route: held.append(route) if holding else route.continue_()
        )
        page.locator("#bj-example-0").click()
        visit.see(".bj-photo")
        for files in (drawings[0], drawings[1:]):
            with page.expect_file_chooser() as chooser:
                page.locator("[data-act=add]").press("Enter")
            chooser.value.set_files(files)
            page.locator("#bj-drop input[type=file]").wait_for(state="detached")
        assert len(held) == 1, "the second upload waits for the first one"
        holding.clear()
        held[0].continue_()
        page.locator(".bj-photo").nth(3).wait_for()
        names = page.locator(".bj-file").all_inner_texts()
        assert names[1:] == [path.name for path in drawings]


@pytest.mark.parametrize(("width", "scheme"), BY_WIDTH)
def test_corrections_survive_a_reload(browser, server, artefacts, width: int, scheme: str):
    drawings = server.drawings()[5:7]
    with visiting(browser, server, width, scheme) as visit:
        page = visit.page
        visit.drop(*drawings)
        visit.see(".bj-photo")
        page.get_by_role("button", name="Review").click()
        page.locator("dialog.review[open]").wait_for()
        visit.keep(artefacts / f"review-{width}-{scheme}.png", full=False)
        page.keyboard.press("Enter")
        page.locator(".review-progress", has_text="1 of 2").wait_for()
        page.keyboard.press("n")
        page.locator(".review-progress", has_text="2 of 2").wait_for()
        with page.expect_download() as download:
            page.get_by_role("button", name="Download corrections").click()
        with open(download.value.path(), encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
        assert {row["status"] for row in rows} == {"confirmed", "rejected"}
        assert [row["filepath"] for row in rows] == [path.name for path in drawings]
        page.keyboard.press("Escape")
        decided = sorted(page.locator(".bj-decision").all_inner_texts())
        assert len(decided) == 2 and decided[1] == "None of these"
        page.once("dialog", lambda dialog: dialog.accept())
        page.reload()
        page.locator(".bj-empty").first.wait_for()
        # Gradio reports the connection that the reload cut.
        visit.problems.clear()
        visit.drop(*drawings)
        page.locator(".bj-decision").nth(1).wait_for()
        assert sorted(page.locator(".bj-decision").all_inner_texts()) == decided


@pytest.mark.parametrize(("width", "scheme"), BY_WIDTH)
def test_a_closer_look(browser, server, artefacts, width: int, scheme: str):
    with visiting(browser, server, width, scheme) as visit:
        page = visit.page
        # The first drawing is an example of the server, the other one the visitor's own.
        page.locator("#bj-example-0").click()
        visit.see(".bj-photo")
        visit.drop(server.drawings()[5])
        page.locator(".bj-photo").nth(1).wait_for()
        for index in range(2):
            button = page.get_by_role("button", name="Look closer").nth(index)
            button.press("Enter")
            candidates = visit.see("#bj-closer .bj-candidates button")
            assert candidates.count() == 5
            assert page.locator(".bj-heat").get_attribute("src").startswith("data:image/png")
            before = page.locator(".bj-heat").get_attribute("src")
            candidates.nth(1).press("Enter")
            page.locator("#bj-closer [aria-pressed=true]").wait_for()
            assert page.locator(".bj-heat").get_attribute("src") != before
            if index:
                visit.keep(artefacts / f"closer-{width}-{scheme}.png", full=False)
            page.keyboard.press("Escape")
            assert visit.focused()["act"] == "closer"


def test_101_files(browser, server, tmp_path):
    from PIL import Image

    for number in range(101):
        Image.new("RGB", (16, 16), (2 * number, 255 - 2 * number, 90)).save(tmp_path / f"{number:03}.png")
    with visiting(browser, server) as visit:
        visit.drop(*sorted(tmp_path.glob("*.png")))
        notice = visit.see(".bj-notice").inner_text()
        assert "1 photo was not added, because the page holds at most 100" in notice, notice
        assert visit.see(".bj-table tbody tr").count() == 100
        visit.page.locator(".bj-count", has_text="100 photos").wait_for()
