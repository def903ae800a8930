// All animals of a world in a few draw calls: one mesh a coat and detail, bones of all animals in one texture.
import {buildBody} from "./build_body.js";
import {BONE_COUNT} from "./rig.js";
import {FINISH_GLSL, litMaterial} from "./light.js";

/** Texels of an animal: three a bone, and one of tint, ornament, variety. */
const TEXELS = BONE_COUNT * 3 + 1;
/** Copies of a body in one geometry by detail. Software renderers draw instances one by one, but copies at once. */
const COPIES = [60, 40, 12, 4];

const HERD_VERTEX = `
uniform highp sampler2D bones;
uniform float smoothly;
uniform float firstRow;
attribute vec3 color;
attribute vec3 skin;
attribute float copy;
varying vec3 vColor;
varying vec2 vCoat;
void main() {
  int row = int(firstRow + copy + 0.5);
  vec4 animal = texelFetch(bones, ivec2(TEXELS - 1, row), 0);
  float ornament = step(1.5, skin.z);
  float weight = skin.z - 2.0 * ornament;
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

/** Return {group, bones (rows of 28 matrices), begin(), show(row, look, ...), end(), dispose()}. */
export function createHerdMesh(light, capacity) {
  const bones = new Float32Array(capacity * BONE_COUNT * 12);
  const texels = new Float32Array(capacity * TEXELS * 4);
  const texture = new THREE.DataTexture(texels, TEXELS, capacity, THREE.RGBAFormat, THREE.FloatType);
  const group = new THREE.Group();
  const kinds = new Map();
  const coats = new Map();

  function coatOf(look) {
    const key = look.coat.canvas ? look.name : "plain";
    if (!coats.has(key)) coats.set(key, coatTexture(look.coat));
    return coats.get(key);
  }

  /** Return a look's {geometry, meshes, shown} in a detail; every mesh draws so many copies. */
  function kindOf(look, detail) {
    const key = look.name + detail;
    if (!kinds.has(key)) {
      const single = look.build ? look.build(detail) : buildBody(look.plan, look.coat, detail);
      kinds.set(key, {look, detail, length: single.index.count, geometry: copied(single, COPIES[detail]), meshes: [], shown: []});
    }
    return kinds.get(key);
  }

  /** Return a kind's mesh of a number; each has its own range of copies and first row. */
  function meshOf(kind, number) {
    if (kind.meshes[number]) return kind.meshes[number];
    const geometry = new THREE.BufferGeometry();
    for (const [name, attribute] of Object.entries(kind.geometry.attributes)) geometry.setAttribute(name, attribute);
    geometry.setIndex(kind.geometry.index);
    const material = litMaterial(light, {
      vertexShader: HERD_VERTEX, fragmentShader: HERD_FRAGMENT, defines: {TEXELS},
      uniforms: {bones: {value: texture}, coat: {value: coatOf(kind.look)}, smoothly: {value: kind.detail > 1 ? 1 : 0}, firstRow: {value: 0}},
    });
    const mesh = new THREE.Mesh(geometry, material);
    mesh.frustumCulled = false;
    group.add(mesh);
    kind.meshes[number] = mesh;
    return mesh;
  }

  /** Put an animal's texels into a row of the texture. */
  function write(row, [animal, tint, ornament, variety]) {
    const from = animal * BONE_COUNT * 12;
    const to = row * TEXELS * 4;
    texels.set(bones.subarray(from, from + BONE_COUNT * 12), to);
    texels.set([animal, tint, ornament ? 1 : 0, variety], to + BONE_COUNT * 12);
  }

  return {
    group,
    bones,
    begin() {
      for (const kind of kinds.values()) kind.shown.length = 0;
    },
    /** Show the animal of a row of bones. detail: 0 to 3; tint: brightness; ornament: mane or horns; variety: 0 to 1. */
    show(row, look, detail, tint, ornament, variety) {
      kindOf(look, detail).shown.push([row, tint, ornament, variety]);
    },
    end() {
      let row = 0;
      for (const kind of kinds.values()) {
        const copies = COPIES[kind.detail];
        const needed = Math.ceil(kind.shown.length / copies);
        kind.meshes.forEach((mesh, number) => {
          mesh.visible = number < needed;
        });
        for (let number = 0; number < needed; number += 1) {
          const part = kind.shown.slice(number * copies, (number + 1) * copies);
          const mesh = meshOf(kind, number);
          mesh.visible = true;
          mesh.material.uniforms.firstRow.value = row;
          mesh.geometry.setDrawRange(0, part.length * kind.length);
          part.forEach((animal, index) => write(row + index, animal));
          row += part.length;
        }
      }
      texture.needsUpdate = true;
    },
    dispose() {
      texture.dispose();
      for (const coat of coats.values()) coat.dispose();
      for (const {meshes} of kinds.values()) {
        for (const mesh of meshes) {
          mesh.geometry.dispose();
          mesh.material.dispose();
        }
      }
    },
  };
}

/** Return a geometry repeated so many times, with the number of the copy at each vertex. */
function copied(single, copies) {
  const geometry = new THREE.BufferGeometry();
  const count = single.attributes.position.count;
  for (const [name, {array, itemSize}] of Object.entries(single.attributes)) {
    const all = new Float32Array(array.length * copies);
    for (let copy = 0; copy < copies; copy += 1) all.set(array, copy * array.length);
    geometry.setAttribute(name, new THREE.BufferAttribute(all, itemSize));
  }
  const numbers = new Float32Array(count * copies);
  const indices = new Uint32Array(single.index.count * copies);
  for (let copy = 0; copy < copies; copy += 1) {
    numbers.fill(copy, copy * count, (copy + 1) * count);
    for (let at = 0; at < single.index.count; at += 1) indices[copy * single.index.count + at] = single.index.array[at] + copy * count;
  }
  geometry.setAttribute("copy", new THREE.BufferAttribute(numbers, 1));
  geometry.setIndex(new THREE.BufferAttribute(indices, 1));
  return geometry;
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
