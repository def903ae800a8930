// A scene as an eye sees it: a window ahead, the strip of the whole field, and two lenses that enlarge what is looked at.

import {blurDegrees, createAcuity} from "./acuity.js";
import {EYE_SHAPES, createAppearance, setLook, setGrain} from "./appearance.js";
import {adaptation} from "./light.js";
import {drawQuad, drawScene, eyeTarget} from "./quad.js";
import {STRIP_HALF_HEIGHT, TILE_TANGENT, createSurround} from "./surround.js";

const EYE_DEGREE = Math.PI / 180;
const LENS_DEGREES = 4;
const LENS_PIXELS = 256;
// The least blur, in pixels, that is left to a window drawn with fewer pixels because its eye is blurred anyway.
const LEAST_SHRUNK = 0.55;
const MOST_SHRUNK = 4;
// Around the strip and the lenses, and for the strip's labels, in CSS pixels.
const EYE_MARGIN = 12;
const EYE_LABEL = 34;
const NARROW_TOP = 12;
// Beside the strip there is room for a view's card, as far as the window allows.
const CARD_WIDTH = 390;
/** The eye of a person, beside which others are shown; the page's data replace it with the cited record. */
export const PERSON = {
  name: "Homo sapiens",
  acuity: 60,
  cones: [{peak_nm: 419}, {peak_nm: 531}, {peak_nm: 558}],
  rods: {peak_nm: 496},
  field: {horizontal_deg: 200, binocular_deg: 120, vertical_deg: 130},
  sensitivity: 1,
};

/**
 * Make the eyes of a renderer, which draws linear light from now on and ends in sRGB.
 *
 * render(scene, camera, eye, sun, options): draws to the canvas. eye: a sight record. sun: {elevation, azimuth} in
 * degrees. options: {time in s, still (reduced motion), split: share of the width left of which the animal's eye is
 * shown and right of which a person's (1: no person), lens: point in the world that the lenses enlarge, "ahead", or null,
 * strip, ultraviolet: shown or not, top: of the strip on a narrow screen, gradual: strip and lenses follow the first
 * window by a few frames}. A person's eye by day is the plain scene.
 * forget(): another scene is to be seen.
 * look(scene, camera, eye, sun, target): the window's linear light, for measurements.
 * places(top): rectangles of strip and lenses in CSS pixels, for labels.
 */
export function createEyes(renderer) {
  renderer.outputEncoding = THREE.sRGBEncoding;
  const acuity = createAcuity(renderer);
  const appearance = createAppearance();
  const surround = createSurround(renderer);
  const lensCamera = new THREE.PerspectiveCamera(LENS_DEGREES, 1, 0.05, 1500);
  const ahead = new THREE.Vector3();
  const viewport = new THREE.Vector4();
  const uniforms = appearance.uniforms;
  let [width, height, ratio] = [1, 1, 1];
  let lensTarget = null;
  const windows = new Map();
  let [turn, lensSeen] = [0, null];

  const draw = (x, y, w, h, shape, images, target = null) => {
    uniforms.shape.value = EYE_SHAPES[shape];
    uniforms.images.value = images;
    uniforms.coded.value.set(...images.map((image) => Number(image.encoding === THREE.sRGBEncoding)));
    uniforms.size.value.set(w * ratio, h * ratio);
    if (!target) renderer.setViewport(x, height - y - h, w, h);
    drawQuad(renderer, appearance, target);
  };
  /** Return rectangles of the strip and the lenses; narrow screens have no room for lenses. */
  const sizes = (top = NARROW_TOP) => {
    const wide = width > height;
    const w = Math.round(wide ? Math.min(width * 0.62, 1200, Math.max(width / 2, width - CARD_WIDTH)) : width - 2 * EYE_MARGIN);
    const strip = {x: EYE_MARGIN, y: wide ? EYE_MARGIN : top, w, h: Math.round((w * STRIP_HALF_HEIGHT) / Math.PI)};
    if (!wide) return {strip, lenses: []};
    const d = Math.round(Math.min(height * 0.31, width * 0.16));
    const y = strip.y + strip.h + EYE_LABEL;
    return {strip, lenses: [0, 1].map((side) => ({x: EYE_MARGIN + side * (d + EYE_MARGIN), y, w: d, h: d}))};
  };
  /** Return the image of a target blurred to an eye's acuity in this light; `degrees` is the target's height. */
  const sharpness = (target, eye, sun, tangent, slot) => {
    const pixelsPerDegree = (target.height / 2 / tangent) * EYE_DEGREE;
    const sigma = blurDegrees(eye.acuity * adaptation(eye, sun).detail) * pixelsPerDegree;
    return acuity.blur(target.texture, target.width, target.height, sigma, slot);
  };
  /** Return the window's target, with fewer pixels for an eye that blurs them all. */
  const windowFor = (eye, sun, tangent, split) => {
    const sigma = (blurDegrees(eye.acuity * adaptation(eye, sun).detail) * (height * ratio * EYE_DEGREE)) / 2 / tangent;
    let shrink = 1;
    while (split >= 1 && shrink < MOST_SHRUNK && sigma / (2 * shrink) >= LEAST_SHRUNK) shrink *= 2;
    if (!windows.has(shrink)) {
      const [columns, rows] = [width, height].map((side) => Math.max(1, Math.round((side * ratio) / shrink)));
      windows.set(shrink, eyeTarget(columns, rows, {scene: true}));
    }
    return windows.get(shrink);
  };
  const clear = () => {
    for (const target of windows.values()) target.dispose();
    windows.clear();
    acuity.clear();
    lensSeen = null;
  };
  const horizonOf = (camera) => {
    camera.getWorldDirection(ahead);
    const pitch = Math.asin(Math.max(-1, Math.min(1, ahead.y)));
    const half = (camera.fov / 2) * EYE_DEGREE;
    uniforms.horizon.value.set(pitch - half, pitch + half);
  };

  const eyes = {
    /** Set the canvas's size in CSS pixels and how many pixels stand on one. */
    setSize(w, h, pixelRatio) {
      if (w === width && h === height && pixelRatio === ratio && lensTarget) return;
      [width, height, ratio] = [w, h, pixelRatio];
      renderer.setPixelRatio(ratio);
      renderer.setSize(w, h, false);
      clear();
      lensTarget = lensTarget || eyeTarget(LENS_PIXELS, LENS_PIXELS, {scene: true});
      surround.setSize(sizes().strip.w * Math.min(1, Math.max(0.75, ratio)));
    },
    places: sizes,
    forget() {
      [turn, lensSeen] = [0, null];
      surround.forget();
    },
    render(scene, camera, eye, sun, options = {}) {
      const {time = 0, still = false, split = 1, lens = null, strip = false, ultraviolet = true, gradual = false} = options;
      const person = options.person || PERSON;
      const isPerson = eye.name === PERSON.name;
      if (isPerson && adaptation(eye, sun).cones === 1 && !strip && !lens) {
        renderer.setViewport(0, 0, width, height);
        renderer.setRenderTarget(null);
        renderer.render(scene, camera);
        return;
      }
      setLook(appearance, 0, eye, sun, ultraviolet);
      setLook(appearance, 1, person, sun, false);
      setGrain(appearance, time, still);
      const {field} = eye;
      uniforms.field.value.set(
        (field.horizontal_deg / 2) * EYE_DEGREE,
        (field.binocular_deg / 2) * EYE_DEGREE,
        (person.field.horizontal_deg / 2) * EYE_DEGREE,
        TILE_TANGENT,
      );
      uniforms.split.value = split;
      horizonOf(camera);
      const tangent = Math.tan((camera.fov / 2) * EYE_DEGREE);
      const windowTarget = windowFor(eye, sun, tangent, split);
      drawScene(renderer, scene, camera, windowTarget);
      const seen = sharpness(windowTarget, eye, sun, tangent);
      draw(0, 0, width, height, "window", [seen, windowTarget.texture]);
      const {strip: place, lenses} = sizes(options.top);
      // Strip and lenses are drawn anew in turn, to spare renderings of the scene; the first window does not wait for them.
      turn += 1;
      const waits = gradual && turn === 1;
      if (strip && !waits) {
        const widest = Math.max(field.horizontal_deg, split < 1 ? person.field.horizontal_deg : 0);
        if (turn % 3 === 2 || !surround.isWhole(widest)) surround.draw(scene, camera, widest, gradual);
        uniforms.horizon.value.set(-STRIP_HALF_HEIGHT, STRIP_HALF_HEIGHT);
        if (surround.isWhole(widest)) draw(place.x, place.y, place.w, place.h, "strip", [surround.texture(), surround.texture()]);
      }
      if (lens && lenses.length && !waits) {
        if (turn % 3 === 1 || !lensSeen) {
          camera.getWorldPosition(lensCamera.position);
          camera.getWorldDirection(ahead).add(lensCamera.position);
          lensCamera.lookAt(lens.isVector3 ? lens : ahead);
          lensCamera.updateMatrixWorld();
          drawScene(renderer, scene, lensCamera, lensTarget);
          const lensTangent = Math.tan((LENS_DEGREES / 2) * EYE_DEGREE);
          lensSeen = [eye, person].map((one, side) => sharpness(lensTarget, one, sun, lensTangent, `lens ${side}`));
        }
        horizonOf(lensCamera);
        lenses.forEach((circle, side) => {
          uniforms.split.value = side ? 0 : 1;
          draw(circle.x, circle.y, circle.w, circle.h, "lens", [lensSeen[side], lensSeen[side]]);
        });
      }
      renderer.setViewport(0, 0, width, height);
    },
    look(scene, camera, eye, sun, target) {
      const source = eyeTarget(target.width, target.height, {depth: true});
      setLook(appearance, 0, eye, sun, false);
      setGrain(appearance, 0, true);
      Object.assign(uniforms.linear, {value: 1});
      Object.assign(uniforms.split, {value: 1});
      horizonOf(camera);
      drawScene(renderer, scene, camera, source);
      const seen = sharpness(source, eye, sun, Math.tan((camera.fov / 2) * EYE_DEGREE));
      draw(0, 0, target.width, target.height, "window", [seen, seen], target);
      uniforms.linear.value = 0;
      source.dispose();
    },
    dispose() {
      clear();
      if (lensTarget) lensTarget.dispose();
      uniforms.grain.value.dispose();
      for (const part of [acuity, appearance, surround]) part.dispose();
    },
  };
  return eyes;
}
