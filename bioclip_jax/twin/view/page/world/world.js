// The world of a scene: landscape, light and animals as one THREE.Scene, which others draw.
import {createGrass} from "./grass.js";
import {createHerd} from "./herd.js";
import {createLight} from "./light.js";
import {createPlants} from "./plants.js";
import {createShadows} from "./shadows.js";
import {createSky} from "./sky.js";
import {createTerrain} from "./terrain.js";
import {createWater} from "./water.js";

/**
 * Return {scene, animals, light, ground, update(time, view, seconds, around), setSun(sun), headOf(index, position, quaternion),
 * hide(index), clear(meters), pick(x, y, camera), dispose()}. view: a camera, whose frustum is drawn, or a point to look
 * around from; around: animals near behind it are drawn too; x east, y up, z south, in meters. Matrices of the camera must be up to date.
 * options: quality 0 to 1, reducedMotion.
 */
export function createWorld(landscape, track, species, {quality = 1, reducedMotion = false} = {}) {
  const seed = Math.round(landscape.extent) + landscape.trees.length;
  const scene = new THREE.Scene();
  scene.autoUpdate = false;
  const light = createLight();
  const still = reducedMotion;
  const sky = createSky(light, seed);
  const terrain = createTerrain(light, landscape);
  const ground = terrain.heightAt;
  const grass = createGrass(light, landscape, ground, {quality, still});
  const plants = createPlants(light, landscape, ground, {seed, still});
  const water = createWater(light, landscape, {still});
  const herd = createHerd(light, ground, track, species);
  const shadows = createShadows(light, track.animals.length + landscape.trees.length);
  scene.add(herd.group, grass.group, plants.group, terrain.group, water.mesh, sky.group, shadows.mesh);
  const parts = [sky, terrain, grass, plants, water, herd, shadows];
  const found = new THREE.Vector3();

  function castShadows(focus) {
    shadows.begin();
    herd.bodies.forEach((body) => {
      if (!body.state || body.fly > 0.5) return;
      if (Math.hypot(body.x - focus.x, body.z - focus.z) > 260) return;
      const k = body.scale;
      const wide = body.dead > 0.5 ? 0.55 : 0.34;
      shadows.cast(body.x, body.y, body.z, body.heading, 0.74 * k, wide * k, k * (1 - 0.45 * body.rest), Math.tan(body.slope));
    });
    landscape.trees.forEach((tree) => {
      if (Math.hypot(tree.x - focus.x, -tree.y - focus.z) > 350) return;
      const spread = tree.height * (tree.kind === 2 ? 0.5 : 0.45);
      shadows.cast(tree.x, ground(tree.x, tree.y), -tree.y, 0, spread, spread, tree.height * 0.7, 0);
    });
    shadows.end();
  }

  return {
    scene,
    light,
    ground,
    animals: herd.bodies,
    headOf: herd.headOf,
    hide: herd.hide,
    clear: herd.clear,
    setSun: light.set,
    update(time, view, seconds = time, around = false) {
      const focus = view.isCamera ? view.position : view;
      light.uniforms.clock.value = seconds % 1000;
      herd.update(time, view, around);
      grass.update(view);
      plants.update(focus);
      sky.update();
      castShadows(focus);
    },
    /** Return the index of the animal nearest to a point of the screen (both -1 to 1), or -1. */
    pick(x, y, camera, reach = 0.06) {
      let best = -1;
      let least = reach;
      herd.bodies.forEach((body, index) => {
        if (!body.state) return;
        found.set(body.x, body.y + 0.6 * body.scale, body.z);
        const distance = found.distanceTo(camera.position);
        found.project(camera);
        if (found.z > 1) return;
        const own = Math.hypot((found.x - x) * camera.aspect, found.y - y) - (1.2 * body.scale) / distance;
        if (own < least) [best, least] = [index, own];
      });
      return best;
    },
    dispose() {
      parts.forEach((part) => part.dispose());
      scene.clear();
    },
  };
}
