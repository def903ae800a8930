// The animals of a track: from sampled places and states to moods, gaits, bones and draw calls.
import {wrapAngle} from "../track.js";
import {poseBird} from "./birds.js";
import {gaitAt} from "./gait.js";
import {createHerdMesh} from "./herd_mesh.js";
import {bodyPlan, lookOf} from "./looks.js";
import {mapPoint} from "./matrices.js";
import {poseQuadruped} from "./pose.js";
import {latticeRandom} from "./random.js";
import {BONE, BONE_COUNT} from "./rig.js";

/** States of a scene's animals, in the order of their numbers. */
export const STATE = {absent: 0, stand: 1, graze: 2, walk: 3, run: 4, rest: 5, stalk: 6, feed: 7, dead: 8, fly: 9};
/** Distances, in heights of an animal, up to which it is drawn with detail 3, 2 and 1. */
const DETAIL_HEIGHTS = [7.5, 20, 55];
/** Meters up to which animals outside the frustum are drawn for pictures of all around. */
const AROUND_M = 70;
const MOODS = ["graze", "vigil", "rest", "stalk", "feed", "dead", "fly"];
/** Seconds in which a mood comes or goes. */
const MOOD_S = {graze: 0.9, vigil: 0.7, rest: 1.4, stalk: 0.8, feed: 0.8, dead: 0.7, fly: 0.8};

/** Return a body that stands; look from lookOf, size 1 for adults. */
export function createBodyState(look, seed, size = 1, male = false) {
  const bulk = male && look.name === "lion" ? 1.12 : 1;
  return {
    look, seed: seed * 6.283, size, male, x: 0, y: 0, z: 0, heading: 0, slope: 0, time: 0, speed: 0, phase: seed, pace: 0,
    scale: look.height * size * bulk * (0.96 + 0.08 * latticeRandom(Math.floor(seed * 1e6), 3, 1)), lift: null, yaw: 0, bank: 0, flap: 0,
    graze: 0, vigil: 0, rest: 0, stalk: 0, feed: 0, dead: 0, fly: 0,
    gait: {stride: 1, duty: 0.6, offsets: [0, 0, 0, 0], trot: 0, gallop: 0}, state: -1, fresh: true, altitude: 0, turn: 0,
  };
}

/** Move a body's moods toward a state and its feet by the way it went. way: meters since the last step. */
export function stepBody(body, state, speed, way, dt) {
  const {look} = body;
  const goals = {
    graze: state === STATE.graze, vigil: state === STATE.stand, rest: state === STATE.rest && !look.plan.sleepsStanding, stalk: state === STATE.stalk,
    feed: state === STATE.feed, dead: state === STATE.dead, fly: state === STATE.fly,
  };
  for (const mood of MOODS) {
    const goal = goals[mood] ? 1 : 0;
    const share = body.fresh ? 1 : 1 - Math.exp((-3 * dt) / MOOD_S[mood]);
    body[mood] += (goal - body[mood]) * share;
  }
  const smooth = body.fresh ? 1 : 1 - Math.exp(-dt * 5);
  body.speed += (speed - body.speed) * smooth;
  const hip = (look.rig.hip || 0.6) * body.scale;
  gaitAt(body.speed, hip, look.gait, body.gait);
  if (look.plan.wings) body.gait.stride = Math.min(body.gait.stride, hip * 1.3);
  body.pace = Math.min(1, body.speed / (0.25 * Math.sqrt(hip))) * (1 - body.fly * 0.99);
  body.phase += way / body.gait.stride;
  const look0 = Math.sin(body.time * 0.31 + body.seed * 3) + 0.6 * Math.sin(body.time * 0.73 + body.seed * 5);
  const calm = 1 - Math.max(body.graze, body.feed);
  const goal = (0.55 * body.vigil + 0.3 * body.rest + 0.08) * look0 * calm;
  body.yaw += (goal - body.yaw) * (body.fresh ? 1 : 1 - Math.exp(-dt * 2));
  body.fresh = false;
}

/** Write a body's bones. */
export function poseBody(body, out, at) {
  if (body.look.plan.wings) poseBird(body.look.rig, body, out, at);
  else poseQuadruped(body.look.rig, body, out, at);
}

/** Return the animals of a track in a landscape: {group, bodies, update(time, view), hide(index), headOf, dispose}. */
export function createHerd(light, ground, track, species) {
  const count = track.animals.length;
  const mesh = createHerdMesh(light, count);
  const bodies = track.animals.map((animal, index) => {
    const seed = latticeRandom(Number(animal.id) || index, 17, 5);
    const look = lookOf(bodyPlan(species[animal.species] || animal.species));
    return createBodyState(look, seed, animal.size || 1, latticeRandom(Number(animal.id) || index, 29, 7) < 0.35 && (animal.size || 1) > 0.9);
  });
  const sample = {x: 0, y: 0, heading: 0, speed: 0, state: 0};
  let before = null;
  let hidden = -1;
  let clear = 0.5;

  /** view: a camera, whose frustum alone is drawn, or a point; around: what is near behind the camera is drawn too. */
  function update(time, view, around = false) {
    const focus = view.isCamera ? view.position : view;
    const frustum = view.isCamera;
    if (frustum) {
      projection.multiplyMatrices(view.projectionMatrix, projection.copy(view.matrixWorld).invert());
      herdFrustum.setFromProjectionMatrix(projection);
    }
    // A jump in time (a loop, another scene's start) is no way walked.
    const dt = before === null ? 0 : time - before;
    const jump = before === null || dt < 0 || dt > 1;
    before = time;
    mesh.begin();
    bodies.forEach((body, index) => {
      track.sample(index, time, sample);
      body.state = sample.state;
      if (sample.state === STATE.absent) return;
      const way = jump ? 0 : Math.hypot(sample.x - body.x, -sample.y - body.z);
      const turn = wrapAngle(sample.heading - body.heading);
      body.heading += jump ? turn : turn * (1 - Math.exp(-dt * 8));
      body.turn = jump || dt <= 0 ? 0 : turn;
      body.x = sample.x;
      body.z = -sample.y;
      body.time = time;
      if (jump) body.fresh = true;
      const far = way > 3 * Math.max(0.2, dt) * Math.max(2, sample.speed);
      stepBody(body, sample.state, sample.speed, far ? 0 : way, Math.max(0, dt));
      const distance = Math.hypot(body.x - focus.x, body.y - focus.y, body.z - focus.z);
      stand(body, distance < 60);
      poseBody(body, mesh.bones, index * BONE_COUNT * 12);
      const inView = !frustum || inFrustum(body);
      if (index === hidden || distance < clear || !(inView || (around && distance < AROUND_M))) return;
      const away = distance / (body.scale * (body.look.plan.wings ? 2 : 1));
      const detail = DETAIL_HEIGHTS.filter((reach) => away < reach).length;
      // What is beside the picture shows in the small strip only.
      mesh.show(index, body.look, inView ? detail : Math.max(0, detail - 1), 0.93 + 0.14 * ((body.seed * 7) % 1), body.male, (body.seed * 3) % 1);
    });
    mesh.end();
  }

  /** Put a body on the ground, or into the air. */
  function stand(body, near) {
    const reach = 0.35 * body.scale;
    const [c, s] = [Math.cos(body.heading) * reach, Math.sin(body.heading) * reach];
    const front = ground(body.x + c, -body.z + s);
    const back = ground(body.x - c, -body.z - s);
    const middle = 0.5 * (front + back);
    const wings = body.look.plan.wings;
    body.slope = wings ? 0 : Math.atan2(front - back, 2 * reach) * (1 - body.dead);
    body.y = middle;
    if (wings) {
      const goal = 28 + 22 * ((body.seed * 5) % 1);
      body.altitude = goal * body.fly * body.fly;
      body.y += body.altitude;
      body.bank = Math.max(-0.5, Math.min(0.5, body.turn * 3 || 0.25));
      body.flap = body.fly * (body.fly < 0.98 ? 1 : Math.max(0, Math.sin(body.time * 0.4 + body.seed * 3) - 0.85) * 5);
      return;
    }
    const tangent = Math.tan(body.slope);
    const [ux, uz] = [Math.cos(body.heading), -Math.sin(body.heading)];
    body.lift = near && !body.dead && !body.rest
      ? (x, z) => ground(x, -z) - middle - ((x - body.x) * ux + (z - body.z) * uz) * tangent
      : null;
  }

  /** Write where an animal's eyes are and the rotation of a camera that looks along its head. */
  function headOf(index, position, quaternion) {
    const body = bodies[index];
    const {plan} = body.look;
    const at = index * BONE_COUNT * 12 + 12 * BONE.head;
    mapPoint(mesh.bones, at, plan.eye.at[0], plan.eye.at[1], 0, position);
    if (!quaternion) return;
    const m = mesh.bones;
    const k = 1 / Math.hypot(m[at], m[at + 4], m[at + 8]);
    // The head's own x points ahead; a camera looks along its -z.
    headMatrix.set(
      m[at + 2] * k, m[at + 1] * k, -m[at] * k, 0, m[at + 6] * k, m[at + 5] * k, -m[at + 4] * k, 0,
      m[at + 10] * k, m[at + 9] * k, -m[at + 8] * k, 0, 0, 0, 0, 1,
    );
    quaternion.setFromRotationMatrix(headMatrix);
  }

  return {
    group: mesh.group,
    bodies,
    update,
    hide(index) {
      hidden = index;
    },
    /** Leave out animals nearer to the viewer than some meters, which would stand in the picture's way. */
    clear(meters) {
      clear = meters;
    },
    headOf,
    bones: mesh.bones,
    dispose: mesh.dispose,
  };
}

const headMatrix = new THREE.Matrix4();
const projection = new THREE.Matrix4();
const herdFrustum = new THREE.Frustum();
const herdSphere = new THREE.Sphere();

function inFrustum(body) {
  herdSphere.center.set(body.x, body.y + 0.7 * body.scale, body.z);
  herdSphere.radius = 1.6 * body.scale;
  return herdFrustum.intersectsSphere(herdSphere);
}
