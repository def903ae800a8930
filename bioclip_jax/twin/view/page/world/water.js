// Water holes: level sheets that mirror the sky's colors, with ripples that stand still under reduced motion.
import {FINISH_GLSL, litMaterial} from "./light.js";

const WATER_VERTEX = `
varying vec3 vPlace;
void main() {
  vPlace = position;
  vHaze = vec4(hazeColor(position), hazeAt(position));
  gl_Position = projectionMatrix * viewMatrix * vec4(position, 1.0);
}`;

const WATER_FRAGMENT = `
uniform vec3 horizonColor;
uniform vec3 zenithColor;
uniform vec3 sunColor;
uniform vec3 discDirection;
uniform float clock;
uniform float moving;
varying vec3 vPlace;
varying vec4 vHaze;
void main() {
  vec3 toward = normalize(vPlace - cameraPosition);
  float t = clock * moving;
  vec2 ripple = 0.03 * vec2(sin(vPlace.x * 1.9 + t) + sin(vPlace.z * 3.1 - t * 1.3), sin(vPlace.z * 2.3 + t * 0.8) + sin(vPlace.x * 3.7 - t));
  vec3 mirrored = normalize(vec3(toward.x + ripple.x, abs(toward.y) + 0.02, toward.z + ripple.y));
  vec3 sky = mix(horizonColor, zenithColor, pow(max(0.0, mirrored.y), 0.45));
  float slant = pow(1.0 - abs(toward.y), 3.0);
  vec3 mud = vec3(0.11, 0.085, 0.05) * (0.25 + 0.4 * length(sunColor));
  vec3 color = mix(mud, sky, 0.3 + 0.65 * slant);
  color += sunColor * 0.5 * pow(max(0.0, dot(mirrored, discDirection)), 120.0);
${FINISH_GLSL}}`;

/** Return {group, dispose()} of a landscape's water holes. */
export function createWater(light, landscape, ground, {still = false} = {}) {
  const positions = [];
  const indices = [];
  for (const hole of landscape.water) {
    // The sheet lies where the shore is lowest, and ends in it.
    let level = Infinity;
    for (let step = 0; step < 24; step += 1) {
      const angle = (2 * Math.PI * step) / 24;
      level = Math.min(level, ground(hole.x + hole.radius * Math.cos(angle), hole.y + hole.radius * Math.sin(angle)));
    }
    const first = positions.length / 3;
    positions.push(hole.x, level - 0.06, -hole.y);
    for (let step = 0; step < 40; step += 1) {
      const angle = (2 * Math.PI * step) / 40;
      const radius = hole.radius * 1.06;
      positions.push(hole.x + radius * Math.cos(angle), level - 0.06, -(hole.y + radius * Math.sin(angle)));
      indices.push(first, first + 1 + step, first + 1 + ((step + 1) % 40));
    }
  }
  const geometry = new THREE.BufferGeometry();
  geometry.setAttribute("position", new THREE.Float32BufferAttribute(positions, 3));
  geometry.setIndex(indices);
  const material = litMaterial(light, {vertexShader: WATER_VERTEX, fragmentShader: WATER_FRAGMENT, uniforms: {moving: {value: still ? 0 : 1}}});
  const mesh = new THREE.Mesh(geometry, material);
  mesh.frustumCulled = false;
  mesh.visible = landscape.water.length > 0;
  mesh.renderOrder = 4;
  return {
    mesh,
    dispose() {
      geometry.dispose();
      material.dispose();
    },
  };
}
