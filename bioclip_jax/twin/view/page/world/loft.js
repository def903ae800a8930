// Smooth closed surfaces from a few cross-sections, gathered into one geometry that bones bend.

/** A growing geometry: positions, normals, colors, coat coordinates, two bones and their weight at each vertex. */
export class Surface {
  constructor() {
    this.positions = [];
    this.normals = [];
    this.colors = [];
    this.uvs = [];
    this.skins = [];
    this.indices = [];
  }

  /** Append a vertex and return its number. skin: [bone, second bone, weight of the second]. */
  vertex(position, color, uv, skin) {
    this.positions.push(...position);
    this.normals.push(0, 0, 0);
    this.colors.push(...color);
    this.uvs.push(...uv);
    this.skins.push(...skin);
    return this.positions.length / 3 - 1;
  }

  /** Add a triangle, unless two of its corners are in one place, as at poles. */
  triangle(a, b, c) {
    const p = this.positions;
    const [ux, uy, uz] = [p[3 * b] - p[3 * a], p[3 * b + 1] - p[3 * a + 1], p[3 * b + 2] - p[3 * a + 2]];
    const [vx, vy, vz] = [p[3 * c] - p[3 * a], p[3 * c + 1] - p[3 * a + 1], p[3 * c + 2] - p[3 * a + 2]];
    const normal = [uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx];
    if (Math.hypot(...normal) < 1e-12) return;
    this.indices.push(a, b, c);
    for (const vertex of [a, b, c]) {
      for (let axis = 0; axis < 3; axis += 1) this.normals[3 * vertex + axis] += normal[axis];
    }
  }

  /** Join two closed rings of vertices; turned: the surface faces the other way. */
  band(first, second, turned = false) {
    for (let step = 0; step < first.length; step += 1) {
      const next = (step + 1) % first.length;
      const [a, b, c, d] = [first[step], first[next], second[step], second[next]];
      if (turned) {
        this.triangle(a, c, b);
        this.triangle(b, c, d);
      } else {
        this.triangle(a, b, c);
        this.triangle(b, d, c);
      }
    }
  }

  /** Return the buffer geometry. */
  geometry() {
    const geometry = new THREE.BufferGeometry();
    const normals = new Float32Array(this.normals);
    for (let at = 0; at < normals.length; at += 3) {
      const length = Math.hypot(normals[at], normals[at + 1], normals[at + 2]) || 1;
      for (let axis = 0; axis < 3; axis += 1) normals[at + axis] /= length;
    }
    geometry.setAttribute("position", new THREE.Float32BufferAttribute(this.positions, 3));
    geometry.setAttribute("normal", new THREE.BufferAttribute(normals, 3));
    geometry.setAttribute("color", new THREE.Float32BufferAttribute(this.colors, 3));
    geometry.setAttribute("uv", new THREE.Float32BufferAttribute(this.uvs, 2));
    geometry.setAttribute("skin", new THREE.Float32BufferAttribute(this.skins, 3));
    geometry.setIndex(this.indices);
    return geometry;
  }
}

/** Return the Catmull-Rom interpolation of rows of numbers at `at` in [0, rows - 1]. */
export function interpolateRows(rows, at) {
  const last = rows.length - 1;
  const index = Math.min(last - 1, Math.max(0, Math.floor(at)));
  const t = at - index;
  const [before, start, end, after] = [Math.max(0, index - 1), index, index + 1, Math.min(last, index + 2)];
  return rows[start].map((_, column) => {
    const [p0, p1, p2, p3] = [rows[before][column], rows[start][column], rows[end][column], rows[after][column]];
    return 0.5 * (2 * p1 + (p2 - p0) * t + (2 * p0 - 5 * p1 + 4 * p2 - p3) * t * t + (3 * p1 - p0 - 3 * p2 + p3) * t ** 3);
  });
}

/**
 * Add a closed loft through sections to a surface.
 * sections: [top x, top y, bottom x, bottom y, half-width, place along `bones`] in meters, in the plane of symmetry.
 * Options: bones, numbers that the places interpolate; z, the offset to the right of the plane of symmetry, which
 * grows by `splay` a meter ahead of x = from;
 * rings and segments of the result; belly, how much below the middle the widest point lies (0 to 0.4); square, 0 for
 * ellipses up to 1 for boxes; paint(u, v, x, y) -> linear RGB; coat(u, v, x, y, s) -> coordinates in the coat's canvas; with
 * u from the first (0) to the last section (1), s the same in equal lengths, and v from top (0) to bottom (1), alike on both sides.
 */
export function addLoft(surface, sections, options) {
  const {bones, z = 0, splay = 0, from = 0, rings, segments, belly = 0, square = 0, paint, coat = (u, v) => [u, v]} = options;
  const places = sections.map((section) => [section[5]]);
  const turned = isTurned(sections);
  const lengths = lengthShares(sections);
  let previous = null;
  let first = null;
  for (let ring = 0; ring < rings; ring += 1) {
    const u = ring / (rings - 1);
    const at = u * (sections.length - 1);
    const [tx, ty, bx, by, width] = interpolateRows(sections, at);
    const low = Math.min(sections.length - 2, Math.floor(at));
    const place = places[low][0] + (places[low + 1][0] - places[low][0]) * (at - low);
    const bone = Math.min(bones.length - 1, Math.max(0, Math.floor(place)));
    const next = Math.min(bones.length - 1, bone + 1);
    const skin = [bones[bone], bones[next], Math.min(1, Math.max(0, place - bone))];
    const s = lengths[low] + (lengths[low + 1] - lengths[low]) * (at - low);
    const vertices = [];
    for (let segment = 0; segment < segments; segment += 1) {
      const angle = (2 * Math.PI * segment) / segments;
      const [along, aside] = rounded(Math.cos(angle), Math.sin(angle), square);
      const v = 0.5 - 0.5 * Math.cos(angle);
      const share = 0.5 + 0.5 * (along - belly * (1 - along * along));
      const x = bx + (tx - bx) * share;
      const y = by + (ty - by) * share;
      vertices.push(surface.vertex([x, y, z + splay * (x - from) + width * aside], paint(u, v, x, y), coat(u, v, x, y, s), skin));
    }
    if (previous) surface.band(previous, vertices, turned);
    previous = vertices;
    first = first || vertices;
  }
  addCap(surface, first, !turned);
  addCap(surface, previous, turned);
}

/** Return at each section the share of the loft's length before it. */
export function lengthShares(sections) {
  const shares = [0];
  for (let index = 1; index < sections.length; index += 1) {
    const [a, b] = [sections[index - 1], sections[index]];
    shares.push(shares[index - 1] + 0.5 * Math.hypot(a[0] + a[2] - b[0] - b[2], a[1] + a[3] - b[1] - b[3]));
  }
  return shares.map((share) => share / shares[shares.length - 1]);
}

/** Return true if going around a section from its top by the right turns against the loft's direction. */
function isTurned(sections) {
  const [start, end] = [sections[0], sections[sections.length - 1]];
  const [ahead, rise] = [end[0] + end[2] - start[0] - start[2], end[1] + end[3] - start[1] - start[3]];
  const middle = sections[Math.floor(sections.length / 2)];
  return (middle[1] - middle[3]) * ahead - (middle[0] - middle[2]) * rise < 0;
}

/** Return a point of the unit circle moved towards the unit square by `square`. */
function rounded(x, y, square) {
  const scale = 1 + square * (1 / Math.max(Math.abs(x), Math.abs(y)) - 1);
  return [x * scale, y * scale];
}

/** Close a ring by a fan. start: it faces against the loft's direction. */
function addCap(surface, ring, start) {
  for (let step = 1; step < ring.length - 1; step += 1) {
    if (start) surface.triangle(ring[0], ring[step + 1], ring[step]);
    else surface.triangle(ring[0], ring[step], ring[step + 1]);
  }
}

/** Add a tube along points [x, y, z, radius, bone]: tails, horns, tusks, trunk; flat widens it across by a factor. */
export function addTube(surface, points, {rings, segments, paint, flat = 1, coat = [0.5, 1]}) {
  let previous = null;
  let first = null;
  for (let ring = 0; ring < rings; ring += 1) {
    const u = ring / (rings - 1);
    const at = u * (points.length - 1);
    const [x, y, z, radius] = interpolateRows(points, at);
    const ahead = interpolateRows(points, Math.min(points.length - 1, at + 0.05));
    const behind = interpolateRows(points, Math.max(0, at - 0.05));
    const tangent = new THREE.Vector3(ahead[0] - behind[0], ahead[1] - behind[1], ahead[2] - behind[2]).normalize();
    const side = new THREE.Vector3(0, 0, 1).addScaledVector(tangent, -tangent.z);
    if (side.lengthSq() < 0.05) side.set(1, 0, 0).addScaledVector(tangent, -tangent.x);
    side.normalize();
    const up = new THREE.Vector3().crossVectors(side, tangent);
    const low = Math.min(points.length - 2, Math.floor(at));
    const skin = [points[low][4], points[low + 1][4], at - low];
    const vertices = [];
    for (let segment = 0; segment < segments; segment += 1) {
      const angle = (2 * Math.PI * segment) / segments;
      const [c, s] = [Math.cos(angle) * radius, Math.sin(angle) * radius * flat];
      const position = [x + up.x * c + side.x * s, y + up.y * c + side.y * s, z + up.z * c + side.z * s];
      vertices.push(surface.vertex(position, paint(u), coat, skin));
    }
    if (previous) surface.band(previous, vertices);
    previous = vertices;
    first = first || vertices;
  }
  addCap(surface, first, true);
  addCap(surface, previous, false);
}
