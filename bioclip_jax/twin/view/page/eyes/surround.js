// The whole circle around an animal as a strip: what both eyes cover, where they overlap, and the blind zone.

import {drawScene, eyeTarget} from "./quad.js";

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
  const drawn = new Set();
  let target = null;
  let turn = 0;
  let wasWhole = false;
  let tileWidth = 0;
  let tileHeight = 0;
  return {
    texture: () => target.texture,
    setSize(stripWidth) {
      const columns = Math.max(32, Math.round(stripWidth / STRIP_TILES));
      if (columns === tileWidth) return;
      tileWidth = columns;
      tileHeight = Math.round(tileWidth * TILE_TANGENT);
      if (target) target.dispose();
      target = eyeTarget(STRIP_TILES * tileWidth, tileHeight, {scene: true});
      target.scissorTest = true;
      drawn.clear();
    },
    /** Forget what was drawn, since another scene is to be seen. */
    forget() {
      drawn.clear();
      wasWhole = false;
    },
    /** Return true if all tiles that a field of `horizontal` degrees needs have been drawn. */
    isWhole: (horizontal) => tilesOfField(horizontal).every((tile) => drawn.has(tile)),
    /**
     * Draw the next tile of those that a field of `horizontal` degrees needs, seen from a camera, with a level gaze;
     * all that are missing at once, but one at a time at first if `gradual`.
     */
    draw(scene, from, horizontal, gradual = false) {
      from.getWorldDirection(forward);
      const gaze = Math.atan2(forward.x, forward.z);
      from.getWorldPosition(camera.position);
      camera.near = from.near;
      camera.far = from.far;
      camera.updateProjectionMatrix();
      const needed = tilesOfField(horizontal);
      const missing = needed.filter((tile) => !drawn.has(tile));
      const next = missing.length ? missing : [needed[turn % needed.length]];
      turn += 1;
      for (const tile of gradual && !wasWhole ? next.slice(0, 1) : next) {
        drawn.add(tile);
        const angle = gaze - (tile * Math.PI) / 2;
        camera.lookAt(camera.position.x + Math.sin(angle), camera.position.y, camera.position.z + Math.cos(angle));
        camera.updateMatrixWorld();
        target.viewport.set(tile * tileWidth, 0, tileWidth, tileHeight);
        target.scissor.set(tile * tileWidth, 0, tileWidth, tileHeight);
        drawScene(renderer, scene, camera, target);
      }
      wasWhole = wasWhole || missing.length < 2;
    },
    dispose() {
      if (target) target.dispose();
    },
  };
}

/** Return the numbers of the tiles, ahead first and then leftward, that a field of so many degrees needs. */
function tilesOfField(horizontal) {
  return horizontal > 270 ? [0, 1, 2, 3] : [0, 1, 3];
}
