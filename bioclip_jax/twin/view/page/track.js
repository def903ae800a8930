// Trajectories of a scene, interpolated between its frames.

import {PageError, undoDeltas} from "./blocks.js";

const TURN = 2 * Math.PI;
const HEADINGS = 256;
// States in which an animal is not there.
const ABSENT_STATE = 0;

// Animals that move for some time, after which a scene begins again.
export class Track {
  constructor(scene, species, positions, bytes) {
    const {frames, hz, extent_m: extent, animals} = scene;
    const count = animals.species.length;
    // Guests are in scenes only, such as vultures.
    const all = [...species, ...(animals.guests ?? [])];
    this.animals = animals.species.map((number, index) => ({
      id: animals.id[index],
      number,
      species: all[number],
      size: animals.size[index] / 100,
    }));
    this.frames = frames;
    this.hz = hz;
    this.duration = (frames - 1) / hz;
    this.hour = scene.hour;
    this.branch = scene.branch;
    this.extent = extent;
    // Actor and target are the ids of animals; times are in seconds.
    this.events = scene.events.map(([time, kind, actor, target]) => ({time: time / 10, kind, actor, target}));
    this.positions = positions;
    this.headings = bytes.subarray(4 * count * frames, 5 * count * frames);
    this.states = bytes.subarray(5 * count * frames, 6 * count * frames);
  }

  // Writes where an animal is at a time in seconds: x east and y north in meters, heading in radians
  // counterclockwise from east, speed in m/s, and state. Returns out.
  sample(index, time, out) {
    const {frames, positions, extent} = this;
    const at = Math.min(Math.max(time, 0), this.duration) * this.hz;
    const frame = Math.min(Math.floor(at), frames - 2);
    const share = at - frame;
    const base = index * frames + frame;
    const north = base + this.animals.length * frames;
    const scale = extent / 65535;
    const x0 = (positions[base] + 32768) * scale;
    const y0 = (positions[north] + 32768) * scale;
    const dx = (positions[base + 1] - positions[base]) * scale;
    const dy = (positions[north + 1] - positions[north]) * scale;
    const heading = this.headings[base];
    let turn = this.headings[base + 1] - heading;
    if (turn > HEADINGS / 2) turn -= HEADINGS;
    if (turn < -HEADINGS / 2) turn += HEADINGS;
    out.x = x0 + share * dx;
    out.y = y0 + share * dy;
    out.heading = ((heading + share * turn) * TURN) / HEADINGS;
    out.speed = Math.hypot(dx, dy) * this.hz;
    out.state = this.states[share < 0.5 ? base : base + 1];
    return out;
  }

  // Returns true for an animal that is there at a time.
  isThere(index, time) {
    const frame = Math.min(Math.max(Math.round(time * this.hz), 0), this.frames - 1);
    return this.states[index * this.frames + frame] !== ABSENT_STATE;
  }
}

// Returns the same angle in radians within half a turn of 0.
export function wrapAngle(angle) {
  return angle - TURN * Math.round(angle / TURN);
}

// Returns the track of a scene's block: int16 positions, all x before all y, then headings and states.
export function openTrack(scene, data, bytes) {
  const count = scene.animals.species.length;
  if (bytes.length !== 6 * count * scene.frames) throw new PageError("error.data");
  const positions = undoDeltas(bytes, 0, 2 * count, scene.frames);
  return new Track(scene, data.species, positions, undoBytes(bytes, 4 * count * scene.frames, count, scene.frames));
}

// Undoes the differences of the headings in place; states are plain.
function undoBytes(bytes, offset, rows, length) {
  for (let row = 0, at = offset; row < rows; row++) {
    let value = 0;
    for (let step = 0; step < length; step++, at++) {
      value = (value + bytes[at]) & 255;
      bytes[at] = value;
    }
  }
  return bytes;
}
