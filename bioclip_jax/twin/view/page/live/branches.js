// Scenarios of a visitor among those of the page.

import {bytesOf, inflate, undoDeltas} from "../blocks.js";
import {openTrack} from "../track.js";
import {requestLive} from "./request.js";

// Scenarios that a visitor has at a time; then the oldest makes room.
const MOST_OWN = 4;

// Adds a scenario to the data and returns its number. events: of the request. baseline: of the members that the
// server simulates.
export function addVisitorBranch(data, settings, result, events, baseline) {
  if (data.branches.length - settings.kept >= MOST_OWN) dropVisitorBranch(data, settings.kept);
  const {species, patches, times, series} = data;
  const rows = species.length * series.quantiles.length;
  data.branches.push({title: "", events: result.events, members: result.members});
  data.effects.push(result.effects);
  data.flows.push(result.flows);
  series.total.push(undoDeltas(bytesOf(result.total), 0, rows, times.length));
  series.patches.push(undoDeltas(bytesOf(result.patches), 0, species.length * patches.length, times.length));
  const number = data.branches.length - 1;
  series.baselines.set(number, baseline);
  // The server simulates a scene when it is looked at.
  result.hours.forEach((hour, index) => data.scenes.push({branch: number, hour, path: `scene/${index}`, request: events, track: null}));
  return number;
}

// Returns the promise of a scene that the server simulates, or null for one of the page.
export function openVisitorScene(data, number) {
  const scene = data.scenes[number];
  if (!scene?.path) return null;
  scene.track ??= requestLive(scene.path, scene.request, () => {})
    .then(async ({content, ...header}) => openTrack(header, data, await inflate(bytesOf(content))))
    .catch((error) => {
      // May succeed when it is looked at again.
      scene.track = null;
      throw error;
    });
  return scene.track;
}

function dropVisitorBranch(data, number) {
  const {series} = data;
  for (const list of [data.branches, data.effects, data.flows, series.total, series.patches]) list.splice(number, 1);
  series.baselines.delete(data.branches.length);
  data.scenes = data.scenes.filter((one) => one.branch !== number);
  for (const one of data.scenes) if (one.branch > number) one.branch -= 1;
}

// Removes all scenarios of a visitor.
export function dropVisitorBranches(data, settings) {
  while (data.branches.length > settings.kept) dropVisitorBranch(data, data.branches.length - 1);
}
