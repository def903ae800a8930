// Arrangement of the areas on the map: made up, or, in a precise copy, that of the place.

import {scatter} from "../dom.js";

const LAYOUT_ROUNDS = 200;
const ATTEMPTS = 20;
const MOST_FILLED = 0.8;
const TURN_OF_SEEDS = Math.PI * (3 - Math.sqrt(5));
// Has no factor in common with the number of marks.
const SPREAD = 7;
const PATCH_GAP = 6;

const DECOR_COUNT = 16;
const DECOR = {
  grass: {name: "grass", scale: 0.8},
  wood: {name: "tree", scale: 1.7},
  rock: {name: "rock", scale: 1.3},
  water: {name: "pool", scale: 1.9},
};

// Returns {x, y, radius} of each area in a box; areas do not overlap, and their sizes tell those of the place.
export function arrange(patches, width, height) {
  const total = patches.reduce((sum, one) => sum + one.area_km2, 0);
  let scale = Math.sqrt((MOST_FILLED * width * height) / (Math.PI * total));
  let circles = [];
  for (let attempt = 0; attempt < ATTEMPTS; attempt++, scale *= 0.96) {
    circles = startCircles(patches, scale, width, height);
    if (patches.every((one) => Number.isFinite(one.x_m))) placeByMap(patches, circles, width, height);
    for (let round = 0; round < LAYOUT_ROUNDS; round++) pushApart(circles, width, height);
    if (!overlaps(circles)) break;
  }
  return circles;
}

function startCircles(patches, scale, width, height) {
  const most = Math.min(width, height) * 0.36;
  return patches.map((one, number) => {
    const radius = Math.min(Math.sqrt(one.area_km2) * scale, most);
    const distance = Math.sqrt((number + 0.5) / patches.length) * 0.42;
    const angle = number * TURN_OF_SEEDS + 0.6;
    return {
      x: width * (0.5 + distance * Math.cos(angle)),
      y: height * (0.5 + distance * Math.sin(angle)),
      radius,
    };
  });
}

function overlaps(circles) {
  return circles.some((one, number) => circles.slice(number + 1).some((other) =>
    Math.hypot(other.x - one.x, other.y - one.y) < one.radius + other.radius));
}

// Moves circles to where the areas lie.
function placeByMap(patches, circles, width, height) {
  const span = (values) => [Math.min(...values), Math.max(...values)];
  const [west, east] = span(patches.map((one) => one.x_m));
  const [south, north] = span(patches.map((one) => one.y_m));
  const scale = Math.min((0.6 * width) / Math.max(east - west, 1), (0.6 * height) / Math.max(north - south, 1));
  patches.forEach((one, number) => {
    circles[number].x = width / 2 + (one.x_m - (west + east) / 2) * scale;
    circles[number].y = height / 2 - (one.y_m - (south + north) / 2) * scale;
  });
}

function pushApart(circles, width, height) {
  circles.forEach((one, number) => {
    for (const other of circles.slice(number + 1)) {
      const [dx, dy] = [other.x - one.x, other.y - one.y];
      const distance = Math.hypot(dx, dy) || 1;
      const overlap = one.radius + other.radius + PATCH_GAP - distance;
      if (overlap <= 0) continue;
      const push = (0.5 * overlap) / distance;
      one.x -= dx * push;
      one.y -= dy * push;
      other.x += dx * push;
      other.y += dy * push;
    }
    one.x = Math.min(Math.max(one.x, one.radius + 6), width - one.radius - 6);
    one.y = Math.min(Math.max(one.y, one.radius + 6), height - one.radius - 6);
  });
}

// Returns the outline of an area: a circle that is not quite round.
export function outline({x, y, radius}, seed) {
  const points = 10;
  const at = (number) => {
    const angle = (2 * Math.PI * number) / points;
    const distance = radius * (0.93 + 0.12 * scatter(seed, number % points));
    return [x + distance * Math.cos(angle), y + distance * Math.sin(angle)];
  };
  const middle = (one, other) => one.map((value, axis) => ((value + other[axis]) / 2).toFixed(1));
  let path = `M${middle(at(0), at(points - 1)).join(" ")}`;
  for (let number = 0; number < points; number++) {
    const corner = at(number).map((value) => value.toFixed(1)).join(" ");
    path += `Q${corner} ${middle(at(number), at(number + 1)).join(" ")}`;
  }
  return `${path}z`;
}

// Returns where mark `number` of `count` stands in an area.
export function markPlace({x, y, radius}, number, count, seed) {
  // The first marks are spread as far as all of them.
  const place = (number * SPREAD) % count;
  const distance = Math.sqrt((place + 0.6) / count) * radius * 0.78;
  const angle = place * TURN_OF_SEEDS + seed;
  return {
    x: x + distance * Math.cos(angle) + 6 * (scatter(seed, number, 1) - 0.5),
    y: y + distance * Math.sin(angle) * 0.8 + 6 * (scatter(seed, number, 2) - 0.5),
  };
}

// Returns what grows in an area: {name, x, y, size} of tufts, trees and rocks, by the shares of its cover.
export function decorOf({x, y, radius}, cover, seed) {
  const kinds = Object.entries(cover).filter(([kind]) => kind in DECOR);
  return kinds.flatMap(([kind, percent], place) => {
    const count = Math.round((percent / 100) * DECOR_COUNT);
    return Array.from({length: count}, (_, number) => {
      const distance = Math.sqrt(scatter(seed, number, place + 3)) * radius * 0.86;
      const angle = 2 * Math.PI * scatter(seed, number, place + 9);
      const size = radius * (0.16 + 0.07 * scatter(seed, number, place + 5)) * DECOR[kind].scale;
      return {name: DECOR[kind].name, x: x + distance * Math.cos(angle), y: y + distance * Math.sin(angle), size};
    });
  }).sort((one, other) => one.y - other.y);
}
