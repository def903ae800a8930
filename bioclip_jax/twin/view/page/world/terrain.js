// The ground: the landscape's square, and hills of no real place beyond it, out to the haze.
import {mixColor, linearColor} from "./coats.js";
import {FINISH_GLSL, litMaterial} from "./light.js";
import {fractalNoise, valueNoise} from "./random.js";

const FAR_M = 5200;
/** Cells of the grid across the square, and beyond it on each side. */
const INNER = 72;
const OUTER = 14;
const GROUND_VERTEX = `
attribute vec3 color;
varying vec3 vColor;
varying vec2 vPlace;
void main() {
  vPlace = position.xz;
  vColor = color * lightOn(normal);
  vHaze = vec4(hazeColor(position), hazeAt(position));
  gl_Position = projectionMatrix * (viewMatrix * vec4(position, 1.0));
}`;

const GROUND_FRAGMENT = `
uniform sampler2D grain;
varying vec3 vColor;
varying vec2 vPlace;
varying vec4 vHaze;
void main() {
  float fine = texture2D(grain, vPlace * 0.11).r;
  vec3 color = vColor * (0.66 + 0.64 * fine);
${FINISH_GLSL}}`;

const DRY = linearColor("#b8a065");
const LUSH = linearColor("#8f9152");
const BARE = linearColor("#a58a66");
export const MUD = linearColor("#6b563f");
const HILL = linearColor("#8a8656");

/** Return the color of the ground at a place, as grass tufts take it too. */
export function groundColor(landscape, x, y) {
  const grass = landscape.grassAt(x, y);
  const patch = fractalNoise(x / 60, y / 60, 41, 3);
  let color = mixColor(BARE, mixColor(DRY, LUSH, (patch - 0.32) * 2.2), 0.25 + grass * 1.3);
  for (const hole of landscape.water) {
    const shore = Math.hypot(x - hole.x, y - hole.y) - hole.radius;
    if (shore < 12) color = mixColor(MUD, color, Math.max(0, (shore - 2) / 10));
  }
  return color;
}

/** Return the level (m) of a water hole: its lowest shore. */
export function waterLevel(landscape, {x, y, radius}) {
  let level = Infinity;
  for (let step = 0; step < 24; step += 1) {
    const angle = (2 * Math.PI * step) / 24;
    level = Math.min(level, landscape.heightAt(x + radius * Math.cos(angle), y + radius * Math.sin(angle)));
  }
  return level;
}

/** Return the height (m) of the made land: the landscape's square, and hills that rise beyond it. */
function madeHeight(landscape, x, y) {
  const {extent} = landscape;
  const [inX, inY] = [Math.min(extent, Math.max(0, x)), Math.min(extent, Math.max(0, y))];
  let height = landscape.heightAt(inX, inY);
  for (const hole of landscape.water) {
    // The grid is too coarse for a shore, so that the ground lies below the water's whole disc.
    if (Math.hypot(x - hole.x, y - hole.y) < hole.radius * 1.5) height = Math.min(height, waterLevel(landscape, hole) - 0.3);
  }
  const out = Math.hypot(x - inX, y - inY);
  if (out === 0) return height;
  const away = Math.min(1, out / 900);
  const hills = 190 * Math.max(0, fractalNoise(x / 1500, y / 1500, 91, 4) - 0.4) * away * away;
  const swells = 26 * (fractalNoise(x / 330, y / 330, 92, 3) - 0.5) * Math.min(1, out / 250);
  return height * (1 - 0.6 * away) + hills + swells;
}

/** Return the lines of the ground's grid: even inside the square, widening beyond. */
function groundAxis(extent) {
  const axis = [];
  for (let step = -OUTER; step <= INNER + OUTER; step += 1) {
    const past = step < 0 ? -step : Math.max(0, step - INNER);
    const away = FAR_M * (past / OUTER) ** 2.6 + (extent / INNER) * past * (1 - past / OUTER);
    axis.push(step < 0 ? -away : step > INNER ? extent + away : (extent * step) / INNER);
  }
  return axis;
}

/**
 * Return {heightAt(x, y), group, dispose()}. Heights are those of the drawn triangles, so that feet meet the ground;
 * tiles of the grid are drawn only where they are seen.
 */
export function createTerrain(light, landscape) {
  const {extent} = landscape;
  const axis = groundAxis(extent);
  const size = axis.length;
  const positions = new Float32Array(3 * size * size);
  const colors = new Float32Array(3 * size * size);
  let at = 0;
  for (const y of axis) {
    for (const x of axis) {
      positions.set([x, madeHeight(landscape, x, y), -y], at);
      const far = Math.min(1, Math.hypot(Math.max(0, -x, x - extent), Math.max(0, -y, y - extent)) / 500);
      colors.set(mixColor(groundColor(landscape, x, y), HILL, far * 0.7), at);
      at += 3;
    }
  }
  const whole = new THREE.BufferGeometry();
  whole.setAttribute("position", new THREE.BufferAttribute(positions, 3));
  whole.setAttribute("color", new THREE.BufferAttribute(colors, 3));
  whole.setIndex(cellIndices(0, size - 1, 0, size - 1, size));
  whole.computeVertexNormals();
  const grain = groundGrain();
  const material = litMaterial(light, {vertexShader: GROUND_VERTEX, fragmentShader: GROUND_FRAGMENT, uniforms: {grain: {value: grain}}});
  const group = new THREE.Group();
  const cuts = [0, 1, 2, 3, 4].map((part) => Math.round((part * (size - 1)) / 4));
  for (let row = 0; row < 4; row += 1) {
    for (let column = 0; column < 4; column += 1) {
      const tile = new THREE.BufferGeometry();
      for (const name of ["position", "color", "normal"]) tile.setAttribute(name, whole.attributes[name]);
      tile.setIndex(cellIndices(cuts[row], cuts[row + 1], cuts[column], cuts[column + 1], size));
      const [west, east, south, north] = [axis[cuts[column]], axis[cuts[column + 1]], axis[cuts[row]], axis[cuts[row + 1]]];
      const middle = new THREE.Vector3((west + east) / 2, 0, -(south + north) / 2);
      tile.boundingSphere = new THREE.Sphere(middle, 0.5 * Math.hypot(east - west, north - south) + 120);
      const mesh = new THREE.Mesh(tile, material);
      mesh.renderOrder = 3;
      group.add(mesh);
    }
  }
  const step = extent / INNER;
  const height = (column, row) => positions[3 * ((row + OUTER) * size + column + OUTER) + 1];
  return {
    group,
    heightAt(x, y) {
      if (x < 0 || y < 0 || x >= extent || y >= extent) return madeHeight(landscape, x, y);
      const [column, row] = [Math.floor(x / step), Math.floor(y / step)];
      const [east, north] = [x / step - column, y / step - row];
      const [a, b, c] = [height(column + 1, row), height(column, row + 1), height(column, row)];
      if (east + north <= 1) return c + east * (a - c) + north * (b - c);
      const d = height(column + 1, row + 1);
      return d + (1 - east) * (b - d) + (1 - north) * (a - d);
    },
    dispose() {
      group.children.forEach((mesh) => mesh.geometry.dispose());
      material.dispose();
      grain.dispose();
    },
  };
}

function cellIndices(south, north, west, east, size) {
  const indices = [];
  for (let row = south; row < north; row += 1) {
    for (let column = west; column < east; column += 1) {
      const corner = row * size + column;
      indices.push(corner, corner + 1, corner + size, corner + 1, corner + size + 1, corner + size);
    }
  }
  return indices;
}

/** Return a repeating grain of soil, litter and blades: noise on a lattice that wraps around. */
function groundGrain() {
  const size = 256;
  const bytes = new Uint8Array(size * size);
  for (let row = 0, at = 0; row < size; row += 1) {
    for (let column = 0; column < size; column += 1, at += 1) {
      const [x, y] = [column / size, row / size];
      let value = 0;
      for (const [cells, weight, seed] of [[6, 0.24, 1], [24, 0.24, 2], [80, 0.3, 3]]) {
        const south = y * cells;
        const wrap = (south % cells) + (south < 0 ? cells : 0);
        const blend = Math.min(1, Math.max(0, (wrap - (cells - 1))));
        const own = valueNoise(x * cells, wrap, seed, cells);
        value += weight * (own + (valueNoise(x * cells, wrap - cells, seed, cells) - own) * blend);
      }
      bytes[at] = 255 * Math.min(1, Math.max(0, 0.5 + 1.9 * (value - 0.39)));
    }
  }
  const texture = new THREE.DataTexture(bytes, size, size, THREE.LuminanceFormat);
  texture.wrapS = texture.wrapT = THREE.RepeatWrapping;
  texture.magFilter = THREE.LinearFilter;
  texture.minFilter = THREE.LinearMipmapNearestFilter;
  texture.generateMipmaps = true;
  texture.needsUpdate = true;
  return texture;
}
