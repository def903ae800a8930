// The two kinds of a jumping spider's eyes: a blurred surround that shows what moves, and a sharp spot that is steered.

import {blurDegrees, createAcuity} from "../eyes/acuity.js";
import {adaptation} from "../eyes/light.js";
import {catches, colorMatrix} from "../eyes/pigments.js";
import {SCREEN_CODE, drawQuad, drawScene, eyeTarget, quadMaterial} from "../eyes/quad.js";

const SPOT_DEGREES = 5;
const SPOT_VIEW_DEGREES = 7;
const SPOT_PIXELS = 192;
const SURROUND_ROWS = 200;
// Of the secondary eyes, assumed: receptors about a degree apart.
const SURROUND_ACUITY = 0.5;
const ADAPT_S = 0.9;
const TRACE_S = 7;
const RADIAN = Math.PI / 180;

// Red holds the brightness now, green what the eye has adapted to.
const MOTION_SHADER = `
uniform sampler2D seen;
uniform sampler2D before;
uniform vec3 catchOf;
uniform float share;
varying vec2 place;
void main() {
  float light = dot(texture2D(seen, place).rgb, catchOf);
  float adapted = texture2D(before, place).g;
  gl_FragColor = vec4(light, mix(adapted, light, share), 0.0, 1.0);
}`;
const SPOT_GLSL = `
uniform vec2 gaze;
uniform vec2 tangents;
uniform vec2 spotTangents;
vec2 towardSpot(vec2 at) {
  // Directions near the gaze, as tangents from the middle of the spot's own view.
  vec3 ray = normalize(vec3((2.0 * at - 1.0) * tangents, -1.0));
  float s = sin(gaze.x), c = cos(gaze.x);
  ray = vec3(c * ray.x + s * ray.z, ray.y, -s * ray.x + c * ray.z);
  float t = sin(gaze.y), d = cos(gaze.y);
  ray = vec3(ray.x, d * ray.y + t * ray.z, -t * ray.y + d * ray.z);
  return ray.z < -0.1 ? ray.xy / -ray.z : vec2(9.0);
}`;
const TRACE_SHADER = `
uniform sampler2D spot;
uniform sampler2D before;
uniform mat3 color;
uniform float fade;
uniform float radius;
varying vec2 place;
${SPOT_GLSL}
${SCREEN_CODE}
void main() {
  vec4 old = texture2D(before, place);
  vec2 away = towardSpot(place);
  float inside = 1.0 - smoothstep(0.86 * radius, radius, length(away));
  vec3 c = texture2D(spot, 0.5 + 0.5 * away / spotTangents).rgb;
  gl_FragColor = vec4(mix(old.rgb, color * c, inside), max(inside, old.a * fade));
}`;
const SURROUND_SHADER = `
uniform sampler2D motion;
uniform sampler2D trace;
uniform sampler2D spot;
uniform mat3 color;
uniform float radius;
uniform float gain;
uniform float still;
varying vec2 place;
${SPOT_GLSL}
${SCREEN_CODE}
void main() {
  vec2 light = texture2D(motion, place).rg;
  float moved = abs(light.r - light.g) / (light.g + 0.06);
  float awake = clamp(moved * still, 0.0, 1.0);
  vec3 dim = light.r * vec3(0.17, 0.19, 0.23);
  vec3 bright = (0.13 + 1.0 * light.r) * vec3(0.82, 0.95, 0.72);
  vec3 seen = mix(dim, bright, awake);
  vec4 old = texture2D(trace, place);
  seen = mix(seen, old.rgb * 0.8, 0.85 * old.a);
  vec2 away = towardSpot(place);
  float ring = length(away);
  if (ring < radius * 1.08) {
    vec3 sharp = color * texture2D(spot, 0.5 + 0.5 * away / spotTangents).rgb;
    seen = mix(sharp, seen, smoothstep(0.94 * radius, radius, ring));
    seen += vec3(0.9, 0.75, 0.4) * 0.5 * smoothstep(0.93, 0.98, ring / radius) * (1.0 - smoothstep(1.0, 1.06, ring / radius));
  }
  gl_FragColor = vec4(toScreen(seen * gain), 1.0);
}`;

/**
 * Make the spider's eyes: {setSize(width, height, ratio), render(scene, camera, gaze {yaw, pitch in radians}, eye, sun, dt,
 * still), clear(), dispose()}. The surround is what the secondary eyes meet: green light, blurred, and faded where nothing
 * moves; the spot what the principal eyes meet. Where the spot has been stays for some seconds: that is the page's, since
 * nobody knows what the spider keeps of it. `still` is reduced motion: changes show weaker.
 */
export function createSpiderEyes(renderer) {
  const acuity = createAcuity(renderer);
  const spotCamera = new THREE.PerspectiveCamera(SPOT_VIEW_DEGREES, 1, 0.03, 90000);
  const common = {
    gaze: {value: new THREE.Vector2()},
    tangents: {value: new THREE.Vector2()},
    spotTangents: {value: new THREE.Vector2(1, 1).multiplyScalar(Math.tan((SPOT_VIEW_DEGREES / 2) * RADIAN))},
    color: {value: new THREE.Matrix3()},
    radius: {value: Math.tan((SPOT_DEGREES / 2) * RADIAN)},
    spot: {value: null},
  };
  const motion = quadMaterial(MOTION_SHADER, {seen: {value: null}, before: {value: null}, catchOf: {value: new THREE.Vector3()}, share: {value: 1}});
  const trace = quadMaterial(TRACE_SHADER, {...common, before: {value: null}, fade: {value: 1}});
  const picture = quadMaterial(SURROUND_SHADER, {...common, motion: {value: null}, trace: {value: null}, gain: {value: 1}, still: {value: 1}});
  let targets = null;
  let [width, height] = [1, 1];
  let fresh = true;

  const dropTargets = () => {
    for (const one of targets ? [targets.surround, targets.spot, ...targets.motion, ...targets.trace] : []) one.dispose();
    targets = null;
  };
  const pass = (material, pair) => {
    material.uniforms.before.value = pair[0].texture;
    drawQuad(renderer, material, pair[1]);
    pair.reverse();
    return pair[0].texture;
  };
  return {
    setSize(w, h, ratio) {
      [width, height] = [w, h];
      dropTargets();
      acuity.clear();
      const columns = Math.max(8, Math.round((SURROUND_ROWS * w) / h));
      const pair = (x, y) => [eyeTarget(x, y), eyeTarget(x, y)];
      const traceSize = [w, h].map((side) => Math.max(8, Math.round(side * Math.min(1, ratio) * 0.6)));
      targets = {
        surround: eyeTarget(columns, SURROUND_ROWS, {scene: true}),
        spot: eyeTarget(SPOT_PIXELS, SPOT_PIXELS, {scene: true}),
        motion: pair(columns, SURROUND_ROWS),
        trace: pair(...traceSize),
      };
      fresh = true;
    },
    /** Forget what was seen. */
    clear() {
      fresh = true;
    },
    render(scene, camera, gaze, eye, sun, dt, still) {
      const rows = colorMatrix(eye.cones);
      common.color.value.set(...rows[0], ...rows[1], ...rows[2]);
      common.gaze.value.set(gaze.yaw, gaze.pitch);
      const tangent = Math.tan((camera.fov / 2) * RADIAN);
      common.tangents.value.set(tangent * camera.aspect, tangent);
      const {surround, spot} = targets;
      drawScene(renderer, scene, camera, surround);
      const blurred = acuity.blur(
        surround.texture, surround.width, surround.height, (blurDegrees(SURROUND_ACUITY) * RADIAN * SURROUND_ROWS) / 2 / tangent);
      const green = eye.cones.find((cone) => cone.peak_nm > 450) || {peak_nm: 530};
      motion.uniforms.seen.value = blurred;
      motion.uniforms.catchOf.value.set(...catches(green.peak_nm));
      motion.uniforms.share.value = fresh ? 1 : 1 - Math.exp(-dt / ADAPT_S);
      picture.uniforms.motion.value = pass(motion, targets.motion);

      spotCamera.position.copy(camera.position);
      spotCamera.quaternion.copy(camera.quaternion);
      spotCamera.rotateY(-gaze.yaw);
      spotCamera.rotateX(gaze.pitch);
      spotCamera.updateMatrixWorld();
      drawScene(renderer, scene, spotCamera, spot);
      const spotTangent = Math.tan((SPOT_VIEW_DEGREES / 2) * RADIAN);
      common.spot.value = acuity.blur(
        spot.texture, SPOT_PIXELS, SPOT_PIXELS, (blurDegrees(eye.acuity) * RADIAN * SPOT_PIXELS) / 2 / spotTangent);
      trace.uniforms.fade.value = fresh ? 0 : Math.exp(-dt / TRACE_S);
      picture.uniforms.trace.value = pass(trace, targets.trace);
      const {gain, cones} = adaptation(eye, sun);
      picture.uniforms.gain.value = gain * (0.7 + 0.3 * cones);
      picture.uniforms.still.value = still ? 1.6 : 3.2;
      renderer.setViewport(0, 0, width, height);
      drawQuad(renderer, picture, null);
      fresh = false;
    },
    dispose() {
      dropTargets();
      for (const one of [acuity, motion, trace, picture]) one.dispose();
    },
  };
}
