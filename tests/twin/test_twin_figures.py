"""Figures of `twin estimate`: every text is readable, and the map is no more precise than the sites."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import numpy as np
import pytest
from made_result import LONG, interval, made_result, made_sites
from matplotlib.text import Text
from PIL import Image

from bioclip_jax.errors import UserError
from bioclip_jax.twin.estimate.figures import clocks, draw_activity, draw_map, draw_occupancy, intervals
from bioclip_jax.twin.estimate.figures import map as site_map


@pytest.fixture
def drawn(monkeypatch):
    """Catch the figures instead of writing them."""
    figures = []
    for module in (clocks, intervals, site_map):
        monkeypatch.setattr(module, "save", lambda figure, path: figures.append(figure))
    return figures


def assert_readable(figure) -> list[str]:
    """All texts are inside the figure, of at least 6 points, and none covers another; return them."""
    figure.canvas.draw()
    texts = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]
    boxes = [text.get_window_extent() for text in texts]
    names = [text.get_text() for text in texts]
    for text, box in zip(texts, boxes, strict=True):
        assert text.get_fontsize() >= 6, text.get_text()
        assert box.x0 >= 0 and box.y0 >= 0, f"{text.get_text()!r} is cut off"
        assert box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1, f"{text.get_text()!r} is cut off"
    for (one, first), (other, second) in itertools.combinations(zip(names, boxes, strict=True), 2):
        width = min(first.x1, second.x1) - max(first.x0, second.x0)
        height = min(first.y1, second.y1) - max(first.y0, second.y0)
        # Boxes have a margin above and below their letters.
        assert width < 1 or height < 3, f"{one!r} and {other!r} overlap"
    return names


@pytest.mark.parametrize("n", [1, 30])
def test_intervals_are_readable(drawn, n):
    draw_occupancy(made_result(n), Path("occupancy.png"))
    names = assert_readable(drawn[0])
    assert "estimate and 90 % interval" in names and ("density" in names) == (n > 3)
    assert sum(name in names for name in made_result(n)["species"]) == n - (n > 3), "but for the long name"


def test_species_are_sorted_and_a_wide_interval_ends_in_an_arrow(drawn):
    result = made_result(3)
    draw_occupancy(result, Path("occupancy.png"))
    occupancy, abundance = drawn[0].axes
    labels = [label.get_text() for label in occupancy.get_yticklabels()]
    means = [result["species"][name]["occupancy"]["mean"] for name in labels]
    assert means == sorted(means, reverse=True)
    assert all(label.get_style() == "italic" for label in occupancy.get_yticklabels())
    arrows = [line for line in abundance.lines if line.get_marker() == "<"]
    # Two intervals begin at 0, which a log axis does not have.
    assert sorted(int(line.get_ydata()[0]) for line in arrows) == [1, 2]
    assert all(line.get_xdata()[0] == abundance.get_xlim()[0] for line in arrows)
    points = [line.get_xdata()[0] for line in occupancy.lines if line.get_marker() == "o"]
    assert points == means


def test_nothing_detected_is_drawn_as_zero(drawn):
    result = made_result(2)
    for values in result["species"].values():
        values["occupancy"], values["naive_occupancy"] = interval(0.0, 0.0, 0.3), 0.0
        values["relative_abundance_per_100_days"] = interval(0.0, 0.0, 0.0, naive=0.0)
    draw_occupancy(result, Path("occupancy.png"))
    assert assert_readable(drawn[0]).count("0") >= 3


@pytest.mark.parametrize("n", [1, 30])
def test_clocks_are_readable(drawn, n):
    draw_activity(made_result(n), Path("activity.png"))
    names = assert_readable(drawn[0])
    if n > 3:
        assert any(name.startswith("Too few events for a curve: Ichneumia albicauda") for name in names)
        assert LONG not in names and any(name.startswith("C. mitis") for name in names)
    assert {"0", "6", "12", "18"} <= set(names)


def test_a_clocks_curve_has_each_hours_share():
    shares = np.asarray(made_result(1)["species"]["Vulpes vulpes"]["activity"]["solar_hour"])
    curve = clocks.density_curve(shares, 24 * 1000)
    np.testing.assert_allclose(curve.reshape(24, 1000).mean(axis=1), shares, atol=2e-4)
    np.testing.assert_allclose(clocks.density_curve(np.full(24, 1 / 24)), 1 / 24)


@pytest.mark.parametrize(("n", "decimals"), [(0, 1), (2, 3), (12, 2), (1, None)])
def test_maps_are_readable_and_no_finer_than_the_sites(drawn, n, decimals):
    assert draw_map(made_sites(made_result(n), decimals), Path("map.png"))
    names = assert_readable(drawn[0])
    labels = [name for name in names if re.fullmatch(r"[\d.]+° ?[NSEW]?", name)]
    assert (
        len(labels) >= 4 and any("S" in label for label in labels) and any("E" in label for label in labels)
    )
    if decimals is not None:
        assert all(len(label.partition("°")[0].partition(".")[2]) <= decimals for label in labels), labels
    assert len(drawn[0].axes) == 1 + min(n, 8)
    shown = {
        float(x) for axes in drawn[0].axes for line in axes.lines for x in np.atleast_1d(line.get_xdata())
    }
    if decimals is not None:
        shown -= {x for x in shown if x < 1}  # the scale bar, in shares of the axes
        assert all(round(x, decimals) == x for x in shown)


def test_the_map_counts_sites_and_rates_by_cell(drawn):
    sites = [
        {"latitude": 51.2, "longitude": 4.8, "effort_days": 10.0, "events": {"Vulpes vulpes": 3}},
        {"latitude": 51.2, "longitude": 4.8, "effort_days": 40.0, "events": {"Vulpes vulpes": 2}},
        {"latitude": 51.3, "longitude": 4.9, "effort_days": 50.0, "events": {}},
        {"latitude": None, "longitude": None, "effort_days": 50.0, "events": {"Vulpes vulpes": 9}},
    ]
    draw_map(sites, Path("map.png"))
    names = assert_readable(drawn[0])
    assert "largest circle: 10 per 100 days" in names  # 5 events in 50 days
    assert [name for name in names if name in ("1", "2")] == ["2", "1"]
    # A degree of longitude is cos(51.25°) as long as one of latitude.
    assert drawn[0].axes[0].get_aspect() == pytest.approx(1 / 0.6259, rel=1e-3)


def test_sites_on_both_sides_of_the_antimeridian_are_neighbors(drawn):
    sites = [
        {"latitude": -16.8, "longitude": longitude, "effort_days": 10.0, "events": {}}
        for longitude in (179.8, 179.9, -180.0, -179.9)
    ]
    draw_map(sites, Path("map.png"))
    west, east = drawn[0].axes[0].get_xlim()
    assert east - west < 1.5
    assert "180.0°" in assert_readable(drawn[0])


def test_without_positions_there_is_no_map(tmp_path):
    site = {"latitude": None, "longitude": None, "effort_days": 1.0, "events": {}}
    assert not draw_map([site], tmp_path / "map.png")
    assert not list(tmp_path.iterdir())


def test_formats(tmp_path):
    result = made_result(3)
    for name in ("a.png", "a.svg", "b.svg", "a.pdf"):
        draw_occupancy(result, tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    assert (tmp_path / "a.pdf").read_bytes().startswith(b"%PDF")
    with Image.open(tmp_path / "a.png") as image:
        assert image.width == 1140
    assert "Vulpes vulpes" in (tmp_path / "a.svg").read_text()
    with pytest.raises(UserError, match=r"\.png or \.pdf or \.svg"):
        draw_occupancy(result, tmp_path / "a.jpg")
