// Trees, bushes and rocks: a few built shapes, instanced over the landscape.
import {linearColor, mixColor} from "./coats.js";
import {FINISH_GLSL, litMaterial} from "./light.js";
import {addTube, Surface} from "./loft.js";
import {fractalNoise, latticeRandom, seededRandom} from "./random.js";

/** Tiles of far plants along a side of the landscape, and sectors around it, of which only those in sight are drawn. */
const TILES = 3;
const SECTORS = 8;
/** Meters beyond the landscape's square from which trees are drawn with fewer clumps. */
const DISTANT_M = 100;

/** Near plants are instanced; those of a tile are one geometry, in which plants near the focus are left out. */
const NEAR_PLANT_VERTEX = `
attribute vec3 color;
attribute vec4 spot;
attribute vec2 form;
uniform float clock;
uniform float sway;
varying vec3 vColor;
void main() {
  float c = cos(form.x);
  float s = sin(form.x);
  vec3 turned = vec3(c * position.x + s * position.z, position.y, -s * position.x + c * position.z);
  vec3 face = vec3(c * normal.x + s * normal.z, normal.y, -s * normal.x + c * normal.z);
  vec3 place = spot.xyz + turned * spot.w;
  place.x += sway * 0.02 * spot.w * position.y * position.y * sin(clock * 0.9 + spot.x * 0.7 + position.z * 3.0);
  vColor = color * form.y * lightOn(face);
  vHaze = vec4(horizonColor, hazeAt(place));
  gl_Position = projectionMatrix * (viewMatrix * vec4(place, 1.0));
}`;

const FAR_PLANT_VERTEX = `
attribute vec3 color;
attribute vec3 stand;
uniform vec2 focus;
varying vec3 vColor;
void main() {
  vColor = color * lightOn(normal);
  vHaze = vec4(horizonColor, hazeAt(position));
  gl_Position = projectionMatrix * (viewMatrix * vec4(position, 1.0));
  if (distance(stand.xy, focus) < stand.z) gl_Position = vec4(2.0, 2.0, 2.0, 1.0);
}`;

const PLANT_FRAGMENT = `
varying vec3 vColor;
varying vec4 vHaze;
void main() {
  vec3 color = vColor;
${FINISH_GLSL}}`;

const BARK = linearColor("#5b4a3a");
const BARK_LIT = linearColor("#7d6850");
const LEAF_DARK = linearColor("#39431f");
const LEAF = linearColor("#66703a");
const LEAF_LIT = linearColor("#8d9450");
const ROCK = linearColor("#8f7f6d");
const ROCK_DARK = linearColor("#63584c");

/** Return {group, update(focus), dispose()} of a landscape's trees, bushes and kopje rocks. */
export function createPlants(light, landscape, ground, {seed = 1, still = false} = {}) {
  const group = new THREE.Group();
  const shapes = [umbrellaThorn, roundTree, bush];
  const plants = landscape.trees.map((tree, index) => ({
    kind: Math.min(2, tree.kind), x: tree.x, y: ground(tree.x, tree.y) - 0.03 * tree.height, z: -tree.y, scale: tree.height,
    turn: latticeRandom(index, 5, seed) * 6.283, shade: 0.85 + 0.3 * latticeRandom(index, 6, seed), near: 26 + 6 * tree.height,
  }));
  plants.push(...farTrees(landscape, ground, seed));
  const rocks = kopjeRocks(landscape, ground, seed);
  const focus = {value: new THREE.Vector2(Infinity, Infinity)};
  const farMaterial = litMaterial(light, {
    vertexShader: FAR_PLANT_VERTEX, fragmentShader: PLANT_FRAGMENT, uniforms: {focus},
  });
  const coarse = [...shapes.map((shape, kind) => shape(seed + kind, false)), rock(seed + 3), umbrellaThorn(seed, false, 3)]
    .map((surface) => surface.geometry());
  const far = tilesOf([...plants, ...rocks], landscape.extent).map((tile) => {
    const mesh = new THREE.Mesh(bakedPlants(tile, coarse), farMaterial);
    group.add(mesh);
    return mesh;
  });
  const near = shapes.map((shape, kind) => {
    const own = plants.filter((plant) => plant.kind === kind);
    const mesh = nearMesh(light, shape(seed + kind, true), own.length, still);
    group.add(mesh);
    return {mesh, own};
  });

  return {
    group,
    /** Draw what stands near the focus in full detail. */
    update(place) {
      if (Math.hypot(place.x - focus.value.x, place.z - focus.value.y) < 12) return;
      focus.value.set(place.x, place.z);
      for (const {mesh, own} of near) {
        const {spot, form} = mesh.geometry.attributes;
        const close = own.filter(({x, z, near: reach}) => Math.hypot(x - place.x, z - place.z) < reach);
        close.forEach(({x, y, z, scale, turn, shade}, index) => {
          spot.setXYZW(index, x, y, z, scale);
          form.setXY(index, turn, shade);
        });
        spot.needsUpdate = form.needsUpdate = true;
        mesh.geometry.instanceCount = close.length;
        mesh.visible = close.length > 0;
      }
    },
    dispose() {
      farMaterial.dispose();
      far.forEach((mesh) => mesh.geometry.dispose());
      near.forEach(({mesh}) => {
        mesh.geometry.dispose();
        mesh.material.dispose();
      });
    },
  };
}

function nearMesh(light, surface, capacity, still) {
  const geometry = new THREE.InstancedBufferGeometry();
  const single = surface.geometry();
  for (const name of ["position", "normal", "color"]) geometry.setAttribute(name, single.attributes[name]);
  geometry.setIndex(single.index);
  geometry.setAttribute("spot", new THREE.InstancedBufferAttribute(new Float32Array(4 * capacity), 4));
  geometry.setAttribute("form", new THREE.InstancedBufferAttribute(new Float32Array(2 * capacity), 2));
  const material = litMaterial(light, {
    vertexShader: NEAR_PLANT_VERTEX, fragmentShader: PLANT_FRAGMENT, uniforms: {sway: {value: still ? 0 : 1}}, side: THREE.DoubleSide,
  });
  const mesh = new THREE.Mesh(geometry, material);
  mesh.frustumCulled = false;
  mesh.visible = false;
  return mesh;
}

/** Return the plants of each tile, and of each sector for those beyond the square. */
function tilesOf(plants, extent) {
  const tiles = Array.from({length: TILES * TILES + SECTORS}, () => []);
  const part = (value) => Math.floor((value / extent) * TILES);
  for (const plant of plants) {
    const [column, row] = [part(plant.x), part(-plant.z)];
    const inside = Math.min(column, row) >= 0 && Math.max(column, row) < TILES;
    const turn = Math.atan2(-plant.z - extent / 2, plant.x - extent / 2) / (2 * Math.PI) + 0.5;
    tiles[inside ? row * TILES + column : TILES * TILES + (Math.floor(turn * SECTORS) % SECTORS)].push(plant);
  }
  return tiles.filter((tile) => tile.length);
}

/** Return one geometry of many plants; shapes by kind, or by a plant's own number of its far shape. */
function bakedPlants(plants, shapes) {
  const [positions, normals, colors, stands, indices] = [[], [], [], [], []];
  for (const {kind, far = kind, x, y, z, scale, turn, shade, near} of plants) {
    const {position, normal, color} = shapes[far].attributes;
    const first = positions.length / 3;
    const [c, s] = [Math.cos(turn), Math.sin(turn)];
    for (let at = 0; at < 3 * position.count; at += 3) {
      const [px, py, pz] = [position.array[at], position.array[at + 1], position.array[at + 2]];
      const [nx, ny, nz] = [normal.array[at], normal.array[at + 1], normal.array[at + 2]];
      positions.push(x + scale * (c * px + s * pz), y + scale * py, z + scale * (c * pz - s * px));
      normals.push(c * nx + s * nz, ny, c * nz - s * nx);
      colors.push(color.array[at] * shade, color.array[at + 1] * shade, color.array[at + 2] * shade);
      stands.push(x, z, near);
    }
    for (const index of shapes[far].index.array) indices.push(first + index);
  }
  const geometry = new THREE.BufferGeometry();
  for (const [name, values] of Object.entries({position: positions, normal: normals, color: colors, stand: stands})) {
    geometry.setAttribute(name, new THREE.Float32BufferAttribute(values, 3));
  }
  geometry.setIndex(indices);
  geometry.computeBoundingSphere();
  return geometry;
}

/** Return trees beyond the landscape's square, so that the plain does not end there. */
function farTrees({extent}, ground, seed) {
  const random = seededRandom(seed + 500);
  const trees = [];
  while (trees.length < 90) {
    const [x, y] = [extent * (3 * random() - 1), extent * (3 * random() - 1)];
    const out = Math.max(-x, x - extent, -y, y - extent);
    if (out < 15 || fractalNoise(x / 220, y / 220, seed + 9, 2) < 0.45) continue;
    const scale = 5 + 5 * random();
    trees.push({kind: 0, far: out < DISTANT_M ? 0 : 4, x, y: ground(x, y) - 0.2, z: -y, scale, turn: random() * 6.283, shade: 0.8 + 0.3 * random(), near: 26 + 6 * scale});
  }
  return trees;
}

/** Return rocks where the ground rises above its surroundings: the landscape's kopjes. */
function kopjeRocks({extent}, ground, seed) {
  const random = seededRandom(seed + 600);
  const rocks = [];
  const add = (x, y, scale, sunk) => {
    rocks.push({kind: 3, x, y: ground(x, y) - sunk * scale, z: -y, scale, turn: random() * 6.283, shade: 0.8 + 0.35 * random(), near: 0});
  };
  const away = 45;
  for (let trial = 0; trial < 7000 && rocks.length < 150; trial += 1) {
    const [x, y] = [extent * random(), extent * random()];
    const around = ground(x + away, y) + ground(x - away, y) + ground(x, y + away) + ground(x, y - away);
    const above = ground(x, y) - around / 4;
    if (above > 1.2 + 2.2 * random()) add(x, y, 0.9 + 3.4 * random() ** 2, 0.25);
    else if (random() < 0.004) add(x, y, 0.3 + 0.4 * random(), 0.2);
  }
  return rocks;
}

/** Add a clump of leaves: a noisy lens, dark below and bright on top, with loose leaves that break its outline. */
function addClump(surface, random, [x, y, z], radius, flat, detail, leaves) {
  const [rows, columns] = detail;
  const seed = Math.floor(random() * 1000);
  const rings = [];
  for (let row = 0; row <= rows; row += 1) {
    const polar = (Math.PI * row) / rows;
    const ring = [];
    for (let column = 0; column < columns; column += 1) {
      const around = (2 * Math.PI * column) / columns;
      const bump = 0.78 + 0.44 * latticeRandom(row, row === 0 || row === rows ? 0 : column, seed);
      const [sx, sy, sz] = [Math.sin(polar) * Math.cos(around), Math.cos(polar), Math.sin(polar) * Math.sin(around)];
      const tone = mixColor(mixColor(LEAF_DARK, LEAF, 0.6 + 0.8 * sy), LEAF_LIT, 0.5 * sy + 0.3 * (bump - 0.8));
      // Flat undersides, domed tops.
      const rise = flat * radius * sy * bump * (sy < 0 ? 0.45 : 1);
      ring.push(surface.vertex([x + radius * sx * bump, y + rise, z + radius * sz * bump], tone, [0, 0], [0, 0, 0]));
    }
    if (row) surface.band(ring, rings[row - 1], true);
    rings.push(ring);
  }
  for (let leaf = 0; leaf < leaves; leaf += 1) {
    const around = 2 * Math.PI * random();
    const up = 1.5 * random() - 0.5;
    const out = radius * Math.sqrt(Math.max(0, 1 - 0.6 * up * up)) * (0.76 + 0.2 * random());
    const middle = [x + out * Math.cos(around), y + flat * radius * up * (up < 0 ? 0.4 : 0.85), z + out * Math.sin(around)];
    const tone = mixColor(mixColor(LEAF_DARK, LEAF, 0.7 + up), LEAF_LIT, 0.6 * up + 0.5 * random() - 0.2);
    const size = radius * (0.1 + 0.12 * random());
    const corners = [0, 1, 2].map(() => surface.vertex(
      middle.map((value, axis) => value + (random() - 0.5) * 2 * size * (axis === 1 ? 0.55 : 1)), tone, [0, 0], [0, 0, 0],
    ));
    surface.triangle(...corners);
    // Leaves are lit as the clump is, from outside.
    for (const corner of corners) surface.normals.splice(3 * corner, 3, Math.cos(around) * 0.6, 0.4 + up, Math.sin(around) * 0.6);
  }
}

function addBranch(surface, from, to, thick, thin, bend = 0.06) {
  const middle = from.map((value, axis) => 0.5 * (value + to[axis]) + (axis === 1 ? -bend : 0));
  addTube(surface, [[...from, thick, 0], [...middle, 0.5 * (thick + thin), 0], [...to, thin, 0]], {
    rings: 3, segments: 4, paint: (u) => mixColor(BARK, BARK_LIT, u),
  });
}

function umbrellaThorn(seed, fine, crowns = fine ? 6 : 4) {
  const random = seededRandom(seed);
  const surface = new Surface();
  const fork = [0.03, 0.36, 0.01];
  addBranch(surface, [0, 0, 0], fork, 0.042, 0.03, 0);
  for (let crown = 0; crown < crowns; crown += 1) {
    const angle = (2 * Math.PI * (crown + 0.5 * random())) / crowns;
    const out = crown ? 0.3 + 0.14 * random() : 0.05;
    const tip = [out * Math.cos(angle), 0.8 + 0.07 * random() - 0.12 * out, out * Math.sin(angle)];
    if (fine || (crowns > 3 && crown % 2)) addBranch(surface, fork, tip, 0.02, 0.008, 0.08);
    addClump(surface, random, [tip[0], tip[1] + 0.03, tip[2]], (fine ? 0.25 : 0.3) + 0.06 * random(), 0.36, fine ? [4, 8] : [3, 6], fine ? 26 : 0);
  }
  return surface;
}

function roundTree(seed, fine) {
  const random = seededRandom(seed);
  const surface = new Surface();
  // Far crowns hide no branches, so that the stem reaches up to them.
  const fork = [-0.02, fine ? 0.3 : 0.6, 0.02];
  addBranch(surface, [0, 0, 0], fork, 0.05, 0.036, 0);
  for (let crown = 0; crown < (fine ? 5 : 3); crown += 1) {
    const angle = 1.256 * crown + random();
    const out = crown ? 0.2 + 0.08 * random() : 0;
    const tip = [out * Math.cos(angle), crown ? 0.56 + 0.2 * random() : 0.8, out * Math.sin(angle)];
    if (fine) addBranch(surface, fork, tip, 0.022, 0.008, 0.03);
    addClump(surface, random, tip, 0.22 + 0.05 * random(), 0.72, fine ? [5, 8] : [3, 6], fine ? 24 : 0);
  }
  return surface;
}

function bush(seed, fine) {
  const random = seededRandom(seed);
  const surface = new Surface();
  for (let crown = 0; crown < (fine ? 4 : 2); crown += 1) {
    const angle = 1.571 * crown + random();
    const out = 0.3 * random() + 0.1;
    addClump(surface, random, [out * Math.cos(angle), (fine ? 0.34 : 0.2) + 0.22 * random(), out * Math.sin(angle)], 0.36 + 0.1 * random(), 0.85, fine ? [4, 7] : [3, 6], fine ? 22 : 0);
  }
  return surface;
}

function rock(seed) {
  const random = seededRandom(seed);
  const surface = new Surface();
  const rings = [];
  const [rows, columns] = [4, 6];
  const noise = Math.floor(random() * 100);
  for (let row = 0; row <= rows; row += 1) {
    const polar = (Math.PI * row) / rows;
    const ring = [];
    for (let column = 0; column < columns; column += 1) {
      const around = (2 * Math.PI * column) / columns;
      const bump = 0.75 + 0.5 * latticeRandom(row, row === 0 || row === rows ? 0 : column, noise);
      const point = [Math.sin(polar) * Math.cos(around) * bump, Math.cos(polar) * 0.72 * bump, Math.sin(polar) * Math.sin(around) * bump * 0.8];
      ring.push(surface.vertex(point, mixColor(ROCK_DARK, ROCK, 0.5 + 0.6 * Math.cos(polar) + 0.5 * (bump - 1)), [0, 0], [0, 0, 0]));
    }
    if (row) surface.band(ring, rings[row - 1], true);
    rings.push(ring);
  }
  return surface;
}
