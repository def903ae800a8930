// The view "map": areas with marks for those who live there, time, and a chart of the chosen species.

import {el, put, svg} from "../dom.js";
import {capital, number, speciesName, t} from "../text.js";
import {amountText, animalsOf, isWeighed, roundUp} from "./amounts.js";
import {createChart} from "./chart.js";
import {drawGlyph, glyphOf} from "./glyphs.js";
import {arrange, decorOf, markPlace, outline} from "./layout.js";
import {speciesStrip} from "./strip.js";
import {timeText, timeline} from "./timeline.js";

const MOST_MARKS = 30;

function mountMap(app, stage) {
  const {data, settings} = app;
  const picture = svg("svg", {class: "land", role: "img"});
  const key = el("p", {class: "mark-key"});
  const strip = speciesStrip(app);
  const time = timeline(app);
  const chart = createChart(app);
  stage.append(el("div", {class: "flat map"},
    strip.element,
    el("div", {class: "land-frame"}, picture, key),
    el("div", {class: "side"}, chart.element, time.element),
  ));
  let circles = [];
  let areas = [];
  let unit = 1;

  const amount = (branch, patch, when) => {
    const one = data.species[settings.species];
    const biomass = data.series.ofPatch(branch, settings.species, patch, when);
    const area = data.patches[patch].area_km2;
    return isWeighed(one) ? (biomass * area) / 1000 : animalsOf(one, biomass, area);
  };

  const layout = () => {
    const [width, height] = [Math.max(picture.clientWidth, 240), Math.max(picture.clientHeight, 180)];
    put(picture, {viewBox: `0 0 ${width} ${height}`});
    circles = arrange(data.patches, width, height);
    build();
  };

  // Draws areas and all marks that any branch and time need; later they are shown or hidden.
  const build = () => {
    const one = data.species[settings.species];
    const times = data.times.map((_, when) => when);
    const most = data.patches.map((_, patch) =>
      Math.max(...data.branches.map((_, branch) => Math.max(...times.map((when) => amount(branch, patch, when))))));
    unit = roundUp(Math.max(...most, 1e-6) / MOST_MARKS);
    areas = data.patches.map((patch, place) => {
      const circle = circles[place];
      const [cover] = Object.entries(patch.cover).sort((a, b) => b[1] - a[1])[0] ?? ["other"];
      const count = Math.min(Math.ceil(most[place] / unit), MOST_MARKS);
      const size = Math.min(52, Math.max(17, circle.radius * 0.33));
      const marks = Array.from({length: count}, (_, index) => {
        const at = markPlace(circle, index, MOST_MARKS, place);
        return drawGlyph(glyphOf(one), size, {transform: `translate(${at.x.toFixed(1)} ${at.y.toFixed(1)})`});
      });
      const decor = svg("g", {class: "decor"}, ...decorOf(circle, patch.cover, place + 1).map((thing) =>
        drawGlyph(thing.name, thing.size, {transform: `translate(${thing.x.toFixed(1)} ${thing.y.toFixed(1)})`})));
      const label = svg("text", {class: "patch-label", x: circle.x, y: circle.y - circle.radius * 0.78}, patch.label);
      const total = svg("text", {class: "patch-count", x: circle.x, y: circle.y + circle.radius * 0.9});
      const shape = svg("path", {class: `patch ${cover}`, d: outline(circle, place + 1)});
      return {marks, total, group: svg("g", {}, shape, decor, ...marks), names: svg("g", {}, label, total)};
    });
    picture.replaceChildren(...areas.map((area) => area.group), ...areas.map((area) => area.names));
    const what = isWeighed(one) ? "map.each.plants" : "map.each";
    key.textContent = t(what, {number: number(unit, 2)});
    update();
  };

  const update = () => {
    const one = data.species[settings.species];
    const {branch, time: when} = settings;
    const counts = data.patches.map((patch, place) => {
      const biomass = data.series.ofPatch(branch, settings.species, place, when);
      const count = Math.round(amount(branch, place, when) / unit + (biomass > 0 ? 0.3 : 0));
      areas[place].marks.forEach((mark, index) => mark.classList.toggle("gone", index >= count));
      const text = amountText(one, biomass, patch.area_km2);
      areas[place].total.textContent = text;
      return t("map.area", {label: patch.label, count: text});
    });
    const text = t("map.shown", {name: capital(speciesName(one)), when: timeText(data, when), counts: counts.join(", ")});
    put(picture, {"aria-label": text});
  };

  const listeners = [
    app.on("time", () => {
      time.update();
      chart.move();
      update();
    }),
    app.on("branch", () => {
      chart.update();
      update();
      time.replay();
    }),
    app.on("species", () => {
      strip.update();
      chart.update();
      build();
    }),
  ];
  return {
    frame: (_, dt) => time.frame(dt),
    resize() {
      layout();
      chart.update();
      strip.update();
    },
    action(name) {
      if (name === "left") time.step(-1);
      if (name === "right") time.step(1);
      if (name === "select") time.toggle();
    },
    dispose: () => listeners.forEach((end) => end()),
  };
}

export const mapMode = {id: "map", needsWebGL: false, mount: mountMap};
