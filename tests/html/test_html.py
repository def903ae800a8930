"""The room html: escaping, the frame of a page, shared macros, formats."""

from __future__ import annotations

import base64
import hashlib
import json
import re

import jinja2
import pytest
from markupsafe import Markup

from bioclip_jax.html import data_size, macros, number, share, write_page
from bioclip_jax.html.render import _environment

EVIL = "</script><script>window.evil = 1</script><img src=x onerror='window.evil = 1'>\"&amp;"
PAGE = """{% extends "page.html" %}
{% set script = "run()" %}
{% block kind %}test{% endblock %}
{% block title %}{{ title }}{% endblock %}
{% block header %}{% endblock %}
{% block main %}<script type="application/json">{{ data | tojson }}</script>{% endblock %}"""


def render(source: str, **context) -> str:
    return _environment().from_string(source).render(context)


def test_values_are_escaped_and_undefined_names_are_errors():
    assert render("<p>{{ value }}</p>", value=EVIL).count("<") == 2
    parts = macros("macros.html")
    for part in (
        parts.bars(EVIL, [(EVIL, 1, 2, EVIL)]),
        parts.table(EVIL, [EVIL], [[EVIL]]),
        parts.headline([(EVIL, EVIL)]),
        parts.figure(EVIL, EVIL, EVIL),
        parts.taxon(EVIL, "species"),
    ):
        assert isinstance(part, Markup) and "<img src=x" not in part and "<script" not in part
    with pytest.raises(jinja2.UndefinedError, match="value"):
        render("{{ value }}")


def test_page_runs_its_own_script_only():
    page = render(PAGE, title=EVIL, data={"text": EVIL})
    digest = base64.b64encode(hashlib.sha256(b"run()").digest()).decode()
    assert re.findall("script-src '([^']+)'", page) == [f"sha256-{digest}"]
    assert page.startswith("<!DOCTYPE html>") and page.count("<script>") == 1 and page.count("<img") == 0
    (data,) = re.findall('json">(.*)</script>', page)
    assert json.loads(data) == {"text": EVIL}
    style = page[page.index("<style>") : page.index("</style>")]
    assert (
        "@import" not in style
        and "url(" not in style
        and "script-src"
        not in render(PAGE.replace("{% set", "{# set").replace('"run()" %}', "#}"), title="x", data={})
    )


def test_a_page_is_written_whole(tmp_path):
    path = tmp_path / "page.html"
    write_page(path, "analysis.html", title="name \udcff", facts=[], parts=[])
    assert "<h1>name \\udcff</h1>" in path.read_text("utf-8")
    with pytest.raises(jinja2.UndefinedError):
        write_page(path, "analysis.html", title="x")
    assert "name" in path.read_text("utf-8") and len(list(tmp_path.iterdir())) == 1


def test_macros_mark_genus_and_species_as_names():
    taxon = macros("macros.html").taxon
    assert taxon("Malus", "genus") == "<em>Malus</em>" and taxon("Rosales", "order") == "Rosales"
    assert taxon("", "family") == "(no family)"


def test_table_aligns_numbers_and_names_its_rows():
    table = macros("macros.html").table("Sizes", ["", "width"], [["least", "1"]], range(1, 2))
    assert '<th scope="row">least</th><td class="number">1</td>' in table
    assert '<th class="number" scope="col">width</th>' in table


def test_formats():
    assert [data_size(size) for size in (0, 999, 12_345, 82_524_160, 999_999, 2.5e13)] == [
        "0 bytes", "999 bytes", "12.3 kB", "82.5 MB", "1 MB", "25 TB",
    ]  # fmt: skip
    assert [share(part, 10_000) for part in (0, 1, 5000, 9999, 10_000)] == [
        "0 %", "< 0.1 %", "50 %", "> 99.9 %", "100 %",
    ]  # fmt: skip
    assert share(0, 0) == "–"
    assert [number(value) for value in (1234567, 2.0, 2.5)] == ["1,234,567", "2", "2.5"]
