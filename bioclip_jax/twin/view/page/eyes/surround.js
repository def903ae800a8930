// The whole circle around an animal as a strip: what both eyes cover, where they overlap, and the blind zone.

import {eyeTarget} from "./quad.js";

const STRIP_TILES = 4;
/** Half of the height of the strip in radians. */
export const STRIP_HALF_HEIGHT = Math.PI / 6;
/** Tangent of half a tile's height: the strip's corners stand at 45 degrees from a tile's middle. */
export const TILE_TANGENT = Math.tan(STRIP_HALF_HEIGHT) / Math.cos(Math.PI / 4);

/**
 * Make the strip's picture: four square-angled views side by side, one of which is drawn anew per call, since what
 * lies beside changes slowly and each view costs a rendering of the scene.
 */
export function createSurround(renderer) {
  const camera = new THREE.PerspectiveCamera((2 * Math.atan(TILE_TANGENT) * 180) / Math.PI, 1 / TILE_TANGENT, 0.05, 1500);
  const forward = new THREE.Vector3();
  let target = null;
  let turn = 0;
  let drawn = 0;
  let tileWidth = 0;
  let tileHeight = 0;
  return {
    texture: () => target.texture,
    setSize(stripWidth) {
      tileWidth = Math.max(32, Math.round(stripWidth / STRIP_TILES));
      tileHeight = Math.round(tileWidth * TILE_TANGENT);
      if (target) target.dispose();
      target = eyeTarget(STRIP_TILES * tileWidth, tileHeight, {scene: true});
      target.scissorTest = true;
      drawn = 0;
    },
    /** Draw the next tile of those that a field of `horizontal` degrees needs, seen from a camera, with a level gaze. */
    draw(scene, from, horizontal) {
      from.getWorldDirection(forward);
      const gaze = Math.atan2(forward.x, forward.z);
      from.getWorldPosition(camera.position);
      camera.near = from.near;
      camera.far = from.far;
      camera.updateProjectionMatrix();
      const whole = horizontal > 270;
      const needed = whole ? [0, 1, 2, 3] : [0, 1, 3];
      const count = drawn < needed.length ? needed.length : 1;
      const before = renderer.autoClear;
      renderer.autoClear = true;
      for (let n = 0; n < count; n += 1) {
        const tile = needed[turn % needed.length];
        turn += 1;
        drawn += 1;
        const angle = gaze - (tile * Math.PI) / 2;
        camera.lookAt(camera.position.x + Math.sin(angle), camera.position.y, camera.position.z + Math.cos(angle));
        camera.updateMatrixWorld();
        target.viewport.set(tile * tileWidth, 0, tileWidth, tileHeight);
        target.scissor.set(tile * tileWidth, 0, tileWidth, tileHeight);
        renderer.setRenderTarget(target);
        renderer.render(scene, camera);
      }
      renderer.setRenderTarget(null);
      renderer.autoClear = before;
    },
    dispose() {
      if (target) target.dispose();
    },
  };
}
