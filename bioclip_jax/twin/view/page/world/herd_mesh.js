// All animals of a world in a few draw calls: one mesh a coat and detail, bones of all animals in one texture.
import {buildBody} from "./build_body.js";
import {BONE_COUNT} from "./rig.js";
import {FINISH_GLSL, litMaterial} from "./light.js";

const HERD_VERTEX = `
uniform highp sampler2D bones;
uniform float smoothly;
attribute vec3 color;
attribute vec3 skin;
attribute vec4 animal;
varying vec3 vColor;
varying vec2 vCoat;
void main() {
  float ornament = step(1.5, skin.z);
  float weight = skin.z - 2.0 * ornament;
  int row = int(animal.x + 0.5);
  int first = 3 * int((weight > 0.5 ? skin.y : skin.x) + 0.5);
  vec4 a = texelFetch(bones, ivec2(first, row), 0);
  vec4 b = texelFetch(bones, ivec2(first + 1, row), 0);
  vec4 c = texelFetch(bones, ivec2(first + 2, row), 0);
  if (smoothly > 0.5 && weight > 0.02 && weight < 0.98) {
    int second = 3 * int((weight > 0.5 ? skin.x : skin.y) + 0.5);
    float share = min(weight, 1.0 - weight);
    a = mix(a, texelFetch(bones, ivec2(second, row), 0), share);
    b = mix(b, texelFetch(bones, ivec2(second + 1, row), 0), share);
    c = mix(c, texelFetch(bones, ivec2(second + 2, row), 0), share);
  }
  vec4 rest = vec4(position, 1.0);
  vec4 place = vec4(dot(a, rest), dot(b, rest), dot(c, rest), 1.0);
  vec3 face = normalize(vec3(dot(a.xyz, normal), dot(b.xyz, normal), dot(c.xyz, normal)));
  vec3 tint = vec3(animal.y, animal.y, animal.y * (1.0 - 0.07 * animal.w));
  vColor = color * tint * lightOn(face) * (0.82 + 0.18 * min(1.0, position.y * 1.8));
  vCoat = uv + vec2(animal.w * 0.618, 0.0);
  vHaze = vec4(horizonColor, hazeAt(place.xyz));
  gl_Position = projectionMatrix * (viewMatrix * place);
  if (ornament > 0.5 && animal.z < 0.5) gl_Position = vec4(2.0, 2.0, 2.0, 1.0);
}`;

const HERD_FRAGMENT = `
uniform sampler2D coat;
varying vec3 vColor;
varying vec2 vCoat;
varying vec4 vHaze;
void main() {
  vec3 marks = texture2D(coat, vCoat).rgb;
  marks = marks * marks * (0.7 * marks + 0.3);
  vec3 color = vColor * marks;
${FINISH_GLSL}}`;

/** Return {group, bones (Float32Array), begin(), show(row, look, ...), end(), dispose()}. */
export function createHerdMesh(light, capacity) {
  const bones = new Float32Array(capacity * BONE_COUNT * 12);
  const texture = new THREE.DataTexture(bones, BONE_COUNT * 3, capacity, THREE.RGBAFormat, THREE.FloatType);
  const group = new THREE.Group();
  const meshes = new Map();
  const coats = new Map();

  function coatOf(look) {
    const key = look.coat.canvas ? look.name : "plain";
    if (!coats.has(key)) coats.set(key, coatTexture(look.coat));
    return coats.get(key);
  }

  function meshOf(look, detail) {
    const key = look.name + detail;
    if (meshes.has(key)) return meshes.get(key);
    const geometry = look.build ? look.build(detail) : buildBody(look.plan, look.coat, detail);
    const attribute = new THREE.InstancedBufferAttribute(new Float32Array(4 * capacity), 4);
    attribute.setUsage(THREE.DynamicDrawUsage);
    geometry.setAttribute("animal", attribute);
    geometry.instanceCount = 0;
    const material = litMaterial(light, {
      vertexShader: HERD_VERTEX, fragmentShader: HERD_FRAGMENT, uniforms: {bones: {value: texture}, coat: {value: coatOf(look)}, smoothly: {value: detail ? 1 : 0}},
      side: look.doubleSided ? THREE.DoubleSide : THREE.FrontSide,
    });
    const mesh = new THREE.Mesh(geometry, material);
    mesh.frustumCulled = false;
    mesh.name = key;
    group.add(mesh);
    meshes.set(key, mesh);
    return mesh;
  }

  return {
    group,
    bones,
    begin() {
      for (const mesh of meshes.values()) mesh.geometry.instanceCount = 0;
    },
    /** Show the animal whose bones stand in a row. detail: 0 to 2; tint: brightness; ornament: mane or horns; variety: 0 to 1. */
    show(row, look, detail, tint, ornament, variety) {
      const {geometry} = meshOf(look, detail);
      geometry.attributes.animal.setXYZW(geometry.instanceCount, row, tint, ornament ? 1 : 0, variety);
      geometry.instanceCount += 1;
    },
    end() {
      texture.needsUpdate = true;
      for (const mesh of meshes.values()) {
        mesh.visible = mesh.geometry.instanceCount > 0;
        mesh.geometry.attributes.animal.needsUpdate = mesh.visible;
      }
    },
    dispose() {
      texture.dispose();
      for (const coat of coats.values()) coat.dispose();
      for (const mesh of meshes.values()) {
        mesh.geometry.dispose();
        mesh.material.dispose();
      }
    },
  };
}

/** Return the texture of a coat's marks, or one white pixel. */
function coatTexture(coat) {
  if (!coat.canvas) {
    const plain = new THREE.DataTexture(new Uint8Array([255, 255, 255, 255]), 1, 1, THREE.RGBAFormat);
    plain.needsUpdate = true;
    return plain;
  }
  const texture = new THREE.CanvasTexture(coat.canvas());
  texture.wrapS = texture.wrapT = THREE.RepeatWrapping;
  texture.flipY = false;
  texture.anisotropy = 2;
  texture.minFilter = THREE.LinearMipmapLinearFilter;
  return texture;
}
