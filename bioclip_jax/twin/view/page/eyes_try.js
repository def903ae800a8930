import {createEyes, PERSON} from "./eyes/eyes.js";
import {stripeCanvas} from "./world/stripes.js";
const renderer = new THREE.WebGLRenderer({antialias: true, preserveDrawingBuffer: true});
document.body.append(renderer.domElement);
const eyes = createEyes(renderer);
window.THREEPAGE = {renderer, eyes, PERSON, stripeCanvas};
const scene = new THREE.Scene();
scene.background = new THREE.Color(0x87b5e0).convertSRGBToLinear();
const texture = new THREE.CanvasTexture(stripeCanvas(1024, 512, 3));
texture.encoding = THREE.sRGBEncoding; texture.anisotropy = 8;
const ground = new THREE.Mesh(new THREE.PlaneGeometry(2000, 2000), new THREE.MeshLambertMaterial({color: new THREE.Color(0xb9a050).convertSRGBToLinear()}));
ground.rotation.x = -Math.PI / 2; scene.add(ground);
for (let i = 0; i < 60; i++) { const z = new THREE.Mesh(new THREE.BoxGeometry(1.6, 1, 0.5), new THREE.MeshLambertMaterial({map: texture}));
 const a = i * 0.41, d = 6 + i * 1.6; z.position.set(Math.sin(a) * d, 0.9, -Math.cos(a) * d); scene.add(z);
 const tree = new THREE.Mesh(new THREE.SphereGeometry(2, 8, 6), new THREE.MeshLambertMaterial({color: new THREE.Color(i % 3 ? 0x3c7a2e : 0xc04a2a).convertSRGBToLinear()})); tree.position.set(Math.sin(a+1)*d*2, 3, -Math.cos(a+1)*d*2); scene.add(tree);}
const z = new THREE.Mesh(new THREE.BoxGeometry(1.6, 1, 0.5), new THREE.MeshLambertMaterial({map: texture})); z.position.set(1, 0.9, -40); scene.add(z);
const hemi = new THREE.HemisphereLight(0xbfd8ff, 0x8a7a50, 0.6); const sunLight = new THREE.DirectionalLight(0xffffff, 0.8); sunLight.position.set(1, 2, 1.5); scene.add(hemi, sunLight);
const camera = new THREE.PerspectiveCamera(60, 1, 0.1, 1000); camera.position.set(0, 1.4, 0); camera.lookAt(1, 0.9, -40);
window.draw = (w, h, ratio, eye, elevation, options) => {
  const night = Math.min(1, Math.max(0.12, (elevation + 12) / 18)); hemi.intensity = 0.6 * night; sunLight.intensity = 0.8 * night;
  scene.background.setHex(0x87b5e0).convertSRGBToLinear().multiplyScalar(night);
  camera.aspect = w / h; camera.updateProjectionMatrix(); eyes.setSize(w, h, ratio); renderer.domElement.style.width = w + "px"; renderer.domElement.style.height = h + "px";
  const t = performance.now(); for (let n = 0; n < (options.n || 1); n++) eyes.render(scene, camera, eye, {elevation, azimuth: 0}, options);
  const g = renderer.getContext(); const px = new Uint8Array(4); g.readPixels(0,0,1,1,g.RGBA,g.UNSIGNED_BYTE,px); return (performance.now() - t) / (options.n || 1);
};
window.scene = scene; window.camera = camera;
