"""The served page of a twin: what visitors change, hostile requests, queue, limits, and a browser."""

from __future__ import annotations

import base64
import gzip
import json
import math
import re
import socket
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from twin_visits import (
    FENCE,
    HOSTILE,
    HUNTING,
    LION,
    MORE_LIONS,
    NO_LIONS,
    ORDINARY_RAIN,
    PATIENCE_S,
    Waiting,
    wait_for,
)

pytest.importorskip("gradio", reason="the page needs the extra [web]")

PATIENCE_MS = 120_000
# As of twin_server.py.
WAITING, PER_VISITOR = 6, 4


def _series(text: str, shape: tuple[int, ...]) -> np.ndarray:
    """Decode deltas of int16, low bytes first."""
    halves = np.frombuffer(base64.b64decode(text), np.uint8).reshape(2, -1)
    changes = (halves[0] | halves[1].astype(np.uint16) << 8).view(np.int16).reshape(shape)
    return np.cumsum(changes, -1, dtype=np.int16)


def test_a_simulation_equals_the_run_of_the_same_scenario(twin_served):
    from bioclip_jax.twin.scenario import branch_effects, read_run

    run = read_run(twin_served.folder / "run")
    wanted = branch_effects(run, "no lions")["species"]
    result = twin_served.result(NO_LIONS)
    assert result["members"] == run.biomass.shape[1]
    for number, name in enumerate(run.species):
        effect, expected = result["effects"][number], wanted[name]
        ratio = [
            1000 * expected["log_ratio"][key] for key in ("lower", "lower_50", "median", "upper_50", "upper")
        ]
        assert effect["verdict"] == expected["verdict"], name
        assert effect["ratio"] == pytest.approx(ratio, abs=2), name
    shape = (len(run.species), 5, len(run.times))
    lions = _series(result["total"], shape)[run.species.index(LION)]
    # Lions are there up to the day on which they are taken away, and extinct a month later.
    assert (lions[:, :13] > -32768).all() and (lions[:, 13:] == -32768).all()
    patches = _series(result["patches"], (len(run.species), len(run.patches), len(run.times)))
    assert (patches[run.species.index(LION), :, -1] == -32768).all()
    assert all(math.isfinite(flow) for flow in result["flows"])
    assert twin_served.result(NO_LIONS) == result


def test_without_change_every_member_is_as_in_the_baseline(twin_served):
    for effect in twin_served.result(ORDINARY_RAIN)["effects"]:
        assert effect["ratio"] == [0, 0, 0, 0, 0] and effect["verdict"] == "little change", effect


def test_kinds_of_changes_reach_their_species(twin_served):
    from bioclip_jax.twin.scenario import read_run

    run = read_run(twin_served.folder / "run")
    zebras = run.species.index("Equus quagga")
    hunted = twin_served.result(HUNTING)["effects"][zebras]
    # A year in which half are taken, and births make up for some.
    assert math.log(0.5) * 1000 - 20 < hunted["ratio"][2] < -200 and hunted["verdict"] == "declines"
    drought = twin_served.result(ORDINARY_RAIN | {"percent": 25})["effects"][0]
    assert drought["ratio"][2] < -20, drought
    shape = (len(run.species), len(run.patches), len(run.times))
    lion = run.species.index(LION)
    alone, fenced, both = (
        _series(twin_served.result(*events)["patches"], shape)[lion, :, -1]
        for events in ([MORE_LIONS], [FENCE], [MORE_LIONS, FENCE])
    )
    # Lions set free in C stay there, behind the fence, and leave it otherwise.
    assert (abs(both - fenced)[:2] <= 1).all() and both[2] > alone[2] > fenced[2]
    assert (alone - fenced)[:2].max() > 1


def test_scenes_show_who_is_left(twin_served):
    from bioclip_jax.twin.scenario import read_run

    lion = read_run(twin_served.folder / "run").species.index(LION)
    for event, lions_left in ((NO_LIONS, False), (ORDINARY_RAIN, True)):
        scene = twin_served.result(event, path="scene/1")
        animals = scene["animals"]["species"]
        assert scene["hour"] == 12 and len(animals) > 20
        assert (lion in animals) == lions_left, event
        content = gzip.decompress(base64.b64decode(scene["content"]))
        assert len(content) == 6 * len(animals) * scene["frames"]
    assert twin_served.ask(NO_LIONS, path="scene/4").status_code == 404


def test_page_tells_no_place_and_asks_its_own_server_only(twin_served):
    secrets = json.loads((twin_served.folder / "secrets.json").read_text())
    response = httpx.get(twin_served.url)
    policy = dict(
        part.strip().split(" ", 1) for part in response.headers["content-security-policy"].split(";")
    )
    assert policy["default-src"] == "'none'" and policy["connect-src"] == "'self'"
    assert "unsafe" not in str(policy) and policy["frame-ancestors"] == "'none'"
    for secret in secrets:
        assert secret not in response.text, f"the page tells {secret}"
    fence = {"kind": "fence", "patches": ["A", "B"], "from": 1, "to": 2}
    texts = [
        twin_served.ask(NO_LIONS).text,
        twin_served.ask(fence).text,
        twin_served.ask(fence | {"patches": ["D"]}).text,
    ]
    for secret in secrets:
        assert not any(secret in text for text in texts), f"a simulation tells {secret}"


def test_hostile_requests_get_one_sentence_in_both_languages(twin_served):
    for name, body in HOSTILE.items():
        headers = {"Content-Type": "application/json"}
        response = httpx.post(f"{twin_served.url}/what-if", content=body, headers=headers, timeout=PATIENCE_S)
        assert response.status_code == 400, f"{name}: {response.status_code} {response.text}"
        answer = response.json()
        assert set(answer) == {"error", "fr"} and "\n" not in response.text, name
        assert all(sentence.endswith(".") and len(sentence) < 200 for sentence in answer.values()), answer
    assert "Traceback" not in twin_served.log.read_text(), twin_served.log.read_text()


@pytest.mark.parametrize(
    ("method", "path", "headers", "body", "status"),
    [
        ("GET", "/what-if", {}, b"", 405),
        ("PUT", "/what-if", {}, b"{}", 405),
        ("DELETE", "/", {}, b"", 405),
        ("OPTIONS", "/what-if", {}, b"", 405),
        ("GET", "/../../etc/passwd", {}, b"", 404),
        ("GET", "/%2e%2e/run.json", {}, b"", 404),
        ("POST", "/what-if", {"Host": "evil.example"}, b"{}", 403),
        ("GET", "/", {"Host": "evil.example"}, b"", 403),
        ("POST", "/what-if", {"Sec-Fetch-Site": "cross-site"}, b"{}", 403),
        ("POST", "/what-if", {"Sec-Fetch-Site": "same-site"}, b"{}", 403),
        ("POST", "/what-if", {"Content-Type": "text/plain"}, b"{}", 415),
        ("POST", "/what-if", {}, bytes(10_000_000), 413),
    ],
)
def test_hostile_routes_are_refused(
    twin_served, method: str, path: str, headers: dict, body: bytes, status: int
):
    host, port = twin_served.url.removeprefix("http://").split(":")
    given = {"Host": f"{host}:{port}", "Content-Type": "application/json", "Content-Length": str(len(body))}
    head = f"{method} {path} HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in (given | headers).items())
    with socket.create_connection((host, int(port)), timeout=PATIENCE_S) as connection:
        connection.sendall(head.encode() + b"Connection: close\r\n\r\n" + body)
        answer = b""
        while part := connection.recv(65536):
            answer += part
    start, _, content = answer.partition(b"\r\n\r\n")
    assert start.split()[1] == str(status).encode(), answer[:300]
    assert b"passwd" not in content or b"does not exist" in content
    assert list(json.loads(content))[0] == "error" and b"\n" not in content, content[:300]


def test_waiting_requests_know_their_place_and_keep_their_order(twin_served):
    with twin_served.held():
        first = Waiting(twin_served, "10.0.1.1", 40)
        wait_for(lambda: first.places() == [1])
        gone = Waiting(twin_served, "10.0.1.2", 45)
        wait_for(lambda: gone.places() == [2])
        last = Waiting(twin_served, "10.0.1.3", 55)
        wait_for(lambda: last.places() == [3])
    for one in (first, gone, last):
        one.end()
        assert "result" in one.messages[-1], one.messages[-1]
    # In the order in which they came.
    assert last.places()[-1] <= 3 and sorted(last.places(), reverse=True) == last.places()


def test_a_visitor_who_leaves_makes_room(twin_served):
    with twin_served.held():
        headers = {"X-Forwarded-For": "10.0.2.1"}
        content = {"events": [ORDINARY_RAIN | {"percent": 60}]}
        with httpx.stream(
            "POST", f"{twin_served.url}/what-if", json=content, headers=headers, timeout=PATIENCE_S
        ) as response:
            lines = response.iter_lines()
            assert json.loads(next(lines)) == {"place": 1}
            second = Waiting(twin_served, "10.0.2.2", 65)
            wait_for(lambda: second.places() == [2])
        wait_for(lambda: second.places() == [2, 1])
    second.end()


def test_limits_per_visitor_and_of_the_queue(twin_served):
    with twin_served.held():
        own = [Waiting(twin_served, "10.0.3.1", 80 + number) for number in range(PER_VISITOR)]
        wait_for(lambda: all(one.places() for one in own))
        refused = twin_served.ask(ORDINARY_RAIN | {"percent": 90}, visitor="10.0.3.1")
        assert refused.status_code == 429 and refused.headers["retry-after"], refused.text
        assert "4 simulations are running already" in refused.json()["error"], refused.text
        others = [Waiting(twin_served, "10.0.3.2", 91 + number) for number in range(WAITING - PER_VISITOR)]
        wait_for(lambda: all(one.places() for one in others))
        busy = twin_served.ask(ORDINARY_RAIN | {"percent": 99}, visitor="10.0.3.3")
        assert "Too many visitors" in json.loads(busy.text.splitlines()[-1])["error"], busy.text
    for one in own + others:
        one.end()
        assert "result" in one.messages[-1]


def test_a_simulation_that_takes_too_long_is_ended(twin_served):
    (twin_served.folder / "hurry").touch()
    wait_for(lambda: not (twin_served.folder / "hurry").exists())
    line = json.loads(twin_served.ask(ORDINARY_RAIN | {"percent": 31}).text.splitlines()[-1])
    assert "took more than 0 seconds" in line["error"] and "a été arrêtée" in line["fr"], line
    (twin_served.folder / "take your time").touch()
    wait_for(lambda: not (twin_served.folder / "take your time").exists())
    assert twin_served.result(ORDINARY_RAIN | {"percent": 31})


def test_the_photo_page_links_to_the_twin(twin_served):
    page = httpx.get(f"{twin_served.other}/config").text
    assert 'href=\\"twin/\\"' in page, "no link to the twin"
    assert httpx.get(f"{twin_served.other}/twin/").text == httpx.get(twin_served.url).text
    assert httpx.get(f"{twin_served.other}/twin").status_code == 200
    answer = httpx.post(f"{twin_served.other}/twin/what-if", json={"events": [NO_LIONS]}, timeout=PATIENCE_S)
    assert "result" in json.loads(answer.text.splitlines()[-1])
    large = httpx.post(f"{twin_served.other}/twin/what-if", content=bytes(20_000))
    assert large.status_code == 413 and httpx.get(f"{twin_served.other}/twin/run.json").status_code == 404


def test_mistakes_on_the_command_line_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture):
    from bioclip_jax.cli import main

    for arguments, message in [
        ([str(tmp_path / "none")], "is not a run"),
        ([str(tmp_path), "--port", "70000"], "the port is 70000"),
        ([str(tmp_path), "--seconds", "0"], "--seconds is 0"),
        ([str(tmp_path), "--root-path", "a b"], "--root-path is a b"),
    ]:
        assert (
            main(["twin", "serve", *arguments, *(["--port", "0"] if "--port" not in arguments else [])]) == 2
        )
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 1 and message in lines[0], lines


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
    assert page.locator(".field.percent output").inner_text() == "100\u00a0%"
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
    page.wait_for_url(re.compile("scenario=0"))


def test_french_by_keyboard(page, artefacts: Path):
    page.locator(".tool.language").focus()
    page.keyboard.press("Enter")
    page.locator(".try").focus()
    page.keyboard.press("Enter")
    assert page.locator("#live-title").inner_text() == "Que changeriez-vous\u00a0?"
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
    assert page.locator(".field.percent output").inner_text() == "45\u00a0%" and before == "50\u00a0%"
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
