// Facts about a species, each with what it rests on.

import {el} from "../dom.js";
import {capital, number, speciesName, t} from "../text.js";
import {massText} from "./amounts.js";

const SHOWN = ["mass_g", "diet", "density_per_km2", "biomass_kg_per_km2", "speed_m_per_s", "eye_height_m", "acuity_cycles_per_degree", "growth_per_day"];

function factText(name, value) {
  if (name === "mass_g") return massText(value / 1000, 3);
  if (name === "biomass_kg_per_km2") return massText(value, 2);
  if (name === "speed_m_per_s") return number(value * 3.6, 2);
  if (name === "growth_per_day") return number(value * 100, 2);
  if (name === "diet") {
    const shares = Object.entries(value).filter(([, share]) => share > 0).sort((a, b) => b[1] - a[1]);
    return shares.map(([food, share]) => t(`facts.diet.${food}`, {share: number(share)})).join(", ");
  }
  return number(value, 3);
}

// Returns a panel of the facts, and of who eats and is eaten, with what flows a day.
export function factsPanel(app, species) {
  const {data, settings} = app;
  const one = data.species[species];
  const lines = SHOWN.filter((name) => one.facts[name]).map((name) => {
    const fact = one.facts[name];
    return el("li", {},
      el("span", {text: t(`facts.${name}`, {value: factText(name, fact.value)})}),
      el("span", {class: `status ${fact.status}`, text: t(`status.${fact.status}`)}),
      fact.status === "cited" && fact.source ? el("span", {class: "source", text: fact.source}) : null);
  });
  const flows = data.links.map((link, index) => ({...link, flow: data.flows[settings.branch][index]}));
  const list = (title, end, other) => {
    const rows = flows.filter((link) => link[end] === species).sort((a, b) => b.flow - a.flow);
    if (!rows.length) return [];
    return [el("h4", {text: title}), el("ul", {class: "meals"}, ...rows.map((link) => el("li", {},
      el("span", {text: speciesName(data.species[link[other]])}),
      el("span", {class: "amount", text: link.flow > 0 ? t("web.flow", {amount: massText(link.flow)}) : "–"}),
      link.inferred ? el("span", {class: "status inferred", text: t("web.inferred")}) : null)))];
  };
  return [
    el("h3", {text: capital(speciesName(one))}),
    speciesName(one) === one.name ? null : el("p", {class: "scientific", lang: "la", text: one.name}),
    ...list(t("web.eats"), "consumer", "resource"),
    ...list(t("web.eatenBy"), "resource", "consumer"),
    el("h4", {text: t("facts.title")}),
    el("ul", {class: "facts"}, ...lines),
  ].filter(Boolean);
}
