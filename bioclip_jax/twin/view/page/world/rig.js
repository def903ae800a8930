// The bones of a plan: where they turn, how long legs are, how far the neck bends to graze.

/** Numbers of bones; a leg has four from its first on: upper, middle, cannon, foot. */
export const BONE = {
  pelvis: 0, chest: 1, neck: 2, nape: 3, head: 4, tail: 5, tailTip: 6,
  foreLeft: 7, foreRight: 11, hindLeft: 15, hindRight: 19, trunk: 23, earLeft: 26, earRight: 27,
};
export const BONE_COUNT = 28;

/** Return a plan's rig, in units of its height. */
export function createRig(plan) {
  const rig = {plan, pivots: plan.pivots, tail: plan.tail.points, legs: []};
  if (plan.wings) return rig;
  for (const [first, name, side] of [
    [BONE.foreLeft, "fore", -1], [BONE.foreRight, "fore", 1], [BONE.hindLeft, "hind", -1], [BONE.hindRight, "hind", 1],
  ]) {
    rig.legs.push(legOf(plan[name], first, name === "fore", side * plan[name].z));
  }
  rig.hip = plan.hind.joints[0][1];
  const middle = plan.torso.filter((row) => row[5] < 1);
  rig.belly = Math.min(...middle.map((row) => row[3]));
  rig.middle = middle.reduce((sum, row) => sum + 0.5 * (row[1] + row[3]), 0) / middle.length;
  rig.flank = Math.max(...plan.torso.map((row) => row[4]));
  rig.graze = grazingAngles(plan);
  return rig;
}

function legOf({joints}, first, fore, z) {
  const angles = [];
  const lengths = [];
  for (let bone = 0; bone < 4; bone += 1) {
    const [dx, dy] = [joints[bone + 1][0] - joints[bone][0], joints[bone + 1][1] - joints[bone][1]];
    angles.push(Math.atan2(dy, dx));
    lengths.push(Math.hypot(dx, dy));
  }
  return {joints, first, fore, z, angles, lengths};
}

/** Return the turns of neck, nape and head (radians) that bring the muzzle to the ground, or to `plan.browse`. */
function grazingAngles(plan) {
  const [neck, nape, head] = plan.grazeShares || [-1.0, -0.35, 0.55];
  let best = 0;
  const level = plan.browse || 0.015;
  for (let step = 0; step <= 60; step += 1) {
    best = step / 40;
    if (lowestHead(plan, neck * best, nape * best, head * best) <= level) break;
  }
  return [neck * best, nape * best, head * best];
}

/** Return the lowest height of the head after turns of neck, nape and head. */
export function lowestHead(plan, neck, nape, head) {
  let lowest = Infinity;
  for (const [, , x, y, , place] of plan.torso) {
    if (place < 4) continue;
    let point = [x, y];
    for (const [pivot, angle] of [[plan.pivots[4], head], [plan.pivots[3], nape], [plan.pivots[2], neck]]) {
      const [dx, dy] = [point[0] - pivot[0], point[1] - pivot[1]];
      const [c, s] = [Math.cos(angle), Math.sin(angle)];
      point = [pivot[0] + c * dx - s * dy, pivot[1] + s * dx + c * dy];
    }
    lowest = Math.min(lowest, point[1]);
  }
  return lowest;
}
