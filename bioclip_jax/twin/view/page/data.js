// The page's data: JSON and arrays from gzipped blocks, decoded by the browser.

import {PageError, readBlock, undoDeltas} from "./blocks.js";
import {openLandscape} from "./landscape.js";
import {openTrack} from "./track.js";

const EXTINCT_CODE = -32768;

// Biomass over time, in kg/km².
class Series {
  constructor(content, bytes) {
    const {branches, species, patches, times, series} = content;
    this.quantiles = series.quantiles;
    this.sizes = {species: species.length, patches: patches.length, times: times.length};
    this.steps = series.steps;
    const rows = species.length * series.quantiles.length;
    const total = undoDeltas(bytes, 0, branches.length * rows, times.length);
    const areas = undoDeltas(bytes, 2 * total.length, branches.length * species.length * patches.length, times.length);
    const split = (values) => branches.map((_, branch) => {
      const length = values.length / branches.length;
      return values.subarray(branch * length, (branch + 1) * length);
    });
    this.total = split(total);
    this.patches = split(areas);
    // Of the baseline that a branch is compared with, if that is not the first branch.
    this.baselines = new Map();
  }

  // Returns the mean over the area for a quantile in percent: 5, 25, 50, 75 or 95.
  of(branch, species, quantile, time) {
    return this.at(this.total[branch], species, quantile, time);
  }

  // Returns what a branch would have been without its events, as of.
  without(branch, species, quantile, time) {
    return this.at(this.baselines.get(branch) ?? this.total[0], species, quantile, time);
  }

  at(values, species, quantile, time) {
    const row = species * this.quantiles.length + this.quantiles.indexOf(quantile);
    return this.value(values[row * this.sizes.times + time]);
  }

  // Returns the median in a patch.
  ofPatch(branch, species, patch, time) {
    const {sizes} = this;
    return this.value(this.patches[branch][(species * sizes.patches + patch) * sizes.times + time]);
  }

  value(code) {
    return code === EXTINCT_CODE ? 0 : 10 ** (code / this.steps);
  }
}

// Returns the data, with series, openScene and openLandscape beside the content of the JSON.
export async function decode() {
  let data;
  try {
    data = JSON.parse(new TextDecoder().decode(await readBlock("data")));
    if (data.version !== 1) throw new PageError("error.data");
    data.links = data.links.map(([resource, consumer, inferred]) => ({resource, consumer, inferred: !!inferred}));
    data.series = new Series(data, await readBlock("series"));
  } catch (error) {
    throw error instanceof PageError ? error : new PageError("error.data");
  }
  const opened = new Map();
  const once = (name, make) => {
    if (!opened.has(name)) opened.set(name, make());
    return opened.get(name);
  };
  // Scenes are decoded when they are first looked at, and kept.
  data.openScene = (number) => once(`scene-${number}`, async () => {
    const scene = data.scenes[number];
    if (!scene) throw new PageError("error.data");
    return openTrack(scene, data, await readBlock(`scene-${number}`));
  });
  data.openLandscape = () => once("landscape", async () => {
    if (!data.landscape) throw new PageError("error.data");
    return openLandscape(data.landscape, await readBlock("landscape"));
  });
  // Returns the number of the scene of a branch that is nearest in hour, or -1; variant: among its seeds.
  data.sceneAt = (branch, hour, variant = 0) => {
    const distance = (scene) => {
      const apart = Math.abs(scene.hour - hour);
      return Math.min(apart, 24 - apart);
    };
    const numbers = data.scenes.map((_, number) => number).filter((number) => data.scenes[number].branch === branch);
    const least = Math.min(...numbers.map((number) => distance(data.scenes[number])));
    const near = numbers.filter((number) => distance(data.scenes[number]) < least + 0.01);
    return near.length ? near[variant % near.length] : -1;
  };
  return data;
}
