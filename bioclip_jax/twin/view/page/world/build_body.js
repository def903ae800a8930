// A plan and a coat as one geometry: trunk, neck and head are one loft, legs and the rest are set into it.
import {addLoft, addTube, interpolateRows, lengthShares, Surface} from "./loft.js";
import {seededRandom} from "./random.js";
import {BONE} from "./rig.js";

/** Vertices whose weight is raised by this vanish on animals without ornaments (mane of males, horns). */
export const ORNAMENT = 2;

/** Return the geometry of a plan, in units of its height. detail: 3 near the viewer, down to 0 far away. */
export function buildBody(plan, coat, detail) {
  const fine = detail === 3;
  const surface = new Surface();
  const paint = (part) => (u, v, x, y) => coat.paint(part, u, v, x, y);
  const marks = (part) => (coat.coat ? (u, v, x, y, s) => coat.coat(part, u, v, x, y, s) : () => [0.5, 0.99]);
  const spine = [BONE.pelvis, BONE.chest, BONE.neck, BONE.nape, BONE.head];
  // Few rings begin behind the tail's root, or the rump would be cut off.
  addLoft(surface, detail > 1 ? plan.torso : plan.torso.slice(1), {
    bones: spine, rings: [7, 9, 15, 32][detail], segments: [4, 5, 8, 15][detail], belly: plan.belly, paint: paint("torso"), coat: marks("torso"),
  });
  for (const [name, side, first] of [
    ["fore", -1, BONE.foreLeft], ["fore", 1, BONE.foreRight], ["hind", -1, BONE.hindLeft], ["hind", 1, BONE.hindRight],
  ]) {
    const leg = plan[name];
    const {length} = leg.sections;
    // Far away a few sections stand for all: shoulder, elbow, carpus, foot.
    const few = [[1, 0.55 * length, length - 1], [1, 3, 0.55 * length, length - 1]][detail];
    const rows = few ? few.map((row) => leg.sections[Math.round(row)]) : leg.sections;
    const sections = rows.map(([x, y, depth, width, place]) => [x + depth, y, x - depth, y, width, place]);
    const [top] = rows;
    if (!few) sections.unshift([top[0] + 0.2 * top[2], top[1] + 0.02, top[0] - 0.2 * top[2], top[1] + 0.02, 0.004, 0]);
    addLoft(surface, sections, {
      bones: [first, first + 1, first + 2, first + 3], z: side * leg.z, rings: few ? few.length : [7, 18][detail - 2], segments: [3, 3, 4, 8][detail],
      square: 0.1, ...shoulderLike(plan, coat, name),
    });
  }
  if (detail > 1) addTail(surface, plan, fine, paint("tail"), marks("tail"));
  if (plan.mane && detail > 1) addCrest(surface, plan, plan.mane, 1, fine, paint("mane"), marks("mane"));
  if (plan.beard && detail > 1) addCrest(surface, plan, plan.beard, -1, fine, paint("beard"), () => [0.5, 0.99]);
  if (plan.ruff) addRuff(surface, plan, detail, paint("ruff"));
  for (const side of [-1, 1]) addHeadParts(surface, plan, side, detail, paint);
  if (plan.trunk) {
    const points = plan.trunk.map(([x, y, radius], index) => [x, y, 0, radius, BONE.trunk + Math.min(2, Math.floor(index / 2))]);
    points[0][4] = BONE.head;
    addTube(surface, points, {rings: [3, 5, 8, 18][detail], segments: [3, 4, 6, 12][detail], paint: paint("trunk")});
  }
  return surface.geometry();
}

/**
 * Return paint and coat of a leg whose upper part goes on with the trunk's colors and marks at the same place, so that
 * shoulder and thigh show by their shape alone.
 */
function shoulderLike(plan, coat, name) {
  const scale = plan.torso.length - 1;
  const lengths = lengthShares(plan.torso);
  const ahead = ([tx, ty, bx, by], x, y) => (ty - by) * (x - bx) - (tx - bx) * (y - by);
  // The section through a point of the side view, and how far down it the point lies.
  const trunkAt = (x, y) => {
    let at = 0;
    while (at < scale - 2 && plan.torso[at + 1][5] <= 1 && ahead(plan.torso[at + 1], x, y) > 0) at += 1;
    const [before, after] = [ahead(plan.torso[at], x, y), -ahead(plan.torso[at + 1], x, y)];
    const t = Math.min(1, Math.max(0, before / (before + after || 1)));
    const [tx, ty, bx, by] = plan.torso[at].map((value, column) => value + (plan.torso[at + 1][column] - value) * t);
    const share = ((x - bx) * (tx - bx) + (y - by) * (ty - by)) / ((tx - bx) ** 2 + (ty - by) ** 2);
    const along = Math.min(1, Math.max(-1, 2 * share - 1));
    const cosine = along + plan.belly * (1 - along * along);
    const s = lengths[at] + (lengths[at + 1] - lengths[at]) * t;
    return [(at + t) / scale, 0.5 - 0.5 * Math.min(1, Math.max(-1, cosine)), s];
  };
  const belly = Math.min(...plan.torso.filter((row) => row[5] <= 1).map((row) => row[3]));
  const upper = (y) => Math.min(1, Math.max(0, (y - belly - 0.02) / 0.14));
  const blend = (own, trunk, share) => own.map((value, index) => value + (trunk[index] - value) * share);
  const marks = (x, y) => {
    const [u, v, s] = trunkAt(x, y);
    return coat.coat("torso", u, v, x, y, s);
  };
  // Rings of the leg go on where the trunk's marks end.
  const [cx, cy] = [plan[name].joints[0][0], belly + 0.09];
  const shift = coat.coat ? marks(cx, cy)[0] - coat.coat(name, 0.4, 0.5, cx, cy)[0] : 0;
  return {
    paint: (u, v, x, y) => {
      const [tu, tv] = trunkAt(x, y);
      return blend(coat.paint(name, u, v, x, y), coat.paint("torso", tu, Math.min(tv, 0.6), x, y), upper(y));
    },
    coat: (u, v, x, y) => {
      if (!coat.coat) return [0.5, 0.99];
      const [across, down] = coat.coat(name, u, v, x, y);
      return blend([across + shift, down], marks(x, y), upper(y));
    },
  };
}

function addTail(surface, plan, fine, paint, coat) {
  const count = plan.tail.points.length;
  const points = plan.tail.points.map(([x, y, radius], index) => [
    x, y, 0, radius, index === 0 ? BONE.pelvis : index < count / 2 ? BONE.tail : BONE.tailTip,
  ]);
  addTube(surface, points, {rings: fine ? 12 : 5, segments: fine ? 8 : 4, paint, coat: coat(0.2, 0.5, 0, 0)});
}

/** Add a thin upright crest along the back of the neck (side 1) or its throat (-1). */
function addCrest(surface, plan, {from, to, height, width}, side, fine, paint, coat) {
  const sections = [];
  const count = fine ? 14 : 4;
  const places = plan.torso.map((row) => [row[5]]);
  for (let step = 0; step <= count; step += 1) {
    const share = step / count;
    const at = from + (to - from) * share;
    const [tx, ty, bx, by] = interpolateRows(plan.torso, at);
    const place = interpolateRows(places, at)[0];
    const length = Math.hypot(tx - bx, ty - by);
    const [nx, ny] = [(side * (tx - bx)) / length, (side * (ty - by)) / length];
    const [x, y] = side > 0 ? [tx, ty] : [bx, by];
    const rise = height * Math.min(1, 5 * share, 5 * (1 - share)) ** 0.7;
    sections.push([x + nx * rise, y + ny * rise, x - nx * 0.03, y - ny * 0.03, width, place]);
  }
  const lengths = lengthShares(plan.torso);
  const shift = (u) => {
    const at = from + (to - from) * u;
    const low = Math.min(lengths.length - 2, Math.floor(at));
    return lengths[low] + (lengths[low + 1] - lengths[low]) * (at - low);
  };
  addLoft(surface, sections, {
    bones: [BONE.pelvis, BONE.chest, BONE.neck, BONE.nape, BONE.head], rings: count + 1, segments: fine ? 8 : 3, square: 0.2,
    paint, coat: (u, v, x, y) => coat(shift(u), v, x, y),
  });
}

/** Add a lion's mane: a body of hair, and locks that hang off it; only ornamented animals show it. */
function addRuff(surface, plan, detail, paint) {
  const start = surface.skins.length / 3;
  const {sections} = plan.ruff;
  const bones = [BONE.pelvis, BONE.chest, BONE.neck, BONE.nape, BONE.head];
  addLoft(surface, sections, {bones, rings: [4, 5, 7, 14][detail], segments: [5, 6, 9, 16][detail], square: 0.05, belly: 0.1, paint});
  const random = seededRandom(11);
  const places = sections.map((row) => [row[5]]);
  for (let lock = 0; lock < [0, 0, 24, 80][detail]; lock += 1) {
    const u = 0.12 + 0.86 * random();
    const at = u * (sections.length - 1);
    const [tx, ty, bx, by, width] = interpolateRows(sections, at);
    const bone = bones[Math.round(Math.min(4, interpolateRows(places, at)[0]))];
    const angle = 2 * Math.PI * random();
    const share = 0.5 + 0.5 * Math.cos(angle);
    const side = Math.sin(angle);
    const base = [bx + (tx - bx) * share, by + (ty - by) * share, width * side];
    const long = 0.09 + 0.07 * random() + 0.05 * (1 - share);
    const middle = [base[0] - 0.35 * long, base[1] + (share - 0.62) * long, base[2] + 0.5 * side * long];
    const tip = [base[0] - 0.85 * long, base[1] + (share - 1.0) * 1.1 * long, base[2] + 0.55 * side * long];
    const thick = 0.03 + 0.016 * random();
    const tone = paint(u + 0.12 * (random() - 0.5), 1 - share, 0, 0);
    const points = [[...base, thick, bone], [...middle, thick * 0.75, bone], [...tip, 0.004, bone]];
    addTube(surface, points, {rings: 3, segments: 4, paint: (t) => tone.map((value) => value * (0.85 + 0.35 * t))});
  }
  for (let vertex = start; vertex < surface.skins.length / 3; vertex += 1) surface.skins[3 * vertex + 2] += ORNAMENT;
}

function addHeadParts(surface, plan, side, detail, paint) {
  const fine = detail === 3;
  const {ears, eye, horns, tusks, fans} = plan;
  const bone = side < 0 ? BONE.earLeft : BONE.earRight;
  if (ears && detail > 1) {
    const [from, to, r] = [ears.at, ears.tip, ears.radius];
    const profile = ears.round ? [0.75, 1, 0.95, 0.35] : [0.5, 0.95, 0.85, 0.1];
    const points = profile.map((width, index) => {
      const t = index / 3;
      return [from[0] + (to[0] - from[0]) * t, from[1] + (to[1] - from[1]) * t, side * (from[2] + (to[2] - from[2]) * t), r * width, bone];
    });
    // Pointed ears are seen from the side, round ones from ahead.
    const flat = ears.round ? 1.9 : 0.5;
    addTube(surface, points, {rings: fine ? 7 : 4, segments: fine ? 8 : 4, flat, paint: paint("ear")});
  }
  if (fans) {
    addLoft(surface, fans.sections, {
      bones: [bone], z: side * fans.z, splay: side * fans.splay, from: fans.from, rings: [4, 5, 8, 14][detail], segments: [4, 6, 8, 14][detail], paint: paint("fan"),
    });
  }
  if (eye && fine) {
    const [x, y, z] = eye.at;
    const r = eye.radius;
    const points = [[x, y, side * (z - r), r * 0.6], [x, y, side * z, r], [x, y, side * (z + 0.8 * r), r * 0.4]].map((p) => [...p, BONE.head]);
    addTube(surface, points, {rings: 5, segments: 8, paint: paint("eye")});
  }
  for (const [part, shape] of [["horn", horns], ["tusk", tusks]]) {
    if (!shape || detail === 0 || (detail === 1 && part === "tusk")) continue;
    const points = shape.points.map(([x, y, z, radius]) => [x, y, side * z, radius, BONE.head]);
    addTube(surface, points, {rings: [0, 4, 7, 14][detail], segments: [0, 3, 4, 8][detail], paint: paint(part)});
  }
}
