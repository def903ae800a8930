"""Choices of a visitor on the page and in the API: taxon, checklist, temperature, learned head."""

from __future__ import annotations

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from visits import visiting

pytest.importorskip("gradio", reason="the page needs the extra [web]")

from bioclip_jax.errors import UserError
from bioclip_jax.web.classifiers import ALL, Choice, parse_calibration, parse_temperature


@given(st.floats(0.05, 100))
def test_temperatures_are_read_as_written(value: float):
    assert parse_temperature(repr(value)) == value
    assert parse_temperature(f" {value:.4f} ".replace(".", ",")) == float(f"{value:.4f}")


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "1e9", "warm", "0.01"])
def test_other_temperatures_are_refused(text: str):
    with pytest.raises(UserError, match=r"write a number from 0\.05 to 100"):
        parse_temperature(text)
    assert parse_temperature(" ") is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not a calibration"),
        (b"[1]", "is not a calibration"),
        (b'{"temperature": "x"}', "is not a calibration"),
        (b'{"temperature": -1, "fingerprint": "a"}', "is not a calibration"),
        (b"[" * 100_000, "is not a calibration"),
        (b'{"temperature": 2, "fingerprint": "b"}', "was fitted to another model"),
    ],
)
def test_calibrations_of_nothing_or_others_are_refused(content: bytes, message: str):
    with pytest.raises(UserError, match=message):
        parse_calibration(content, "c.json", "a")
    assert parse_calibration(b'{"temperature": 2, "fingerprint": "a"}', "c.json", "a") == 2


def test_choices_are_bounded():
    assert Choice.create(b"  ") == ALL and Choice.create(b"a") == Choice.create(b" a\n") != ALL
    for options in ({"checklist": b"a" * 3_000_001}, {"within": "a" * 201}, {"head": "x", "within": "Aves"}):
        with pytest.raises(UserError):
            Choice.create(**options)


def post(server, path: str, **data: str) -> dict:
    drawing = server.drawings()[0]
    files = {"file": (drawing.name, drawing.read_bytes())}
    return httpx.post(server.url + path, files=files, data=data, timeout=120).json()


def test_choices_of_the_api(server):
    def species(query: str, **data: str) -> list[tuple[str, float]]:
        (result,) = post(server, f"/api/predict?k=100{query}", **data)["results"]
        return [(row["species"], row["score"]) for row in result["predictions"]]

    every = dict(species(""))
    listed = list(every)[3:6]
    some = dict(species("", subset="species\n" + "\n".join(listed)))
    assert set(some) == set(listed)
    # Probabilities among fewer taxa keep their ratios.
    total = sum(every[name] for name in listed)
    assert all(abs(some[name] - every[name] / total) < 1e-4 for name in listed)
    warm = dict(species("&temperature=3"))
    powers = {name: score ** (1 / 3) for name, score in every.items()}
    assert all(abs(warm[name] - power / sum(powers.values())) < 1e-3 for name, power in powers.items())
    insects = post(server, "/api/predict?within=Insecta&rank=class")["results"][0]["predictions"]
    assert [row["class"] for row in insects] == ["Insecta"] and insects[0]["score"] == pytest.approx(
        1, abs=1e-4
    )
    (result,) = post(server, "/api/predict?head=my%20classes")["results"]
    rows = result["predictions"]
    assert len(rows) == 3 and sum(row["score"] for row in rows) == pytest.approx(1, abs=1e-5)
    assert all(0 < row["familiarity"] <= 1 for row in rows)
    errors = {
        "?within=Insectta": "did you mean Insecta",
        "?head=other": "choose one of my classes",
        "?head=my%20classes&within=Aves": "apply to taxa",
        "?temperature=0": "temperature",
    }
    for query, message in errors.items():
        assert message in post(server, "/api/predict" + query)["error"]
    error = post(server, "/api/predict", subset="species\nFoo bar")["error"]
    assert "Foo bar" in error and "/tmp" not in error and ".csv" not in error
    error = post(server, "/api/predict", subset="species\nFoo bar\nRana temporaria")["error"]
    assert "Foo bar" in error and error.endswith("or send skip_unknown=true") and "--" not in error


@pytest.mark.parametrize(("width", "scheme"), [(390, "light"), (1280, "dark")])
def test_choices_on_the_page(browser, server, artefacts, tmp_path, width: int, scheme: str):
    checklist = tmp_path / "garden.csv"
    checklist.write_text("species\nRana temporaria\nFoo bar\n")
    with visiting(browser, server, width, scheme) as visit, visiting(browser, server) as other:
        page = visit.page
        visit.drop(server.drawings()[0])
        other.drop(server.drawings()[0])
        visit.see(".bj-photo")
        name = other.see(".bj-photo h2").inner_text()
        page.get_by_role("button", name="Choices").click()
        within = page.get_by_label("Only within").first
        within.fill("Insecta")
        within.press("Enter")
        page.locator("#bj-active", has_text="Choosing among 5 taxa").wait_for()
        page.locator(".bj-ladder", has_text="Insecta").wait_for()
        visit.keep(artefacts / f"choices-{width}-{scheme}.png")
        within.fill("Insectta")
        page.get_by_role("button", name="Apply").click()
        page.locator("#bj-active", has_text="did you mean Insecta?").wait_for()
        assert "Insecta" in page.locator(".bj-ladder").inner_text(), "an impossible choice changes nothing"
        page.get_by_role("button", name="Reset", exact=True).click()
        page.locator(".bj-photo h2", has_text=name.split("\n")[0]).wait_for()
        # A file's names, and a calibrated temperature.
        page.locator("#bj-choices input[type=file]").nth(0).set_input_files(checklist)
        page.locator("#bj-active", has_text="garden.csv is loaded").wait_for()
        page.locator("#bj-choices input[type=file]").nth(1).set_input_files(
            server.folder / "calibration.json"
        )
        page.get_by_label("Temperature").and_(page.locator("[value='2.5'], textarea, input")).first.wait_for()
        page.get_by_role("button", name="Apply").click()
        advice = page.locator("#bj-active", has_text="or tick “Skip names that are unknown here”")
        advice.wait_for()
        assert "Foo bar" in advice.inner_text() and "--" not in advice.inner_text()
        page.get_by_label("Skip names that are unknown here").check()
        page.get_by_role("button", name="Apply").click()
        active = page.locator("#bj-active", has_text="Choosing among 1 taxon, calibrated temperature 2.50")
        active.wait_for()
        assert "Skipped 1 unknown name: Foo bar" in active.inner_text()
        page.locator(".bj-headline", has_text="calibrated confidence").wait_for()
        assert page.get_by_role("columnheader").first.inner_text() == "Calibrated confidence"
        page.get_by_role("button", name="Reset", exact=True).click()
        page.locator(".bj-photo h2", has_text=name.split("\n")[0]).wait_for()
        page.get_by_label("Classes").click()
        page.get_by_role("option", name="my classes").click()
        page.get_by_role("button", name="Apply").click()
        page.locator(".bj-headline", has_text="Familiarity").wait_for()
        assert page.locator(".bj-bars li").count() == 3
        visit.keep(artefacts / f"head-{width}-{scheme}.png")
        # Another visitor's page is as before.
        assert other.page.locator(".bj-photo h2").inner_text() == name
        assert not other.page.locator("#bj-active").is_visible()
