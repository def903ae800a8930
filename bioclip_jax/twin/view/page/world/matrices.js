// Affine maps as 12 numbers, the rows of a 3 x 4 matrix, in one array with an offset each: bones of many animals.

/** Write parent * (turn by `pitch` about z, then by `yaw` about y, around a pivot), both at offsets of arrays. */
export function turnAround(out, at, parent, from, x, y, z, pitch, yaw) {
  const [cp, sp, cy, sy] = [Math.cos(pitch), Math.sin(pitch), Math.cos(yaw), Math.sin(yaw)];
  place(out, at, parent, from, cy * cp, -cy * sp, sy, sp, cp, 0, -sy * cp, sy * sp, cy, x, y, z, x, y, z);
}

/** Write parent * (move a joint from (x, y) to (toX, toY) with a turn about z). */
export function moveJoint(out, at, parent, from, x, y, z, toX, toY, toZ, pitch) {
  const [c, s] = [Math.cos(pitch), Math.sin(pitch)];
  place(out, at, parent, from, c, -s, 0, s, c, 0, 0, 0, 1, x, y, z, toX, toY, toZ);
}

/** Write parent * T(to) R T(-pivot), R given by rows. */
export function place(out, at, parent, from, a, b, c, d, e, f, g, h, i, x, y, z, toX, toY, toZ) {
  const tx = toX - (a * x + b * y + c * z);
  const ty = toY - (d * x + e * y + f * z);
  const tz = toZ - (g * x + h * y + i * z);
  for (let row = 0; row < 3; row += 1) {
    const p = from + 4 * row;
    const o = at + 4 * row;
    const [p0, p1, p2, p3] = [parent[p], parent[p + 1], parent[p + 2], parent[p + 3]];
    out[o] = p0 * a + p1 * d + p2 * g;
    out[o + 1] = p0 * b + p1 * e + p2 * h;
    out[o + 2] = p0 * c + p1 * f + p2 * i;
    out[o + 3] = p0 * tx + p1 * ty + p2 * tz + p3;
  }
}

/** Write the point (x, y, z) mapped by the matrix at an offset. */
export function mapPoint(matrix, at, x, y, z, out) {
  out.x = matrix[at] * x + matrix[at + 1] * y + matrix[at + 2] * z + matrix[at + 3];
  out.y = matrix[at + 4] * x + matrix[at + 5] * y + matrix[at + 6] * z + matrix[at + 7];
  out.z = matrix[at + 8] * x + matrix[at + 9] * y + matrix[at + 10] * z + matrix[at + 11];
  return out;
}
