"""twin export: one file, the same bytes for the same run, no place in it, and errors of one line."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
from dataclasses import replace
from html import unescape

import numpy as np
import pytest
from made_run import CAMERAS, FENCE, MEMBERS, OPTIONS, PLACES, POSITIONS, TWIN_NAME, YEARS, secret_twin
from made_twin import LION

from bioclip_jax.cli import main
from bioclip_jax.errors import UserError
from bioclip_jax.twin.scenario import branch_effects, read_run
from bioclip_jax.twin.view import export as export_module
from bioclip_jax.twin.view import export_page, find_secrets, secrets_of
from bioclip_jax.twin.view import three as three_module
from bioclip_jax.twin.view.blocks import deltas, read_blocks, undo_deltas


@pytest.fixture(scope="module")
def blocks(exported):
    """Decoded data blocks of the page."""
    return read_blocks(exported.page.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def content(blocks):
    """JSON of the page."""
    return json.loads(blocks["data"])


def test_the_result_says_what_was_exported(exported):
    result = exported.result
    assert result["bytes"] == exported.page.stat().st_size < 15_000_000
    assert (result["species"], result["patches"], result["scenarios"]) == (6, 3, 2)
    assert result["scenes"] == 3 * 4, "three branches at four hours"
    assert not result["calibrated"] and "NOT CALIBRATED" in result["note"] and not result["precise"]


def test_equal_runs_have_equal_bytes(exported, tmp_path):
    options = replace(OPTIONS, deployments=exported.folder / "deployments.csv")
    export_page(exported.folder / "run", tmp_path / "again.html", options)
    assert (tmp_path / "again.html").read_bytes() == exported.page.read_bytes()


def test_biomass_and_effects_are_those_of_the_run(exported, content, blocks):
    run = read_run(exported.folder / "run")
    branches, species, times = len(run.branches), len(run.species), len(run.times)
    quantiles = content["series"]["quantiles"]
    size = branches * species * len(quantiles) * times
    codes = undo_deltas(blocks["series"][: 2 * size], (branches, species, len(quantiles), times))
    shown = np.where(codes == -32768, 0, 10.0 ** (codes / content["series"]["steps"]))
    for branch in range(branches):
        expected = np.quantile(run.total(branch), np.array(quantiles) / 100, axis=0).transpose(2, 0, 1)
        np.testing.assert_allclose(shown[branch], expected, rtol=6e-4, err_msg=run.branches[branch])
    assert shown[1, run.species.index(LION), quantiles.index(50), -1] == 0, "lions were removed"
    effects = branch_effects(run, "no lions")["species"]
    for number, name in enumerate(run.species):
        one = content["effects"][1][number]
        assert one["verdict"] == effects[name]["verdict"]
        assert one["ratio"][2] == pytest.approx(1000 * effects[name]["log_ratio"]["median"], abs=0.5)
    assert content["members"] == MEMBERS and content["years"] == YEARS


def test_flows_balance_what_a_consumer_needs(content):
    """A consumer assimilates what it respires, so large herds eat more than a few lions."""
    flows = np.array(content["flows"][0])
    assert flows.shape == (len(content["links"]),) and (flows > 0).all()
    names = [one["name"] for one in content["species"]]
    by_lions = sum(flow for flow, link in zip(flows, content["links"]) if names[link[1]] == LION)
    by_grazers = sum(flow for flow, link in zip(flows, content["links"]) if names[link[1]] != LION)
    assert 0 < by_lions < 0.1 * by_grazers, f"lions eat {by_lions:g}, grazers {by_grazers:g} kg/km²/day"
    gone = [flow for flow, link in zip(content["flows"][1], content["links"]) if names[link[1]] == LION]
    assert gone == [0, 0], "lions that were removed eat nothing"


def test_deltas_wrap_around_and_back():
    values = np.array([[-32768, 32767, 0, -1], [5, 5, 5, 5]], np.int16)
    np.testing.assert_array_equal(undo_deltas(deltas(values), values.shape), values)


def test_the_page_tells_no_place(exported, blocks):
    """Every planted name, camera and coordinate, in the bytes of the file and of its blocks."""
    parts = {"page": exported.page.read_bytes(), **blocks}
    words = [*PLACES, *CAMERAS, TWIN_NAME, FENCE, "Zindari", "Mbalageta", "Tunza", "Ndutwani"]
    words += ["2.331234", "34.834171", "2.331", "34.834", "2.29877", "34.9123", "35.0046", "2.312345"]
    words += ["1111.25", "777.125", "2222.5", str(exported.folder)]
    for where, part in parts.items():
        for word in words:
            assert word.encode().lower() not in part.lower(), f"{word} in {where}"
        for value in (*np.ravel(POSITIONS), 1111.25, -777.125):
            assert np.float64(value).tobytes() not in part, f"{value} as float64 in {where}"


def test_titles_and_sources_that_name_a_place_are_withheld(content):
    assert [one["title"] for one in content["branches"]] == ["", "no lions", ""]
    assert content["branches"][2]["events"][0] == {
        "kind": "rain",
        "factor": 0.5,
        "species": [],
        "start": "2030-02-01",
    }
    hare = next(one for one in content["species"] if one["name"] == "Lepus capensis")
    assert hare["common"] == "" and hare["facts"]["mass_g"]["source"] == ""
    assert [patch["label"] for patch in content["patches"]] == ["A", "B", "C"]
    assert all("x_m" not in patch for patch in content["patches"]) and content["name"] == ""


def test_precise_shows_the_areas_if_asked(exported, tmp_path):
    result = export_page(exported.folder / "run", tmp_path / "p.html", replace(OPTIONS, precise=True))
    shown = json.loads(read_blocks((tmp_path / "p.html").read_text())["data"])
    assert result["precise"] and shown["precise"] and shown["name"] == TWIN_NAME
    assert {patch["label"] for patch in shown["patches"]} == set(PLACES)
    assert [one["title"] for one in shown["branches"][1:]] == ["no lions", f"drought at {PLACES[0]}"]


@pytest.mark.parametrize(
    ("planted", "found"),
    [
        ("seen at kopje  zindari", False),
        ("seen at KOPJE ZINDARI, twice", True),
        ("Kopje Zindaris", False),
        (f"camera {CAMERAS[0]}", True),
        ("at -2.331234", True),
        ("at 2.3312", True),
        ("at 12.3312", False),
        ("about 2.33 or 34.83", True),
        ("about 2.33", False),
        ("about 2.33, and far from it, after some forty more words or so, 34.83", False),
        ("x 1111.250", True),
    ],
)
def test_search_finds_what_is_planted(exported, planted, found):
    secrets = secrets_of(secret_twin(), exported.folder / "deployments.csv")
    findings = find_secrets(f"<p>{planted}</p>", secrets)
    assert bool(findings) == found, findings


def test_search_looks_into_the_blocks(exported):
    from bioclip_jax.twin.view.blocks import block

    secrets = secrets_of(secret_twin())
    assert find_secrets(block("data", b'{"a": "Tunza Ridge"}'), secrets) == ["Tunza Ridge in data"]
    exact = np.array([0.5, POSITIONS[0][0]]).tobytes()
    zebra = replace(secrets, names=("plains",))
    text = block("data", b'{"common": "plains zebra"}')
    assert find_secrets(text, zebra) and not find_secrets(text, zebra, allowed=["plains zebra"])
    assert find_secrets(block("scene-0", b"abc" + exact), secrets) == [f"{POSITIONS[0][0]!r} in scene-0"]


def test_what_the_search_finds_stops_the_export(exported, tmp_path, monkeypatch):
    from bioclip_jax.twin.view import content as content_module

    monkeypatch.setattr(content_module, "_letter", lambda place: PLACES[place])
    with pytest.raises(UserError, match="would tell the place: .* in data"):
        export_page(exported.folder / "run", tmp_path / "out.html", OPTIONS)
    assert not any(tmp_path.iterdir()), "nothing is half-written"


def test_the_policy_allows_only_the_page_itself(exported):
    page = exported.page.read_text(encoding="utf-8")
    policy = unescape(re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1])
    directives = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    assert directives["default-src"] == directives["base-uri"] == directives["form-action"] == "'none'"
    assert "unsafe" not in policy
    scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL)[1]
    for kind, texts in (("script-src", scripts), ("style-src", [style])):
        hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in texts]
        assert directives[kind] == " ".join(f"'sha256-{one}'" for one in hashes), kind
    outside = re.sub(r"<script>.*?</script>|<script type=.text/plain.*?</script>", "", page, flags=re.DOTALL)
    assert not re.search(r"""(?:src|href|action)=|url\(|@import|style=|\son\w+=""", outside)


def test_the_page_has_three_js_and_its_license(exported):
    page = exported.page.read_text(encoding="utf-8")
    three = three_module.three_js()
    assert three.script in page, "the minified three.js is put into the page"
    assert "Permission is hereby granted" in page and "three.js authors" in page


def test_without_three_js_the_page_is_made_and_says_so(exported, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(three_module, "_PACKAGE", "no-such-package")
    whole = export_module.scene_bank
    monkeypatch.setattr(export_module, "scene_bank", lambda run, twin, _: whole(run, twin, 4.0))
    out = tmp_path / "flat.html"
    assert main(["twin", "export", str(exported.folder / "run"), str(out), "--json"]) == 0
    shown = capsys.readouterr()
    assert "no 3-D views" in shown.err and "NOT CALIBRATED" in shown.err
    result = json.loads(shown.out)
    assert result["bytes"] == out.stat().st_size < exported.page.stat().st_size
    assert not result["three_js"] and "REVISION" not in out.read_text()


def _fails(capsys, *arguments: object) -> str:
    """Return the one line of a command that fails with exit code 2."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        raise SystemExit(main(["twin", "export", *map(str, arguments)]))
    lines = capsys.readouterr().err.strip().splitlines()
    assert stop.value.code == 2 and len(lines) == 1, lines
    return lines[0]


def test_errors_are_one_line_and_write_nothing(exported, tmp_path, capsys):
    run, out = exported.folder / "run", tmp_path / "out.html"
    (tmp_path / "there.html").write_text("kept")
    shutil.copytree(run, tmp_path / "alone" / "run")
    shutil.copytree(run, tmp_path / "damaged")
    text = (run / "run.json").read_text()
    (tmp_path / "damaged" / "run.json").write_text(text.replace("species", "spices"))
    cases = {
        "is not a run": (tmp_path / "no run", out),
        "exists; name another": (run, tmp_path / "there.html"),
        "is a folder": (run, tmp_path / "alone" / "run"),
        "end it in .html": (run, tmp_path / "out.pdf"),
        "does not exist": (run, tmp_path / "no folder" / "out.html"),
        "name it with --twin": (tmp_path / "alone" / "run", out),
        "is not a twin": (run, out, "--twin", tmp_path),
        "is damaged": (tmp_path / "damaged", out),
        "none.csv does not exist": (run, out, "--deployments", tmp_path / "none.csv"),
    }
    before = sorted(tmp_path.rglob("*"))
    for expected, arguments in cases.items():
        line = _fails(capsys, *arguments)
        assert expected in line.lower() or expected in line, line
    assert sorted(tmp_path.rglob("*")) == before, "nothing was written"
    assert (tmp_path / "there.html").read_text() == "kept"


def test_another_twin_is_refused(exported, tmp_path):
    shutil.copytree(exported.folder / "twin", tmp_path / "twin")
    path = tmp_path / "twin" / "species.csv"
    path.write_text(path.read_text().replace("zebra", "quagga"))
    with pytest.raises(UserError, match="is not the twin of"):
        export_page(exported.folder / "run", tmp_path / "out.html", replace(OPTIONS, twin=tmp_path / "twin"))
    assert not (tmp_path / "out.html").exists()
