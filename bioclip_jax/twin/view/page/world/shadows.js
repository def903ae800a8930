// Soft shadows under animals and trees: one ellipse of contact each, and one that the sun draws out.
import {LIGHT_GLSL} from "./light.js";

const SHADOW_VERTEX = `
${LIGHT_GLSL}
attribute vec3 across;
varying vec2 vAcross;
varying float vStrength;
void main() {
  vAcross = across.xy;
  vStrength = across.z * (1.0 - hazeAt(position));
  vec4 view = viewMatrix * vec4(position, 1.0);
  view.xyz *= 0.9985;
  gl_Position = projectionMatrix * view;
}`;

const SHADOW_FRAGMENT = `
varying vec2 vAcross;
varying float vStrength;
void main() {
  float dark = 1.0 - smoothstep(0.3, 1.0, length(vAcross));
  gl_FragColor = vec4(0.02, 0.018, 0.03, dark * vStrength);
}`;

/** Return {mesh, begin(), cast(x, y, z, heading, length, width, height, slope), end(), dispose()}. */
export function createShadows(light, capacity) {
  const most = 2 * capacity;
  const places = new THREE.BufferAttribute(new Float32Array(12 * most), 3);
  const across = new THREE.BufferAttribute(new Float32Array(12 * most), 3);
  const indices = [];
  for (let first = 0; first < 4 * most; first += 4) indices.push(first, first + 1, first + 2, first, first + 2, first + 3);
  const geometry = new THREE.BufferGeometry();
  geometry.setAttribute("position", places);
  geometry.setAttribute("across", across);
  geometry.setIndex(indices);
  const material = new THREE.ShaderMaterial({
    uniforms: light.uniforms, vertexShader: SHADOW_VERTEX, fragmentShader: SHADOW_FRAGMENT, transparent: true, depthWrite: false, side: THREE.DoubleSide,
  });
  const mesh = new THREE.Mesh(geometry, material);
  mesh.frustumCulled = false;
  mesh.renderOrder = 7;
  let count = 0;
  const add = (x, y, z, turn, length, width, strength, slope) => {
    const [c, s] = [Math.cos(turn), Math.sin(turn)];
    [[-1, -1], [1, -1], [1, 1], [-1, 1]].forEach(([u, v], corner) => {
      const [along, aside] = [u * length, v * width];
      places.setXYZ(4 * count + corner, x + c * along + s * aside, y + along * slope, z - s * along + c * aside);
      across.setXYZ(4 * count + corner, u, v, strength);
    });
    count += 1;
  };
  return {
    mesh,
    begin() {
      count = 0;
    },
    cast(x, y, z, heading, length, width, height, slope) {
      if (count + 2 > most) return;
      add(x, y + 0.03, z, heading, length, width, 0.6, slope);
      const sun = light.uniforms.sunDirection.value;
      const flat = Math.hypot(sun.x, sun.z);
      const stretch = Math.min(3, flat / Math.max(0.12, sun.y));
      if (stretch < 0.15) return;
      const reach = 0.5 * stretch * height;
      const strength = light.state.night > 0.5 ? 0.3 : light.state.elevation < -1 ? 0 : 0.42;
      if (!strength) return;
      const turn = Math.atan2(sun.z, -sun.x);
      const broad = Math.abs(Math.sin(turn - heading)) * length + Math.abs(Math.cos(turn - heading)) * width;
      add(x - (sun.x / flat) * reach, y + 0.03, z - (sun.z / flat) * reach, turn, reach + 0.5 * broad, broad * 0.8, strength, 0);
    },
    end() {
      mesh.visible = count > 0;
      geometry.setDrawRange(0, 6 * count);
      places.needsUpdate = true;
      across.needsUpdate = true;
    },
    dispose() {
      geometry.dispose();
      material.dispose();
    },
  };
}
