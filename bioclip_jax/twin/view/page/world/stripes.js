// The stripes of a plains zebra's flank as a canvas: bodies, the spider's landscape and the sight case share it.
import {seededRandom, valueNoise} from "./random.js";

export const STRIPE_DARK = [29, 24, 21];
export const STRIPE_LIGHT = [240, 232, 216];

/**
 * Return a canvas of a flank's stripes: across from rump to neck, down from the back to the belly.
 * It repeats across. `stripes` dark ones stand at mid-height, some of which fork; they taper to the pale belly.
 */
export function stripeCanvas(width, height, seed, stripes = 14) {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d");
  const image = context.createImageData(width, height);
  const value = coarseField(stripeField(seed, stripes), width, height);
  const softness = (1.6 * Math.PI * stripes) / width;
  for (let row = 0, offset = 0; row < height; row += 1) {
    for (let column = 0; column < width; column += 1, offset += 4) {
      const light = Math.min(1, Math.max(0, 0.5 - value(column, row) / (2 * softness)));
      for (let channel = 0; channel < 3; channel += 1) {
        image.data[offset + channel] =
          STRIPE_DARK[channel] + (STRIPE_LIGHT[channel] - STRIPE_DARK[channel]) * light;
      }
      image.data[offset + 3] = 255;
    }
  }
  context.putImageData(image, 0, 0);
  return canvas;
}

/** Return a field's value at pixels, interpolated between every fourth one, since the field is slow and smooth. */
function coarseField(field, width, height) {
  const step = 4;
  const columns = Math.ceil(width / step) + 1;
  const rows = Math.ceil(height / step) + 1;
  const values = new Float32Array(columns * rows);
  for (let row = 0; row < rows; row += 1) {
    for (let column = 0; column < columns; column += 1) {
      values[row * columns + column] = field((column * step) / width, (row * step) / height);
    }
  }
  return (x, y) => {
    const first = Math.floor(y / step) * columns + Math.floor(x / step);
    const right = (x % step) / step;
    const below = (y % step) / step;
    const upper = values[first] + (values[first + 1] - values[first]) * right;
    const lower = values[first + columns] + (values[first + columns + 1] - values[first + columns]) * right;
    return upper + (lower - upper) * below;
  };
}

/**
 * Return a function of (across, down), both 0 to 1, that is above 0 inside dark stripes.
 * A fork is a dislocation of the stripes' phase: one stripe more on one side of it than on the other.
 */
export function stripeField(seed, stripes = 14) {
  const random = seededRandom(seed);
  const forks = [];
  for (let fork = 0; fork < 4; fork += 1) {
    forks.push([(fork + random()) / 4, 0.3 + 0.45 * random(), fork % 2 ? 1 : -1]);
  }
  return (across, down) => {
    const bend = valueNoise(across * 5, down * 2.2, seed + 7, 5) - 0.5;
    const wobble = valueNoise(across * 17, down * 5, seed + 11, 17) - 0.5;
    let turns = stripes * across + 0.75 * bend + 0.22 * wobble + 0.5 * (down - 0.5) * (down - 0.5);
    for (const [x, y, sign] of forks) turns += (sign * phaseAround(across - x, down - y)) / (2 * Math.PI);
    const width = valueNoise(across * 9, down * 3, seed + 3, 9) - 0.5;
    return Math.cos(2 * Math.PI * turns) + 0.12 + 0.5 * width - 7 * Math.max(0, down - 0.78);
  };
}

/** Return the angle of the complex sine around a fork: it turns once around it and repeats in x. */
function phaseAround(x, y) {
  const real = Math.sin(Math.PI * x) * Math.cosh(Math.PI * 2 * y);
  const imaginary = Math.cos(Math.PI * x) * Math.sinh(Math.PI * 2 * y);
  return Math.atan2(imaginary, real);
}
