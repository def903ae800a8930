// The generated landscape of the scenes: heights, grass, trees and water on a square, in meters.

import {PageError, undoDeltas} from "./blocks.js";

// A square of extent × extent meters; x east, y north from its south-west corner.
export class Landscape {
  constructor(header, heights, grass) {
    this.extent = header.extent_m;
    this.size = header.size;
    this.heights = heights;
    this.grass = grass;
    this.step = header.height_step_m;
    // trees: {x, y, height, kind}, of kind 0 umbrella thorn, 1 round crown, 2 bush; water: {x, y, radius}.
    this.trees = header.trees.map(([x, y, height, kind]) => ({x: x / 10, y: y / 10, height: height / 10, kind}));
    this.water = header.water.map(([x, y, radius]) => ({x: x / 10, y: y / 10, radius: radius / 10}));
  }

  // Returns the height in meters, interpolated between the points of the grid.
  heightAt(x, y) {
    return this.step * this.between(this.heights, x, y);
  }

  // Returns how much grass grows, 0 to 1.
  grassAt(x, y) {
    return this.between(this.grass, x, y) / 255;
  }

  between(values, x, y) {
    const last = this.size - 1;
    const column = Math.min(Math.max((x / this.extent) * last, 0), last);
    const row = Math.min(Math.max((y / this.extent) * last, 0), last);
    const left = Math.min(Math.floor(column), last - 1);
    const south = Math.min(Math.floor(row), last - 1);
    const [east, north] = [column - left, row - south];
    const at = south * this.size + left;
    const low = values[at] * (1 - east) + values[at + 1] * east;
    const high = values[at + this.size] * (1 - east) + values[at + this.size + 1] * east;
    return low * (1 - north) + high * north;
  }
}

// Returns the landscape of its block: int16 heights by rows from the south, then grass as bytes.
export function openLandscape(header, bytes) {
  const count = header.size * header.size;
  if (bytes.length !== 3 * count) throw new PageError("error.data");
  return new Landscape(header, undoDeltas(bytes, 0, header.size, header.size), bytes.subarray(2 * count));
}
