// Shapes of plants and rocks, about 1 high: clumps of leaves, branches, and boulders.
import {linearColor, mixColor} from "./coats.js";
import {addTube, Surface} from "./loft.js";
import {latticeRandom, seededRandom} from "./random.js";

const BARK = linearColor("#5b4a3a");
const BARK_LIT = linearColor("#7d6850");
const LEAF_DARK = linearColor("#39431f");
const LEAF = linearColor("#66703a");
const LEAF_LIT = linearColor("#8d9450");
const ROCK = linearColor("#8f7f6d");
const ROCK_DARK = linearColor("#63584c");

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

/** Return the surface of an umbrella thorn 1 high: a flat crown of clumps on a forked stem. fine: with loose leaves, for near trees. */
export function umbrellaThorn(seed, fine, crowns = fine ? 6 : 4) {
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

/** Return the surface of a tree 1 high with a round crown; fine as for umbrellaThorn. */
export function roundTree(seed, fine) {
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

/** Return the surface of a bush; fine as for umbrellaThorn. */
export function bush(seed, fine) {
  const random = seededRandom(seed);
  const surface = new Surface();
  for (let crown = 0; crown < (fine ? 4 : 2); crown += 1) {
    const angle = 1.571 * crown + random();
    const out = 0.3 * random() + 0.1;
    addClump(surface, random, [out * Math.cos(angle), (fine ? 0.34 : 0.2) + 0.22 * random(), out * Math.sin(angle)], 0.36 + 0.1 * random(), 0.85, fine ? [4, 7] : [3, 6], fine ? 22 : 0);
  }
  return surface;
}

/** Return the surface of a rock some 1 in radius. */
export function rock(seed) {
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
