// Numbers and masses of living things in words.

import {number, t} from "../text.js";

// Returns how many animals a biomass in kg/km² is on an area.
export function animalsOf(species, biomass, area) {
  return (biomass * area) / species.mass_kg;
}

// Returns true for what is weighed and not counted: plants, and animals too small to count.
export function isWeighed(species) {
  return species.kind === "producer" || species.mass_kg < 0.01;
}

// Returns a mass in kg in words.
export function massText(kilograms, digits = 2) {
  if (kilograms >= 1 || kilograms === 0) return t("unit.kg", {number: number(kilograms, digits)});
  if (kilograms >= 0.001) return t("unit.g", {number: number(kilograms * 1e3, digits)});
  return t("unit.mg", {number: number(kilograms * 1e6, digits)});
}

// Returns the amount of a species on an area in words.
export function amountText(species, biomass, area) {
  if (biomass === 0) return t("map.lost");
  if (isWeighed(species)) return t("map.tons", {number: number((biomass * area) / 1000, 2)});
  const count = animalsOf(species, biomass, area);
  return number(count < 10 ? Math.max(1, Math.round(count)) : count, 2);
}

// Returns the least of 1, 2, 5, 10, 20, 50 ... that is not below a value.
export function roundUp(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  const step = [1, 2, 5, 10].find((one) => one * power >= value * (1 - 1e-9));
  return step * power;
}
