// The sky: gradient, glow and disc of the sun, moon, stars and thin clouds, on a dome that follows the viewer.
import {LIGHT_GLSL} from "./light.js";
import {fractalNoise, seededRandom} from "./random.js";

const SKY_VERTEX = `
${LIGHT_GLSL}
uniform vec3 discDirection;
uniform float night;
varying vec3 vToward;
varying vec3 vColor;
varying vec4 vCloud;
void main() {
  vec3 toward = normalize(position);
  float height = max(0.0, toward.y);
  float near = max(0.0, dot(toward, discDirection));
  float low = 1.0 - smoothstep(0.0, 0.55, height);
  float day = 1.0 - night;
  vec3 color = mix(horizonColor, zenithColor, smoothstep(0.0, 1.0, pow(height, 0.45)));
  color += sunColor * (0.16 * pow(near, 7.0) * low + 0.1 * pow(near, 40.0)) * max(day, 0.25);
  float dusk = smoothstep(0.3, -0.06, discDirection.y) * smoothstep(-0.22, -0.04, discDirection.y);
  color += vec3(0.36, 0.11, 0.02) * pow(near, 2.0) * low * dusk;
  float moon = max(0.0, dot(toward, sunDirection));
  color += night * vec3(0.05, 0.06, 0.09) * pow(moon, 60.0);
  vColor = color;
  vToward = toward;
  vec3 lit = mix(horizonColor, vec3(1.0), 0.5 * day) * (0.3 + 0.62 * day) + vec3(0.4, 0.14, 0.05) * dusk * near;
  vCloud = vec4(min(lit, vec3(1.0)), smoothstep(0.03, 0.3, height) * mix(0.25, 0.55, day));
  vec4 place = projectionMatrix * viewMatrix * vec4(cameraPosition + toward * 4000.0, 1.0);
  gl_Position = place.xyww;
}`;

const SKY_FRAGMENT = `
uniform vec3 discDirection;
uniform vec3 sunDirection;
uniform float night;
uniform sampler2D clouds;
varying vec3 vToward;
varying vec3 vColor;
varying vec4 vCloud;
void main() {
  vec2 sheet = vToward.xz * (0.11 / (max(vToward.y, 0.0) + 0.12));
  vec3 color = mix(vColor, vCloud.rgb, texture2D(clouds, sheet).r * vCloud.a);
  float size = inversesqrt(dot(vToward, vToward));
  color += vec3(1.0, 0.86, 0.6) * 3.0 * smoothstep(0.99982, 0.99992, dot(vToward, discDirection) * size) * (1.0 - night);
  color += vec3(0.85, 0.88, 0.95) * smoothstep(0.99984, 0.99991, dot(vToward, sunDirection) * size) * night;
  gl_FragColor = vec4(color, 1.0);
  #include <encodings_fragment>
}`;

const STAR_VERTEX = `
attribute float magnitude;
uniform float starlight;
varying float vBright;
void main() {
  vBright = magnitude * starlight * smoothstep(0.02, 0.25, position.y);
  gl_PointSize = 1.0 + 1.1 * magnitude;
  vec4 place = projectionMatrix * viewMatrix * vec4(cameraPosition + position * 3900.0, 1.0);
  gl_Position = place.xyww;
}`;

const STAR_FRAGMENT = `
varying float vBright;
void main() {
  gl_FragColor = vec4(vec3(0.95, 0.97, 1.0), vBright);
  #include <encodings_fragment>
}`;

/** Return {group, update(), dispose()}. */
export function createSky(light, seed) {
  const group = new THREE.Group();
  const clouds = cloudTexture(seed);
  const dome = new THREE.Mesh(
    new THREE.SphereGeometry(1, 24, 22, 0, 2 * Math.PI, 0, 0.56 * Math.PI),
    new THREE.ShaderMaterial({
      uniforms: {...light.uniforms, clouds: {value: clouds}}, vertexShader: SKY_VERTEX, fragmentShader: SKY_FRAGMENT,
      side: THREE.BackSide, depthWrite: false,
    }),
  );
  // Drawn last of the opaque, so that hidden sky costs nothing.
  dome.renderOrder = 5;
  dome.frustumCulled = false;
  const stars = starPoints(light, seed);
  group.add(dome, stars);
  return {
    group,
    update() {
      stars.visible = light.uniforms.starlight.value > 0.01;
    },
    dispose() {
      clouds.dispose();
      for (const part of [dome, stars]) {
        part.geometry.dispose();
        part.material.dispose();
      }
    },
  };
}

function starPoints(light, seed) {
  const random = seededRandom(seed + 77);
  const [places, magnitudes] = [[], []];
  for (let star = 0; star < 900; star += 1) {
    const y = random();
    const angle = random() * 2 * Math.PI;
    const radius = Math.sqrt(1 - y * y);
    places.push(radius * Math.cos(angle), y, radius * Math.sin(angle));
    magnitudes.push(0.25 + 0.75 * random() ** 3);
  }
  const geometry = new THREE.BufferGeometry();
  geometry.setAttribute("position", new THREE.Float32BufferAttribute(places, 3));
  geometry.setAttribute("magnitude", new THREE.Float32BufferAttribute(magnitudes, 1));
  const material = new THREE.ShaderMaterial({
    uniforms: {starlight: light.uniforms.starlight}, vertexShader: STAR_VERTEX, fragmentShader: STAR_FRAGMENT,
    transparent: true, depthWrite: false,
  });
  const stars = new THREE.Points(geometry, material);
  stars.frustumCulled = false;
  stars.renderOrder = 6;
  return stars;
}

function cloudTexture(seed) {
  const size = 128;
  const bytes = new Uint8Array(size * size);
  for (let row = 0, at = 0; row < size; row += 1) {
    for (let column = 0; column < size; column += 1, at += 1) {
      // Mirrored at the middle, so that the sheet repeats without seams.
      const x = 1 - Math.abs((2 * column) / size - 1);
      const y = 1 - Math.abs((2 * row) / size - 1);
      const value = fractalNoise(x * 5, y * 9, seed, 4);
      bytes[at] = 255 * Math.min(1, Math.max(0, (value - 0.5) * 3.2));
    }
  }
  const texture = new THREE.DataTexture(bytes, size, size, THREE.LuminanceFormat);
  texture.wrapS = texture.wrapT = THREE.RepeatWrapping;
  texture.minFilter = texture.magFilter = THREE.LinearFilter;
  texture.needsUpdate = true;
  return texture;
}
