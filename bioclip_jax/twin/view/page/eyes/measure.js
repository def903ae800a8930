// The page of a measurement: how far away each eye still tells a zebra's stripes apart, read from rendered pixels.

import {stripeCanvas} from "../world/stripes.js";
import {createEyes} from "./eyes.js";

const STRIPE_DEGREE = Math.PI / 180;
const COLUMNS = 1536;
const ROWS = 256;
const WINDOW_DEGREES = 3;
const FLANK_STRIPES = 14;
// Flanks side by side, which fill the window at every distance.
const FLANKS = 41;
const NEAREST_M = 30;
const FARTHEST_M = 900;
const HALVINGS = 9;
// Of an eye that blurs nothing, in cycles/degree.
const PERFECT = 1e6;
// The flank's height as a share of its length, and the share of its height, around the middle, that is measured.
const FLANK_HEIGHT = 0.5;
const MEASURED_HEIGHT = 0.3;
const DAY = {elevation: 60, azimuth: 0};

/**
 * Read {eyes: {name: sight record}, period_m, threshold} from the page, and leave {name: {distance_m, left}} in it:
 * where that share of the stripes' contrast is left, compared with the same view unblurred.
 */
function measurePage() {
  const asked = JSON.parse(document.getElementById("asked").textContent);
  const output = document.getElementById("measured");
  try {
    output.textContent = JSON.stringify(measureStripes(asked));
  } catch (error) {
    output.textContent = JSON.stringify({error: String(error)});
  }
}

function measureStripes({eyes: records, period_m: period, threshold}) {
  const renderer = new THREE.WebGLRenderer();
  const eyes = createEyes(renderer);
  const target = new THREE.WebGLRenderTarget(COLUMNS, ROWS, {type: THREE.FloatType, depthBuffer: false});
  const scene = flankScene(period);
  const camera = new THREE.PerspectiveCamera((WINDOW_DEGREES * ROWS) / COLUMNS, COLUMNS / ROWS, 0.1, 2 * FARTHEST_M);
  const pixels = new Float32Array(4 * COLUMNS * ROWS);
  const contrast = (eye, distance) => {
    camera.position.set(0, 0, distance);
    camera.updateMatrixWorld();
    eyes.look(scene, camera, eye, DAY, target);
    renderer.readRenderTargetPixels(target, 0, 0, COLUMNS, ROWS, pixels);
    const width = 2 * distance * Math.tan((WINDOW_DEGREES / 2) * STRIPE_DEGREE);
    return stripeContrast(pixels, (COLUMNS * FLANK_STRIPES * period) / width);
  };
  const left = (eye, distance) => contrast(eye, distance) / contrast({...eye, acuity: PERFECT}, distance);
  return Object.fromEntries(Object.entries(records).map(([name, eye]) => {
    let [near, far] = [NEAREST_M, FARTHEST_M];
    if (left(eye, near) < threshold || left(eye, far) > threshold) return [name, {distance_m: null}];
    for (let step = 0; step < HALVINGS; step += 1) {
      const middle = Math.sqrt(near * far);
      if (left(eye, middle) > threshold) near = middle;
      else far = middle;
    }
    const distance = Math.sqrt(near * far);
    return [name, {distance_m: distance, left: left(eye, distance)}];
  }));
}

/** Return a scene of flanks side by side in even light, with stripes of this period in m. */
function flankScene(period) {
  const texture = new THREE.CanvasTexture(stripeCanvas(2048, 1024, 1, FLANK_STRIPES));
  texture.encoding = THREE.sRGBEncoding;
  texture.wrapS = THREE.RepeatWrapping;
  texture.repeat.set(FLANKS, 1);
  const flank = FLANK_STRIPES * period;
  const plane = new THREE.PlaneGeometry(FLANKS * flank, FLANK_HEIGHT * flank);
  const scene = new THREE.Scene();
  scene.add(new THREE.Mesh(plane, new THREE.MeshBasicMaterial({map: texture})));
  return scene;
}

/**
 * Return the contrast of the middle flank, `width` pixels wide, at the stripes' frequency: the amplitude of the wave with
 * one crest a stripe over the mean brightness, rows averaged by power. The picture repeats from flank to flank.
 */
function stripeContrast(pixels, width) {
  const [left, right] = [(COLUMNS - width) / 2, (COLUMNS + width) / 2];
  const height = width * FLANK_HEIGHT * MEASURED_HEIGHT;
  const top = Math.max(0, Math.floor((ROWS - height) / 2));
  const step = Math.max(1, Math.floor(height / 12));
  let [power, mean, rows] = [0, 0, 0];
  for (let row = top; row < ROWS - top; row += step, rows += 1) {
    let [real, imaginary, sum] = [0, 0, 0];
    for (let column = Math.floor(left); column < right; column += 1) {
      const at = 4 * (row * COLUMNS + column);
      // Pixels at the flank's edges count by the part of them that is inside.
      const share = Math.min(column + 1, right) - Math.max(column, left);
      const light = share * (0.2126 * pixels[at] + 0.7152 * pixels[at + 1] + 0.0722 * pixels[at + 2]);
      const angle = (2 * Math.PI * FLANK_STRIPES * (column + 0.5 - left)) / width;
      real += light * Math.cos(angle);
      imaginary += light * Math.sin(angle);
      sum += light;
    }
    power += (4 * (real * real + imaginary * imaginary)) / (width * width);
    mean += sum / width;
  }
  return Math.sqrt(power / rows) / (mean / rows);
}

measurePage();
