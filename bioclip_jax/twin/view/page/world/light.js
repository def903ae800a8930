// Light of the day: colors of sun, moon, sky and haze by the sun's elevation, shared by all materials of a world.
import {linearColor} from "./coats.js";

/** Colors by elevation of the sun (degrees): [elevation, sun, ambient from above, from below, zenith, horizon, haze strength]. */
const HOURS = [
  [-18, "#6f86b8", 0.34, "#1b2540", 0.95, "#0e1220", 0.8, "#03060f", "#0c1424", 0.7],
  [-10, "#6b7fb4", 0.3, "#22305a", 0.95, "#141a30", 0.8, "#071029", "#1d2b4c", 0.8],
  [-5, "#7a7fae", 0.25, "#3a4a80", 1.0, "#242a46", 0.9, "#16275a", "#7a6a86", 1.0],
  [-1, "#d98a5f", 0.55, "#5f6a9a", 1.0, "#4a3f48", 0.9, "#2f4a86", "#e09a6c", 1.2],
  [3, "#ff9d52", 1.5, "#7f8cb4", 0.95, "#6b5440", 0.9, "#4a72ae", "#f4b97c", 1.25],
  [10, "#ffc385", 2.1, "#8fa6cc", 0.95, "#84694a", 0.9, "#5089c8", "#efd3a6", 1.1],
  [25, "#ffe3bd", 2.5, "#a3bfe2", 0.9, "#8f7850", 0.9, "#4a8ad0", "#dfe3df", 1.0],
  [60, "#fff2dc", 2.7, "#b2cdee", 0.9, "#94805a", 0.95, "#3f80cc", "#d3e2ee", 0.95],
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
  if (elevation <= HOURS[0][0]) return HOURS[0];
  for (let row = 1; row < HOURS.length; row += 1) {
    if (elevation > HOURS[row][0]) continue;
    const t = (elevation - HOURS[row - 1][0]) / (HOURS[row][0] - HOURS[row - 1][0]);
    return HOURS[row].map((value, column) => HOURS[row - 1][column] + t * (value - HOURS[row - 1][column]));
  }
  return HOURS[HOURS.length - 1];
}

/** Return the sun of a solar hour (0 to 24) near the equator at an equinox: {elevation, azimuth} in degrees. */
export function sunAt(hour) {
  const angle = ((hour - 12) * Math.PI) / 12;
  const latitude = (-6 * Math.PI) / 180;
  const sine = Math.cos(latitude) * Math.cos(angle);
  const elevation = Math.asin(sine);
  const east = -Math.sin(angle);
  const north = -Math.sin(latitude) * Math.cos(angle);
  const azimuth = (Math.atan2(east, north) * 180) / Math.PI;
  return {elevation: (elevation * 180) / Math.PI, azimuth: (azimuth + 360) % 360};
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
  float direct = max(0.0, dot(normal, sunDirection) * 0.85 + 0.15);
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
