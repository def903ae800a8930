// The one renderer of all 3-D views.

import {PageError} from "./blocks.js";
import {createEyes} from "./eyes/eyes.js";

// Returns true if three.js is in the page.
export function hasThree() {
  return typeof THREE !== "undefined";
}

// Known after the first question, since making a context takes a tenth of a second.
let drawsIn3d = null;

// Returns true if the browser draws in 3-D.
export function hasWebGL() {
  if (drawsIn3d !== null) return drawsIn3d;
  try {
    const canvas = document.createElement("canvas");
    const context = canvas.getContext("webgl2") ?? canvas.getContext("webgl");
    context?.getExtension("WEBGL_lose_context")?.loseContext();
    drawsIn3d = Boolean(context);
  } catch {
    drawsIn3d = false;
  }
  return drawsIn3d;
}

// Returns {renderer, eyes}. Throws a PageError where nothing can be drawn.
export function openRenderer() {
  if (!hasThree()) throw new PageError("error.three");
  if (!hasWebGL()) throw new PageError("error.webgl");
  try {
    const renderer = new THREE.WebGLRenderer({antialias: true, powerPreference: "high-performance"});
    renderer.domElement.className = "canvas";
    return {renderer, eyes: createEyes(renderer)};
  } catch {
    throw new PageError("error.webgl");
  }
}
