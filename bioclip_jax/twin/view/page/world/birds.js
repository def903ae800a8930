// Birds: body, wings that spread or fold, and two legs; heights in meters for vultures, scaled for others.
import {mixColor, linearColor} from "./coats.js";
import {addLoft, addTube, Surface} from "./loft.js";
import {moveJoint, place, turnAround} from "./matrices.js";
import {BONE} from "./rig.js";
import {footAt} from "./gait.js";

/** A standing white-backed vulture; unit: its standing height. wings: span of one (units), chord at the root. */
export const vulturePlan = {
  wings: {span: 1.42, chord: 0.46, root: [0.13, 0.74], at: 0.1},
  torso: [
    [-0.4, 0.36, -0.39, 0.33, 0.13, 0], [-0.3, 0.44, -0.28, 0.37, 0.11, 0], [-0.2, 0.56, -0.15, 0.41, 0.115, 0],
    [-0.07, 0.72, 0.02, 0.46, 0.16, 0], [0.05, 0.83, 0.17, 0.57, 0.17, 0], [0.14, 0.88, 0.25, 0.69, 0.13, 0.6],
    [0.19, 0.91, 0.27, 0.79, 0.09, 1], [0.225, 0.95, 0.285, 0.86, 0.048, 2], [0.26, 1.01, 0.315, 0.93, 0.04, 3],
    [0.3, 1.06, 0.355, 0.965, 0.046, 4], [0.36, 1.075, 0.385, 0.975, 0.043, 4], [0.41, 1.05, 0.415, 0.99, 0.028, 4],
    [0.455, 1.02, 0.455, 0.975, 0.014, 4], [0.475, 0.98, 0.468, 0.955, 0.006, 4],
  ],
  pivots: [[0, 0.6], [0.05, 0.65], [0.23, 0.86], [0.27, 0.95], [0.32, 1.0]],
  leg: {z: 0.1, joints: [[0.03, 0.52], [0.1, 0.36], [-0.02, 0.2], [0.05, 0.02]], radius: [0.09, 0.06, 0.024, 0.022]},
  eye: {at: [0.385, 1.035, 0.043], radius: 0.011},
  tail: {points: [[-0.4, 0.33, 0.01], [-0.47, 0.28, 0.01]]},
  colors: {back: "#6d5a48", belly: "#9a8468", neck: "#e0d2bb", head: "#4a423d", beak: "#2b2724", leg: "#4a4541", flight: "#221d1a", lining: "#b8a68b"},
};

/** A guineafowl-like walker for all other birds. */
export const birdPlan = {
  ...vulturePlan,
  wings: {span: 0.8, chord: 0.42, root: [0.13, 0.7], at: 0.12},
  colors: {back: "#4a4d55", belly: "#6a6d75", neck: "#3f5f86", head: "#3f6a94", beak: "#a8744a", leg: "#4a4541", flight: "#3a3d44", lining: "#5a5d64"},
};

/** Return a bird's geometry, in units of its height; detail as for buildBody. */
export function buildBird(plan, detail) {
  const fine = detail > 1;
  const surface = new Surface();
  const tone = Object.fromEntries(Object.entries(plan.colors).map(([name, hex]) => [name, linearColor(hex)]));
  const coat = () => [0.5, 0.5];
  addLoft(surface, plan.torso, {
    bones: [BONE.pelvis, BONE.chest, BONE.neck, BONE.nape, BONE.head], rings: fine ? 28 : 12, segments: fine ? 14 : 7, coat,
    paint: (u, v) => {
      if (u > 0.86) return tone.beak;
      if (u > 0.68) return mixColor(tone.neck, tone.head, (u - 0.62) * 8);
      if (u > 0.5) return tone.neck;
      if (u < 0.14) return tone.flight;
      return mixColor(tone.back, tone.belly, v * 1.4 - 0.2);
    },
  });
  for (const side of [-1, 1]) {
    const {joints, z, radius} = plan.leg;
    const first = side < 0 ? BONE.hindLeft : BONE.hindRight;
    const points = joints.map(([x, y], index) => [x, y, side * z, radius[index], first + Math.min(2, index)]);
    addTube(surface, points, {rings: fine ? 10 : 5, segments: fine ? 7 : 4, paint: (u) => (u < 0.45 ? tone.belly : tone.leg)});
    const [x, y] = joints[3];
    for (const toe of [-0.5, 0, 0.5]) {
      addTube(surface, [[x - 0.02, y, side * z, 0.018, first + 2], [x + 0.1, y - 0.012, side * z + toe * 0.1, 0.008, first + 2]], {
        rings: 2, segments: 4, paint: () => tone.leg,
      });
    }
    if (fine) {
      const [ex, ey, ez] = plan.eye.at;
      const r = plan.eye.radius;
      addTube(surface, [[ex, ey, side * (ez - r), r, BONE.head], [ex, ey, side * (ez + r * 0.6), r * 0.6, BONE.head]], {
        rings: 3, segments: 6, paint: () => [0.004, 0.003, 0.003],
      });
    }
    addWing(surface, plan.wings, side, fine, tone);
  }
  return surface.geometry();
}

/** Add a spread wing: thin, with fingered tip; bones: arm at fore, hand at fore + 1. */
function addWing(surface, {span, chord, root, at}, side, fine, tone) {
  const bone = side < 0 ? BONE.foreLeft : BONE.foreRight;
  const stations = fine ? 16 : 8;
  const [x0, y0] = root;
  const across = fine ? 5 : 3;
  for (const face of [1, -1]) {
    let previous = null;
    for (let station = 0; station <= stations; station += 1) {
      const s = station / stations;
      const z = side * (at + s * span * 0.78);
      const lead = x0 + 0.12 * Math.sin(Math.PI * Math.min(1, s * 1.25)) - 0.04 * s;
      const width = chord * (s < 0.12 ? 0.75 + 2 * s : 1) * (1 - 0.12 * s);
      const skin = [bone, bone + 1, Math.min(1, Math.max(0, (s - 0.42) * 6))];
      const row = [];
      for (let step = 0; step <= across; step += 1) {
        const c = step / across;
        const x = lead - width * c + 0.014 * c * (station % 2);
        const camber = 0.05 * Math.sin(Math.PI * Math.min(1, c * 1.4)) * (1 - 0.5 * s);
        const color = mixColor(face > 0 ? tone.back : tone.lining, tone.flight, (c - 0.42) * 6);
        row.push(surface.vertex([x, y0 + camber + face * 0.008, z], color, [0.5, 0.5], skin));
      }
      if (previous) joinRows(surface, previous, row, face * side > 0);
      previous = row;
    }
    addFingers(surface, {span, chord, root, at}, side, face, bone, tone);
  }
}

/** Add the parted feathers of a wing's tip. */
function addFingers(surface, {span, chord, root, at}, side, face, bone, tone) {
  const skin = [bone + 1, bone + 1, 0];
  for (let finger = 0; finger < 6; finger += 1) {
    const c = finger / 6;
    const x = root[0] - 0.06 - chord * 0.88 * (c - 0.06);
    const z = at + span * 0.78;
    const angle = 0.15 - 0.75 * c;
    const length = span * (0.26 - 0.09 * c);
    const [tx, tz] = [x - 0.03 + Math.sin(angle) * length, z - 0.02 + Math.cos(angle) * length];
    const y = root[1] + face * 0.006;
    const w = chord * 0.075;
    const points = [[x + w, y, z - 0.03], [x - w, y, z - 0.03], [tx - w * 0.5, y + 0.05, tz], [tx + w * 0.6, y + 0.05, tz]];
    const [a, b, d, e] = points.map(([px, py, pz]) => surface.vertex([px, py, side * pz], tone.flight, [0.5, 0.5], skin));
    if (face * side > 0) {
      surface.triangle(a, b, d);
      surface.triangle(a, d, e);
    } else {
      surface.triangle(a, d, b);
      surface.triangle(a, e, d);
    }
  }
}

function joinRows(surface, first, second, turned) {
  for (let step = 0; step < first.length - 1; step += 1) {
    const [a, b, c, d] = [first[step], first[step + 1], second[step], second[step + 1]];
    if (turned) {
      surface.triangle(a, b, c);
      surface.triangle(b, d, c);
    } else {
      surface.triangle(a, c, b);
      surface.triangle(b, c, d);
    }
  }
}

const birdMap = new Float32Array(12);
const birdPlace = new Float32Array([1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0]);
const birdStep = {x: 0, y: 0, roll: 0, swing: 0};

/** Write a bird's bones; body as in poseQuadruped, with fly (0 to 1) and bank (radians). */
export function poseBird(rig, body, out, at) {
  const {plan} = rig;
  const fly = body.fly;
  const k = body.scale;
  const [ch, sh] = [Math.cos(body.heading), Math.sin(body.heading)];
  const bank = body.bank * fly;
  const [cb, sb] = [Math.cos(bank), Math.sin(bank)];
  Object.assign(birdPlace, {3: body.x, 7: body.y, 11: body.z});
  place(birdMap, 0, birdPlace, 0, k * ch, k * sh * sb, k * sh * cb, 0, k * cb, -k * sb, -k * sh, k * ch * sb, k * ch * cb, 0, 0.62 * fly, 0, 0, 0, 0);
  // A standing bird's trunk leans up; in flight it lies level.
  const lean = -0.62 * fly - 0.45 * Math.max(body.feed, body.graze) * (1 - fly);
  turnAround(out, at, birdMap, 0, plan.pivots[0][0], plan.pivots[0][1], 0, lean, 0);
  out.copyWithin(at + 12, at, at + 12);
  const down = Math.max(body.feed, body.graze) * (1 - fly);
  const peck = down * (0.25 * Math.sin(body.time * 3 + body.seed * 5));
  const [, , neck, nape, head] = plan.pivots;
  turnAround(out, at + 12 * BONE.neck, out, at + 12, neck[0], neck[1], 0, -1.0 * down + peck - 0.3 * fly, 0.3 * body.yaw);
  turnAround(out, at + 12 * BONE.nape, out, at + 12 * BONE.neck, nape[0], nape[1], 0, -0.8 * down + 0.2 * fly, 0.3 * body.yaw);
  turnAround(out, at + 12 * BONE.head, out, at + 12 * BONE.nape, head[0], head[1], 0, 0.6 * down + 0.55 * fly, 0.4 * body.yaw);
  poseWing(plan, body, out, at, -1);
  poseWing(plan, body, out, at, 1);
  poseBirdLegs(rig, body, out, at);
}

/** Fold or spread a wing about its shoulder: folded, the arm lies back along the trunk and the hand over it. */
function poseWing(plan, body, out, at, side) {
  const {root: shoulder, at: z, span} = plan.wings;
  const bone = at + 12 * (side < 0 ? BONE.foreLeft : BONE.foreRight);
  const fly = body.fly;
  const flap = fly * (0.14 + body.flap * 0.55 * Math.sin(body.time * 9 + body.seed));
  const fold = 1 - fly;
  // Rows map chord (x), thickness (y), span (z); spread: level with the ground, whatever the trunk's lean.
  const up = -flap * side;
  const [cf, sf] = [Math.cos(up), Math.sin(up)];
  const lean = 0.62 * fly;
  const [cl, sl] = [Math.cos(lean), Math.sin(lean)];
  const spread = [cl, -sl * cf, sl * sf, sl, cl * cf, -cl * sf, 0, sf, cf];
  // Folded: span runs backward and down along the trunk, chord downward on the flank.
  const folded = [0.36, 0, -0.4 * side, 0.6, 0, -0.28 * side, 0, 1 * side, 0.06];
  const m = spread.map((value, index) => value * fly + folded[index] * fold);
  const [toX, toY, toZ] = [shoulder[0], shoulder[1], side * (z + 0.055 * fold)];
  place(out, bone, out, at, ...m, shoulder[0], shoulder[1], side * z, toX, toY, toZ);
  const tip = side * (z + 0.4 * span);
  const bend = (0.12 + body.flap * 0.35 * Math.sin(body.time * 9 + body.seed - 0.9)) * -fly * side;
  const [cb, sb] = [Math.cos(bend), Math.sin(bend)];
  const squeeze = 1 - 0.45 * fold;
  place(out, bone + 12, out, bone, 1, 0, 0, 0, cb, -sb, 0, sb * squeeze, cb * squeeze, shoulder[0], shoulder[1], tip, shoulder[0], shoulder[1], tip);
}

function poseBirdLegs(rig, body, out, at) {
  const {joints, z} = rig.plan.leg;
  const fly = body.fly;
  [BONE.hindLeft, BONE.hindRight].forEach((first, index) => {
    const phase = body.phase + 0.5 * index;
    footAt(phase - Math.floor(phase), (body.gait.stride / body.scale) * body.pace, 0.6, 0.1 * body.pace, birdStep);
    const side = index ? z : -z;
    const height = joints[0][1] - joints[3][1];
    const swing = Math.atan2(birdStep.x, height) * (1 - fly) - 1.5 * fly;
    const knee = (0.8 * birdStep.swing * body.pace) * (1 - fly);
    let [x, y] = joints[0];
    [swing + knee * 0.5, swing - knee, swing + knee * 0.4].forEach((turn, bone) => {
      moveJoint(out, at + 12 * (first + bone), birdMap, 0, joints[bone][0], joints[bone][1], side, x, y + (bone ? 0 : 0.1 * fly), side, turn);
      const [dx, dy] = [joints[bone + 1][0] - joints[bone][0], joints[bone + 1][1] - joints[bone][1]];
      const [c, s] = [Math.cos(turn), Math.sin(turn)];
      x += c * dx - s * dy;
      y += s * dx + c * dy;
    });
  });
}
