// The acuity pass: a Gaussian blur of the width that gives an eye's modulation transfer, cheap for any width.

import {SCREEN_CODE, drawQuad, eyeTarget, quadMaterial} from "./quad.js";

const BLUR_TAPS = 8;
// The least blur, in pixels of the reduced image, after which reducing it further would lose detail.
const LEAST_REDUCED = 1.4;
/** Blurs narrower than this are below what pixels show. */
const INVISIBLE = 0.4;

/**
 * Return the standard deviation in degrees of the blur of an eye that resolves `acuity` cycles/degree.
 *
 * The eye passes exp(-3.56 (MRA f)^2) of the contrast at f cycles/degree, MRA = 1 / acuity (Snyder 1977, J. Comp.
 * Physiol. 116:161; Caves and Johnsen 2018, Methods Ecol. Evol. 9:793). A Gaussian of standard deviation s passes
 * exp(-2 pi^2 s^2 f^2). So s = sqrt(3.56 / 2) / (pi acuity) = 0.4247 / acuity.
 */
export function blurDegrees(acuity) {
  return Math.sqrt(3.56 / 2) / (Math.PI * acuity);
}

const BLUR_SHADER = `
uniform sampler2D image;
uniform vec2 direction;
uniform float offsets[${BLUR_TAPS}];
uniform float weights[${BLUR_TAPS}];
uniform float coded;
varying vec2 place;
${SCREEN_CODE}
vec3 read(vec2 at) {
  vec3 c = texture2D(image, at).rgb;
  return coded > 0.5 ? toLinear(c) : c;
}
void main() {
  vec3 sum = weights[0] * read(place);
  for (int tap = 1; tap < ${BLUR_TAPS}; tap += 1) {
    if (weights[tap] <= 0.0) break;
    vec2 away = direction * offsets[tap];
    sum += weights[tap] * (read(place + away) + read(place - away));
  }
  gl_FragColor = vec4(sum, 1.0);
}`;
const COPY_SHADER = `
uniform sampler2D image;
uniform float coded;
varying vec2 place;
${SCREEN_CODE}
void main() {
  vec3 c = texture2D(image, place).rgb;
  gl_FragColor = vec4(coded > 0.5 ? toLinear(c) : c, 1.0);
}`;

/**
 * Make the acuity pass: {blur(texture, width, height, sigma in pixels, slot) -> texture, clear(), dispose()}. What it
 * returns stays until the next blur of the same size and slot, or until clear(), which frees the images of sizes so far.
 */
export function createAcuity(renderer) {
  const copy = quadMaterial(COPY_SHADER, {image: {value: null}, coded: {value: 0}});
  const gauss = quadMaterial(BLUR_SHADER, {
    image: {value: null},
    coded: {value: 0},
    direction: {value: new THREE.Vector2()},
    offsets: {value: new Float32Array(BLUR_TAPS)},
    weights: {value: new Float32Array(BLUR_TAPS)},
  });
  // Targets by size and use, kept, since an eye's sizes come again each frame.
  const targets = new Map();
  const target = (width, height, use) => {
    const key = `${width} ${height} ${use}`;
    if (!targets.has(key)) targets.set(key, eyeTarget(width, height));
    return targets.get(key);
  };
  const clear = () => {
    for (const one of targets.values()) one.dispose();
    targets.clear();
  };
  const pass = (material, texture, to) => {
    material.uniforms.image.value = texture;
    material.uniforms.coded.value = Number(texture.encoding === THREE.sRGBEncoding);
    drawQuad(renderer, material, to);
    return to.texture;
  };
  return {
    blur(texture, width, height, sigma, slot = "") {
      if (sigma < INVISIBLE) return texture;
      let [image, columns, rows, scale] = [texture, width, height, 1];
      while (sigma / (2 * scale) >= LEAST_REDUCED && Math.min(columns, rows) > 4) {
        scale *= 2;
        columns = Math.ceil(width / scale);
        rows = Math.ceil(height / scale);
        image = pass(copy, image, target(columns, rows, `reduced ${scale}`));
      }
      // Averaging squares of `scale` pixels and interpolating linearly between them blur too: variances add.
      const spread = scale === 1 ? 0 : (1 - 1 / scale ** 2) / 12 + 1 / 6;
      const taps = gaussianTaps(Math.sqrt(Math.max(0.05, (sigma / scale) ** 2 - spread)));
      gauss.uniforms.offsets.value.set(taps.offsets);
      gauss.uniforms.weights.value.set(taps.weights);
      gauss.uniforms.direction.value.set(1 / columns, 0);
      image = pass(gauss, image, target(columns, rows, "across"));
      gauss.uniforms.direction.value.set(0, 1 / rows);
      return pass(gauss, image, target(columns, rows, `blurred ${slot}`));
    },
    clear,
    dispose() {
      clear();
      copy.dispose();
      gauss.dispose();
    },
  };
}

/** Return offsets and weights of a Gaussian that read two neighboring pixels with one interpolated look-up. */
export function gaussianTaps(sigma) {
  const weight = (pixels) => Math.exp(-(pixels ** 2) / (2 * sigma ** 2));
  const offsets = new Float32Array(BLUR_TAPS);
  const weights = new Float32Array(BLUR_TAPS);
  weights[0] = 1;
  let sum = 1;
  for (let tap = 1; tap < BLUR_TAPS; tap += 1) {
    const [near, far] = [2 * tap - 1, 2 * tap];
    if (near > 3.2 * sigma) break;
    weights[tap] = weight(near) + weight(far);
    offsets[tap] = (near * weight(near) + far * weight(far)) / weights[tap];
    sum += 2 * weights[tap];
  }
  return {offsets, weights: weights.map((value) => value / sum)};
}
