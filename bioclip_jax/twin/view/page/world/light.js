// Light of the day: colors of sun, moon, sky and haze by the sun's elevation, shared by all materials of a world.
import {linearColor} from "./coats.js";

/** Colors by elevation of the sun (degrees): [elevation, sun, ambient from above, from below, zenith, horizon, haze strength]. */
const LIGHT_HOURS = [
  [-18, "#9db2e0", 0.38, "#323f6c", 1.0, "#181f34", 0.9, "#03060f", "#0e1830", 0.7],
  [-10, "#8f9fd0", 0.34, "#2c3c6c", 0.95, "#181e36", 0.8, "#071029", "#1f2e52", 0.8],
  [-5, "#8a8fc0", 0.34, "#55649c", 1.1, "#383c5c", 1.0, "#182a5e", "#8a7088", 1.0],
  [-1, "#e8a070", 0.75, "#8590bc", 1.1, "#705c58", 1.0, "#34508c", "#eba572", 1.15],
  [3, "#ffad66", 1.75, "#8f9cc2", 1.0, "#7c6450", 1.0, "#4a72ae", "#f4b97c", 1.2],
  [10, "#ffc98f", 1.75, "#95abd0", 0.88, "#80694e", 0.88, "#5089c8", "#efd3a6", 1.05],
  [25, "#ffe3bd", 1.55, "#a3bfe2", 0.7, "#80704c", 0.8, "#4a8ad0", "#dfe3df", 0.95],
  [60, "#fff2dc", 1.6, "#b2cdee", 0.66, "#7c6c4c", 0.8, "#3a7bca", "#cfdfec", 0.9],
].map(([elevation, sun, sunGain, above, aboveGain, below, belowGain, zenith, horizon, haze]) => [
  elevation, ...scaled(sun, sunGain), ...scaled(above, aboveGain), ...scaled(below, belowGain), ...linearColor(zenith),
  ...linearColor(horizon), haze,
]);

function scaled(hex, gain) {
  return linearColor(hex).map((value) => value * gain);
}

/** Return {uniforms, set(sun), state}: uniforms for ShaderMaterials; sun is {elevation, azimuth} in degrees. */
export function createLight() {
  const vector = () => ({value: new THREE.Vector3()});
  const uniforms = {
    sunDirection: vector(), sunColor: vector(), skyAmbient: vector(), groundAmbient: vector(), zenithColor: vector(),
    horizonColor: vector(), discDirection: vector(), hazeDensity: {value: 0}, starlight: {value: 0}, night: {value: 0},
    clock: {value: 0},
  };
  const state = {elevation: 45, azimuth: 90, night: 0};
  const set = ({elevation, azimuth}) => {
    const row = hourAt(elevation);
    uniforms.sunColor.value.fromArray(row, 1);
    uniforms.skyAmbient.value.fromArray(row, 4);
    uniforms.groundAmbient.value.fromArray(row, 7);
    uniforms.zenithColor.value.fromArray(row, 10);
    uniforms.horizonColor.value.fromArray(row, 13);
    uniforms.hazeDensity.value = row[16] * 0.00042;
    const night = Math.min(1, Math.max(0, (-3 - elevation) / 5));
    uniforms.night.value = night;
    uniforms.starlight.value = Math.min(1, Math.max(0, (-6 - elevation) / 8));
    pointTo(uniforms.discDirection.value, elevation, azimuth);
    // A full moon stands opposite to the sun, never lower than light needs to model bodies.
    if (night > 0.5) pointTo(uniforms.sunDirection.value, Math.max(28, Math.min(58, -elevation + 12)), azimuth + 150);
    else pointTo(uniforms.sunDirection.value, Math.max(elevation, 4), azimuth);
    Object.assign(state, {elevation, azimuth, night});
  };
  set(state);
  return {uniforms, set, state};
}

function pointTo(vector, elevation, azimuth) {
  const [e, a] = [(elevation * Math.PI) / 180, (azimuth * Math.PI) / 180];
  // Azimuth from north over east: north is -z, east +x.
  vector.set(Math.cos(e) * Math.sin(a), Math.sin(e), -Math.cos(e) * Math.cos(a));
}

function hourAt(elevation) {
  if (elevation <= LIGHT_HOURS[0][0]) return LIGHT_HOURS[0];
  for (let row = 1; row < LIGHT_HOURS.length; row += 1) {
    if (elevation > LIGHT_HOURS[row][0]) continue;
    const t = (elevation - LIGHT_HOURS[row - 1][0]) / (LIGHT_HOURS[row][0] - LIGHT_HOURS[row - 1][0]);
    return LIGHT_HOURS[row].map((value, column) => LIGHT_HOURS[row - 1][column] + t * (value - LIGHT_HOURS[row - 1][column]));
  }
  return LIGHT_HOURS[LIGHT_HOURS.length - 1];
}

/** GLSL that materials of a world share: light on a surface, and haze with distance. */
export const LIGHT_GLSL = `
uniform vec3 sunDirection;
uniform vec3 sunColor;
uniform vec3 skyAmbient;
uniform vec3 groundAmbient;
uniform vec3 horizonColor;
uniform vec3 zenithColor;
uniform float hazeDensity;
vec3 lightOn(vec3 normal) {
  float direct = max(0.0, dot(normal, sunDirection) * 0.76 + 0.24);
  return sunColor * direct * 0.62 + mix(groundAmbient, skyAmbient, 0.5 + 0.5 * normal.y);
}
float hazeAt(vec3 place) {
  float far = distance(place, cameraPosition) * hazeDensity;
  return 1.0 - exp(-far - far * far * 0.6);
}
vec3 hazeColor(vec3 place) {
  vec3 toward = normalize(place - cameraPosition);
  float glow = max(0.0, dot(toward, sunDirection));
  glow *= glow * glow;
  glow *= glow;
  return horizonColor + sunColor * glow * 0.12;
}
`;

/** Return a ShaderMaterial lit by a world's light. The vertex shader must set vHaze = vec4(color, share). */
export function litMaterial(light, options) {
  return new THREE.ShaderMaterial({
    ...options,
    uniforms: {...light.uniforms, ...options.uniforms},
    vertexShader: `${LIGHT_GLSL}\nvarying vec4 vHaze;\n${options.vertexShader}`,
    fragmentShader: options.fragmentShader,
  });
}

/** The end of a lit fragment shader: haze, and the output's color space. color is linear. */
export const FINISH_GLSL = `
  color = mix(color, vHaze.rgb, vHaze.a);
  gl_FragColor = vec4(color, 1.0);
  #include <encodings_fragment>
`;

/** A lit fragment shader of vertex colors. */
export const COLOR_FRAGMENT = `
varying vec3 vColor;
varying vec4 vHaze;
void main() {
  vec3 color = vColor;
${FINISH_GLSL}}`;
