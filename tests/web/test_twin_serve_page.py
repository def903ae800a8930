"""A visitor of a served twin in a real browser: compose a change, wait, and read what it does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("gradio", reason="the page needs the extra [web]")

PATIENCE_MS = 120_000


@pytest.fixture
def page(browser, twin_served):
    context = browser.new_context(locale="en-US", viewport={"width": 1280, "height": 900}, has_touch=True)
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    # The browser tells of a refused request.
    page.on(
        "console",
        lambda it: (
            problems.append(it.text) if it.type == "error" and "status of 400" not in it.text else None
        ),
    )
    page.on(
        "request",
        lambda it: None if it.url.startswith(twin_served.url) else problems.append(f"request: {it.url}"),
    )
    page.goto(f"{twin_served.url}/?start=0&hour=noon&motion=reduced")
    page.locator(".try").wait_for()
    yield page
    context.close()
    assert not problems, "\n".join(problems)


def _branches(page: Any) -> list[str]:
    return page.locator(".branches .branch").all_inner_texts()


def test_a_visitor_takes_lions_away_by_touch(page, artefacts: Path):
    before = _branches(page)
    page.locator(".try").tap()
    page.locator(".field.species select").select_option("Panthera leo")
    assert page.locator(".field.percent output").inner_text() == "100 %"
    page.screenshot(path=artefacts / "twin_compose.png")
    from axe_playwright_python.sync_playwright import Axe

    violations = Axe().run(page).response["violations"]
    assert not violations, [(one["id"], one["nodes"][0]["html"][:200]) for one in violations]
    page.get_by_role("button", name="Simulate").tap()
    page.locator(".verdict-lines").wait_for()
    assert page.locator(".composer h3").inner_text() == "Without the lion"
    first = page.locator(".verdict-line").first.inner_text()
    assert "lion" in first.lower() and "disappears" in first, first
    told = page.locator(".live-rest").all_inner_texts()
    assert any("8 runs" in text for text in told) and any("Not calibrated" in text for text in told), told
    page.screenshot(path=artefacts / "twin_result.png")
    page.get_by_role("button", name="See it").tap()
    assert _branches(page) == [*before, "Without the lion"]
    assert page.locator(".branch[aria-checked=true]").inner_text() == "Without the lion"
    assert page.evaluate("document.activeElement.className") == "branch try"
    page.locator(".strip").get_by_role("radio", name="lion", exact=True).tap()
    assert "disappears" in page.locator(".verdict").inner_text()
    assert page.locator(".legend .without").count() == 1
    page.get_by_role("tab", name="Food web").tap()
    page.screenshot(path=artefacts / "twin_own_scenario.png")
    # The address keeps no scenario that a reload would not know.
    page.wait_for_function("location.hash.includes('scenario=0')")


def test_french_by_keyboard(page, artefacts: Path):
    page.locator(".tool.language").focus()
    page.keyboard.press("Enter")
    page.locator(".try").focus()
    page.keyboard.press("Enter")
    assert page.locator("#live-title").inner_text() == "Que changeriez-vous ?"
    # The first control has the focus: less rain, from the first year.
    assert page.evaluate("document.activeElement.closest('.field').className") == "field kind"
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.locator(".field.percent").wait_for()
    assert page.evaluate("document.activeElement.closest('.field').className") == "field kind"
    page.keyboard.press("Tab")
    before = page.locator(".field.percent output").inner_text()
    page.keyboard.press("ArrowLeft")
    assert page.locator(".field.percent output").inner_text() == "45 %" and before == "50 %"
    for _ in range(12):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.innerText") == "Simuler":
            break
    page.keyboard.press("Enter")
    page.locator(".composer h3").wait_for()
    assert page.locator(".composer h3").inner_text() == "Moins de pluie"
    text = page.locator(".live-dialog").inner_text()
    assert "simulations" in text and "runs" not in text
    page.screenshot(path=artefacts / "twin_french.png")
    page.keyboard.press("Escape")
    assert page.locator(".live-dialog").count() == 0
    assert _branches(page)[-1] == "Moins de pluie"


def test_waiting_canceling_and_refusals(page, twin_served):
    with twin_served.held():
        page.locator(".try").tap()
        page.get_by_role("button", name="Simulate").tap()
        page.locator(".live-status").get_by_text("One simulation is before yours.").wait_for()
        page.get_by_role("button", name="Cancel").tap()
        page.locator(".live-status").get_by_text("Canceled.").wait_for()
    page.locator(".field.kind select").select_option("rain")
    page.get_by_role("button", name="One more change").tap()
    page.locator(".field.kind select").nth(1).select_option("rain")
    page.get_by_role("button", name="Simulate").tap()
    page.locator(".live-status").get_by_text("Two changes contradict each other").wait_for()
    page.get_by_role("button", name="Take back: Change 2").tap()
    assert page.locator(".change").count() == 1


def test_a_kiosk_forgets_the_scenarios_of_a_visitor(page, twin_served):
    page.clock.install()
    page.goto(f"{twin_served.url}/?start=0&kiosk=1&idle=60&motion=reduced&lang=en")
    before = _branches(page)
    page.locator(".try").tap()
    page.get_by_role("button", name="Simulate").tap()
    page.locator(".composer h3").wait_for()
    assert len(_branches(page)) == len(before) + 1
    page.clock.fast_forward(61_000)
    page.locator(".start").wait_for()
    assert page.locator(".live-dialog").count() == 0 and _branches(page) == before
