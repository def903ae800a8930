// The pose of a quadruped: bones from its place, gait and mood, feet by inverse kinematics.
import {footAt} from "./gait.js";
import {mapPoint, moveJoint, place, turnAround} from "./matrices.js";
import {BONE} from "./rig.js";

const bodyMap = new Float32Array(12);
const footNow = {x: 0, y: 0, roll: 0, swing: 0};
const upperJoint = {x: 0, y: 0};
const groundPoint = {x: 0, y: 0, z: 0};
const legTurns = [0, 0, 0, 0];
/** Directions of a lying animal's leg bones (radians from forward): hoofed ones fold the forelegs, cats stretch them. */
const LYING = {
  foreFolded: [-1.75, -0.42, -3.1, -3.3], foreStretched: [-1.85, -0.22, -0.1, -0.02], hind: [-0.95, -2.82, 0.12, 0.1],
};

/**
 * Write the bones (rows of 28 matrices at `at` of `out`) of a quadruped.
 * body: {x, y, z, heading, scale, slope, seed, time, phase, gait, graze, vigil, rest, stalk, feed, dead, run, yaw,
 * lift: (x, z) -> meters of ground above the body's plane, or null}; angles in radians, lengths in meters.
 */
export function poseQuadruped(rig, body, out, at) {
  const {plan} = rig;
  const {gait} = body;
  const alive = 1 - body.dead;
  const awake = alive * (1 - body.rest);
  const stride = (gait.stride / body.scale) * awake * body.pace;
  const reach = 0.5 * gait.duty * stride;
  const crouch = body.stalk * 0.2 + body.feed * (plan.crouch || 0);
  const lying = body.rest * (rig.belly - 0.015);
  const cycle = 2 * Math.PI * body.phase;
  const bob = gait.gallop * 0.035 * Math.cos(cycle - 2.2) + gait.trot * 0.015 * Math.cos(2 * cycle);
  const sink = (1 - body.rest) * (sinkFor(rig, reach) + crouch + bob * body.pace) + lying;
  writeRoot(rig, body, sink);

  const rock = body.pace * gait.gallop * 0.06 * Math.sin(cycle + 0.6);
  const flex = body.pace * gait.gallop * (plan.flex || 0.09) * Math.cos(cycle + 0.5);
  const breath = 0.004 * Math.sin(body.time * 1.6 + body.seed);
  turnAround(out, at, bodyMap, 0, rig.pivots[1][0], rig.pivots[1][1], 0, rock + flex, 0);
  turnAround(out, at + 12, bodyMap, 0, rig.pivots[1][0], rig.pivots[1][1], 0, rock - 0.5 * flex + breath, 0);
  poseHead(rig, body, out, at, cycle);
  poseTail(rig, body, out, at);

  const lift = (0.1 + 0.12 * (gait.trot + gait.gallop)) * body.pace * awake * Math.min(1, reach * 6);
  const leap = rig.pivots[1];
  rig.legs.forEach((leg, index) => {
    const phase = body.phase - gait.offsets[index];
    footAt(phase - Math.floor(phase), stride, gait.duty, lift, footNow);
    const angle = leg.fore ? rock - 0.5 * flex + breath : rock + flex;
    tilt(leg.joints[0], leap, angle);
    solveLeg(rig, body, leg, sink + groundUnder(body, leg, footNow), crouch);
    writeLeg(body, leg, out, at);
  });
}

/** Return how far the body sinks so that legs at the end of their sweep still reach the ground. */
function sinkFor(rig, reach) {
  let sink = 0;
  for (const leg of rig.legs) {
    const [hip, , , fetlock] = leg.joints;
    const sweep = reach * (leg.fore ? 0.72 : 0.95);
    const longest = leg.longest || (leg.longest = longestOf(leg));
    sink = Math.max(sink, hip[1] - fetlock[1] - 0.03 - Math.sqrt(Math.max(0.1, longest ** 2 - sweep ** 2)));
  }
  return sink;
}

function longestOf(leg) {
  const {joints, lengths} = leg;
  if (leg.fore) return Math.hypot(joints[2][0] - joints[0][0], joints[2][1] - joints[0][1]) + lengths[2];
  return folded(leg, 0)[2] + lengths[1];
}

/** Write the map from the body's units to the world into `bodyMap`. */
function writeRoot(rig, body, sink) {
  const roll = (body.dead * Math.PI) / 2;
  const [cr, sr] = [Math.cos(roll), Math.sin(roll)];
  const slope = body.slope;
  const [ch, sh] = [Math.cos(body.heading), Math.sin(body.heading)];
  const [cs, ss] = [Math.cos(slope), Math.sin(slope)];
  const k = body.scale;
  bodyPlace[3] = body.x;
  bodyPlace[7] = body.y;
  bodyPlace[11] = body.z;
  // heading about y, slope about z, roll about x.
  place(
    bodyMap, 0, bodyPlace, 0,
    k * ch * cs, k * (-ch * ss * cr + sh * sr), k * (ch * ss * sr + sh * cr),
    k * ss, k * cs * cr, -k * cs * sr,
    -k * sh * cs, k * (sh * ss * cr + ch * sr), k * (-sh * ss * sr + ch * cr),
    0, sink + body.dead * rig.middle, 0, 0, body.dead * rig.flank * 0.92 * k, 0,
  );
}

const bodyPlace = new Float32Array([1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0]);

function poseHead(rig, body, out, at, cycle) {
  const {plan} = rig;
  const down = Math.max(body.graze, body.feed) * (1 - body.dead);
  const nod = body.pace * (0.035 * (1 - body.gait.gallop) * Math.sin(2 * cycle) + 0.07 * body.gait.gallop * Math.sin(cycle + 2));
  const chew = down * 0.05 * Math.sin(body.time * 2.1 + body.seed * 7);
  const low = plan.stalkNeck === undefined ? -0.3 : plan.stalkNeck;
  const fast = body.gait.gallop * body.pace;
  const neck = rig.graze[0] * down + nod + body.stalk * low + body.vigil * (plan.alert || 0.1) - fast * 0.22 - body.dead * 0.25;
  const nape = rig.graze[1] * down + body.stalk * 0.05 - fast * 0.05 + body.vigil * 0.05;
  const head = rig.graze[2] * down - nod * 0.8 + chew - body.stalk * low * 0.75 + fast * 0.2 - body.vigil * 0.08 + body.dead * 0.1;
  const yaw = body.yaw * (1 - body.dead);
  const [, , first, second, third] = rig.pivots;
  turnAround(out, at + 12 * BONE.neck, out, at + 12 * BONE.chest, first[0], first[1], 0, neck, 0.3 * yaw);
  turnAround(out, at + 12 * BONE.nape, out, at + 12 * BONE.neck, second[0], second[1], 0, nape, 0.35 * yaw);
  turnAround(out, at + 12 * BONE.head, out, at + 12 * BONE.nape, third[0], third[1], 0, head, 0.35 * yaw);
  const flap = plan.fans ? 0.16 + 0.16 * Math.sin(body.time * 1.1 + body.seed * 3) : 0.08 * Math.sin(body.time * 0.9 + body.seed * 5);
  const hinge = plan.fans ? [plan.fans.from, 0.86, plan.fans.z] : plan.ears ? plan.ears.at : [0, 0, 0];
  turnAround(out, at + 12 * BONE.earLeft, out, at + 12 * BONE.head, hinge[0], hinge[1], -hinge[2], 0, flap);
  turnAround(out, at + 12 * BONE.earRight, out, at + 12 * BONE.head, hinge[0], hinge[1], hinge[2], 0, -flap);
  if (plan.trunk) poseTrunk(plan, body, down, out, at);
}

function poseTrunk(plan, body, down, out, at) {
  const swing = 0.1 * Math.sin(body.time * 0.8 + body.seed);
  const meal = down * Math.max(0, Math.sin(body.time * 0.55 + body.seed * 2));
  const bends = [swing + 0.1 * meal, 0.6 * swing - 1.1 * meal, swing - 1.5 * meal];
  for (let part = 0; part < 3; part += 1) {
    const [x, y] = plan.trunk[2 * part];
    const parent = part ? BONE.trunk + part - 1 : BONE.head;
    turnAround(out, at + 12 * (BONE.trunk + part), out, at + 12 * parent, x, y, 0, bends[part], 0);
  }
}

function poseTail(rig, body, out, at) {
  const swish = (0.1 + 0.22 * Math.max(0, Math.sin(body.time * 0.37 + body.seed * 9))) * Math.sin(body.time * 2.6 + body.seed * 4);
  const moving = body.pace * (body.gait.gallop + 0.6 * body.gait.trot);
  const raise = (rig.plan.tailRun || -0.55) * moving + (rig.plan.tailLow || 0) * (body.rest + body.stalk);
  const [x, y] = rig.tail[0];
  const middle = rig.tail[Math.min(2, rig.tail.length - 1)];
  const calm = 1 - body.dead;
  turnAround(out, at + 12 * BONE.tail, out, at, x, y, 0, raise * calm, swish * calm);
  turnAround(out, at + 12 * BONE.tailTip, out, at + 12 * BONE.tail, middle[0], middle[1], 0, raise * 0.3 * calm, swish * 1.2 * calm);
}

/** Write a joint, turned with the trunk around a pivot, into `upperJoint`. */
function tilt([x, y], [px, py], angle) {
  const [c, s] = [Math.cos(angle), Math.sin(angle)];
  upperJoint.x = px + c * (x - px) - s * (y - py);
  upperJoint.y = py + s * (x - px) + c * (y - py);
}

/** Return the height, in the body's units, of the ground under a foot above the body's plane. */
function groundUnder(body, leg, step) {
  if (!body.lift) return 0;
  mapPoint(bodyMap, 0, leg.joints[4][0] + step.x, 0, leg.z, groundPoint);
  return body.lift(groundPoint.x, groundPoint.z) / body.scale;
}

/** Return [x, y, length] of the part of a leg that turns as one: foreleg above the carpus, or thigh and cannon. */
function folded(leg, elbow) {
  const {joints} = leg;
  let [x, y] = [0, 0];
  if (leg.fore) {
    const [c, s] = [Math.cos(elbow), Math.sin(elbow)];
    const [dx, dy] = [joints[2][0] - joints[1][0], joints[2][1] - joints[1][1]];
    x = joints[1][0] - joints[0][0] + c * dx - s * dy;
    y = joints[1][1] - joints[0][1] + s * dx + c * dy;
  } else {
    x = joints[1][0] - joints[0][0] + joints[3][0] - joints[2][0];
    y = joints[1][1] - joints[0][1] + joints[3][1] - joints[2][1];
  }
  return [x, y, Math.hypot(x, y)];
}

/** Write the turns of the four bones of a leg into `legTurns`, from its `upperJoint` to the step in `footNow`. */
function solveLeg(rig, body, leg, ground, crouch) {
  const {joints, angles, lengths, fore} = leg;
  const elbow = fore ? 0.75 * footNow.swing * Math.min(1, footNow.y * 14) + 1.9 * crouch : 0;
  if (fore) upperJoint.x += 0.25 * footNow.x;
  const [ax, ay, a] = folded(leg, elbow);
  const b = fore ? lengths[2] : lengths[1];
  const [tx, ty] = [joints[4][0] + footNow.x, ground + footNow.y];
  const [cr, sr] = [Math.cos(-footNow.roll), Math.sin(-footNow.roll)];
  const [fx, fy] = [joints[4][0] - joints[3][0], joints[4][1] - joints[3][1]];
  const [dx, dy] = [tx - (cr * fx - sr * fy) - upperJoint.x, ty - (sr * fx + cr * fy) - upperJoint.y];
  const distance = Math.min(a + b - 1e-4, Math.max(Math.abs(a - b) + 1e-4, Math.hypot(dx, dy)));
  const toward = Math.atan2(dy, dx);
  const first = toward + Math.acos((a * a + distance * distance - b * b) / (2 * a * distance));
  const endX = distance * Math.cos(toward) - a * Math.cos(first);
  const endY = distance * Math.sin(toward) - a * Math.sin(first);
  const turnA = first - Math.atan2(ay, ax);
  const turnB = Math.atan2(endY, endX) - (fore ? angles[2] : angles[1]);
  legTurns[0] = turnA;
  legTurns[1] = fore ? turnA + elbow : turnB;
  legTurns[2] = fore ? turnB : turnA;
  legTurns[3] = -footNow.roll;
  if (body.rest > 0.001) {
    const lying = fore ? (rig.plan.stretched ? LYING.foreStretched : LYING.foreFolded) : LYING.hind;
    for (let bone = 0; bone < 4; bone += 1) {
      legTurns[bone] += (near(lying[bone] - angles[bone]) - near(legTurns[bone])) * body.rest;
    }
  }
}

/** Return an angle in (-4.1, 2.2]: leg bones turn forward by less than 125 degrees. */
function near(angle) {
  let value = angle;
  while (value > 2.2) value -= 2 * Math.PI;
  while (value <= 2.2 - 2 * Math.PI) value += 2 * Math.PI;
  return value;
}

function writeLeg(body, leg, out, at) {
  let [x, y] = [upperJoint.x, upperJoint.y];
  for (let bone = 0; bone < 4; bone += 1) {
    const [jx, jy] = leg.joints[bone];
    const [dx, dy] = [leg.joints[bone + 1][0] - jx, leg.joints[bone + 1][1] - jy];
    const spread = leg.z * (1 + 0.3 * body.rest * (bone > 0 ? 1 : 0));
    moveJoint(out, at + 12 * (leg.first + bone), bodyMap, 0, jx, jy, leg.z, x, y, spread, legTurns[bone]);
    const [c, s] = [Math.cos(legTurns[bone]), Math.sin(legTurns[bone])];
    x += c * dx - s * dy;
    y += s * dx + c * dy;
  }
}
