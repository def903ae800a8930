// Trees, bushes and rocks of a landscape: near ones instanced in full detail, far ones in a few large geometries.
import {COLOR_FRAGMENT, litMaterial} from "./light.js";
import {bush, rock, roundTree, umbrellaThorn} from "./plant_shapes.js";
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
    vertexShader: FAR_PLANT_VERTEX, fragmentShader: COLOR_FRAGMENT, uniforms: {focus},
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
    vertexShader: NEAR_PLANT_VERTEX, fragmentShader: COLOR_FRAGMENT, uniforms: {sway: {value: still ? 0 : 1}}, side: THREE.DoubleSide,
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
