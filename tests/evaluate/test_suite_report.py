"""Reports of a suite: rows, Markdown and figures."""

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
from PIL import Image

from bioclip_jax.evaluate.protocols.awa2 import AwA2
from bioclip_jax.evaluate.protocols.fishnet import FishNet
from bioclip_jax.evaluate.reference_scores import PARTS, REFERENCE_SCORES, SYSTEMS
from bioclip_jax.evaluate.report.figures import draw, draw_curves, shorten, visible_rows, wrap_title
from bioclip_jax.evaluate.report.markdown import markdown
from bioclip_jax.evaluate.report.rows import report_rows

CAMERA_TRAPS = [f"camera-trap-{site}" for site in ("lion", "ena", "island", "ohio", "orinoquia")]


def entry(value, published=None, protocol="zero-shot", group=None, **figures):
    return {
        "protocol": protocol,
        "published": published,
        "group": group,
        "score": "top1",
        "figures": {"top1": value, "n": 1000, "interval": [value - 0.02, value + 0.02]} | figures,
    }


def results(entries, groups=None, skipped=None, failed=None):
    return {
        "model": "a|model",
        "date": "2025-01-02T03:04:05+00:00",
        "versions": {"bioclip_jax": "1"},
        "device": "cpu",
        "groups": groups or {},
        "entries": entries,
        "skipped": skipped or {},
        "failed": failed or {},
    }


def paper(values):
    """Return entries for all rows of the paper, one for each camera-trap site."""
    entries = {}
    for name, published in REFERENCE_SCORES.items():
        if published.sets == 1:
            entries[name] = entry(values[name], name, published.protocol)
        else:
            for number, site in enumerate(CAMERA_TRAPS):
                entries[site] = entry(values[name] + 0.01 * (number - 2), name, published.protocol, name)
    return entries


GROUPS = {"camera-trap": CAMERA_TRAPS}


def test_published_means_are_consistent():
    for part, table in PARTS.items():
        rows = [published.figures for published in REFERENCE_SCORES.values() if published.part == part]
        assert set(table.mean) >= set(SYSTEMS) - {"BioCAP"}
        for system in table.mean:
            mean = np.mean([figures[system] for figures in rows])
            assert abs(mean - table.mean[system]) < 0.1, f"the {system} figures of {part} have mean {mean}"


def test_rows_are_in_the_papers_order_with_its_means():
    values = dict(zip(REFERENCE_SCORES, np.random.default_rng(0).uniform(0.1, 0.9, len(REFERENCE_SCORES))))
    backwards = dict(reversed(paper(values).items()))
    rows = report_rows(results(backwards, GROUPS))
    sets = [row for row in rows if row.kind == "set"]
    assert [row.title for row in sets] == [published.title for published in REFERENCE_SCORES.values()]
    np.testing.assert_allclose([row.ours for row in sets], [100 * value for value in values.values()])
    ten, five = (row.ours for row in rows if row.kind == "mean")
    assert ten == pytest.approx(sum(list(values.values())[:10]) * 10)
    assert five == pytest.approx(sum(list(values.values())[10:]) * 20)
    assert len([row for row in rows if row.kind == "member"]) == 5
    assert len(visible_rows(rows)) == 17, "the figure has one row per set and two means"


@pytest.mark.parametrize("missing", ["fungi", "camera-trap-ohio"])
def test_missing_set_omits_the_mean(missing):
    entries = paper(dict.fromkeys(REFERENCE_SCORES, 0.5))
    del entries[missing]
    result = results(entries, GROUPS, skipped={missing: "no data"})
    ten, five = (row for row in report_rows(result) if row.kind == "mean")
    title = "Fungi" if missing == "fungi" else "Camera Trap"
    assert ten.ours is None and ten.note == f"{title} not scored"
    assert five.ours == pytest.approx(50)
    page = markdown(result, report_rows(result))
    assert f"No mean of the 10: {title} not scored." in page
    if missing != "fungi":
        assert (
            "| Camera Trap | zero-shot |  | (4 of its 5 sets are scored) | 53.9 | 37.4 | 31.7 | 29.5 |"
            in page
        )


def test_incomplete_group_has_no_mean():
    entries = {name: entry(0.5, "camera-trap", group="camera-trap") for name in CAMERA_TRAPS[:3]}
    rows = report_rows(results(entries, {"camera-trap": CAMERA_TRAPS[:3]}))
    assert rows[0].ours is None and rows[0].note == "3 of its 5 sets are scored"
    assert [row.title for row in visible_rows(rows)] == CAMERA_TRAPS[:3]


def test_set_scored_twice_omits_the_mean():
    entries = paper(dict.fromkeys(REFERENCE_SCORES, 0.5)) | {"again": entry(0.9, "nabirds")}
    mean = next(row for row in report_rows(results(entries, GROUPS)) if row.kind == "mean")
    assert mean.ours is None and "twice" in mean.note


def test_few_shot_has_one_row_per_number_of_shots():
    shots = {"1": {"mean": 0.25, "interval": [0.2, 0.3]}, "5": {"mean": 0.5, "interval": None}}
    entries = {
        "birds": entry(0.25, protocol="few-shot", few_shot=shots),
        "a": entry(0.25, protocol="few-shot", group="traps", few_shot=shots),
        "b": entry(
            0.25, protocol="few-shot", group="traps", few_shot={"1": {"mean": 0.35}, "5": {"mean": 0.7}}
        ),
    }
    rows = report_rows(results(entries, {"traps": ["a", "b"]}))
    scores = {row.title: (round(row.ours, 6), row.interval) for row in rows}
    assert scores["birds, 1-shot"] == (25, (20, 30))
    assert scores["birds, 5-shot"] == (50, None)
    assert scores["traps, 1-shot"] == (30, None) and scores["traps, 5-shot"] == (60, None)
    assert all(not row.published for row in rows)


def test_published_scores_are_compared_with_the_scores_with_dropout():
    entries = paper(dict.fromkeys(REFERENCE_SCORES, 0.5))
    for name, protocol, with_dropout in (("fishnet", FishNet, 0.3), ("awa2", AwA2, 0.4)):
        figures = {key: 0.7 for key in protocol.also} | {
            f"{key}_interval": [0.6, 0.8] for key in protocol.also
        }
        figures |= {protocol.score: with_dropout, "interval": [with_dropout - 0.02, with_dropout + 0.02]}
        entries[name] |= {"score": protocol.score, "also": dict(protocol.also), "figures": figures | {"n": 9}}
    result = results(entries, GROUPS)
    rows = {row.title: row for row in report_rows(result)}
    assert (rows["FishNet"].ours, rows["FishNet"].published["BioCLIP 2"]) == (pytest.approx(30), 39.8)
    assert (rows["AwA2"].ours, rows["AwA2"].published["BioCLIP 2"]) == (pytest.approx(40), 69.5)
    assert rows["Mean of the 5"].ours == pytest.approx((30 + 50 + 40 + 50 + 50) / 5), "of those with dropout"
    marked = [row for row in rows.values() if row.kind == "also"]
    of_awa2 = [f"AwA2, {how}" for how in AwA2.also.values()]
    assert [row.title for row in marked] == ["FishNet, without dropout", *of_awa2]
    assert all(row.ours == pytest.approx(70) and row.interval == (60, 80) for row in marked)
    assert not any(row.published for row in marked)
    page = markdown(result, report_rows(result))
    assert "| *FishNet, without dropout* | fishnet | 9 | 70.0 (60.0–80.0) |  |  |  |" in page
    assert "Rows in italics are not comparable with the published figures" in page


def test_markdown_is_escaped():
    result = results({"a_b": entry(0.5)}, failed={"x": "a | b\nc"})
    page = markdown(result, report_rows(result))
    assert page.startswith("# a\\|model\n")
    assert "BioCLIP" not in page, "these sets have no published scores"
    assert "| a\\_b | zero-shot | 1,000 | 50.0 (48.0–52.0) |" in page
    assert "- x: a \\| b c" in page
    assert all(line.count(" | ") == 3 for line in page.splitlines() if line.startswith("| a\\_b"))


@pytest.mark.parametrize("number", [1, 3, 20])
def test_figure_grows_with_its_rows(tmp_path, number):
    long = "a-set-of-photographs-with-a-name-that-is-much-too-long-for-any-figure"
    entries = {f"{long}-{index}": entry(index / number) for index in range(number)}
    draw(tmp_path / "results.png", report_rows(results(entries)), "a model" * 40)
    picture = np.asarray(Image.open(tmp_path / "results.png").convert("L"))
    assert picture.shape[1] >= 1000
    assert 35 * number < picture.shape[0] < 260 + 45 * number
    edges = np.concatenate(
        [picture[:, :4].ravel(), picture[:, -4:].ravel(), picture[:3].ravel(), picture[-3:].ravel()]
    )
    assert edges.min() == 255, "the figure is cropped"


def test_no_scores_make_no_figure(tmp_path):
    draw(tmp_path / "results.png", report_rows(results({})), "a model")
    draw_curves(tmp_path / "curves.png", {"a": []})
    assert not list(tmp_path.iterdir())


def test_curves_have_one_panel_per_entry(tmp_path):
    curve = [(step, step / 20, (step / 20 - 1, step / 20 + 1) if step else None) for step in (0, 500, 1000)]
    sizes = []
    for number in (1, 3, 7):
        draw_curves(tmp_path / "curves.png", {f"entry {index}": curve for index in range(number)})
        sizes.append(Image.open(tmp_path / "curves.png").size)
    assert sizes[0][0] < sizes[1][0] == sizes[2][0]
    assert sizes[1][1] < sizes[2][1]


@hypothesis.given(st.text(st.sampled_from("abc-_ ."), max_size=90).map(str.strip))
def test_titles_wrap_to_two_lines_at_most(name):
    lines = wrap_title(name).split("\n")
    assert len(lines) <= 2 and max(map(len, lines)) <= 30, lines
    if len(name) <= 60:
        assert "".join("".join(lines).split()) == "".join(name.split()), "a short title is not cut"
    assert len(shorten(name, 40)) <= 40
    assert shorten(name, 40)[-10:] == name[-10:]
