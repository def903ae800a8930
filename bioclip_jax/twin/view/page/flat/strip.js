// The row of species to choose from, plants to predators.

import {el, put, roving, svg} from "../dom.js";
import {speciesName, t} from "../text.js";
import {drawGlyph, glyphOf} from "./glyphs.js";

// Returns the numbers of the species, predators first and plants last.
export function speciesOrder(data) {
  const numbers = data.species.map((_, number) => number);
  return numbers.sort((one, other) => {
    const [a, b] = [data.species[one], data.species[other]];
    return Math.floor(b.level) - Math.floor(a.level) || b.mass_kg - a.mass_kg;
  });
}

// Returns {element, update()}; a tap chooses the app's species.
export function speciesStrip(app) {
  const {data, settings} = app;
  const order = speciesOrder(data);
  const buttons = order.map((number) => {
    const species = data.species[number];
    const picture = svg("svg", {viewBox: "0 0 48 40", class: "portrait", "aria-hidden": true});
    picture.append(drawGlyph(glyphOf(species), 48, {transform: "translate(24 20)"}));
    return el("button", {
      type: "button", role: "radio", class: `chip ${species.kind}`, on: {click: () => app.set("species", number)},
    }, picture, el("span", {text: speciesName(species)}));
  });
  const choose = roving(buttons, order.indexOf(settings.species), (place) => app.set("species", order[place]));
  const element = el("div", {class: "strip", role: "radiogroup", "aria-label": t("species")}, ...buttons);
  const update = () => {
    const place = order.indexOf(settings.species);
    buttons.forEach((one, number) => put(one, {"aria-checked": number === place}));
    choose(place);
    const chip = buttons[place];
    const middle = chip.offsetLeft - (element.clientWidth - chip.offsetWidth) / 2;
    element.scrollTo({left: middle, behavior: settings.reducedMotion ? "auto" : "smooth"});
  };
  return {element, update};
}
