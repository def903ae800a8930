// Settings of the page: their defaults, their form in the address, and what is done with wrong ones.

import {LANGUAGES} from "./text.js";

// Times of day: the hour of the sun, and its elevation and azimuth in degrees.
export const HOURS = [
  {id: "dawn", hour: 6.3, sun: {elevation: 4, azimuth: 90}},
  {id: "noon", hour: 12, sun: {elevation: 80, azimuth: 0}},
  {id: "dusk", hour: 18.3, sun: {elevation: -3, azimuth: 270}},
  {id: "night", hour: 22, sun: {elevation: -40, azimuth: 240}},
];
// Settings that the address keeps.
export const SAVED_SETTINGS = ["language", "view", "branch", "species", "time", "hour"];
const LONGEST_ADDRESS = 2000;
const IDLE_SECONDS = 60;
const SAVE_MS = 500;

const wholeNumber = (least, most) => (text) => {
  const value = /^\d{1,6}$/.test(text) ? Number(text) : NaN;
  return value >= least && value <= most ? value : undefined;
};
const oneOfValues = (values) => (text) => (values.includes(text) ? text : undefined);
const switchedOn = (text) => ({"": true, 1: true, true: true, 0: false, false: false})[text];

// Returns the settings, and true beside them if some of the address was not understood.
export function readSettings(data, modes) {
  const readers = {
    lang: ["language", oneOfValues(LANGUAGES)],
    view: ["view", oneOfValues(modes.map((mode) => mode.id))],
    scenario: ["branch", wholeNumber(0, data.branches.length - 1)],
    species: ["species", wholeNumber(0, data.species.length - 1)],
    month: ["time", wholeNumber(0, data.times.length - 1)],
    hour: ["hour", oneOfValues(HOURS.map((one) => one.id))],
    kiosk: ["kiosk", switchedOn],
    start: ["start", switchedOn],
    idle: ["idle", wholeNumber(1, 3600)],
    scan: ["scan", wholeNumber(0, 2)],
    motion: ["motion", oneOfValues(["full", "reduced"])],
  };
  const settings = defaultSettings(data, modes);
  let misread = false;
  const address = location.search.slice(1) + "&" + location.hash.slice(1);
  if (address.length > LONGEST_ADDRESS) return {settings, misread: true};
  let pairs = [];
  try {
    pairs = [...new URLSearchParams(address)];
  } catch {
    misread = true;
  }
  for (const [name, text] of pairs) {
    const reader = Object.hasOwn(readers, name) ? readers[name] : null;
    const value = reader ? reader[1](text) : undefined;
    if (value === undefined) misread = true;
    else settings[reader[0]] = value;
  }
  settings.locked = settings.kiosk;
  // Scenarios that a visitor adds later are not kept.
  settings.kept = data.branches.length;
  settings.reducedMotion = settings.motion
    ? settings.motion === "reduced"
    : matchMedia("(prefers-reduced-motion: reduce)").matches;
  return {settings, misread};
}

function defaultSettings(data, modes) {
  const wanted = navigator.language?.slice(0, 2).toLowerCase();
  return {
    language: LANGUAGES.includes(wanted) ? wanted : "en",
    view: modes[0].id,
    branch: 0,
    species: firstSpecies(data),
    time: 0,
    hour: hourOfClock(new Date().getHours()),
    kiosk: false,
    start: true,
    idle: IDLE_SECONDS,
    scan: 0,
    motion: null,
    reducedMotion: false,
  };
}

// Returns the species that a page begins with: a zebra if there is one, else the largest plant eater.
function firstSpecies(data) {
  const zebra = data.species.findIndex((one) => /^Equus /.test(one.name));
  if (zebra >= 0) return zebra;
  const eaten = new Set(data.links.map((link) => link.resource));
  const sizes = data.species.map((one, number) => (one.kind !== "producer" && eaten.has(number) ? one.mass_kg : 0));
  return sizes.indexOf(Math.max(...sizes));
}

function hourOfClock(hour) {
  if (hour < 5 || hour >= 20) return "night";
  if (hour < 9) return "dawn";
  return hour < 17 ? "noon" : "dusk";
}

let saving = 0;

// Writes what is looked at into the address, so that it can be kept as a bookmark; not in a kiosk.
export function saveSettings(settings) {
  clearTimeout(saving);
  if (settings.kiosk) return;
  saving = setTimeout(() => {
    const {language, view, branch, species, time, hour} = settings;
    const scenario = branch < settings.kept ? branch : 0;
    const kept = {lang: language, view, scenario, species, month: time, hour};
    try {
      history.replaceState(null, "", `#${new URLSearchParams(kept)}`);
    } catch {
      // A page in a sandboxed frame has no history of its own.
    }
  }, SAVE_MS);
}
