// Biomass of a species over time: median, and bands of half and of nine tenths of the runs.

import {el, svg} from "../dom.js";
import {capital, number, speciesName, t} from "../text.js";
import {branchTitle} from "../verdict.js";
import {isWeighed, roundUp} from "./amounts.js";

const CHART_EDGE = {left: 52, right: 12, top: 10, bottom: 26};

// Returns a quantity per area that makes handy numbers: {factor of kg/km², name}.
function unitOf(species, most) {
  if (species.kind === "producer" && most >= 1000) return {factor: 1e-3, name: t("chart.plants")};
  if (isWeighed(species)) return {factor: 1, name: t("chart.kilos")};
  const density = most / species.mass_kg;
  const area = density >= 1 ? 1 : density >= 0.01 ? 100 : 10000;
  return {factor: area / species.mass_kg, name: area === 1 ? t("chart.animals.1") : t("chart.animals", {area: number(area)})};
}

// Returns {element, update(), resize()}; the chart follows the app's species, branch and time.
export function createChart(app) {
  const {data, settings} = app;
  const picture = svg("svg", {class: "chart", role: "img"});
  const title = el("h3", {});
  const legend = el("p", {class: "legend"});
  const element = el("div", {class: "chart-frame"}, title, picture, legend);
  const cursor = svg("line", {class: "cursor"});
  let [width, height] = [0, 0];
  const last = data.times.length - 1;
  const x = (time) => CHART_EDGE.left + (time / last) * (width - CHART_EDGE.left - CHART_EDGE.right);

  const update = () => {
    const {branch, species} = settings;
    const one = data.species[species];
    const name = speciesName(one);
    title.textContent = t("chart.title", {name: capital(name)});
    const shown = branch ? t("chart.with", {scenario: branchTitle(data, branch)}) : t("chart.only");
    legend.replaceChildren(el("span", {class: "key with", text: shown}));
    if (branch) legend.append(el("span", {class: "key without", text: t("chart.without")}));
    // Measured after the legend, whose lines take from the height.
    width = Math.max(picture.clientWidth, 200);
    height = Math.max(picture.clientHeight, 110);
    picture.setAttribute("viewBox", `0 0 ${width} ${height}`);
    const series = (quantile) => data.times.map((_, time) => data.series.of(branch, species, quantile, time));
    const without = (quantile) => data.times.map((_, time) => data.series.without(branch, species, quantile, time));
    const most = Math.max(...without(95), ...series(95), 1e-9);
    const unit = unitOf(one, most);
    const top = roundUp(most * unit.factor);
    const y = (value) => height - CHART_EDGE.bottom - ((value * unit.factor) / top) * (height - CHART_EDGE.top - CHART_EDGE.bottom);
    const path = (values) => values.map((value, time) => `${time ? "L" : "M"}${x(time).toFixed(1)} ${y(value).toFixed(1)}`).join("");
    const band = (low, high) => {
      const back = high.map((value, time) => `L${x(time).toFixed(1)} ${y(value).toFixed(1)}`).reverse().join("");
      return `${path(low)}${back}z`;
    };
    picture.replaceChildren(
      ...axes(top, y, unit),
      svg("path", {class: "band wide", d: band(series(5), series(95))}),
      svg("path", {class: "band half", d: band(series(25), series(75))}),
      branch ? svg("path", {class: "median without", d: path(without(50))}) : "",
      svg("path", {class: "median", d: path(series(50))}),
      cursor,
    );
    const start = number(data.series.of(branch, species, 50, 0) * unit.factor, 2);
    const end = number(data.series.of(branch, species, 50, last) * unit.factor, 2);
    picture.setAttribute("aria-label", `${title.textContent}: ${start} → ${end} ${unit.name}`);
    move();
  };

  const axes = (top, y, unit) => {
    const ticks = [0, 0.5, 1].map((share) => {
      const at = height - CHART_EDGE.bottom - share * (height - CHART_EDGE.top - CHART_EDGE.bottom);
      return svg("g", {}, svg("line", {class: "grid", x1: CHART_EDGE.left, x2: width - CHART_EDGE.right, y1: at, y2: at}),
        svg("text", {class: "tick", x: CHART_EDGE.left - 6, y: at + 4, "text-anchor": "end", "aria-hidden": true}, number(share * top, 2)));
    });
    const years = Math.max(1, Math.round(data.years / Math.max(2, Math.min(6, (width - 60) / 70))));
    const marks = [];
    for (let year = 0; year <= data.years; year += years) {
      const at = CHART_EDGE.left + (year / data.years) * (width - CHART_EDGE.left - CHART_EDGE.right);
      marks.push(svg("text", {class: "tick", x: at, y: height - 8, "text-anchor": "middle"},
        year === 0 ? t("chart.start") : number(year)));
    }
    return [...ticks, ...marks, svg("text", {class: "tick unit", x: CHART_EDGE.left + 4, y: CHART_EDGE.top + 12}, unit.name)];
  };

  // Moves the line that marks the time.
  const move = () => {
    const at = x(settings.time);
    for (const [name, value] of Object.entries({x1: at, x2: at, y1: CHART_EDGE.top, y2: height - CHART_EDGE.bottom})) {
      cursor.setAttribute(name, value);
    }
  };
  return {element, update, move};
}
