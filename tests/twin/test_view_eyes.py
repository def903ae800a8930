"""The eyes of the page in a real browser: pigments, colors, acuity, light, and the distances of case 10."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from bioclip_jax.twin.validate import validate
from bioclip_jax.twin.view import sight_of

# Scenes for measurements, put inside the page's script, where its functions are in reach.
_BENCH = """
window.absorbance = absorbance;
window.catches = catches;
window.colorMatrix = colorMatrix;
const bench = {renderer: new THREE.WebGLRenderer({preserveDrawingBuffer: true})};
bench.eyes = createEyes(bench.renderer);
bench.scene = new THREE.Scene();
bench.wave = {value: 1};
bench.scene.add(new THREE.Mesh(new THREE.PlaneGeometry(2, 2), new THREE.ShaderMaterial({
  uniforms: {wave: bench.wave},
  vertexShader: "varying vec2 at;" +
    "void main() { at = position.xy; gl_Position = vec4(position.xy, 0.0, 1.0); }",
  // Waves of equal degrees, as many across the window as its uniform says.
  fragmentShader: "varying vec2 at; uniform float wave;" +
    "void main() { gl_FragColor = vec4(vec3(0.3 + 0.2 * sin(3.141592653589793 * wave * at.x)), 1.0); }",
})));
bench.camera = new THREE.PerspectiveCamera(1, 2, 0.1, 10);
const columns = 512, rows = 256, degrees = 2;
const target = new THREE.WebGLRenderTarget(columns, rows, {type: THREE.FloatType, depthBuffer: false});
window.look = (eye, elevation, frequency) => {
  bench.wave.value = frequency * degrees;
  bench.eyes.look(bench.scene, bench.camera, eye, {elevation, azimuth: 0}, target);
  const pixels = new Float32Array(4 * columns * rows);
  bench.renderer.readRenderTargetPixels(target, 0, 0, columns, rows, pixels);
  const middle = 4 * (rows / 2) * columns;
  const colorAt = (column) => [...pixels.slice(middle + 4 * column, middle + 4 * column + 3)];
  return Array.from({length: columns}, (_, column) => colorAt(column));
};
window.frame = (eye, elevation, options) => {
  bench.wave.value = 0.5;
  bench.eyes.setSize(320, 200, 1);
  bench.eyes.render(bench.scene, bench.camera, eye, {elevation, azimuth: 0}, options);
  const gl = bench.renderer.getContext();
  const bytes = new Uint8Array(4 * 320 * 200);
  gl.readPixels(0, 0, 320, 200, gl.RGBA, gl.UNSIGNED_BYTE, bytes);
  let [sum, hash] = [0, 0];
  for (let n = 0; n < bytes.length; n += 1) {
    if (n % 4 !== 3) sum += bytes[n];
    hash = (Math.imul(hash, 31) + bytes[n]) | 0;
  }
  return {mean: sum / (3 * 320 * 200), hash};
};
"""
PEOPLE = sight_of("Homo sapiens")
LION = sight_of("Felidae") | {"name": "lion", "acuity": 13}
DAY, NIGHT = 60, -40


@pytest.fixture(scope="module")
def page(run_module) -> Any:
    return run_module("eyes/eyes.js", _BENCH)


def _call(page: Any, function: str, *arguments: Any) -> Any:
    return page.evaluate(f"(given) => {function}(...given)", list(arguments))


def test_pigment_template(page):
    # Govardovskii et al. 2000 by hand for a peak at 500 nm: a = 0.88111, so that the alpha band at 500 nm is
    # 1 / (0.00025 + 0.11258 + 0.21234 + 0.674), and the beta band 0.26 exp(-((500 - 346.5) / 57)^2).
    assert _call(page, "absorbance", 500, 500) == pytest.approx(1 / 0.99917 + 0.00018, abs=2e-4)
    # At 600 nm: 1 / (exp(3.330) + exp(2.483) + exp(-4.033) + 0.674).
    assert _call(page, "absorbance", 600, 500) == pytest.approx(1 / 40.61, abs=1e-4)
    # Horse's long-wave cone at its beta band, 358.8 nm, where nearly all is 0.26.
    beta = _call(page, "absorbance", 189 + 0.315 * 539, 539)
    assert 0.26 < beta < 0.36


def test_color_matrices(page):
    three = np.array(_call(page, "colorMatrix", PEOPLE["cones"]))
    np.testing.assert_allclose(three, np.eye(3), atol=1e-9, err_msg="people tell apart what a screen shows")
    for peaks in ([428, 539], [450, 555], [419, 552], [370, 532, 600]):
        matrix = np.array(_call(page, "colorMatrix", [{"peak_nm": peak} for peak in peaks]))
        assert np.linalg.matrix_rank(matrix, tol=1e-6) == 2, f"{peaks}: two classes of cones, two dimensions"
        np.testing.assert_allclose(matrix @ np.ones(3), 1, atol=1e-9, err_msg=f"{peaks}: white stays white")
        np.testing.assert_allclose(
            matrix @ matrix, matrix, atol=1e-9, err_msg=f"{peaks}: shown once or twice"
        )
        for peak in (peak for peak in peaks if peak >= 400):
            row = np.array(_call(page, "catches", peak))
            assert row.sum() == pytest.approx(1) and (row >= 0).all()
            np.testing.assert_allclose(row @ matrix, row, atol=1e-9, err_msg=f"{peak} nm: another catch")
    # Red and green of equal long-wave catch become alike for the zebra: its short-wave cones hardly see them.
    zebra = np.array(_call(page, "colorMatrix", [{"peak_nm": 428}, {"peak_nm": 539}]))
    red, green = np.array(_call(page, "catches", 539))[:2]
    apart = zebra @ np.array([0.5, 0, 0]) - zebra @ np.array([0, 0.5 * red / green, 0])
    assert np.abs(apart).max() < 0.05, "the zebra tells red from green"


@pytest.mark.parametrize(("acuity", "frequency"), [(13, 3), (13, 6), (13, 10), (60, 20), (5, 3.5), (1, 1)])
def test_contrast_left_follows_the_transfer_function(page, acuity, frequency):
    amplitude = []
    for eye in (PEOPLE | {"acuity": acuity}, PEOPLE | {"acuity": 1e6}):
        line = np.array(_call(page, "look", eye, DAY, frequency))[:, 1]
        # Edges of the window lack what lies beside it: whole waves of the middle count.
        waves = max(1, math.floor(frequency))
        columns = round(waves / frequency * 256)
        middle = line[(512 - columns) // 2 :][:columns]
        phase = np.exp(-2j * np.pi * waves * (np.arange(columns) + 0.5) / columns)
        amplitude.append(abs(2 * (middle * phase).mean()))
    expected = math.exp(-3.56 * (frequency / acuity) ** 2)
    assert amplitude[1] == pytest.approx(0.2, rel=0.01)
    left = amplitude[0] / amplitude[1]
    assert left == pytest.approx(expected, rel=0.04, abs=0.004), (
        f"{frequency} cycles/degree at acuity {acuity}: {left:.4f} of the contrast left, not {expected:.4f}"
    )


def test_light_of_day_and_night(page):
    shown = {
        (name, hour): np.array(_call(page, "look", eye, elevation, 0.5))
        for name, eye in (("people", PEOPLE), ("lion", LION))
        for hour, elevation in (("day", DAY), ("night", NIGHT))
    }
    mean = {key: value.mean() for key, value in shown.items()}
    # The same scene, which itself is darker at night.
    assert mean["people", "night"] < 0.99 * mean["people", "day"], mean
    assert mean["people", "night"] < 0.5 * mean["lion", "night"], "a lion's eye is more sensitive"

    def grain(name: str, hour: str) -> float:
        light = shown[name, hour].mean(axis=1)
        return np.diff(light).std() / math.sqrt(light.mean())

    assert grain("people", "day") < 0.01, "noise by day"
    assert grain("lion", "night") < 0.7 * grain("people", "night"), "more light caught, less noise"
    night = shown["people", "night"]
    assert np.ptp(night, axis=1).max() < 0.05, "rods alone have no color"


def test_nothing_flashes(page):
    still = [
        _call(page, "frame", LION, NIGHT, {"time": time, "still": True, "strip": True, "lens": "ahead"})
        for time in (0, 0.05, 0.4, 3)
    ]
    # The strip's tiles are drawn in turn: the first frame draws all of them.
    assert len({one["hash"] for one in still}) == 1, "with reduced motion, a scene that rests rests"
    moving = [_call(page, "frame", LION, NIGHT, {"time": 0.07 * step})["mean"] for step in range(12)]
    assert np.ptp(moving) < 0.02 * np.mean(moving), f"mean brightness changes: {moving}"


def test_case_10_holds_and_follows_the_transfer_function(chromium):
    (row,) = validate(cases=["10"])["cases"]
    assert row["holds"], row["ours"]
    study = row["study"]
    # exp(-3.56 (f / A)^2) is the share left of a wave of f cycles/degree, and f = pi / 180 distance / period.
    reach = math.degrees(1) * study["period_m"] * math.sqrt(-math.log(study["share_of_contrast"]) / 3.56)
    acuities = {"Homo sapiens": 60, "Equus quagga": 23, "Panthera leo": 13, "Crocuta crocuta": 8}
    for name, acuity in acuities.items():
        assert study["distance_m"][name] == pytest.approx(acuity * reach, rel=0.06), json.dumps(study)


def test_case_10_without_a_browser_is_not_run(monkeypatch):
    monkeypatch.setenv("PATH", "")
    (row,) = validate(cases=["10"])["cases"]
    assert row["holds"] is None and "needs a browser" in row["ours"]
