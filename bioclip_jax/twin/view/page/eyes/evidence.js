// What of an eye was measured, inferred or assumed, in one line and as a table with sources.

import {el} from "../dom.js";
import {number, speciesName, t} from "../text.js";

// Those that a visitor sees; the rest stands in the table.
const SHOWN_QUANTITIES = ["acuity", "cones", "horizontal", "sensitivity"];
const STATUSES = ["measured", "inferred", "assumed"];

/** Return an eye's everyday name. */
export function eyeName(eye) {
  if (eye.name === "Homo sapiens") return t("eyes.person");
  if (eye.name === "Salticidae") return t("eyes.spider");
  return speciesName({name: eye.name});
}

/** Return the line that says what is measured and what is inferred, and what no screen shows if `limits`. */
export function evidenceLine(eye, limits = true) {
  const parts = STATUSES.map((status) => {
    const list = SHOWN_QUANTITIES.filter((quantity) => eye.status[quantity] === status).map((quantity) => sourced(eye, quantity));
    return list.length ? t(`eyes.${status}`, {list: list.join(", ")}) : "";
  });
  return [...parts, limits ? t("eyes.limits") : ""].filter(Boolean).join(" ");
}

function sourced(eye, quantity) {
  const what = t(`quantity.${quantity}`);
  const source = eye.source[quantity];
  if (!source) return what;
  return source === eye.name ? t("eyes.from.anatomy", {what}) : t("eyes.from", {what, source});
}

/** Return a table of all quantities with value, status and source. */
export function evidenceTable(eye) {
  const rows = Object.keys(eye.status).map((quantity) => el("tr", {},
    el("th", {scope: "row", text: t(`quantity.${quantity}`)}),
    el("td", {text: t(`unit.${quantity}`, {value: quantityText(eye, quantity)})}),
    el("td", {text: t(`status.${eye.status[quantity]}`)}),
    el("td", {text: [eye.source[quantity], eye.citation[quantity]].filter(Boolean).join(": ")}),
  ));
  return el("table", {class: "evidence"}, el("tbody", {}, ...rows));
}

function quantityText(eye, quantity) {
  if (quantity === "cones") return eye.cones.map((cone) => cone.peak_nm).join(", ");
  if (quantity === "rods") return String(eye.rods.peak_nm);
  if (quantity === "pupil") return t(`pupil.${eye.pupil}`);
  if (quantity === "height") return number(eye.eye_height_m, 2);
  return number(eye[quantity] ?? eye.field[`${quantity}_deg`], 3);
}
