// Water holes: level sheets that mirror the sky's colors within muddy banks, with ripples that stand still under reduced motion.
import {FINISH_GLSL, litMaterial} from "./light.js";
import {MUD, waterLevel} from "./terrain.js";

/** Rings of a hole: share of its radius, and height in meters above the water. */
const BANK = [[1, 0], [1.1, 0.05], [1.32, -0.55]];

const WATER_VERTEX = `
attribute float bank;
uniform vec3 mud;
varying vec3 vPlace;
varying float vBank;
varying vec3 vMud;
void main() {
  vBank = bank;
  vMud = mud * lightOn(vec3(0.0, 1.0, 0.0));
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
varying float vBank;
varying vec3 vMud;
void main() {
  vec3 toward = normalize(vPlace - cameraPosition);
  float t = clock * moving;
  vec2 ripple = 0.03 * vec2(sin(vPlace.x * 1.9 + t) + sin(vPlace.z * 3.1 - t * 1.3), sin(vPlace.z * 2.3 + t * 0.8) + sin(vPlace.x * 3.7 - t));
  vec3 mirrored = normalize(vec3(toward.x + ripple.x, abs(toward.y) + 0.02, toward.z + ripple.y));
  vec3 sky = mix(horizonColor, zenithColor, pow(max(0.0, mirrored.y), 0.45));
  float slant = pow(1.0 - abs(toward.y), 3.0);
  vec3 color = mix(vMud * 0.55, sky, 0.3 + 0.65 * slant);
  color += sunColor * 0.5 * pow(max(0.0, dot(mirrored, discDirection)), 120.0);
  color = mix(color, vMud, smoothstep(0.0, 0.25, vBank));
${FINISH_GLSL}}`;

/** Return {mesh, dispose()} of a landscape's water holes. */
export function createWater(light, landscape, {still = false} = {}) {
  const positions = [];
  const indices = [];
  const banks = [];
  for (const hole of landscape.water) {
    const level = waterLevel(landscape, hole) - 0.05;
    const first = positions.length / 3;
    positions.push(hole.x, level, -hole.y);
    banks.push(0);
    BANK.forEach(([share, rise], ring) => {
      for (let step = 0; step < 48; step += 1) {
        const angle = (2 * Math.PI * step) / 48;
        const radius = hole.radius * share * (1 + 0.05 * Math.sin(3 * angle + hole.x) + 0.03 * Math.sin(5 * angle));
        positions.push(hole.x + radius * Math.cos(angle), level + rise, -(hole.y + radius * Math.sin(angle)));
        banks.push(ring ? 1 : 0);
        const [own, next] = [first + 1 + 48 * ring + step, first + 1 + 48 * ring + ((step + 1) % 48)];
        if (ring) indices.push(own - 48, own, next, own - 48, next, next - 48);
        else indices.push(first, own, next);
      }
    });
  }
  const geometry = new THREE.BufferGeometry();
  geometry.setAttribute("position", new THREE.Float32BufferAttribute(positions, 3));
  geometry.setAttribute("bank", new THREE.Float32BufferAttribute(banks, 1));
  geometry.setIndex(indices);
  const material = litMaterial(light, {vertexShader: WATER_VERTEX, fragmentShader: WATER_FRAGMENT, uniforms: {moving: {value: still ? 0 : 1}, mud: {value: new THREE.Vector3(...MUD)}}, side: THREE.DoubleSide});
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
