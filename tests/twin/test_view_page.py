"""The page of a run in a real browser: views, scenarios, languages, access, kiosk, and what can go wrong."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from accessibility import axe_violations

PATIENCE_MS = 60_000
# Phone, desktop and kiosk.
SIZES = [(390, 844), (1280, 800), (1920, 1080)]
FLAT_VIEWS = ("map", "web")


class Visit:
    """A visitor's page. requests: other than for the page itself. problems: errors of its script."""

    def __init__(self, browser: Any, path: Path, query: str, clock: bool = False, **options: Any) -> None:
        self.requests: list[str] = []
        self.problems: list[str] = []
        self.context = browser.new_context(
            **{"locale": "en-US", "viewport": {"width": 1280, "height": 800}} | options
        )
        self.page = self.context.new_page()
        self.page.set_default_timeout(PATIENCE_MS)
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("console", lambda message: self._on_console(message.type, message.text))
        self.page.on("request", lambda request: self._on_request(request.url))
        self.address = path.as_uri()
        if clock:
            self.page.clock.install()
        self.page.goto(f"{self.address}{query}")
        self.page.locator(".page, .failure").wait_for()

    def _on_console(self, kind: str, text: str) -> None:
        # Software rendering is slow and says so.
        if kind in ("error", "warning") and "GPU stall" not in text and "WebGL" not in text:
            self.problems.append(text)

    def _on_request(self, url: str) -> None:
        if not url.startswith((self.address, "blob:", "data:")):
            self.requests.append(url)

    def text(self, selector: str) -> str:
        return self.page.locator(selector).first.inner_text().replace("\u00a0", " ")

    def focused(self) -> str:
        return self.page.evaluate("document.activeElement.innerText || document.activeElement.className")


@pytest.fixture(scope="module")
def visit(browser, page_file: Path) -> Callable[..., Any]:
    @contextmanager
    def opened(query: str = "?start=0&hour=noon", path: Path = page_file, **options: Any) -> Iterator[Visit]:
        one = Visit(browser, path, query, **options)
        try:
            yield one
            assert not one.requests, f"the page requested {one.requests}"
            assert not one.problems, "\n".join(one.problems)
        finally:
            one.context.close()

    return opened


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_views_in_both_languages_fit_the_screen(visit, artefacts: Path, width: int, height: int):
    options = {"viewport": {"width": width, "height": height}, "has_touch": True}
    for language, hour in (("en", "noon"), ("fr", "night")):
        with visit(f"?start=0&hour={hour}&lang={language}&scenario=1&month=24", **options) as one:
            for view in FLAT_VIEWS:
                one.page.locator(f"#tab-{view}").tap()
                one.page.locator(f".flat.{view}").wait_for()
                wide = one.page.evaluate("document.documentElement.scrollWidth")
                assert wide <= width, f"{view} is {wide} pixels wide"
                small = one.page.evaluate(
                    "[...document.querySelectorAll('button')].filter((b) => b.checkVisibility())"
                    ".map((b) => [b.innerText, b.getBoundingClientRect()])"
                    ".filter(([, box]) => box.width < 43.5 || box.height < 43.5).map(([text]) => text)"
                )
                assert not small, f"targets below 44 pixels: {small}"
                one.page.screenshot(
                    path=artefacts / f"twin-{view}-{width}-{language}.png", animations="disabled"
                )
            assert one.page.evaluate("document.documentElement.lang") == language


def test_nothing_is_loaded_and_axe_finds_nothing(visit):
    for hour, language in (("dawn", "en"), ("noon", "fr"), ("dusk", "en"), ("night", "fr")):
        with visit(f"?start=0&lang={language}&hour={hour}&scenario=1") as one:
            for view in FLAT_VIEWS:
                one.page.locator(f"#tab-{view}").click()
                assert not axe_violations(one.page), f"{view}, {language}, {hour}"
    with visit("?lang=en&hour=noon") as one:
        assert not axe_violations(one.page), "start screen"
        one.page.locator(".begin").click()
        one.page.locator(".tool.about").click()
        assert not axe_violations(one.page), "about"


def test_scenarios_say_what_they_do(visit):
    with visit("?start=0&lang=en&species=5") as one:
        assert "this is how it goes" in one.text(".verdict")
        one.page.get_by_role("radio", name="No lions").click()
        assert one.text(".verdict") == "Lion: disappears, in at least half of the runs."
        assert "Not calibrated" in one.text(".uncalibrated")
        one.page.get_by_role("radio", name="What if no. 2").or_(
            one.page.get_by_role("radio", name="Less rain")
        ).click()
        assert re.search(r"falls|rises|little change|cannot tell", one.text(".verdict"))
    with visit("?start=0&lang=fr&species=5&scenario=1") as one:
        assert one.text(".verdict") == "Lion : disparaît, dans au moins la moitié des simulations."
        assert "Non calibré" in one.text(".uncalibrated")
        assert one.text(".branch[aria-checked=true]") == "Sans lion"


def test_language_switches_all_of_the_page(visit):
    with visit("?start=0&lang=en") as one:
        before = one.page.locator("body").inner_text()
        one.page.get_by_role("button", name="Français").click()
        after = one.page.locator("body").inner_text()
        assert one.page.evaluate("document.documentElement.lang") == "fr"
        same = {line for line in before.splitlines() if re.search(r"[a-z]{3}", line)} & set(
            after.splitlines()
        )
        # Scientific names and words that both languages have.
        assert not {line for line in same if " " not in line or line.islower()} - {"lion", "impala"}, same
        assert one.page.locator(".tool.language").evaluate("(one) => one === document.activeElement")


def test_every_view_by_keyboard_alone(visit):
    with visit("?start=0&lang=en") as one:
        page = one.page
        page.keyboard.press("Tab")
        assert one.focused() == "Skip to the picture"
        stops = []
        for _ in range(30):
            page.keyboard.press("Tab")
            visible = page.evaluate(
                "(() => {const style = getComputedStyle(document.activeElement);"
                "return document.activeElement === document.body || "
                "style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2})()"
            )
            stops.append(page.evaluate("document.activeElement.className || document.activeElement.type"))
            assert visible, f"no visible focus on {stops[-1]}"
            if not stops[-1]:
                break
        expected = ("branch", "tool hour", "tool language", "tool about", "chip", "step play", "range", "tab")
        missing = [name for name in expected if not any(stop.startswith(name) for stop in stops)]
        assert not missing, f"Tab never reaches {missing}: {stops}"
        page.locator("#tab-map").focus()
        page.keyboard.press("ArrowRight")
        page.locator(".flat.web").wait_for()
        page.locator(".node[tabindex='0']").focus()
        chosen = page.locator(".node[aria-checked='true']").inner_text()
        page.keyboard.press("ArrowRight")
        assert page.locator(".node[aria-checked='true']").inner_text() != chosen
        page.locator(".branch[tabindex='0']").focus()
        page.keyboard.press("ArrowRight")
        assert page.locator(".branch").nth(1).get_attribute("aria-checked") == "true"


def test_every_view_opens_by_touch_and_takes_keys(visit):
    # Small, because three dimensions are drawn without a GPU.
    size = {"width": 480, "height": 400}
    with visit("?start=0&lang=en&hour=noon&motion=reduced", has_touch=True, viewport=size) as one:
        page = one.page
        for tab in page.locator(".tab").all():
            tab.tap()
            page.locator(".stage .flat, .stage canvas").first.wait_for()
            if page.locator(".stage[tabindex='0']").count():
                page.locator(".stage").focus()
                page.keyboard.press("ArrowLeft")
                page.keyboard.press("Enter")
                page.locator(".control.right").tap()
            assert page.locator(".stage .message").count() == 0, f"{tab.inner_text()}: {one.text('.stage')}"
            assert page.locator(".caption h2").inner_text() == tab.inner_text()


def test_time_plays_and_steps(visit):
    with visit("?start=0&lang=en&month=0") as one:
        assert one.text(".when") == "Year 1, January"
        one.page.get_by_role("button", name="Later").click()
        assert one.text(".when") == "Year 1, April"
        one.page.get_by_role("button", name="Play").click()
        one.page.get_by_role("button", name="Play").wait_for()
        assert one.text(".when") == "After 2 years"
        marks = one.page.locator(".land").get_attribute("aria-label")
        assert marks.startswith("Zebra, After 2 years: area A "), marks


def test_reduced_motion_is_obeyed(visit):
    with visit("?start=0&lang=en&month=0", reduced_motion="reduce") as one:
        one.page.get_by_role("radio", name="No lions").click()
        assert one.text(".when") == "After 2 years", "a scenario's end is shown at once"
        moving = one.page.evaluate(
            "[...document.querySelectorAll('*')].map((one) => getComputedStyle(one).transitionDuration)"
            ".filter((duration) => parseFloat(duration) > 0).length"
        )
        assert moving == 0
    with visit("?lang=en", clock=True, reduced_motion="reduce") as one:
        one.page.clock.run_for(60_000)
        assert one.page.locator(".branch").first.get_attribute("aria-checked") == "true", (
            "nothing moves by itself"
        )


def test_a_kiosk_left_alone_returns_to_its_start(visit):
    with visit("?kiosk&idle=60&lang=fr&hour=noon", **{"has_touch": True}) as one:
        page = one.page
        assert page.locator(".tool.kiosk").count() == 0 and page.locator("a[href^=http]").count() == 0
        page.locator(".begin").tap()
        page.clock.install()
        page.locator("#tab-web").tap()
        page.locator(".branch").nth(1).tap()
        page.locator(".tool.language").tap()
        assert page.evaluate("document.documentElement.lang") == "en"
        page.clock.run_for(59_000)
        assert page.locator(".begin").count() == 0, "it waits a minute"
        page.clock.run_for(2_000)
        page.locator(".begin").wait_for()
        assert one.text(".begin") == "Touchez pour commencer"
        assert page.evaluate("document.querySelector('.page').inert")
        chosen = page.locator(".tab[aria-selected='true']").get_attribute("id")
        assert chosen == "tab-map" and "#" not in page.url
        page.clock.run_for(10_000)
        assert page.locator(".branch").nth(1).get_attribute("aria-checked") == "true", "it shows a scenario"
        page.keyboard.press("Enter")
        assert page.locator(".branch").nth(0).get_attribute("aria-checked") == "true"
        assert page.locator(".begin").count() == 0


@pytest.mark.parametrize("keys", [1, 2])
def test_switch_access_reaches_and_chooses(visit, keys: int):
    with visit(f"?start=0&lang=en&scan={keys}", clock=True) as one:
        page = one.page
        page.locator(".branch").first.focus()
        for _ in range(60):
            if keys == 1:
                page.clock.run_for(1_400)
            else:
                page.keyboard.press("Space")
            if page.evaluate("document.activeElement.id") == "tab-web":
                break
        page.keyboard.press("Space" if keys == 1 else "Enter")
        page.locator(".flat.web").wait_for()


@pytest.mark.parametrize(
    "query",
    [
        "?lang=de&view=../../etc/passwd&scenario=99&species=-1&hour=teatime&idle=0&scan=9",
        "?<script>alert(1)</script>=1&view=%3Cimg%20src=x%20onerror=alert(1)%3E",
        "?__proto__=1&constructor=2&hasOwnProperty=3&toString=4",
        "?scenario=1e9&month=NaN&species=%00&kiosk=maybe",
        "?" + "a" * 5000,
        "?%E0%A4%A",
        "#view=web&scenario=1&species=999999&month=%FF",
        '#{"view": "web"}',
    ],
)
def test_hostile_addresses_are_one_line(visit, query: str):
    separator = "&" if query.startswith("?") else ""
    with visit(f"{query}{separator}start=0" if separator else f"?start=0{query}") as one:
        assert len(one.text(".notice").splitlines()) == 1 and "was not understood" in one.text(".notice")
        assert one.page.locator(".flat").count() == 1
        assert one.page.locator("img, iframe, script[src]").count() == 0


def test_an_address_brings_back_what_was_looked_at(visit, page_file: Path):
    with visit("?start=0&lang=en") as one:
        one.page.locator("#tab-web").click()
        one.page.locator(".branch").nth(2).click()
        one.page.locator(".node", has_text="lion").click()
        saved = one.page.evaluate(
            "new Promise((done) => {const look = () => location.hash.includes('species=5')"
            " ? done(location.hash) : setTimeout(look, 50); look();})"
        )
    with visit(f"?start=0{saved}") as one:
        assert one.page.locator(".node[aria-checked='true']").inner_text() == "lion"
        assert one.page.locator(".branch").nth(2).get_attribute("aria-checked") == "true"
        one.page.evaluate("location.hash = 'scenario=<b>&view=map'")
        one.page.locator(".flat.map").wait_for()
        assert "was not understood" in one.text(".notice")


def test_without_webgl_the_flat_views_work(browser, chromium: str, page_file: Path):
    flat = browser.browser_type.launch(executable_path=chromium, args=["--no-sandbox", "--disable-3d-apis"])
    try:
        one = Visit(flat, page_file, "?start=0&lang=en")
        assert one.page.evaluate("document.createElement('canvas').getContext('webgl')") is None
        for tab in one.page.locator(".tab").all():
            tab.click()
            text = one.text(".stage")
            if tab.get_attribute("id") in ("tab-map", "tab-web"):
                assert "cannot draw" not in text
            else:
                assert text == "This screen cannot draw in 3-D. The map and the food web work without it."
        assert not one.problems and not one.requests
    finally:
        flat.close()


@pytest.mark.parametrize("damage", ["truncated", "letters", "missing", "other"])
def test_a_damaged_block_is_one_plain_line(visit, page_file: Path, tmp_path: Path, damage: str):
    text = page_file.read_text(encoding="utf-8")
    start = text.index('id="series">') + len('id="series">')
    end = text.index("<", start)
    middle = (start + end) // 2
    parts = {
        "truncated": text[:middle] + text[end:],
        "letters": text[:middle] + "!?" + text[middle + 2 :],
        "missing": text.replace('id="series"', 'id="serious"'),
        "other": text.replace('id="data"', 'id="data2"').replace('id="series"', 'id="data"'),
    }
    (tmp_path / "damaged.html").write_text(parts[damage], encoding="utf-8")
    with visit("?lang=fr", path=tmp_path / "damaged.html") as one:
        assert one.text("[role=alert]").startswith("Cette page est endommagée")
        assert len(one.page.locator("body").inner_text().split("\n\n")) == 2
