// Scenarios of a visitor among those of the page.

import {undoDeltas} from "../blocks.js";

// Scenarios that a visitor has at a time; then the oldest makes room.
const MOST_OWN = 4;

// Returns the bytes of base64.
function bytesOf(text) {
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}

// Adds a scenario to the data and returns its number; baseline: of the members that the server simulates.
export function addVisitorBranch(data, settings, result, baseline) {
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
  return number;
}

function dropVisitorBranch(data, number) {
  const {series} = data;
  for (const list of [data.branches, data.effects, data.flows, series.total, series.patches]) list.splice(number, 1);
  series.baselines.delete(data.branches.length);
}

// Removes all scenarios of a visitor.
export function dropVisitorBranches(data, settings) {
  while (data.branches.length > settings.kept) dropVisitorBranch(data, data.branches.length - 1);
}
