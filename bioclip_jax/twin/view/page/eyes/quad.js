// Targets, and what is drawn to them: scenes, and passes over images by a fragment shader on a rectangle that fills a target.

const QUAD_VERTEX = `
varying vec2 place;
void main() {
  place = uv;
  gl_Position = vec4(position.xy, 0.0, 1.0);
}`;
/**
 * GLSL toLinear and toScreen: the code of sRGB (IEC 61966-2-1) in a polynomial and in roots, fitted by least squares, since
 * powers are slow in software; there and back differs from the standard by at most 2 of 255 steps.
 */
export const SCREEN_CODE = `
vec3 toLinear(vec3 c) { return c * (0.03674 + c * (0.58769 + c * 0.37557)); }
vec3 toScreen(vec3 c) {
  c = clamp(c, 0.0, 1.0);
  vec3 root = sqrt(c);
  return max(1.30544 * root - 0.07964 * sqrt(root) - 0.23365 * c, 0.0);
}`;
const onePass = {scene: null, camera: null, mesh: null};

/** Return a material of a pass; its fragment shader reads `place`, 0 to 1 across and up. */
export function quadMaterial(fragmentShader, uniforms) {
  return new THREE.ShaderMaterial({
    vertexShader: QUAD_VERTEX,
    fragmentShader,
    uniforms,
    depthTest: false,
    depthWrite: false,
    toneMapped: false,
  });
}

/**
 * Return a target: of linear light in half floats, or of a scene in screen code in bytes, smooth at edges, if `scene`:
 * smoothing half floats takes five times as long in software.
 */
export function eyeTarget(width, height, options = {}) {
  const Target = options.scene ? THREE.WebGLMultisampleRenderTarget : THREE.WebGLRenderTarget;
  const target = new Target(width, height, {
    type: options.scene ? THREE.UnsignedByteType : THREE.HalfFloatType,
    encoding: options.scene ? THREE.sRGBEncoding : THREE.LinearEncoding,
    format: THREE.RGBAFormat,
    minFilter: THREE.LinearFilter,
    magFilter: THREE.LinearFilter,
    depthBuffer: Boolean(options.depth || options.scene),
    stencilBuffer: false,
  });
  if (options.scene) target.samples = 4;
  return target;
}

/** Draw a scene to a target, which is cleared first. */
export function drawScene(renderer, scene, camera, target) {
  const before = renderer.autoClear;
  renderer.autoClear = true;
  renderer.setRenderTarget(target);
  renderer.render(scene, camera);
  renderer.setRenderTarget(null);
  renderer.autoClear = before;
}

/** Draw a pass to a target, or to the canvas for null. */
export function drawQuad(renderer, material, target) {
  if (!onePass.scene) {
    onePass.scene = new THREE.Scene();
    onePass.camera = new THREE.Camera();
    onePass.mesh = new THREE.Mesh(new THREE.PlaneGeometry(2, 2), material);
    onePass.mesh.frustumCulled = false;
    onePass.scene.add(onePass.mesh);
  }
  onePass.mesh.material = material;
  const before = renderer.autoClear;
  renderer.autoClear = false;
  renderer.setRenderTarget(target);
  renderer.render(onePass.scene, onePass.camera);
  renderer.setRenderTarget(null);
  renderer.autoClear = before;
}
