// The view "web": who eats whom, with what flows a day as the width of a link.

import {el, put, roving, svg} from "../dom.js";
import {capital, speciesName, t} from "../text.js";
import {factsPanel} from "./facts.js";
import {drawGlyph, glyphOf} from "./glyphs.js";
import {linkPath, planWeb} from "./webplan.js";

const LEAST_WIDTH = 1.2;
const MOST_WIDTH = 13;
// Least space of a species in a row, in units of its height.
const NODE_SPACE = 0.95;

function mountWeb(app, stage) {
  const {data, settings} = app;
  const lines = svg("svg", {class: "links", "aria-hidden": true});
  const nodes = data.species.map((one, number) => {
    const picture = svg("svg", {viewBox: "0 0 48 40", class: "portrait", "aria-hidden": true});
    picture.append(drawGlyph(glyphOf(one), 48, {transform: "translate(24 20)"}));
    return el("button", {
      type: "button", role: "radio", class: `node ${one.kind}`, on: {click: () => app.set("species", number)},
    }, picture, el("span", {text: speciesName(one)}));
  });
  const field = el("div", {class: "web-field", role: "radiogroup", "aria-label": t("species")}, lines);
  const facts = el("div", {class: "facts-panel", tabindex: 0, role: "region", "aria-label": t("facts.title")});
  const key = el("p", {class: "legend web-key"},
    el("span", {class: "key with", text: t("web.observed")}),
    el("span", {class: "key inferred", text: t("web.inferred")}));
  stage.append(el("div", {class: "flat web"}, el("div", {class: "web-frame"}, field, key), facts));
  let paths = [];
  let order = [];
  let choose = () => {};

  const layout = () => {
    const [width, height] = [Math.max(field.clientWidth, 280), Math.max(field.clientHeight, 300)];
    const least = NODE_SPACE * Math.max(44, ...nodes.map((node) => node.offsetHeight));
    const plan = planWeb(data.species, data.links, width, height, {
      mostInRow: Math.max(4, Math.floor(width / least)), roomy: 1.7 * least, top: 0.7 * least, bottom: 0.75 * least,
    });
    put(lines, {viewBox: `0 0 ${width} ${height}`});
    paths = data.links.map(({resource, consumer, inferred}) => svg("path", {
      class: inferred ? "link inferred" : "link",
      d: linkPath(plan.x[resource], plan.y[resource], plan.x[consumer], plan.y[consumer]),
    }));
    lines.replaceChildren(...paths);
    nodes.forEach((node, number) => {
      node.style.left = `${plan.x[number]}px`;
      node.style.top = `${plan.y[number]}px`;
    });
    // Read and reached from the top row to the bottom.
    const now = plan.rows.flatMap((row) => row.members);
    if (now.join() !== order.join()) {
      order = now;
      const focused = document.activeElement;
      field.replaceChildren(lines, ...order.map((number) => nodes[number]));
      if (nodes.includes(focused)) focused.focus();
    }
    update();
  };

  // Widths grow more slowly than flows, so that a lion's meals are seen beside the grass that is grazed.
  const update = () => {
    const {branch, species} = settings;
    const flows = data.flows[branch];
    const most = Math.max(...data.flows.flat(), 1e-12);
    const last = data.times.length - 1;
    const near = new Set([species]);
    data.links.forEach(({resource, consumer}, index) => {
      const mine = resource === species || consumer === species;
      if (mine) near.add(resource).add(consumer);
      const width = flows[index] > 0 ? LEAST_WIDTH + MOST_WIDTH * (flows[index] / most) ** 0.35 : 0;
      put(paths[index], {"stroke-width": width.toFixed(2), "data-mine": mine ? (consumer === species ? "eats" : "eaten") : null});
    });
    nodes.forEach((node, number) => {
      put(node, {"aria-checked": number === species});
      node.classList.toggle("far", !near.has(number));
      const lost = data.series.of(branch, number, 50, last) === 0;
      node.classList.toggle("lost", lost);
      put(node, {"aria-label": lost ? `${speciesName(data.species[number])}, ${t("web.lost")}` : null});
    });
    choose(order.indexOf(species));
    facts.replaceChildren(...factsPanel(app, species));
  };

  const say = () => {
    const {species} = settings;
    const names = (end, other) => data.links.filter((link) => link[end] === species)
      .map((link) => speciesName(data.species[link[other]])).join(", ") || t("web.nobody");
    const plant = data.species[species].kind === "producer";
    app.announce(t(plant ? "web.plant" : "web.shown", {
      name: capital(speciesName(data.species[species])),
      eats: names("consumer", "resource"),
      eaten: names("resource", "consumer"),
    }));
  };

  const step = (count) => {
    const place = (order.indexOf(settings.species) + count + order.length) % order.length;
    app.set("species", order[place]);
  };

  field.append(...nodes);
  layout();
  choose = roving(order.map((number) => nodes[number]), order.indexOf(settings.species),
    (place) => app.set("species", order[place]));
  const listeners = [
    app.on("species", () => {
      update();
      say();
    }),
    app.on("branch", update),
  ];
  return {
    frame() {},
    resize: layout,
    action(name) {
      if (name === "left" || name === "up") step(-1);
      if (name === "right" || name === "down" || name === "next") step(1);
    },
    dispose: () => listeners.forEach((end) => end()),
  };
}

export const webMode = {id: "web", needsWebGL: false, mount: mountWeb};
