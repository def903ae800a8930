// Photoreceptors: absorbance of pigments, their catches from a screen's colors, and what a dichromat can tell apart.

const LEAST_NM = 380;
const MOST_NM = 730;
/** Cones that peak below this are blind to a screen's light, for which only the ultraviolet overlay stands. */
const ULTRAVIOLET_NM = 400;
// Two classes that both peak above this compare green with red, not blue with the rest.
const LONG_NM = 500;
// The screen's red, green and blue as bell-shaped spectra at the dominant wavelengths of sRGB's primaries, with
// standard deviations assumed for a usual screen; so a color that cones meet in nature only resembles its match.
const PRIMARIES = [{peak: 611, width: 16}, {peak: 549, width: 30}, {peak: 464, width: 16}];

/**
 * Return a vitamin A1 pigment's absorbance at a wavelength in nm, relative to its alpha band's peak.
 * Alpha and beta bands of Govardovskii et al. 2000, Vis. Neurosci. 17:509, equations 1, 2, 4 and 5.
 */
export function absorbance(wavelength, peak) {
  const x = peak / wavelength;
  const a = 0.8795 + 0.0459 * Math.exp(-((peak - 300) ** 2) / 11940);
  const alpha = 1 / (Math.exp(69.7 * (a - x)) + Math.exp(28 * (0.922 - x)) + Math.exp(-14.9 * (1.104 - x)) + 0.674);
  const beta = 0.26 * Math.exp(-(((wavelength - (189 + 0.315 * peak)) / (-40.5 + 0.195 * peak)) ** 2));
  return alpha + beta;
}

// By peak, since a frame asks for the same few again.
const knownCatches = new Map();

/** Return a pigment's catches of linear red, green and blue, such that white's are 1 (adaptation to white). */
export function catches(peak) {
  if (!knownCatches.has(peak)) knownCatches.set(peak, integratedCatches(peak));
  return knownCatches.get(peak);
}

function integratedCatches(peak) {
  const row = PRIMARIES.map(({peak: center, width}) => {
    let sum = 0;
    for (let nm = LEAST_NM; nm <= MOST_NM; nm += 2) {
      sum += absorbance(nm, peak) * Math.exp(-(((nm - center) / width) ** 2) / 2);
    }
    return sum / width;
  });
  const white = row[0] + row[1] + row[2];
  return row.map((value) => value / white);
}

/**
 * Return the rows of the matrix from linear RGB to linear RGB that keeps what an eye's cones tell apart.
 *
 * Three or more classes of cones: the identity, since all that a screen can show is told apart. Two, with catches
 * C (2 x 3): of all colors with the same catches, the one on a plane through white is shown, B (C B)^-1 C, where B's
 * columns are white and a blue near 475 nm, against which stands a yellow near 575 nm, or white and orange against azure
 * for two long-wave cones: rank 2, and the shown color has the catches of the true one. One class: gray.
 * The idea and the two hues are those of Brettel, Vienot and Mollon 1997, J. Opt. Soc. Am. A 14:2647.
 */
export function colorMatrix(cones) {
  const visible = cones.filter((cone) => cone.peak_nm >= ULTRAVIOLET_NM).map((cone) => catches(cone.peak_nm));
  if (visible.length > 2) return [[1, 0, 0], [0, 1, 0], [0, 0, 1]];
  if (visible.length < 2) return [0, 1, 2].map(() => visible[0] || [1 / 3, 1 / 3, 1 / 3]);
  const long = cones.every((cone) => cone.peak_nm < ULTRAVIOLET_NM || cone.peak_nm > LONG_NM);
  const plane = long ? [[1, 1], [1, 0.4], [1, 0]] : [[1, 0], [1, 0.3], [1, 1]];
  return matrixProduct(matrixProduct(plane, matrixInverse(matrixProduct(visible, plane))), visible);
}

/** Return true for an eye that sees ultraviolet light, which no screen shows. */
export function seesUltraviolet(eye) {
  return eye.cones.some((cone) => cone.peak_nm < ULTRAVIOLET_NM);
}

function matrixProduct(left, right) {
  return left.map((row) => right[0].map((_, column) => row.reduce((sum, value, k) => sum + value * right[k][column], 0)));
}

function matrixInverse([[a, b], [c, d]]) {
  const scale = 1 / (a * d - b * c);
  return [[d * scale, -b * scale], [-c * scale, a * scale]];
}
