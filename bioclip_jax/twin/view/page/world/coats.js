// Coats: linear colors over a body's loft, and canvases of marks that multiply them.
import {seededRandom, valueNoise} from "./random.js";
import {stripeCanvas} from "./stripes.js";

/** Return linear RGB of a hexadecimal sRGB color. */
export function linearColor(hex) {
  const color = new THREE.Color(hex).convertSRGBToLinear();
  return [color.r, color.g, color.b];
}

/** Return a mixture of two colors. */
export function mixColor(first, second, share) {
  const t = Math.min(1, Math.max(0, share));
  return first.map((value, channel) => value + (second[channel] - value) * t);
}

function coatRamp(low, high, value) {
  return Math.min(1, Math.max(0, (value - low) / (high - low)));
}

/**
 * Return a paint: part, u, v, x, y -> color. Countershaded from back over flank to belly; legs fade to `feet`; the last
 * of the torso is the muzzle.
 */
function countershaded({back, flank, belly, feet, muzzle, face, mane, hoof, horn, ear, tail, tuft, extra}) {
  const tone = Object.fromEntries(
    Object.entries({back, flank, belly, feet, muzzle, face, mane, hoof, horn, ear, tail, tuft}).map(([name, hex]) => [
      name, linearColor(hex || {feet: flank, face: flank, mane: back, horn: "#4a4038", hoof: "#2a2420", ear: flank, tail: back, tuft: back}[name] || back),
    ]),
  );
  return (part, u, v, x, y) => {
    if (extra) {
      const special = extra(part, u, v, x, y);
      if (special) return special;
    }
    if (part === "torso") {
      let color = mixColor(tone.back, tone.flank, coatRamp(0.02, 0.42, v));
      color = mixColor(color, tone.belly, coatRamp(0.72, 0.9, v) * (1 - coatRamp(0.62, 0.75, u)));
      color = mixColor(color, tone.face, coatRamp(0.78, 0.84, u));
      return mixColor(color, tone.muzzle, coatRamp(0.93, 0.965, u));
    }
    if (part === "fore" || part === "hind") {
      if (u > 0.95) return tone.hoof;
      return mixColor(tone.flank, tone.feet, coatRamp(0.35, 0.75, u));
    }
    if (part === "tail") return mixColor(tone.tail, tone.tuft, coatRamp(0.5, 0.62, u));
    if (part === "eye") return [0.004, 0.003, 0.003];
    if (part === "tusk") return [0.72, 0.66, 0.52];
    if (part === "beard" || part === "ruff") return tone.mane;
    return tone[part] || tone.flank;
  };
}

const COAT_WHITE = [1, 1, 1];

function zebraPaint(part, u, v) {
  if (part === "torso") return mixColor(COAT_WHITE, [0.055, 0.045, 0.04], coatRamp(0.925, 0.96, u));
  if (part === "fore" || part === "hind") return u > 0.95 ? [0.03, 0.026, 0.022] : COAT_WHITE;
  if (part === "tail") return mixColor(COAT_WHITE, [0.02, 0.017, 0.015], coatRamp(0.5, 0.62, u));
  if (part === "ear") return mixColor(COAT_WHITE, [0.05, 0.04, 0.035], coatRamp(0.6, 0.85, u));
  if (part === "eye") return [0.004, 0.003, 0.003];
  if (part === "mane") return mixColor([0.9, 0.86, 0.8], [0.03, 0.025, 0.02], 1 - coatRamp(0.02, 0.2, v));
  return COAT_WHITE;
}

/** Coordinates in the stripes' canvas: upright on flank and neck, sweeping back over the rump, rings on legs. */
function zebraCoat(part, u, v, x, y, s) {
  if (part === "torso") {
    const rump = 1 - coatRamp(0.02, 0.3, s);
    return [1.95 * s + 0.5 * rump * (v - 0.3), Math.min(0.99, 0.06 + 0.9 * v)];
  }
  if (part === "fore") return [0.35 + 1.15 * y + 0.3 * x * coatRamp(0.45, 0.8, y), 0.3 + 0.2 * v];
  if (part === "hind") return [0.62 + 1.05 * y - 0.75 * (x + 0.36) * coatRamp(0.35, 0.7, y), 0.3 + 0.2 * v];
  if (part === "mane") return [1.95 * u, 0.1];
  if (part === "tail") return [2.2 * u, 0.4];
  return [0.5, 0.99];
}

/** Return a canvas of a giraffe's patches: cells around points of a jittered lattice, parted by pale lines. */
function patchCanvas() {
  return markCanvas(256, 128, (across, down) => {
    const [columns, rows] = [16, 7];
    const [x, y] = [across * columns, down * rows];
    let [nearest, second] = [9, 9];
    for (let row = Math.floor(y) - 1; row <= Math.floor(y) + 1; row += 1) {
      for (let column = Math.floor(x) - 1; column <= Math.floor(x) + 1; column += 1) {
        const wrapped = ((column % columns) + columns) % columns;
        const random = seededRandom(wrapped * 131 + row * 7919 + 5);
        const distance = Math.hypot(column + 0.15 + 0.7 * random() - x, row + 0.15 + 0.7 * random() - y);
        if (distance < nearest) [nearest, second] = [distance, nearest];
        else if (distance < second) second = distance;
      }
    }
    return coatRamp(0.08, 0.2, second - nearest) * (1 - coatRamp(0.8, 0.95, down));
  }, [0.86, 0.74, 0.52], [0.42, 0.2, 0.075]);
}

/** Return a canvas of round dark spots (hyena, cheetah, leopard, serval): `columns` of them across. */
function spotCanvas(columns, size, dark) {
  return markCanvas(256, 128, (across, down) => {
    const rows = columns / 2;
    const [x, y] = [across * columns, down * rows];
    const [column, row] = [Math.floor(x), Math.floor(y)];
    if (!column && !row) return 0;
    const random = seededRandom(column * 977 + row * 131);
    const distance = Math.hypot(column + 0.3 + 0.4 * random() - x, 0.8 * (row + 0.3 + 0.4 * random() - y));
    const radius = size * (0.45 + 0.8 * random());
    return 1 - coatRamp(radius * 0.75, radius * 1.1, distance);
  }, [1, 1, 1], dark);
}

/** Return a canvas of marks on a pale ground: share(across, down) of the second color, both linear. */
function markCanvas(width, height, share, pale, dark) {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d");
  const image = context.createImageData(width, height);
  for (let row = 0, at = 0; row < height; row += 1) {
    for (let column = 0; column < width; column += 1, at += 4) {
      const [across, down] = [(column + 0.5) / width, (row + 0.5) / height];
      const shade = 0.92 + 0.16 * (valueNoise(across * 40, down * 20, 3, 40) - 0.5);
      const t = share(across, down);
      for (let channel = 0; channel < 3; channel += 1) {
        const value = Math.min(1, Math.max(0, (pale[channel] + (dark[channel] - pale[channel]) * t) * shade));
        image.data[at + channel] = 255 * value ** (1 / 2.2);
      }
      image.data[at + 3] = 255;
    }
  }
  context.putImageData(image, 0, 0);
  return canvas;
}

/** Spots keep their places seen from the side, on trunk and legs alike. */
function sideCoat(part, u, v, x, y) {
  return part === "torso" || part === "fore" || part === "hind" ? [0.55 * x, 0.85 * y] : [0.02, 0.02];
}

const COAT_BLACK = [0.012, 0.01, 0.009];

/** Coats by name: paint, and where there are marks, a canvas and its coordinates. */
export const COATS = {
  zebra: {paint: zebraPaint, coat: zebraCoat, canvas: () => stripeCanvas(512, 256, 3)},
  wildebeest: {
    paint: countershaded({back: "#6a625c", flank: "#7f756d", belly: "#655c55", feet: "#7a6852", muzzle: "#1b1817", face: "#332e2b", mane: "#191615", ear: "#5a514a", tail: "#2a2624", tuft: "#151312", horn: "#3a332c"}),
    coat: (part, u, v) => (part === "torso" ? [2.1 * u, u > 0.36 && u < 0.66 ? 0.1 + 0.8 * v : 0.99] : [0.5, 0.99]),
    canvas: () => markCanvas(256, 128, (across, down) => 0.55 * Math.max(0, Math.sin(across * 75 + 2 * valueNoise(across * 8, down * 3, 9, 8))) ** 2 * (1 - coatRamp(0.5, 0.8, down)), [1, 1, 1], [0.25, 0.23, 0.22]),
  },
  thomson: {
    paint: countershaded({back: "#b07b45", flank: "#c9955b", belly: "#f3ece0", feet: "#d6ab78", muzzle: "#5d4634", face: "#c08a55", ear: "#c79a68", tail: "#221c18", tuft: "#1a1613",
      extra: (part, u, v, x) => {
        if (part === "torso" && x < -0.4 && v > 0.22) return [0.86, 0.82, 0.74];
        if (part === "torso" && u < 0.5 && u > 0.1) {
          if (v > 0.56 && v < 0.73) return COAT_BLACK;
          if (v >= 0.73) return [0.88, 0.84, 0.76];
        }
        return null;
      }}),
  },
  grant: {paint: countershaded({back: "#b98552", flank: "#caa071", belly: "#f3ece0", feet: "#d9b283", muzzle: "#6d5340", face: "#b98552", tuft: "#2a221d", extra: (part, u, v, x) => (part === "torso" && x < -0.4 && v > 0.15 ? [0.86, 0.82, 0.74] : null)})},
  impala: {paint: countershaded({back: "#93552b", flank: "#b87a49", belly: "#efe4d2", feet: "#b98353", muzzle: "#e3d3bd", face: "#9d6236", tuft: "#efe6d8", tail: "#5a3a22"})},
  dikdik: {paint: countershaded({back: "#8d7a62", flank: "#a58a68", belly: "#e8ddcb", feet: "#b48f63", muzzle: "#7d6048", face: "#a3744a"})},
  giraffe: {
    paint: (part, u, v, x, y) => {
      if (part === "torso") return mixColor(mixColor(COAT_WHITE, [0.72, 0.52, 0.36], coatRamp(0.72, 0.78, u)), [0.42, 0.3, 0.22], coatRamp(0.93, 0.98, u));
      if (part === "eye") return COAT_BLACK;
      if (part === "horn") return mixColor([0.5, 0.3, 0.16], COAT_BLACK, coatRamp(0.6, 0.8, u));
      if (part === "mane") return [0.3, 0.13, 0.05];
      if (part === "tail") return mixColor([0.75, 0.6, 0.4], COAT_BLACK, coatRamp(0.45, 0.6, u));
      return u > 0.95 ? [0.06, 0.045, 0.035] : COAT_WHITE;
    },
    coat: (part, u, v, x, y) => {
      if (part === "torso") return [1.25 * u, u > 0.74 ? 0.99 : 0.08 + 0.78 * v];
      if (part === "fore" || part === "hind") return [0.3 + 0.8 * x, 0.85 - 1.15 * (y - 0.25)];
      return [0.5, 0.99];
    },
    canvas: patchCanvas,
  },
  elephant: {paint: countershaded({back: "#8b8178", flank: "#7d746c", belly: "#6a625b", feet: "#857a6d", muzzle: "#776e66", face: "#7d746c", hoof: "#6e655c", ear: "#7a7068", fan: "#796f67", trunk: "#786f66", tail: "#6a625b", tuft: "#2c2723"})},
  buffalo: {paint: countershaded({back: "#3d3530", flank: "#4a413a", belly: "#38302b", feet: "#3a322c", muzzle: "#191615", face: "#3f3731", horn: "#6b6155", ear: "#2a2420", tuft: "#171412"})},
  warthog: {paint: countershaded({back: "#66584b", flank: "#857362", belly: "#77675a", feet: "#5c5046", muzzle: "#57473b", face: "#6a5a4c", mane: "#3f2b1c", ear: "#665748", tuft: "#33251a"})},
  lion: {paint: countershaded({back: "#a87b48", flank: "#c29560", belly: "#e6d2ae", feet: "#cda878", muzzle: "#dcc39c", face: "#bd8f5a", mane: "#6b4325", hoof: "#c09a6a", ear: "#7a5533", tail: "#b98a55", tuft: "#2e2018", extra: lionMarks})},
  cheetah: {paint: countershaded({back: "#c39550", flank: "#d3aa6a", belly: "#f2e8d4", feet: "#d6b47c", muzzle: "#e8d8ba", face: "#cda062", hoof: "#c9a66e", tail: "#c99c5a", tuft: "#3a2b1e"}), coat: sideCoat, canvas: () => spotCanvas(38, 0.3, [0.05, 0.035, 0.02])},
  leopard: {paint: countershaded({back: "#b98745", flank: "#cfa05c", belly: "#efe2c8", feet: "#cfa469", muzzle: "#e3cfab", face: "#c4934f", hoof: "#c09a60", tail: "#bf8f4e", tuft: "#bf8f4e"}), coat: sideCoat, canvas: () => spotCanvas(26, 0.36, [0.08, 0.045, 0.02])},
  serval: {paint: countershaded({back: "#c08e4e", flank: "#d2a566", belly: "#f1e6d0", feet: "#d4ae74", muzzle: "#e9dabd", face: "#c99a5b", hoof: "#c6a068", tuft: "#3a2b1e"}), coat: sideCoat, canvas: () => spotCanvas(24, 0.3, [0.05, 0.035, 0.02])},
  hyena: {paint: countershaded({back: "#8a7253", flank: "#a98c66", belly: "#a48a68", feet: "#6f5a44", muzzle: "#2e2620", face: "#7d6850", mane: "#7a6348", hoof: "#4a3c30", ear: "#5b4a3a", tail: "#7a6348", tuft: "#241d18"}), coat: sideCoat, canvas: () => spotCanvas(30, 0.3, [0.26, 0.2, 0.16])},
  vulture: {paint: () => COAT_WHITE},
  bird: {paint: () => COAT_WHITE},
  jackal: {paint: countershaded({back: "#4b4440", flank: "#b98350", belly: "#ead9bd", feet: "#c08a55", muzzle: "#8a6744", face: "#b58455", hoof: "#a87b4e", ear: "#b07a46", tail: "#8f6b48", tuft: "#201a16"})},
};

function lionMarks(part, u, v) {
  if (part === "torso" && u > 0.94 && v < 0.22) return [0.07, 0.035, 0.03];
  if (part === "torso" && u > 0.84 && v > 0.5) return [0.62, 0.49, 0.32];
  if (part === "ruff") return mixColor([0.34, 0.17, 0.06], [0.075, 0.036, 0.018], coatRamp(0.1, 0.75, v) * 0.8 + 0.35 * (0.8 - u));
  return null;
}
