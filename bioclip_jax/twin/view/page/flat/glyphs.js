// Silhouettes of species, drawn from a few measures of their bodies.

import {svg} from "../dom.js";

// Lengths in a box of 48 x 40 with the ground at 38: back (height of the back), long (of the trunk), deep (of
// the trunk), neck, up (angle of the neck in degrees), head, leg (width).
const BEAST_SHAPE = {back: 17, long: 20, deep: 9, neck: 8, up: 45, head: 6, leg: 2.6, tail: 8, droop: 60};
const BODY_SHAPES = {
  hoofed: BEAST_SHAPE,
  zebra: {...BEAST_SHAPE, deep: 10, neck: 9, head: 7, stripes: true, mane: true},
  gazelle: {...BEAST_SHAPE, back: 15, long: 16, deep: 7, neck: 9, up: 62, head: 5, leg: 1.8, tail: 4, horns: 9},
  wildebeest: {...BEAST_SHAPE, back: 14, deep: 11, neck: 7, up: 22, head: 8, horns: 5, slope: 3, tail: 11},
  buffalo: {...BEAST_SHAPE, back: 14, long: 22, deep: 13, neck: 6, up: 15, head: 8, leg: 3.4, horns: 7},
  giraffe: {...BEAST_SHAPE, back: 21, long: 13, deep: 7, neck: 19, up: 68, head: 5, leg: 2, horns: 3, slope: 4},
  elephant: {...BEAST_SHAPE, back: 9, long: 23, deep: 16, neck: 5, up: 10, head: 11, leg: 5, trunk: true, tail: 6},
  pig: {...BEAST_SHAPE, back: 20, long: 19, deep: 10, neck: 4, up: 0, head: 9, leg: 2.2, tail: 7, droop: -70},
  lion: {...BEAST_SHAPE, back: 19, long: 23, deep: 9, neck: 6, up: 32, head: 7, leg: 3.2, ruff: 7, tail: 13, droop: 25},
  hyena: {...BEAST_SHAPE, back: 17, long: 20, deep: 9, neck: 8, up: 28, head: 7, slope: 5, leg: 2.8, tail: 7},
  cat: {...BEAST_SHAPE, back: 20, long: 22, deep: 7, neck: 6, up: 35, head: 6, leg: 2.6, tail: 14, droop: 15},
  dog: {...BEAST_SHAPE, back: 21, long: 18, deep: 7, neck: 7, up: 40, head: 6, leg: 2, tail: 10, droop: 40, ears: true},
};
const BY_GENUS = {
  Equus: "zebra", Connochaetes: "wildebeest", Syncerus: "buffalo", Giraffa: "giraffe", Loxodonta: "elephant",
  Phacochoerus: "pig", Panthera: "cat", Canis: "dog", Crocuta: "hyena", Hyaena: "hyena", Bison: "buffalo", Bos: "buffalo",
};
const BY_FAMILY = {
  Bovidae: "gazelle", Cervidae: "gazelle", Equidae: "zebra", Giraffidae: "giraffe", Elephantidae: "elephant",
  Suidae: "pig", Felidae: "cat", Canidae: "dog", Hyaenidae: "hyena", Muridae: "mouse", Cricetidae: "mouse",
  Poaceae: "grass", Heteromyidae: "mouse",
};
const BY_ORDER = {Rodentia: "mouse", Lagomorpha: "mouse", Carnivora: "dog", Artiodactyla: "hoofed", Perissodactyla: "hoofed"};
const BY_CLASS = {Aves: "bird", Insecta: "insect", Arachnida: "insect", Actinopterygii: "fish", Liliopsida: "grass"};

// Returns the name of the silhouette that fits a species best.
export function glyphOf(species) {
  const genus = species.name.split(" ")[0];
  if (species.name === "Panthera leo") return "lion";
  const known = BY_GENUS[genus] ?? BY_FAMILY[species.family] ?? BY_ORDER[species.order] ?? BY_CLASS[species.class];
  if (species.kind === "producer") return known === "grass" ? "grass" : species.mass_kg >= 20 ? "tree" : "shrub";
  if (known && known !== "grass") return known;
  return {invertebrate: "insect", ectotherm: "fish"}[species.kind] ?? "hoofed";
}

// Returns a group with a silhouette, centered, `size` units wide.
export function drawGlyph(name, size, properties = {}) {
  const scale = size / 48;
  const inner = svg("g", {transform: `scale(${scale.toFixed(4)}) translate(-24 -20)`}, ...glyphParts(name));
  return svg("g", {class: `glyph ${name}`, ...properties}, inner);
}

const glyphLine = (d, width) => svg("path", {d, fill: "none", stroke: "currentColor", "stroke-width": width, "stroke-linecap": "round", "stroke-linejoin": "round"});
const glyphSolid = (d) => svg("path", {d, fill: "currentColor"});
const glyphOval = (cx, cy, rx, ry, turn = 0) => svg("ellipse", {cx, cy, rx, ry, fill: "currentColor", transform: `rotate(${turn} ${cx} ${cy})`});

function glyphParts(name) {
  const beast = BODY_SHAPES[name];
  if (beast) return beastParts(beast);
  return {
    grass: () => [glyphLine("M24 38C24 28 23 20 18 10M24 38C25 26 26 18 31 7M24 38C22 31 19 25 11 20M24 38C26 31 30 24 37 19", 2.6)],
    shrub: () => [glyphLine("M24 38V26", 3), glyphOval(17, 23, 9, 7), glyphOval(30, 22, 10, 8), glyphOval(24, 15, 9, 7)],
    tree: () => [glyphLine("M24 38C24 30 23 26 23 20M23 27L15 17M23.5 25L33 16", 3), glyphOval(24, 13, 21, 5.5), glyphOval(20, 9, 12, 4)],
    insect: () => [glyphOval(22, 24, 14, 4, -12), glyphOval(36, 20, 4, 4), glyphLine("M18 26L10 12L6 36M26 26L29 36M32 24L38 35M38 17L45 9", 2)],
    mouse: () => [glyphOval(25, 29, 12, 8), glyphOval(37, 30, 7, 5, 15), glyphOval(34, 23, 3.5, 3.5), glyphLine("M14 32C6 35 5 26 1 27", 2), glyphLine("M20 36V38M30 36V38", 3)],
    bird: () => [glyphOval(23, 23, 13, 8, -15), glyphOval(37, 12, 4.5, 4.5), glyphLine("M33 18L37 12", 5), glyphSolid("M40 11L46 14L40 15z"), glyphSolid("M13 24L2 27L12 32z"), glyphLine("M21 30L20 38M27 29L28 38", 2)],
    rock: () => [glyphSolid("M6 36L12 24L20 18L30 20L37 28L43 36z"), glyphSolid("M28 37L34 27L42 29L47 37z")],
    pool: () => [glyphOval(24, 28, 21, 6)],
    fish: () => [glyphOval(22, 20, 15, 8), glyphSolid("M34 20L46 11V29z")],
  }[name]?.() ?? [glyphOval(24, 24, 12, 9)];
}

// Returns trunk, legs, neck, head, tail and what else a shape has; the animal looks to the right.
function beastParts(shape) {
  const {back, long, deep, neck, up, head, leg, slope = 0} = shape;
  const left = 24 - long / 2 - (neck > 12 ? 2 : 3);
  const right = left + long;
  const middle = back + deep / 2;
  const angle = (up * Math.PI) / 180;
  const shoulder = {x: right - 2, y: middle - slope / 2 - 1};
  const nape = {x: shoulder.x + neck * Math.cos(angle), y: shoulder.y - neck * Math.sin(angle)};
  const nose = {x: nape.x + head * 0.9, y: nape.y + head * 0.45};
  const legs = [left + 2, left + 5.5, right - 5.5, right - 2];
  const drawn = [
    glyphSolid(`M${left} ${middle + slope / 2}C${left} ${back + slope} ${left + 4} ${back + slope / 2} ${left + long / 2} ${back}S${right} ${back - slope / 2} ${right + 1} ${middle - slope / 2}S${right - 2} ${back + deep} ${left + long / 2} ${back + deep}S${left} ${back + deep} ${left} ${middle + slope / 2}z`),
    glyphLine(`M${shoulder.x} ${shoulder.y}L${nape.x} ${nape.y}`, Math.max(3.4, deep * 0.45)),
    glyphLine(`M${nape.x} ${nape.y}L${nose.x} ${nose.y}`, Math.max(3, head * 0.6)),
    ...legs.map((x, number) => glyphLine(`M${x} ${middle}L${x + (number % 2 ? 0.8 : -0.4)} 38`, leg)),
  ];
  const droop = ((shape.droop ?? 60) * Math.PI) / 180;
  drawn.push(glyphLine(`M${left + 1} ${middle}l${-shape.tail * Math.cos(droop)} ${shape.tail * Math.sin(droop)}`, 1.6));
  if (shape.horns) drawn.push(glyphLine(`M${nape.x} ${nape.y - 1}q${-shape.horns * 0.5} ${-shape.horns * 0.5} ${-shape.horns * 0.1} ${-shape.horns}M${nape.x + 1.5} ${nape.y - 1}q${shape.horns * 0.1} ${-shape.horns * 0.5} ${shape.horns * 0.4} ${-shape.horns * 0.9}`, 1.5));
  if (shape.ruff) drawn.push(glyphOval(nape.x - 0.5, nape.y + 1, shape.ruff, shape.ruff));
  if (shape.trunk) drawn.push(glyphLine(`M${nose.x} ${nose.y}q5 4 2 15`, 3), glyphOval(nape.x - 1, nape.y + 2, 5, 7));
  if (shape.ears || shape.stripes) drawn.push(glyphLine(`M${nape.x - 1} ${nape.y}l-1 -5M${nape.x + 1} ${nape.y}l1 -5`, 1.8));
  if (shape.mane) drawn.push(glyphLine(`M${shoulder.x - 2} ${back}L${nape.x - 2} ${nape.y - 2}`, 2));
  if (shape.stripes) {
    const bars = [0.2, 0.36, 0.52, 0.68].map((share) => {
      const x = left + share * long;
      return `M${x} ${back + 1.5}L${x - 1} ${back + deep - 2}`;
    });
    drawn.push(svg("path", {class: "stripes", d: bars.join(""), fill: "none", "stroke-width": 1.6, "stroke-linecap": "round"}));
  }
  return drawn;
}
