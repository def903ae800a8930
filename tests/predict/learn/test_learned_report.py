"""The report of a learned head, in a browser, and what it says about planted errors."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from species_pictures import EACH, SPECIES

import bioclip_jax as bj
from bioclip_jax.predict.learn.second_look import LABEL_ERROR, TWO_CLASSES, far_out, label_errors


@pytest.fixture(scope="module")
def planted(labeled: Path, model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A head of photographs: one has a wrong label, one is in two classes, and one has an evil name."""
    folder = tmp_path_factory.mktemp("planted")
    with open(labeled / "metadata.csv", newline="") as file:
        head, *rows = list(csv.reader(file))
    genus, epithet = head.index("genus"), head.index("species")
    for row in rows:
        shutil.copy(labeled / row[0], folder)
    rows[0][genus], rows[0][epithet] = "Meles", "meles"
    shutil.copy(folder / "2.png", folder / "<img src=x>.png")
    rows.append(["<img src=x>.png", *rows[1][1:]])
    with open(folder / "metadata.csv", "w", newline="") as file:
        csv.writer(file).writerows([head, *rows])
    bj.learn_head(folder, model, folder.with_name("planted head"))
    return folder.with_name("planted head")


def test_planted_errors_are_first_in_the_review(planted: Path):
    with open(planted / "review.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    wrong = [row for row in rows if row["reason"] == LABEL_ERROR]
    assert "0.png" in [Path(row["filepath"]).name for row in wrong[:3]], rows
    [row] = [row for row in wrong if Path(row["filepath"]).name == "0.png"]
    assert (row["label"], row["predicted"]) == ("Meles meles", "Vulpes vulpes") and float(
        row["probability"]
    ) < 0.5
    assert Path(row["filepath"]).is_file()
    [twin] = [row for row in rows if row["reason"] == TWO_CLASSES]
    assert {Path(twin["filepath"]).name, Path(twin["beside"]).name} == {"2.png", "<img src=x>.png"}


def _into(collected: list) -> Callable[[Any], None]:
    return lambda item: collected.append(item)


def _violations(page: Any) -> list[str]:
    """Findings of axe-core with their elements."""
    from axe_playwright_python.sync_playwright import Axe

    results = Axe().run(page).response["violations"]
    return [f"{one['id']}: {node['html'][:160]}" for one in results for node in one["nodes"]]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_report_fits_phones_and_screens_and_axe_finds_nothing(planted, browser, artefacts, scheme):
    for width in (390, 1280):
        # axe-core is a script, which the page's own policy would not run.
        context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, bypass_csp=True
        )
        page = context.new_page()
        problems: list[str] = []
        requests: list[str] = []
        page.on("pageerror", _into(problems))
        page.on("request", _into(requests))
        page.goto((planted / "report.html").as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.locator("h1").inner_text() == "A head for 5 classes"
        assert page.locator(".again li").count() >= 2
        assert page.locator(".again img[src^='data:image/jpeg']").count() >= 3
        assert "<img src=x>.png" in page.locator(".again").inner_text()
        found = _violations(page)
        assert not problems and not found, problems or "\n".join(found)
        outside = [one.url for one in requests if not one.url.startswith(("file:", "data:"))]
        assert not outside, outside
        page.screenshot(path=artefacts / f"learned-{width}-{scheme}.png", full_page=True)
        context.close()


def test_label_errors_are_confidently_of_another_class():
    """Thresholds are the classes' mean confidences, 0.4 and 0.3, or at most 0.5."""
    labels = np.array([0, 0, 1, 1, 2])
    own = np.array([0.6, 0.2, 0.4, 0.2, 0.9])
    probabilities = np.zeros((5, 3))
    probabilities[np.arange(5), labels] = own
    probabilities[1, 1:] = 0.29, 0.51
    probabilities[3, [0, 2]] = 0.39, 0.41
    assert label_errors(probabilities, labels).tolist() == [False, True, False, False, False]
    probabilities[3, [0, 2]] = 0.45, 0.35
    assert label_errors(probabilities, labels).tolist() == [False, True, False, True, False]


def test_far_outliers_are_beyond_three_quartile_distances():
    distances = np.array([*np.linspace(1, 2, 101), 3.6, 9.0], np.float32)
    low, high = np.quantile(distances, [0.25, 0.75])
    assert far_out(distances).tolist() == [102, 101] and 3.6 > high + 3 * (high - low)
    assert far_out(np.ones(EACH * len(SPECIES), np.float32)).size == 0
