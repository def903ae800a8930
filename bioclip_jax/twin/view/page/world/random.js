// Random numbers and noise that a seed determines, so that a world looks alike on every visit.

/** Return a generator of numbers in [0, 1) (mulberry32). */
export function seededRandom(seed) {
  let state = (seed ^ 0x9e3779b9) >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let bits = Math.imul(state ^ (state >>> 15), state | 1);
    bits ^= bits + Math.imul(bits ^ (bits >>> 7), bits | 61);
    return ((bits ^ (bits >>> 14)) >>> 0) / 4294967296;
  };
}

/** Return a number in [0, 1) for a cell of an integer lattice. */
export function latticeRandom(column, row, seed) {
  let bits = Math.imul(column, 0x27d4eb2d) ^ Math.imul(row, 0x165667b1) ^ Math.imul(seed + 1, 0x9e3779b1);
  bits = Math.imul(bits ^ (bits >>> 15), 0x85ebca6b);
  bits = Math.imul(bits ^ (bits >>> 13), 0xc2b2ae35);
  return ((bits ^ (bits >>> 16)) >>> 0) / 4294967296;
}

/** Return value noise in [0, 1) with features of unit size. period: lattice cells after which x repeats. */
export function valueNoise(x, y, seed, period = 0) {
  const column = Math.floor(x);
  const row = Math.floor(y);
  const wrap = (cell) => (period ? ((cell % period) + period) % period : cell);
  const right = x - column;
  const up = y - row;
  const s = right * right * (3 - 2 * right);
  const t = up * up * (3 - 2 * up);
  const [west, east] = [wrap(column), wrap(column + 1)];
  const south = latticeRandom(west, row, seed) * (1 - s) + latticeRandom(east, row, seed) * s;
  const north = latticeRandom(west, row + 1, seed) * (1 - s) + latticeRandom(east, row + 1, seed) * s;
  return south * (1 - t) + north * t;
}

/** Return the sum of `octaves` of value noise, in [0, 1). */
export function fractalNoise(x, y, seed, octaves = 4) {
  let sum = 0;
  let weight = 0;
  for (let octave = 0, scale = 1; octave < octaves; octave += 1, scale *= 2) {
    sum += valueNoise(x * scale, y * scale, seed + octave) / scale;
    weight += 1 / scale;
  }
  return sum / weight;
}
