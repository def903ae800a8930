// The controls of one change: its kind, and what belongs to it.

import {el} from "../dom.js";
import {speciesOrder} from "../flat/strip.js";
import {number, speciesName, t} from "../text.js";

const CHANGE_FIELDS = {
  remove: ["species", "percent", "year"],
  introduce: ["species", "individuals", "patch", "year"],
  harvest: ["species", "percent", "from", "to"],
  rain: ["percent", "from", "to"],
  fence: ["patches", "from", "to"],
};
const PERCENT_STARTS = {remove: 100, harvest: 20, rain: 50};
const PERCENT_STEPS = {remove: 10, harvest: 1, rain: 5};

// Returns 1, 2, 5, 10, 20, 50 ... up to a number, and that number.
function roundSteps(most) {
  const steps = [];
  for (let power = 1; power <= most; power *= 10) steps.push(...[1, 2, 5].map((one) => one * power));
  return [...steps.filter((one) => one < most), most];
}

// Returns {element, value()}; value() is an event for the server. change: its values so far.
export function changeControls(app, place, change, remove) {
  const {data} = app;
  const {menu} = data.live;
  const body = el("div", {class: "change-fields"});
  const fence = el("p", {class: "change-note", text: t("live.fence.note", {mass: number(menu.fenced_kg)})});

  const choice = (name, options, text) => {
    const list = el("select", {on: {change: () => {
      change[name] = options[list.selectedIndex];
      if (name === "species" || name === "kind") build(name);
    }}}, ...options.map((option) => el("option", {value: option, text: text(option), selected: option === change[name]})));
    if (!options.includes(change[name])) change[name] = options[0];
    return labelled(t(`live.${name}`), list, name);
  };

  const labelled = (text, control, name) => el("label", {class: `field ${name}`}, el("span", {text}), control);

  const slider = (values, name, text) => {
    const start = Math.max(0, values.findIndex((value) => value >= change[name]));
    const output = el("output", {text: text(values[start])});
    const input = el("input", {type: "range", min: 0, max: values.length - 1, value: start, on: {
      input: () => show(Number(input.value)),
      // A switch goes around.
      step: () => show((Number(input.value) + Math.ceil(values.length / 10)) % values.length),
    }});
    const show = (at) => {
      input.value = at;
      change[name] = values[at];
      output.textContent = text(values[at]);
      input.setAttribute("aria-valuetext", output.textContent);
    };
    show(start);
    return el("label", {class: `field ${name}`},
      el("span", {text: t(`live.${name}.${change.kind}`)}), el("span", {class: "slide"}, input, output));
  };

  const fields = {
    species: () => {
      const order = speciesOrder(data).filter((one) => change.kind !== "introduce" || String(one) in menu.individuals);
      return choice("species", order.map((one) => data.species[one].name), (name) => speciesName(data.species.find((one) => one.name === name)));
    },
    percent: () => {
      const [least, most] = menu.percent[change.kind];
      const step = PERCENT_STEPS[change.kind];
      const values = Array.from({length: Math.floor((most - least) / step) + 1}, (_, index) => least + index * step);
      change.percent ??= PERCENT_STARTS[change.kind];
      return slider(values, "percent", (value) => t("change.percent", {percent: number(value)}));
    },
    individuals: () => {
      const at = data.species.findIndex((one) => one.name === change.species);
      const values = roundSteps(menu.individuals[at]);
      change.individuals = Math.min(change.individuals ?? Math.ceil(menu.individuals[at] / 4), menu.individuals[at]);
      return slider(values, "individuals", (value) => number(value));
    },
    patch: () => choice("patch", data.patches.map((one) => one.label), (label) => t("live.area", {label})),
    patches: () => {
      const labels = data.patches.map((one) => one.label);
      change.patches ??= labels.slice(0, 1);
      const boxes = labels.map((label) => el("label", {class: "area-box"},
        el("input", {type: "checkbox", checked: change.patches.includes(label), on: {change: (event) => {
          change.patches = labels.filter((one) => (one === label ? event.target.checked : change.patches.includes(one)));
        }}}),
        el("span", {text: t("live.area", {label})}),
      ));
      return el("fieldset", {class: "areas"}, el("legend", {text: t("live.patches")}), ...boxes, fence);
    },
    year: () => choice("year", years(), (year) => number(year)),
    from: () => choice("from", years(), (year) => number(year)),
    to: () => choice("to", years(), (year) => number(year)),
  };

  const years = () => Array.from({length: menu.years}, (_, index) => index + 1);

  const build = (focus = null) => {
    if (focus === "kind") delete change.percent;
    change.to = Math.max(change.to, change.from);
    const kind = choice("kind", menu.kinds, (one) => t(`live.kind.${one}`));
    body.replaceChildren(kind, ...CHANGE_FIELDS[change.kind].map((name) => fields[name]()));
    if (focus) body.querySelector(`.${focus} select`).focus();
  };

  build();
  const title = t("live.change", {n: place});
  const element = el("fieldset", {class: "change"},
    el("legend", {text: title}),
    body,
    remove ? el("button", {type: "button", class: "tool worded", text: t("live.drop"), "aria-label": `${t("live.drop")}: ${title}`, on: {click: remove}}) : null,
  );
  const value = () => Object.fromEntries(["kind", ...CHANGE_FIELDS[change.kind]].map((name) => [name, change[name]]));
  return {element, value};
}
