// Gaits of quadrupeds: which foot stands when, and how far a stride reaches at a speed.

const GRAVITY = 9.81;
/** Places in the stride at which fore left, fore right, hind left, hind right touch down. */
const WALK = [0.25, 0.75, 0, 0.5];
const TROT = [0.5, 1.0, 0, 0.5];
const PACE = [0.06, 0.56, 0, 0.5];
const GALLOP = [0.48, 0.62, 0, 0.13];

/** Return 0 below `low`, 1 above `high`, and a smooth rise between. */
export function smoothStep(low, high, value) {
  const t = Math.min(1, Math.max(0, (value - low) / (high - low)));
  return t * t * (3 - 2 * t);
}

/**
 * Return the gait of an animal of hip height `hip` (m) at `speed` (m/s): stride (m), duty (share of the stride that a
 * foot stands), offsets of the four feet, weights of trot and gallop.
 * Stride by Alexander 1976 (Nature 261): stride / hip = 2.3 Froude^0.3, Froude = speed^2 / (g hip); walk, trot and
 * gallop change near Froude 0.5 and 2.5 (Alexander and Jayes 1983, J. Zool. 201). kind: "trot", "pace" (giraffe: legs
 * of a side together) or "amble" (elephant: never another sequence than the walk's).
 */
export function gaitAt(speed, hip, kind, out) {
  const froude = (speed * speed) / (GRAVITY * hip);
  out.stride = hip * Math.max(0.35, 2.3 * froude ** 0.3);
  const trot = kind === "amble" ? 0 : smoothStep(0.4, 0.75, froude);
  const gallop = kind === "amble" ? 0 : smoothStep(1.8, 3.2, froude);
  out.trot = trot * (1 - gallop);
  out.gallop = gallop;
  out.duty = 0.66 - 0.2 * smoothStep(0.3, 0.9, froude) - 0.22 * smoothStep(1.6, 8, froude);
  // A leg sweeps at most so far: at high speed feet stand for less of the stride.
  out.duty = Math.min(out.duty, (0.78 * hip) / out.stride);
  const walk = kind === "pace" ? PACE : WALK;
  const middle = kind === "pace" ? PACE : TROT;
  for (let foot = 0; foot < 4; foot += 1) {
    const slow = walk[foot] + (middle[foot] - walk[foot]) * trot;
    out.offsets[foot] = slow + (GALLOP[foot] - slow) * gallop;
  }
  return out;
}

/**
 * Write a foot's place at `phase` of its own stride: x ahead of its rest (m), y above the ground (m), roll of the foot
 * (radians, heel up), swing (0 standing, up to 1 in mid-air). During stance x falls at just the body's speed.
 */
export function footAt(phase, stride, duty, lift, out) {
  const reach = 0.5 * duty * stride;
  if (phase < duty) {
    const share = phase / duty;
    out.x = reach * (1 - 2 * share);
    out.y = 0;
    out.roll = 0.55 * smoothStep(0.72, 1, share) ** 2 * Math.min(1, reach * 3);
    out.swing = 0;
    return out;
  }
  const share = (phase - duty) / (1 - duty);
  const slope = -stride * (1 - duty);
  const [s2, s3] = [share * share, share ** 3];
  out.x = -reach * (2 * s3 - 3 * s2 + 1) + reach * (3 * s2 - 2 * s3) + slope * (2 * s3 - 3 * s2 + share);
  out.y = lift * Math.sin(Math.PI * share) ** 1.3;
  out.roll = (0.55 * (1 - smoothStep(0, 0.3, share)) + 0.9 * Math.sin(Math.PI * share)) * Math.min(1, reach * 3);
  out.swing = Math.sin(Math.PI * share);
  return out;
}
