"""The jumping spider's view in a real browser: the zebra's visits, the steered spot, and no flashes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bioclip_jax.twin.view import sight_of

_BENCH = """
window.zebraVisits = zebraVisits;
// A zebra walks east at 1 m/s, stands from 30 s to 50 s and walks on; a gazelle stands beside it.
const walker = (time) => (time < 30 ? time : time < 50 ? 30 : time - 20);
window.track = {
  duration: 100,
  animals: [{species: {name: "Eudorcas thomsonii"}}, {species: {name: "Equus quagga"}}],
  sample(index, time, out) {
    const moving = index === 1 && (time < 30 || time >= 50);
    return Object.assign(out, {x: index ? 100 + walker(time) : 130, y: index ? 200 : 201, heading: 0,
                               speed: moving ? 1 : 0, state: moving ? 3 : 2});
  },
};
const renderer = new THREE.WebGLRenderer({preserveDrawingBuffer: true});
const shared = {renderer, eyes: createEyes(renderer)};
window.open = (sight, still) => {
  const settings = {branch: 0, hour: "noon", reducedMotion: still};
  const app = {data: {sight}, settings, announce() {}, on: () => () => {}, three: () => shared};
  const host = document.getElementById("stage");
  window.view = spiderMode.mount(app, host);
  window.view.resize(240, 150);
  window.clock = 10;
};
window.frames = (count, dt) => Array.from({length: count}, () => {
  window.clock += dt;
  window.view.frame(window.clock, dt);
  const gl = renderer.getContext();
  const [w, h] = [gl.drawingBufferWidth, gl.drawingBufferHeight];
  const bytes = new Uint8Array(4 * w * h);
  gl.readPixels(0, 0, w, h, gl.RGBA, gl.UNSIGNED_BYTE, bytes);
  let light = 0;
  for (let n = 0; n < bytes.length; n += 4) {
    const [r, g, b] = [0, 1, 2].map((c) => (bytes[n + c] / 255) ** 2.2);
    light += 0.2126 * r + 0.7152 * g + 0.0722 * b;
  }
  return light / (w * h);
});
window.brightest = () => {
  // Where color is strongest, which only the spot has.
  const gl = renderer.getContext();
  const [w, h] = [gl.drawingBufferWidth, gl.drawingBufferHeight];
  const bytes = new Uint8Array(4 * w * h);
  gl.readPixels(0, 0, w, h, gl.RGBA, gl.UNSIGNED_BYTE, bytes);
  let [x, y, weight] = [0, 0, 0];
  for (let n = 0; n < w * h; n += 1) {
    const chroma = Math.max(0, bytes[4 * n] - bytes[4 * n + 2] - 24);
    x += chroma * (n % w);
    y += chroma * Math.floor(n / w);
    weight += chroma;
  }
  return [x / weight / w, y / weight / h];
};
"""
SIGHT = {name: sight_of(name) for name in ("Salticidae", "Homo sapiens")}


@pytest.fixture(scope="module")
def page(run_module) -> Any:
    return run_module("spider/spider.js", _BENCH, "<div id=stage></div>")


@pytest.fixture
def opened(page):
    def open_view(still: bool = False) -> Any:
        page.evaluate("([sight, still]) => window.open(sight, still)", [SIGHT, still])
        return page

    yield open_view
    page.evaluate("window.view?.dispose(); document.getElementById('stage').replaceChildren()")


def test_the_zebra_of_the_track_comes_stands_and_goes(page):
    visits = page.evaluate(
        "() => { const at = zebraVisits(track, true); return Array.from({length: 101}, (_, s) => at(s)); }"
    )
    away = np.array([np.hypot(one["ahead"], one["aside"]) for one in visits])
    # The view begins 7 s before the stop, so the zebra is 7 m away and stands from 7 s to 27 s.
    assert away[0] == pytest.approx(7, rel=0.05)
    assert (away[8:26] < 0.5).all(), f"the zebra should stand at the post: {away[8:26]}"
    assert away[37] == pytest.approx(10, rel=0.1), "and go on"
    assert visits[15]["rub"] > 0.2 and visits[2]["rub"] == 0
    assert min(one["ahead"] for one in visits) > 0.3, "the body stays out of the post"


def test_without_a_track_a_zebra_still_comes(page):
    visits = page.evaluate(
        "() => { const at = zebraVisits(null, false); return Array.from({length: 60}, (_, s) => at(s)); }"
    )
    aside = [abs(one["aside"]) for one in visits]
    assert min(aside) < 0.3 < 4 < max(aside)


def test_keys_steer_the_spot(opened):
    page = opened(still=True)
    page.evaluate("frames(2, 0.1)")
    for _ in range(6):
        page.evaluate("view.action('left'); view.action('down')")
    page.evaluate("frames(10, 0.6)")
    left, low = page.evaluate("brightest()")
    for _ in range(12):
        page.evaluate("view.action('right')")
    page.evaluate("frames(12, 2)")
    right, still_low = page.evaluate("brightest()")
    assert right > left + 0.1, f"the spot went from {left:.2f} to {right:.2f} of the width"
    assert low < 0.45 and still_low < 0.45, "down is where the wood is"


def test_the_view_says_what_it_rests_on_and_steps_outside(opened):
    page = opened()
    page.evaluate("frames(2, 0.1)")
    text = page.inner_text("#stage")
    assert "Inferred" in text and "Phidippus" in text and "Made up" in text and "5°" in text
    page.evaluate("view.action('next')")
    inside = page.evaluate("frames(2, 0.1)")
    assert "person" in page.inner_text("#stage") and inside[0] > 0.02


@pytest.mark.parametrize("still", [False, True])
def test_at_most_three_flashes_a_second(opened, still):
    page = opened(still)
    step = 0.1
    light = np.array(page.evaluate(f"frames(90, {step})"))[5:]
    # A flash is a pair of opposing changes by 10 % of the greatest relative luminance, 1 (WCAG 2.2, 2.3.1).
    turns, reference, rising = [], light[0], None
    for frame, value in enumerate(light):
        if abs(value - reference) >= 0.1 and (value > reference) != rising:
            rising = value > reference
            turns.append(frame * step)
            reference = value
        elif rising is not None and (value > reference) == rising:
            reference = value
    worst = max((sum(1 for other in turns if 0 <= other - one < 1) for one in turns), default=0) / 2
    assert worst <= 3, f"{worst} flashes in a second at {turns}"
    assert np.ptp(light) > 0.005, "nothing happens"
