"""The verb explain: its page in a browser, reference pictures from an index, and errors of use."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from accessibility import axe_violations, low_contrast, skipped_headings
from PIL import Image

from bioclip_jax.cli import main
from bioclip_jax.errors import UserError
from bioclip_jax.pipeline.images import Preprocess
from bioclip_jax.predict.attribution import explain_files, overlay_url, seen_part
from bioclip_jax.predict.attribution.overlay import overlay_pixels
from bioclip_jax.predict.attribution.page import describe
from bioclip_jax.predict.preprocess import Squash
from bioclip_jax.predict.taxa import build_taxa

COLUMNS = ("filepath", "kingdom", "phylum", "class", "order", "family", "genus", "species", "common_name")
CAT = ("Animalia", "Chordata", "Mammalia", "Carnivora", "Felidae", "Felis", "catus", "House cat")
ROSE = ("Plantae", "Tracheophyta", "Magnoliopsida", "Rosales", "Rosaceae", "Rosa", "canina", "Dog rose")
OAK = ("Plantae", "Tracheophyta", "Magnoliopsida", "Fagales", "Fagaceae", "Quercus", "robur", "Oak")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, model) -> Path:
    """Twelve labeled pictures of cats and roses, three species to choose from, and one without pictures."""
    folder = tmp_path_factory.mktemp("explain")
    random, rows = np.random.default_rng(0), []
    for number in range(12):
        name, taxon = f"picture{number}.png", (CAT, ROSE)[number % 2]
        Image.fromarray(random.integers(0, 256, (40, 60, 3), np.uint8)).save(folder / name)
        rows.append((name, *taxon))
    with open(folder / "metadata.csv", "w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *rows])
    with open(folder / "names.csv", "w", newline="") as file:
        csv.writer(file).writerows([COLUMNS[1:], CAT, ROSE, OAK])
    build_taxa(folder / "names.csv", model, folder / "taxa.safetensors", templates=["a photo of {}."])
    return folder


@pytest.fixture(scope="module")
def page(folder, model_directory) -> tuple[Path, dict]:
    pytest.importorskip("lancedb", reason="reference pictures need the extra [search]")
    from bioclip_jax.predict import PredictOptions
    from bioclip_jax.predict.search import build_index

    build_index([folder], str(model_directory), folder / "index")
    (folder / "broken.png").write_bytes(b"no picture")
    photographs = [folder / "picture0.png", folder / "broken.png", folder / "picture1.png"]
    options = PredictOptions(taxa=folder / "taxa.safetensors", as_result=True)
    result = explain_files(
        photographs, str(model_directory), folder / "page.html", options, index=folder / "index", pictures=2
    )
    return folder / "page.html", result


def test_references_are_the_nearest_pictures_of_each_candidate(page, folder, model):
    first = page[1]["explanations"][0]
    names = {f"picture{number}.png": (CAT, ROSE)[number % 2] for number in range(12)}
    vectors = {name: model.encode_image(folder / name)[0] for name in names}
    assert {one["prediction"]["species"] for one in first["candidates"]} == {
        "Felis catus",
        "Rosa canina",
        "Quercus robur",
    }
    for one in first["candidates"]:
        epithet = one["prediction"]["species_epithet"]
        cosines = {
            n: float(vectors[n] @ vectors["picture0.png"]) for n, t in names.items() if t[6] == epithet
        }
        # The photograph itself is no reference.
        cosines.pop("picture0.png", None)
        expected = sorted(cosines, key=cosines.get, reverse=True)[:2]
        assert [Path(each["path"]).name for each in one["references"]] == expected
        for each in one["references"]:
            assert each["score"] == pytest.approx(cosines[Path(each["path"]).name], abs=1e-4)


def test_unreadable_photographs_are_skipped(page):
    path, result = page
    assert len(result["explanations"]) == 2 and "broken.png cannot be read" in result["unreadable"][0]
    assert "broken.png cannot be read" in path.read_text()


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_in_a_browser(page, browser, artefacts, width, scheme):
    tab = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    problems: list[str] = []
    tab.on("console", lambda message: problems.append(message.text))
    tab.on("pageerror", lambda error: problems.append(str(error)))
    tab.goto(page[0].as_uri())
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    section = tab.locator("section", has=tab.locator(".stack")).first
    shown = section.locator(".map:visible")
    assert shown.count() == 1
    assert shown.get_attribute("alt").startswith("Heat map of ")
    before = shown.get_attribute("data-candidate")
    section.locator(".choose").nth(1).focus()
    tab.keyboard.press("Enter")
    assert section.locator(".map:visible").get_attribute("data-candidate") != before
    assert section.locator(".choose").nth(1).get_attribute("aria-pressed") == "true"
    tab.get_by_label("Show the maps").focus()
    tab.keyboard.press("Space")
    assert section.locator(".map:visible").count() == 0, "the map can be hidden by keyboard"
    assert "The index has no picture of Quercus robur." in section.inner_text()
    assert not axe_violations(tab)
    assert not low_contrast(tab)
    assert not skipped_headings(tab)
    images = tab.locator("img").evaluate_all("all => all.filter(image => !image.alt).length")
    assert images == 0, "a picture has no text"
    tab.screenshot(path=artefacts / f"explain-{width}-{scheme}.png", full_page=True)
    assert not problems
    tab.close()


def test_command_prints_its_result(folder, model_directory, capsys):
    command = ["explain", str(folder / "picture2.png"), "--model", str(model_directory), "--cls", "cat,dog"]
    assert main([*command, "--output", str(folder / "labels.html"), "--json", "--method", "gradient"]) == 0
    [explained] = json.loads(capsys.readouterr().out)["explanations"]
    first, second = explained["candidates"]
    assert first["heat_map"]["method"] == "gradient" and second["heat_map"] is None
    assert first["references"] is None
    assert main([*command, "--output", str(folder / "labels.png")]) == 2
    assert "end its name in .html" in capsys.readouterr().err
    assert main([*command, "--output", str(folder / "l.html"), "--index", str(folder)]) == 2
    assert "is not an index of images" in capsys.readouterr().err


def test_too_many_photographs_are_an_error(tmp_path, model_directory):
    for number in range(61):
        Image.new("RGB", (8, 8)).save(tmp_path / f"{number}.png")
    with pytest.raises(UserError, match="61 photographs are too many .*at most 60"):
        explain_files([tmp_path], str(model_directory))


def test_part_that_the_model_saw():
    assert seen_part(Preprocess(32), 200, 100) == (0.25, 0.0, 0.5, 1.0)
    assert seen_part(Preprocess(32, resize_mode="longest"), 200, 100) == (0.0, -0.5, 1.0, 2.0)
    assert seen_part(Squash(32), 200, 100) == (0.0, 0.0, 1.0, 1.0)


def test_colors_of_an_overlay():
    pixels = overlay_pixels(np.array([[0.0, 2.0], [-1.0, 0.5]]))
    assert pixels[..., 3].tolist() == [[0, 225], [112, 56]]
    assert (pixels[0, 1, :3] != pixels[1, 0, :3]).any()
    assert overlay_url(np.zeros((3, 3))).startswith("data:image/png;base64,")


def test_places_in_words():
    values = np.zeros((6, 6), np.float32)
    values[0, 5], values[3, 3] = 2.0, -1.0

    class Drawn:
        """A map with values only."""

    drawn = Drawn()
    drawn.values = values
    assert describe(drawn) == "strongest for it at the top right, against it in the middle"
