// Tufts of grass around the viewer: swaying, thinner and lower with distance so that none pops up.
import {wrapAngle} from "../track.js";
import {COLOR_FRAGMENT, litMaterial} from "./light.js";
import {latticeRandom, seededRandom} from "./random.js";
import {groundColor} from "./terrain.js";

/** Grass is drawn by cameras that see this layer: not for small pictures beside the main one. */
export const GRASS_LAYER = 1;

/** Rings of tufts: cell (m), radius (m), height (m), width. */
const RINGS = [
  {cell: 0.45, radius: 11, height: 0.3, width: 0.26},
  {cell: 1.35, radius: 32, height: 0.34, width: 0.6},
  {cell: 4.2, radius: 95, height: 0.4, width: 1.7},
];

const GRASS_VERTEX = `
attribute vec3 tone;
attribute vec2 rise;
uniform float sway;
uniform float reach;
uniform float clock;
varying vec3 vColor;
void main() {
  float away = distance(position.xz, cameraPosition.xz);
  float grown = 1.0 - smoothstep(0.55, 0.98, away / reach);
  float tall = position.y - rise.x;
  float wind = sin(clock * 1.3 + position.x * 0.35 + position.z * 0.22) + 0.5 * sin(clock * 2.9 + position.x * 1.7);
  vec3 place = vec3(position.x + sway * 0.05 * wind * tall, rise.x + tall * grown, position.z);
  vColor = tone * mix(0.62, 1.3, rise.y) * lightOn(vec3(0.0, 1.0, 0.0));
  vHaze = vec4(horizonColor, hazeAt(place));
  gl_Position = projectionMatrix * (viewMatrix * vec4(place, 1.0));
}`;

/** Return {group, update(view), dispose()}. quality: 0 to 1 thins the grass; still: no sway. */
export function createGrass(light, landscape, ground, {quality = 1, still = false}) {
  const group = new THREE.Group();
  const rings = RINGS.map((ring, number) => createRing(light, landscape, ground, ring, number, quality, still));
  rings.forEach((ring) => group.add(ring.mesh));
  return {
    group,
    update(view) {
      rings.forEach((ring) => ring.update(view));
    },
    dispose() {
      rings.forEach((ring) => ring.dispose());
    },
  };
}

function createRing(light, landscape, ground, {cell, radius, height, width}, number, quality, still) {
  const across = Math.ceil(radius / cell);
  const shape = bladeShape(height, width, number);
  const corners = shape.length / 3;
  const capacity = Math.ceil(Math.PI * across * across * 1.05 * (0.35 + 0.6 * quality));
  const geometry = new THREE.BufferGeometry();
  const [places, tones, rises] = [3, 3, 2].map((size) => new THREE.BufferAttribute(new Float32Array(size * corners * capacity), size));
  geometry.setAttribute("position", places);
  geometry.setAttribute("tone", tones);
  geometry.setAttribute("rise", rises);
  const material = litMaterial(light, {
    vertexShader: GRASS_VERTEX, fragmentShader: COLOR_FRAGMENT, side: THREE.DoubleSide,
    uniforms: {sway: {value: still ? 0 : 1}, reach: {value: radius}},
  });
  const mesh = new THREE.Mesh(geometry, material);
  mesh.frustumCulled = false;
  mesh.layers.set(GRASS_LAYER);
  mesh.renderOrder = 1;
  const center = new THREE.Vector2(Infinity, Infinity);
  const direction = new THREE.Vector3();
  let known = new Map();
  let facing = null;

  /** Return [x, y up, z, growth, r, g, b] of a cell's tuft, or null where none grows. */
  function tuftOf(i, j) {
    if (latticeRandom(i, j, 900 + number) > 0.35 + 0.6 * quality) return null;
    const x = (i + latticeRandom(i, j, 901 + number) - 0.5) * cell;
    const y = (j + latticeRandom(i, j, 905 + number) - 0.5) * cell;
    const grass = insideOf(landscape, x, y) ? landscape.grassAt(x, y) : 0.5;
    const vigor = (0.4 + 0.9 * grass) * (0.5 + 0.75 * latticeRandom(i, j, 909 + number));
    if (vigor < 0.28 || inWater(landscape, x, y)) return null;
    const [r, g, b] = groundColor(landscape, x, y);
    const shade = 0.85 + 0.4 * latticeRandom(i, j, 913);
    return [x, ground(x, y) - 0.015, -y, Math.min(1.25, vigor), r * shade * 1.05, g * shade * 1.02, b * shade * 0.85];
  }

  /** Fill the ring around the viewer, of a camera only the sector that it looks at. */
  function update(view) {
    const focus = view.isCamera ? view.position : view;
    const heading = view.isCamera ? Math.atan2(view.getWorldDirection(direction).z, direction.x) : null;
    const turned = heading === null || facing === null ? heading !== facing : Math.abs(wrapAngle(heading - facing)) > 0.2;
    if (!turned && Math.hypot(focus.x - center.x, focus.z - center.y) < radius * 0.12) return;
    center.set(focus.x, focus.z);
    facing = heading;
    const sector = view.isCamera ? Math.atan(Math.tan((view.fov * Math.PI) / 360) * view.aspect) + 0.32 : Math.PI;
    const [column0, row0] = [Math.round(focus.x / cell), Math.round(-focus.z / cell)];
    const kept = new Map();
    let count = 0;
    for (let row = -across; row <= across; row += 1) {
      for (let column = -across; column <= across; column += 1) {
        if (column * column + row * row > across * across || count >= capacity) continue;
        const beside = Math.abs(column) + Math.abs(row) > 3 && heading !== null;
        if (beside && Math.abs(wrapAngle(Math.atan2(-row, column) - heading)) > sector) continue;
        const [i, j] = [column0 + column, row0 + row];
        const key = i * 65536 + j;
        let tuft = known.get(key);
        if (tuft === undefined) tuft = tuftOf(i, j);
        kept.set(key, tuft);
        if (!tuft) continue;
        plant(tuft, count);
        count += 1;
      }
    }
    known = kept;
    geometry.setDrawRange(0, corners * count);
    for (const attribute of [places, tones, rises]) attribute.needsUpdate = true;
  }

  /** Write the blades of a tuft as the geometry's tuft of a number. */
  function plant([x, y, z, growth, r, g, b], tuft) {
    const turn = 6.283 * ((Math.abs(x * 7.31 + z * 3.17)) % 1);
    const [c, s] = [Math.cos(turn), Math.sin(turn)];
    for (let corner = 0, at = tuft * corners; corner < corners; corner += 1, at += 1) {
      const [px, py, pz] = [shape[3 * corner], shape[3 * corner + 1], shape[3 * corner + 2]];
      const wide = 0.6 + 0.4 * growth;
      places.setXYZ(at, x + wide * (c * px + s * pz), y + growth * py, z + wide * (c * pz - s * px));
      tones.setXYZ(at, r, g, b);
      rises.setXY(at, y, py > 0 ? 1 : 0);
    }
  }

  return {
    mesh,
    update,
    dispose() {
      geometry.dispose();
      material.dispose();
    },
  };
}

function insideOf({extent}, x, y) {
  return x >= 0 && y >= 0 && x <= extent && y <= extent;
}

function inWater({water}, x, y) {
  return water.some((hole) => Math.hypot(x - hole.x, y - hole.y) < hole.radius + 1.2);
}

/** Return the corners of one tuft: blades that lean outward from a middle. */
function bladeShape(height, width, seed) {
  const random = seededRandom(seed + 300);
  const positions = [];
  const blades = [8, 9, 10][seed];
  for (let blade = 0; blade < blades; blade += 1) {
    const angle = (2 * Math.PI * (blade + random())) / blades;
    const tall = height * (0.55 + 0.45 * random());
    const lean = width * (0.12 + 0.3 * random());
    const [c, s] = [Math.cos(angle), Math.sin(angle)];
    const root = width * 0.5 * random();
    const half = 0.007 + 0.018 * width;
    positions.push(root * c - half * s, 0, root * s + half * c, root * c + half * s, 0, root * s - half * c, (root + lean) * c, tall, (root + lean) * s);
  }
  return positions;
}
