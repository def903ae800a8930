// Solids of the spider's world: a zebra's body, the jumping spider and flies, each one mesh with colored corners.

import {stripeCanvas} from "../world/stripes.js";

/** Return one geometry of parts [{geometry, color, matrix}], with colors at corners. */
export function mergeParts(parts) {
  const [positions, normals, colors] = [[], [], []];
  const point = new THREE.Vector3();
  const turned = new THREE.Matrix3();
  for (const {geometry, color, matrix} of parts) {
    const flat = geometry.index ? geometry.toNonIndexed() : geometry;
    const place = flat.getAttribute("position");
    const normal = flat.getAttribute("normal");
    const shade = new THREE.Color(color).convertSRGBToLinear();
    turned.getNormalMatrix(matrix);
    for (let corner = 0; corner < place.count; corner += 1) {
      point.fromBufferAttribute(place, corner).applyMatrix4(matrix);
      positions.push(point.x, point.y, point.z);
      point.fromBufferAttribute(normal, corner).applyMatrix3(turned).normalize();
      normals.push(point.x, point.y, point.z);
      colors.push(shade.r, shade.g, shade.b);
    }
  }
  const merged = new THREE.BufferGeometry();
  merged.setAttribute("position", new THREE.Float32BufferAttribute(positions, 3));
  merged.setAttribute("normal", new THREE.Float32BufferAttribute(normals, 3));
  merged.setAttribute("color", new THREE.Float32BufferAttribute(colors, 3));
  return merged;
}

/** Return a part: an ellipsoid of half axes `size` at `place`. */
export function ball(place, size, color) {
  const matrix = new THREE.Matrix4().compose(new THREE.Vector3(...place), new THREE.Quaternion(), new THREE.Vector3(...size));
  return {geometry: new THREE.SphereGeometry(1, 18, 12), color, matrix};
}

/** Return a part: a limb from one place to another, thick at its start and its end. */
export function limb(from, to, thick, thin, color) {
  const [a, b] = [new THREE.Vector3(...from), new THREE.Vector3(...to)];
  const along = b.clone().sub(a);
  const turn = new THREE.Quaternion().setFromUnitVectors(new THREE.Vector3(0, 1, 0), along.clone().normalize());
  const matrix = new THREE.Matrix4().compose(a.clone().addScaledVector(along, 0.5), turn, new THREE.Vector3(1, 1, 1));
  return {geometry: new THREE.CylinderGeometry(thin, thick, along.length(), 8), color, matrix};
}

/**
 * Return a zebra's group in cm, side-on along x with its head at +x, its flank's middle at the origin, its near side at
 * +z. `barrel` in it is scaled to breathe.
 */
export function zebraBody() {
  const texture = new THREE.CanvasTexture(stripeCanvas(2048, 1024, 4));
  texture.encoding = THREE.sRGBEncoding;
  texture.anisotropy = 4;
  const barrel = new THREE.Mesh(barrelGeometry(), new THREE.MeshLambertMaterial({map: texture}));
  const parts = [
    ball([88, 42, 0], [19, 11, 8], "#4a4038"),
    ball([102, 38, 0], [9, 7, 6], "#241e1a"),
    limb([52, 16, 0], [82, 46, 0], 17, 9, "#8a8074"),
    ...[[-52, 9], [-44, -9], [46, 9], [54, -9]].flatMap(([x, z]) => [
      limb([x, -18, z], [x + 3, -58, z], 9, 5, "#8d8478"),
      limb([x + 3, -58, z], [x, -98, z], 4.5, 3.2, "#59524a"),
    ]),
    limb([-72, 14, 0], [-82, -34, 0], 3, 2, "#3c342d"),
  ];
  const rest = new THREE.Mesh(mergeParts(parts), new THREE.MeshLambertMaterial({vertexColors: true}));
  const group = new THREE.Group();
  group.add(barrel, rest);
  return {group, barrel};
}

/** Return a barrel of 150 cm along x that narrows toward neck and rump; u runs along it, v from belly to back. */
function barrelGeometry() {
  const [rings, sides] = [48, 40];
  const [positions, uvs, indices] = [[], [], []];
  for (let ring = 0; ring <= rings; ring += 1) {
    const t = ring / rings;
    const width = Math.sin(Math.PI * Math.min(1, Math.max(0, 0.02 + 0.96 * t))) ** 0.38;
    for (let side = 0; side <= sides; side += 1) {
      const angle = (2 * Math.PI * side) / sides;
      positions.push(150 * (t - 0.5), -36 * width * Math.cos(angle) + 3 * Math.sin(Math.PI * t), 30 * width * Math.sin(angle));
      uvs.push(t, side <= sides / 2 ? (2 * side) / sides : 2 - (2 * side) / sides);
    }
  }
  for (let ring = 0; ring < rings; ring += 1) {
    for (let side = 0; side < sides; side += 1) {
      const at = ring * (sides + 1) + side;
      indices.push(at, at + sides + 1, at + 1, at + 1, at + sides + 1, at + sides + 2);
    }
  }
  const geometry = new THREE.BufferGeometry();
  geometry.setAttribute("position", new THREE.Float32BufferAttribute(positions, 3));
  geometry.setAttribute("uv", new THREE.Float32BufferAttribute(uvs, 2));
  geometry.setIndex(indices);
  geometry.computeVertexNormals();
  return geometry;
}

/** Return a jumping spider 1 cm long that stands at y = 0 and looks toward -z, its eyes at the origin's height 0.3. */
export function spiderBody() {
  const [dark, band, pale, eye] = ["#2b2019", "#e9dfc9", "#8a6a48", "#0a0d10"];
  const parts = [
    ball([0, 0.27, 0.2], [0.2, 0.15, 0.25], dark),
    ball([0, 0.29, 0.02], [0.19, 0.14, 0.1], dark),
    ball([0, 0.36, 0.2], [0.12, 0.07, 0.16], band),
    ball([0, 0.26, 0.68], [0.2, 0.17, 0.3], dark),
    ...[0.52, 0.7, 0.86].map((z) => ball([0, 0.3, z], [0.185 - 0.03 * Math.abs(z - 0.68) * 4, 0.145, 0.045], band)),
    ...[-1, 1].flatMap((side) => [
      ball([side * 0.075, 0.31, -0.075], [0.068, 0.068, 0.05], eye),
      ball([side * 0.06, 0.335, -0.12], [0.016, 0.016, 0.01], "#ffffff"),
      ball([side * 0.155, 0.33, -0.03], [0.036, 0.036, 0.03], eye),
      ball([side * 0.165, 0.38, 0.22], [0.034, 0.034, 0.034], eye),
      limb([side * 0.05, 0.22, -0.06], [side * 0.06, 0.08, -0.12], 0.035, 0.03, pale),
      ...[-0.1, 0.08, 0.2, 0.32].flatMap((z, pair) => spiderLeg(side, z, pair, dark, pale)),
    ]),
  ];
  return new THREE.Mesh(mergeParts(parts), new THREE.MeshLambertMaterial({vertexColors: true}));
}

/** Return the parts of a leg of pair 0 (in front) to 3: thigh up and out, shank down, foot to the ground. */
function spiderLeg(side, z, pair, dark, pale) {
  const reach = [-0.34, -0.1, 0.2, 0.5][pair];
  const thick = pair === 0 ? 0.055 : 0.042;
  const knee = [side * (0.36 + 0.03 * pair), 0.4, z + 0.4 * reach];
  const ankle = [side * (0.52 - 0.04 * (pair === 0)), 0.15, z + 0.8 * reach];
  const foot = [side * (0.6 - 0.08 * (pair === 0)), 0.01, z + 1.05 * reach];
  return [
    limb([side * 0.14, 0.2, z], knee, thick, thick * 0.85, dark),
    ball(knee, [thick, thick, thick], pale),
    limb(knee, ankle, thick * 0.8, thick * 0.6, pale),
    limb(ankle, foot, thick * 0.55, thick * 0.3, dark),
  ];
}

/** Return a fly 0.7 cm long. */
export function flyBody() {
  const parts = [
    ball([0, 0.14, 0], [0.11, 0.1, 0.13], "#33363d"),
    ball([0, 0.13, 0.22], [0.11, 0.1, 0.18], "#5a5238"),
    ball([0, 0.15, -0.16], [0.09, 0.085, 0.07], "#7a2418"),
    ...[-1, 1].map((side) => ball([side * 0.14, 0.2, 0.22], [0.1, 0.008, 0.25], "#c8ccd2")),
    ...[-1, 1].flatMap((side) => [-0.08, 0.02, 0.12].map((z) => limb([side * 0.06, 0.09, z], [side * 0.2, 0, z * 1.6], 0.014, 0.01, "#201d1a"))),
  ];
  return new THREE.Mesh(mergeParts(parts), new THREE.MeshLambertMaterial({vertexColors: true}));
}
