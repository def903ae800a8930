"""The page's 3-D world in a real browser: proportions, gaits, light, draw calls, and what it frees."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest

from bioclip_jax.twin.view import bundle_scripts
from bioclip_jax.twin.view.three import three_js

sync_api = pytest.importorskip("playwright.sync_api", reason="browser tests need playwright")

# Shoulder height and length from muzzle to the tail's root in meters, least and most of adult females:
# typical figures of field guides, assumed. Birds: standing height, and wing span.
SIZES = {
    "zebra": ((1.25, 1.40), (2.1, 2.5)),
    "wildebeest": ((1.15, 1.40), (1.8, 2.2)),
    "thomson": ((0.58, 0.70), (0.8, 1.1)),
    "giraffe": ((2.5, 3.0), (3.4, 4.4)),
    "elephant": ((2.3, 2.7), (3.0, 4.0)),
    "buffalo": ((1.4, 1.6), (2.2, 3.0)),
    "warthog": ((0.62, 0.75), (1.0, 1.4)),
    "lion": ((0.95, 1.1), (1.5, 1.9)),
    "hyena": ((0.75, 0.90), (1.2, 1.5)),
    "cheetah": ((0.70, 0.88), (1.1, 1.5)),
    "jackal": ((0.36, 0.46), (0.6, 0.85)),
    "vulture": ((0.6, 0.85), (1.9, 2.3)),
}

SCENE = """
const extent = 400;
const land = {
  extent, heightAt: (x, y) => 3 * Math.sin(x / 60) * Math.cos(y / 70), grassAt: () => 0.6,
  trees: [{x: 150, y: 230, height: 7, kind: 0}, {x: 260, y: 240, height: 6, kind: 1},
    {x: 210, y: 190, height: 1, kind: 2}],
  water: [{x: 240, y: 180, radius: 12}],
};
const names = ["Equus quagga", "Connochaetes taurinus", "Giraffa camelopardalis", "Loxodonta africana",
  "Panthera leo", "Crocuta crocuta", "Gyps africanus", "Eudorcas thomsonii"];
const species = names.map((name) => ({name}));
const herd = {
  duration: 60, events: [], extent,
  animals: Array.from({length: 200}, (_, id) => ({id, species: species[id % 8], size: 1})),
  sample(index, time, out) {
    const state = [2, 1, 3, 4, 6, 5, 9, 2][index % 8];
    const speed = [0, 0, 1.2, 8, 0.5, 0, 8, 0][index % 8];
    return Object.assign(out, {
      x: 180 + 3 * (index % 14) + speed * time, y: 180 + 3 * Math.floor(index / 14), heading: 0, speed, state,
    });
  },
};
const renderer = new THREE.WebGLRenderer({preserveDrawingBuffer: true});
renderer.outputEncoding = THREE.sRGBEncoding;
renderer.setSize(480, 300);
document.body.append(renderer.domElement);
const camera = new THREE.PerspectiveCamera(50, 1.6, 0.2, 9000);
camera.layers.enable(1);
window.luminance = () => {
  const gl = renderer.getContext();
  const pixels = new Uint8Array(480 * 300 * 4);
  gl.readPixels(0, 0, 480, 300, gl.RGBA, gl.UNSIGNED_BYTE, pixels);
  let sum = 0;
  const colors = new Set();
  for (let at = 0; at < pixels.length; at += 4) {
    sum += pixels[at] + pixels[at + 1] + pixels[at + 2];
    colors.add((pixels[at] >> 3) * 1024 + (pixels[at + 1] >> 3) * 32 + (pixels[at + 2] >> 3));
  }
  return {mean: sum / (480 * 300 * 3), colors: colors.size};
};
window.drawWorld = (elevations) => {
  const before = {...renderer.info.memory};
  const world = kit.createWorld(land, herd, species, {});
  camera.position.set(175, world.ground(175, 170) + 3, -170);
  camera.lookAt(200, 3, -200);
  camera.updateMatrixWorld();
  const drawn = elevations.map((elevation) => {
    world.setSun({elevation, azimuth: 60});
    world.update(1, camera, 1);
    world.update(1.1, camera, 1.1);
    renderer.render(world.scene, camera);
    return {...window.luminance(), calls: renderer.info.render.calls};
  });
  const during = {...renderer.info.memory};
  world.dispose();
  return {drawn, before, during, after: {...renderer.info.memory}};
};
"""

MEASURE = """(name) => {
  const look = kit.lookOf(name);
  const geometry = look.build ? look.build(3) : kit.buildBody(look.plan, look.coat, 3);
  const {position, skin} = geometry.attributes;
  const size = {height: 0, least: Infinity, front: -Infinity, back: Infinity, span: 0};
  for (let vertex = 0; vertex < position.count; vertex += 1) {
    const [x, y, z] = [0, 1, 2].map((axis) => position.array[3 * vertex + axis] * look.height);
    const bone = skin.array[3 * vertex];
    size.least = Math.min(size.least, y);
    size.span = Math.max(size.span, 2 * Math.abs(z));
    if (look.plan.wings) size.height = Math.max(size.height, y);
    else if (bone === 1 && skin.array[3 * vertex + 2] < 0.1) size.height = Math.max(size.height, y);
    // The trunk's loft: pelvis to head, without legs, tail, ears and what hangs on them.
    if (bone <= 4) [size.front, size.back] = [Math.max(size.front, x), Math.min(size.back, x)];
  }
  const isFinite = ({array}) => array.every(Number.isFinite);
  size.finite = isFinite(position) && isFinite(geometry.attributes.normal);
  geometry.dispose();
  return size;
}"""

WALK = """([name, speed]) => {
  const look = kit.lookOf(name);
  const body = kit.createBodyState(look, 0.3, 1, false);
  const bones = new Float32Array(28 * 12);
  const dt = 0.02;
  const state = speed > 3 ? 4 : 3;
  let last = null;
  const slides = [];
  const heights = [];
  kit.stepBody(body, state, speed, 0, 0);
  for (let step = 0; step < 150; step += 1) {
    body.time += dt;
    body.x += speed * dt;
    kit.stepBody(body, state, speed, speed * dt, dt);
    kit.poseBody(body, bones, 0);
    const feet = look.rig.legs.map((leg, index) => {
      const phase = body.phase - body.gait.offsets[index];
      const [x, y] = leg.joints[4];
      const at = 12 * (leg.first + 3);
      const rest = [x, y, leg.z, 1];
      const mapped = (row) => rest.reduce((sum, value, axis) => sum + value * bones[at + row + axis], 0);
      return {stands: phase - Math.floor(phase) < body.gait.duty - 0.02, x: mapped(0), y: mapped(4)};
    });
    if (last) {
      feet.forEach((foot, index) => {
        if (!foot.stands || !last[index].stands) return;
        slides.push(Math.abs(foot.x - last[index].x) / dt);
        heights.push(Math.abs(foot.y));
      });
    }
    last = feet;
  }
  slides.sort((a, b) => a - b);
  const [median, most] = [slides[slides.length >> 1], slides[slides.length - 1]];
  return {median, most, lift: Math.max(...heights), stride: body.gait.stride, hip: look.rig.hip * body.scale};
}"""


@pytest.fixture(scope="module")
def page(browser: Any) -> Iterator[Any]:
    """A page with three.js and the world's script, whose functions stand in `kit`."""
    three = three_js()
    if three is None:
        pytest.skip("3-D views need jupyter-threejs-sage")
    names = "createWorld, lookOf, buildBody, createBodyState, stepBody, poseBody, gaitAt, LOOK_NAMES"
    script = bundle_scripts("world/world.js").removesuffix("})();\n") + f"window.kit = {{{names}}};\n}})();\n"
    context = browser.new_context()
    opened = context.new_page()
    errors: list[str] = []
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.set_content("<!doctype html><body></body>")
    for text in (three.script, script, SCENE):
        opened.add_script_tag(content=text)
    assert not errors, errors
    yield opened
    context.close()
    assert not errors, errors


@pytest.mark.parametrize("name", SIZES)
def test_bodies_have_real_proportions(page: Any, name: str) -> None:
    size = page.evaluate(MEASURE, name)
    (low, high), (short, long) = SIZES[name]
    assert size["finite"], f"{name} has vertices that are no numbers"
    assert 0.9 * low <= size["height"] <= 1.1 * high, f"{name}: {size['height']:.2f} m high"
    length = size["span"] if name == "vulture" else size["front"] - size["back"]
    assert 0.9 * short <= length <= 1.1 * long, f"{name}: {length:.2f} m long"
    assert abs(size["least"]) < 0.03 * high, f"{name}: feet at {size['least']:.3f} m"


@pytest.mark.parametrize(
    ("name", "speed"),
    [("zebra", 1.2), ("zebra", 3.0), ("lion", 1.0), ("giraffe", 1.5), ("elephant", 1.4), ("thomson", 0.8)],
)
def test_standing_feet_do_not_slide(page: Any, name: str, speed: float) -> None:
    walk = page.evaluate(WALK, [name, speed])
    assert walk["median"] < 0.03 * speed, f"{name}: standing feet move at {walk['median']:.2f} m/s"
    assert walk["most"] < 0.25 * speed, f"{name}: a standing foot moves at {walk['most']:.2f} m/s"
    assert walk["lift"] < 0.04 * walk["hip"], f"{name}: a standing foot is {walk['lift']:.3f} m up"


def test_strides_lengthen_with_speed_as_alexander_found(page: Any) -> None:
    for speed in (1.0, 2.0, 6.0):
        walk = page.evaluate(WALK, ["zebra", speed])
        froude = speed**2 / (9.81 * walk["hip"])
        expected = 2.3 * walk["hip"] * froude**0.3
        assert math.isclose(walk["stride"], expected, rel_tol=1e-3), f"{speed} m/s: {walk['stride']:.2f} m"


def test_world_draws_day_and_night_in_few_calls_and_frees_all(page: Any) -> None:
    first = page.evaluate("drawWorld([50, 3, -40])")
    noon, dusk, night = first["drawn"]
    for name, drawn in (("noon", noon), ("dusk", dusk), ("night", night)):
        assert drawn["calls"] < 60, f"{name}: {drawn['calls']} draw calls"
        assert drawn["colors"] > 60, f"{name} is nearly blank: {drawn['colors']} colors"
    assert noon["mean"] > dusk["mean"] > night["mean"] > 4, "noon, dusk and night do not darken in turn"
    assert noon["mean"] > 2 * night["mean"], f"night is as bright as day: {night['mean']:.0f}"
    assert first["during"]["geometries"] > 10
    assert first["after"] == first["before"], "the world keeps geometries or textures"
    second = page.evaluate("drawWorld([50])")
    assert second["after"] == first["before"], "the second world keeps geometries or textures"
