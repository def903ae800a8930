// Soft shadows under animals and trees: one ellipse of contact each, and one that the sun draws out.
import {LIGHT_GLSL} from "./light.js";

const SHADOW_VERTEX = `
${LIGHT_GLSL}
attribute vec4 spot;
attribute vec4 form;
varying vec2 vAcross;
varying float vStrength;
void main() {
  vAcross = position.xz;
  float c = cos(form.x);
  float s = sin(form.x);
  vec2 along = vec2(position.x * form.y, position.z * form.z);
  vec2 ground = vec2(c * along.x + s * along.y, -s * along.x + c * along.y);
  vec3 place = spot.xyz + vec3(ground.x, along.x * spot.w, ground.y);
  vStrength = form.w * (1.0 - hazeAt(place));
  vec4 view = viewMatrix * vec4(place, 1.0);
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
  const geometry = new THREE.InstancedBufferGeometry();
  const [positions, indices] = [[0, 0, 0], []];
  for (let step = 0; step < 10; step += 1) {
    const angle = (2 * Math.PI * step) / 10;
    positions.push(1.05 * Math.cos(angle), 0, 1.05 * Math.sin(angle));
    indices.push(0, 1 + ((step + 1) % 10), 1 + step);
  }
  geometry.setAttribute("position", new THREE.Float32BufferAttribute(positions, 3));
  geometry.setIndex(indices);
  const spots = new THREE.InstancedBufferAttribute(new Float32Array(8 * capacity), 4);
  const forms = new THREE.InstancedBufferAttribute(new Float32Array(8 * capacity), 4);
  geometry.setAttribute("spot", spots);
  geometry.setAttribute("form", forms);
  geometry.instanceCount = 0;
  const material = new THREE.ShaderMaterial({
    uniforms: light.uniforms, vertexShader: SHADOW_VERTEX, fragmentShader: SHADOW_FRAGMENT, transparent: true, depthWrite: false, side: THREE.DoubleSide,
  });
  const mesh = new THREE.Mesh(geometry, material);
  mesh.frustumCulled = false;
  mesh.renderOrder = 7;
  const add = (x, y, z, turn, length, width, strength, slope) => {
    spots.setXYZW(geometry.instanceCount, x, y, z, slope);
    forms.setXYZW(geometry.instanceCount, turn, length, width, strength);
    geometry.instanceCount += 1;
  };
  return {
    mesh,
    begin() {
      geometry.instanceCount = 0;
    },
    cast(x, y, z, heading, length, width, height, slope) {
      if (geometry.instanceCount + 2 > 2 * capacity) return;
      add(x, y + 0.03, z, heading, length, width, 0.6, slope);
      const sun = light.uniforms.sunDirection.value;
      const flat = Math.hypot(sun.x, sun.z);
      const stretch = Math.min(3, flat / Math.max(0.12, sun.y));
      if (stretch < 0.15) return;
      const reach = 0.5 * stretch * height;
      const strength = (light.state.night > 0.5 ? 0.3 : light.state.elevation < -1 ? 0 : 0.42);
      if (!strength) return;
      const turn = Math.atan2(sun.z, -sun.x);
      const broad = Math.abs(Math.sin(turn - heading)) * length + Math.abs(Math.cos(turn - heading)) * width;
      add(x - (sun.x / flat) * reach, y + 0.03, z - (sun.z / flat) * reach, turn, reach + 0.5 * broad, broad * 0.8, strength, 0);
    },
    end() {
      mesh.visible = geometry.instanceCount > 0;
      spots.needsUpdate = true;
      forms.needsUpdate = true;
    },
    dispose() {
      geometry.dispose();
      material.dispose();
    },
  };
}
