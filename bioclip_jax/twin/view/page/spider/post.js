// The spider's place in cm: the worn top of a scratching post, the plain around it, flies, and the zebra.

import {seededRandom, valueNoise} from "../world/random.js";
import {flyBody, limb, mergeParts, spiderBody, zebraBody} from "./solids.js";

/** Height of the spider's eyes above the post's top, and of the top above the ground, in cm. */
export const EYE_CM = 0.32;
const POST_CM = 86;
const POST_RADIUS_CM = 8;
const FLIES = 3;
// Light by the sun's elevation in degrees: [elevation, sun's color and gain, sky's color and gain].
const LIGHTS = [[-12, "#7f93c4", 0.25, "#16224a", 0.55], [-3, "#d9966f", 0.7, "#6a74a0", 0.95], [4, "#ffb070", 0.9, "#8ea3c8", 0.8], [25, "#fff0d8", 1.05, "#a9cdec", 0.9]];

/**
 * Make the place: {scene, spider, flies, setSun(sun), update(time, visit), dispose()}.
 * `still`: reduced motion.
 */
export function createPost(still) {
  const scene = new THREE.Scene();
  const sunLight = new THREE.DirectionalLight("#ffffff", 1);
  const skyLight = new THREE.HemisphereLight("#ffffff", "#8a7a58", 1);
  const zebra = zebraBody();
  const spider = spiderBody();
  const flies = Array.from({length: FLIES}, () => flyBody());
  scene.background = new THREE.Color();
  scene.fog = new THREE.Fog("#ffffff", 600, 14000);
  scene.add(sunLight, skyLight, postTop(), plain(), zebra.group, spider, ...flies);
  const flights = flies.map((_, fly) => flight(fly, still));
  return {
    scene,
    spider,
    flies,
    setSun({elevation, azimuth}) {
      const [sun, sunGain, sky, skyGain] = lightAt(elevation);
      const [e, a] = [(Math.max(elevation, 12) * Math.PI) / 180, (azimuth * Math.PI) / 180 + 2.2];
      sunLight.color.copy(sun);
      sunLight.intensity = sunGain;
      sunLight.position.set(Math.cos(e) * Math.sin(a), Math.sin(e), Math.cos(e) * Math.abs(Math.cos(a)) + 0.3);
      skyLight.color.copy(sky).lerp(new THREE.Color(1, 1, 1), 0.4);
      skyLight.intensity = skyGain * 0.75;
      scene.background.copy(sky).multiplyScalar(skyGain);
      scene.fog.color.copy(scene.background);
    },
    update(time, visit) {
      zebra.group.position.set(100 * visit.aside, 4, -100 * visit.ahead);
      zebra.group.rotation.y = visit.turn;
      const step = visit.moving > 0.1 ? Math.sin(6 * time) * Math.min(1, visit.moving) : 0;
      zebra.group.position.y += 1.2 * step;
      zebra.barrel.scale.set(1, 1 + 0.01 * visit.breath, 1 + 0.022 * visit.breath);
      flies.forEach((fly, index) => flights[index](time, fly));
    },
    dispose() {
      scene.traverse((one) => {
        one.geometry?.dispose();
        one.material?.map?.dispose();
        one.material?.dispose();
      });
    },
  };
}

function lightAt(elevation) {
  const color = (text) => new THREE.Color(text).convertSRGBToLinear();
  const last = LIGHTS.length - 1;
  const above = LIGHTS.findIndex(([height]) => height > elevation);
  if (above === 0 || above < 0) {
    const [, sun, sunGain, sky, skyGain] = LIGHTS[above < 0 ? last : 0];
    return [color(sun), sunGain, color(sky), skyGain];
  }
  const [low, high] = [LIGHTS[above - 1], LIGHTS[above]];
  const t = (elevation - low[0]) / (high[0] - low[0]);
  return [color(low[1]).lerp(color(high[1]), t), low[2] + t * (high[2] - low[2]), color(low[3]).lerp(color(high[3]), t), low[4] + t * (high[4] - low[4])];
}

/** Return the post's top: cracked wood with rings, splinters at its rim, and hairs that zebras left. */
function postTop() {
  const random = seededRandom(21);
  const group = new THREE.Group();
  const disc = new THREE.CircleGeometry(POST_RADIUS_CM, 96);
  disc.rotateX(-Math.PI / 2);
  disc.translate(0, 0, -POST_RADIUS_CM + 1.5);
  const wood = new THREE.Mesh(disc, new THREE.MeshLambertMaterial({map: woodTexture()}));
  const parts = [];
  const middle = -POST_RADIUS_CM + 1.5;
  for (let splinter = 0; splinter < 46; splinter += 1) {
    const angle = random() * 2 * Math.PI;
    const [x, z] = [Math.sin(angle) * POST_RADIUS_CM * 0.98, middle + Math.cos(angle) * POST_RADIUS_CM * 0.98];
    const height = 0.15 + 0.75 * random() ** 2;
    const shade = ["#6d5236", "#8a6c48", "#54402b"][splinter % 3];
    parts.push(limb([x, -0.4, z], [x + 0.2 * (random() - 0.5), height, z + 0.2 * (random() - 0.5)], 0.16, 0.02, shade));
  }
  for (let hair = 0; hair < 12; hair += 1) {
    const [x, z, turn] = [8 * (random() - 0.5), -2 - 7 * random(), random() * 2 * Math.PI];
    const [bend, rise] = [1.2 * (random() - 0.5), 0.25 + 0.5 * random()];
    const shade = hair % 2 ? "#f0e8d8" : "#1d1815";
    let from = [x, 0.01, z];
    for (let joint = 1; joint <= 7; joint += 1) {
      const [t, angle] = [joint / 7, turn + (bend * joint) / 7];
      const to = [from[0] + 0.26 * Math.cos(angle), rise * Math.sin(Math.PI * 0.8 * t), from[2] + 0.26 * Math.sin(angle)];
      parts.push(limb(from, to, 0.014 * (1.1 - 0.6 * t), 0.013 * (1 - 0.6 * t), shade));
      from = to;
    }
  }
  const side = new THREE.CylinderGeometry(POST_RADIUS_CM, POST_RADIUS_CM * 1.1, POST_CM, 48, 1, true);
  side.translate(0, -POST_CM / 2, middle);
  parts.push({geometry: side, color: "#6b5238", matrix: new THREE.Matrix4()});
  group.add(wood, new THREE.Mesh(mergeParts(parts), new THREE.MeshLambertMaterial({vertexColors: true})));
  return group;
}

function woodTexture() {
  const size = 1024;
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = size;
  const context = canvas.getContext("2d");
  const image = context.createImageData(size, size);
  for (let row = 0, at = 0; row < size; row += 1) {
    let warp = 0;
    for (let column = 0; column < size; column += 1, at += 4) {
      const [x, y] = [column / size - 0.5, row / size - 0.5];
      // The top is round, and shows nothing of the corners.
      if (x * x + y * y > 0.26) continue;
      // Smooth over many pixels.
      if (column % 4 === 0) warp = valueNoise(column / 120, row / 120, 5, 64) - 0.5;
      const rings = Math.sin(210 * (Math.hypot(x, y) + 0.04 * warp));
      const grain = 0.6 * valueNoise(column / 2, row / 2, 9) + 0.4 * valueNoise(column / 9, row / 9, 12);
      const angle = Math.atan2(y, x);
      const crack = Math.abs(Math.sin(3.5 * angle + 3 * warp)) < 0.035 + 0.05 * Math.hypot(x, y) ? 0.45 : 1;
      const light = crack * (0.5 + 0.13 * rings + 0.5 * grain);
      [image.data[at], image.data[at + 1], image.data[at + 2], image.data[at + 3]] = [178 * light, 142 * light, 98 * light, 255];
    }
  }
  context.putImageData(image, 0, 0);
  const texture = new THREE.CanvasTexture(canvas);
  texture.encoding = THREE.sRGBEncoding;
  return texture;
}

/** Return the plain: ground to the horizon, and trees as far blots. */
function plain() {
  const random = seededRandom(8);
  const ground = new THREE.CircleGeometry(60000, 48);
  ground.rotateX(-Math.PI / 2);
  ground.translate(0, -POST_CM, 0);
  const parts = [{geometry: ground, color: "#b29a58", matrix: new THREE.Matrix4()}];
  for (let tree = 0; tree < 26; tree += 1) {
    const away = 2500 + 9000 * random();
    const angle = Math.PI * (random() - 0.5) * 1.4;
    const [x, z] = [Math.sin(angle) * away, -Math.cos(angle) * away];
    const tall = 350 + 350 * random();
    const crown = new THREE.SphereGeometry(1, 10, 6);
    const matrix = new THREE.Matrix4().makeScale(tall * 0.75, tall * 0.2, tall * 0.75).setPosition(x, tall - POST_CM, z);
    parts.push({geometry: crown, color: tree % 3 ? "#5d6b34" : "#6f7a3c", matrix});
    parts.push(limb([x, -POST_CM, z], [x + 20, tall - POST_CM, z], 24, 14, "#4b3a28"));
  }
  for (let tuft = 0; tuft < 160; tuft += 1) {
    const away = 110 + 900 * random() ** 1.5;
    const angle = Math.PI * (random() - 0.5) * 1.2;
    const [x, z] = [Math.sin(angle) * away, -Math.cos(angle) * away];
    parts.push(limb([x, -POST_CM, z], [x + 14 * (random() - 0.5), 30 + 35 * random() - POST_CM, z], 4, 0.3, tuft % 2 ? "#9a8a45" : "#c2ab66"));
  }
  return new THREE.Mesh(mergeParts(parts), new THREE.MeshLambertMaterial({vertexColors: true}));
}

/** Return a function that puts a fly where it is at a time: it sits, and darts to another place. */
function flight(number, still) {
  const random = seededRandom(300 + number);
  const places = Array.from({length: 16}, () => [9 * (random() - 0.5), 0.02, -2.2 - 8 * random()]);
  const pace = still ? 6 : 2.4 + 0.7 * number;
  return (time, fly) => {
    const at = time / pace + 0.31 * number;
    const index = Math.floor(at);
    const [from, to] = [places[index % places.length], places[(index + 1) % places.length]];
    // The last quarter of the time is the flight.
    const t = Math.max(0, (at - index - 0.75) * 4);
    const eased = t * t * (3 - 2 * t);
    const lift = 1.6 * Math.sin(Math.PI * eased);
    const walk = still ? 0 : 0.3 * Math.min(1, (at - index) / 0.75);
    const turn = Math.atan2(to[0] - from[0], to[2] - from[2]);
    fly.position.set(from[0] + (to[0] - from[0]) * eased + Math.sin(turn) * walk * (1 - eased), from[1] + lift, from[2] + (to[2] - from[2]) * eased);
    fly.rotation.y = turn + Math.PI;
  };
}
