// The color and light passes in one shader: cones, rods, noise, the edge of the field, and the step to the screen.

import {adaptation} from "./light.js";
import {catches, colorMatrix, seesUltraviolet} from "./pigments.js";
import {SCREEN_CODE, quadMaterial} from "./quad.js";

// Two looks side by side, parted at `split`: an animal's left of it and a person's right of it.
const EYE_FRAGMENT = `
#define WINDOW 0
#define LENS 1
#define STRIP 2
uniform sampler2D images[2];
uniform sampler2D grain;
uniform vec2 coded;
uniform mat3 colors[2];
uniform vec3 rods[2];
uniform vec4 light[2];
uniform float split;
uniform int shape;
uniform vec2 size;
uniform vec4 grainAt;
uniform vec2 grainMix;
uniform float linear;
uniform vec4 field;
uniform vec2 horizon;
varying vec2 place;

const float PI = 3.141592653589793;
${SCREEN_CODE}
vec3 look(vec3 c, mat3 color, vec3 rod, vec4 adapted) {
  vec3 seen = color * c;
  if (adapted.x < 1.0) seen = mix(vec3(dot(rod, c)), seen, adapted.x) * adapted.y;
  if (adapted.z > 0.004) {
    vec2 cell = place * size / 256.0;
    float a = texture2D(grain, cell + grainAt.xy).r - 0.5;
    float b = texture2D(grain, cell + grainAt.zw).g - 0.5;
    float brightness = max(dot(seen, vec3(0.2126, 0.7152, 0.0722)), 0.0);
    seen += adapted.z * sqrt(brightness) * (grainMix.x * a + grainMix.y * b);
  }
  return seen;
}
void main() {
  vec2 at = place;
  float azimuth = 0.0;
  float elevation = mix(horizon.x, horizon.y, place.y);
  if (shape == STRIP) {
    azimuth = (place.x - 0.5) * 2.0 * PI;
    float turn = floor(azimuth / (0.5 * PI) + 0.5);
    float around = azimuth - 0.5 * PI * turn;
    at.x = (mod(turn, 4.0) + clamp(0.5 + 0.5 * tan(around), 0.002, 0.998)) / 4.0;
    at.y = 0.5 + 0.5 * tan(elevation) / cos(around) / field.w;
  } else if (shape == LENS) {
    float ring = length(place - 0.5) * 2.0;
    if (ring > 1.0) discard;
    if (ring > 0.955) { gl_FragColor = vec4(0.96, 0.93, 0.86, 1.0); return; }
  }
  bool person = place.x > split;
  // Branches, since a choice would take both sides' time.
  vec3 c, seen;
  if (person) {
    c = texture2D(images[1], at).rgb;
    if (coded.y > 0.5) c = toLinear(c);
    seen = look(c, colors[1], rods[1], light[1]);
  } else {
    c = texture2D(images[0], at).rgb;
    if (coded.x > 0.5) c = toLinear(c);
    seen = look(c, colors[0], rods[0], light[0]);
  }
  if (!person && light[0].w > 0.5 && elevation > 0.0 && c.b > 1.02 * c.r) {
    float hatch = step(0.72, fract((place.x * size.x + place.y * size.y) / 14.0));
    seen = mix(seen, vec3(0.42, 0.2, 0.75) * max(seen.g, seen.b), 0.34 * hatch * smoothstep(0.0, 0.12, elevation));
  }
  if (linear > 0.5) { gl_FragColor = vec4(seen, 1.0); return; }
  vec3 shown = toScreen(seen);
  if (shape == WINDOW && split > 0.0 && split < 1.0) {
    shown = mix(vec3(1.0, 0.97, 0.88), shown, smoothstep(1.0, 2.0, abs(place.x - split) * size.x));
  }
  if (shape == STRIP) {
    float away = abs(azimuth);
    float edge = person ? field.z : field.x;
    if (away > edge) shown = vec3(0.055 + 0.035 * step(0.5, fract((place.x * size.x - place.y * size.y) / 10.0)));
    else if (place.y > 0.94 && away < field.y) shown = vec3(1.0, 0.8, 0.35);
    vec2 rim = min(place, 1.0 - place) * size;
    if (min(rim.x, rim.y) < 1.5) shown = vec3(0.96, 0.93, 0.86);
  }
  gl_FragColor = vec4(shown, 1.0);
}`;

export const EYE_SHAPES = {window: 0, lens: 1, strip: 2};
const GRAINS = 256;
const GRAINS_PER_SECOND = 1.5;
// Grain is stored as 0.5 + value / GRAIN_RANGE.
const GRAIN_RANGE = 6;

/** Make the material of the color and light passes. */
export function createAppearance() {
  return quadMaterial(EYE_FRAGMENT, {
    images: {value: [null, null]},
    coded: {value: new THREE.Vector2()},
    grain: {value: noiseTexture()},
    colors: {value: [new THREE.Matrix3(), new THREE.Matrix3()]},
    rods: {value: [new THREE.Vector3(), new THREE.Vector3()]},
    light: {value: [new THREE.Vector4(), new THREE.Vector4()]},
    split: {value: 1},
    shape: {value: 0},
    size: {value: new THREE.Vector2(1, 1)},
    grainAt: {value: new THREE.Vector4()},
    grainMix: {value: new THREE.Vector2()},
    linear: {value: 0},
    // Half the field, half the binocular field, half a person's field, tangent of half a tile's height.
    field: {value: new THREE.Vector4(Math.PI, 0, Math.PI, 1)},
    horizon: {value: new THREE.Vector2(-0.5, 0.5)},
  });
}

/** Set the look of side 0, the animal's, or 1, the person's, in the light of a sun. */
export function setLook(material, side, eye, sun, ultraviolet) {
  const {colors, rods, light} = material.uniforms;
  const rows = colorMatrix(eye.cones);
  colors.value[side].set(...rows[0], ...rows[1], ...rows[2]);
  rods.value[side].set(...catches(eye.rods.peak_nm));
  const {cones, gain, noise} = adaptation(eye, sun);
  light.value[side].set(cones, gain, noise, ultraviolet && seesUltraviolet(eye) ? 1 : 0);
}

/** Set the grain at a time in s: it fades from one pattern to the next, never flashes, and stands still if `still`. */
export function setGrain(material, time, still) {
  const phase = still ? 0 : time * GRAINS_PER_SECOND;
  const step = Math.floor(phase);
  const share = phase - step;
  const place = (n) => [(0.618 * n) % 1, (0.377 * n) % 1];
  // Each pattern stands in one channel; so every second step swaps which of them fades.
  const even = step % 2 === 0;
  material.uniforms.grainAt.value.set(...place(even ? step : step + 1), ...place(even ? step + 1 : step));
  // Independent patterns add by variance.
  const norm = GRAIN_RANGE / Math.hypot(share, 1 - share);
  material.uniforms.grainMix.value.set((even ? 1 - share : share) * norm, (even ? share : 1 - share) * norm);
}

/** Return a texture of normal random numbers in red and green, of mean 0 and variance 1. */
function noiseTexture() {
  const bytes = new Uint8Array(4 * GRAINS * GRAINS);
  let state = 12345;
  const uniform = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state + 1) / 4294967297;
  };
  for (let n = 0; n < bytes.length; n += 1) {
    const normal = Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform());
    bytes[n] = Math.round(255 * Math.min(1, Math.max(0, 0.5 + normal / GRAIN_RANGE)));
  }
  const texture = new THREE.DataTexture(bytes, GRAINS, GRAINS, THREE.RGBAFormat);
  texture.wrapS = THREE.RepeatWrapping;
  texture.wrapT = THREE.RepeatWrapping;
  texture.needsUpdate = true;
  return texture;
}
