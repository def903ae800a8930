"""Languages of the page: complete tables, numbers, and a visit in each."""

from __future__ import annotations

import re

import pytest
from visits import visiting

pytest.importorskip("gradio", reason="the page needs the extra [web]")

from bioclip_jax.web.language import LANGUAGES, VisitorError, _texts, language


@pytest.mark.parametrize("code", LANGUAGES[1:])
def test_every_text_is_translated_with_its_values(code: str):
    english, texts = _texts("en"), _texts(code)
    assert texts.keys() == english.keys()
    for key, text in texts.items():
        reference = english[key]
        assert type(text) is type(reference), key
        if isinstance(text, dict):
            text, reference = text["other"], reference["other"]
        assert set(re.findall(r"\{\w+\}", text)) == set(re.findall(r"\{\w+\}", reference)), key
        if code == "fr":
            assert not re.search(r"\w [;:!?%]", text), f"{key} needs a no-break space"


def test_plurals_and_numbers():
    assert (
        language("fr")("bar.photos", count=0) == "0 photo"
        and language("en")("bar.photos", count=0) == "0 photos"
    )
    shown = [language(code).number(867455) for code in LANGUAGES]
    assert shown == ["867,455", "867\u202f455", "867.455", "867\u00a0455"]
    assert language("es").number(2000) == "2000" and language("xx").code == "en"
    error = VisitorError("large_file", name="{count}", size=50, limit=20)
    assert "{count} has 50" in str(error) and error.text("de").startswith("{count} hat 50")


@pytest.mark.parametrize(
    ("locale", "title", "rank", "percent"),
    [
        ("fr-CA", "Qu’y a-t-il sur la photo", "embranchement", r"\d,\d\u202f%"),
        ("de-AT", "Was ist auf dem Foto", "Stamm", r"\d,\d\u00a0%"),
        ("es-MX", "¿Qué hay en la foto?", "filo", r"\d,\d\u00a0%"),
    ],
)
def test_a_visit_in_the_language_of_the_browser(
    browser, server, artefacts, tmp_path, locale, title, rank, percent
):
    code = locale[:2]
    (tmp_path / "x.jpg").write_bytes(b"no picture")
    with visiting(browser, server, 390, "light", locale=locale) as visit:
        page = visit.page
        page.locator("h1", has_text=title).wait_for()
        assert page.locator("html").get_attribute("lang") == code
        visit.drop(server.drawings()[0], tmp_path / "x.jpg")
        ladder = visit.see(".bj-ladder").first.inner_text()
        assert rank in ladder and re.search(percent, ladder), ladder
        assert (
            str(VisitorError("not_an_image", name="x.jpg", kinds=None).text(code))
            in visit.see(".bj-notice").inner_text()
        )
        visit.keep(artefacts / f"language-{code}.png")
        # A choice of the visitor holds after a reload, and keeps the photos until then.
        page.locator(".bj-language select").select_option("en")
        page.locator(".bj-ladder", has_text="phylum").wait_for()
        assert visit.focused()["tagName"] == "SELECT"
        page.once("dialog", lambda dialog: dialog.accept())
        page.reload()
        page.locator(".bj-empty").first.wait_for()
        page.locator("html[lang=en]").wait_for()
        assert "What is in the photo?" in page.locator("h1").inner_text()
        # Gradio reports the connection that the reload cut.
        visit.problems.clear()
