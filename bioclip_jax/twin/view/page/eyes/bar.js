// Controls and labels of the eyes over a 3-D view: whose eyes, the comparison with a person's, and the evidence.

import {el, roving} from "../dom.js";
import {number, t} from "../text.js";
import {evidenceLine, evidenceTable, eyeName} from "./evidence.js";
import {PERSON} from "./eyes.js";
import {adaptation} from "./light.js";
import {seesUltraviolet} from "./pigments.js";

const WIPE_STEP = 5;
// Of the middle of a label below the strip from its end, in pixels.
const ASIDE = 44;

/**
 * Make the controls for the eyes of `names` (scientific names that the page's data has sight of); the first is chosen.
 *
 * Returns {element: to put into the stage, eye(): the record, options(): those of eyes.render, set(name), wipe(share) with
 * 0 the animal's eyes and 1 a person's, place(places of the eyes, sun): once per frame or change of size, dispose()}.
 * `strip` and `lens` are passed on to eyes.render. `under`: an element below which a narrow screen's strip stands. changed(eye) is called when another eye is chosen.
 */
export function createEyeBar(app, names, {strip = true, lens = "ahead", under = null, changed = () => {}} = {}) {
  const known = names.map((name) => app.data.sight?.[name]).filter(Boolean);
  const records = known.length ? known : [app.data.sight?.["Homo sapiens"] || PERSON];
  const person = app.data.sight?.["Homo sapiens"] || PERSON;
  let chosen = 0;
  let share = 0;
  let held = false;
  let before = "";

  const label = (name) => el("span", {class: `eye-label ${name}`, "aria-hidden": true});
  const labels = {
    around: label("around"), left: label("blind"), right: label("blind"), both: label("both"), animal: label("lens"), person: label("lens"),
  };
  const chips = records.map((eye, index) => el("button", {
    type: "button", role: "radio", class: "eye-chip", text: eyeName(eye), on: {click: () => choose(index)},
  }));
  const chip = roving(chips, 0, (index) => choose(index));
  const slider = el("input", {
    type: "range", min: 0, max: 100, step: WIPE_STEP, value: 0, class: "eye-wipe",
    on: {
      input: () => wipe(Number(slider.value) / 100),
      // Switch access steps through the range.
      step: () => wipe(share >= 1 ? 0 : share + 0.25),
    },
  });
  const hold = el("button", {type: "button", class: "eye-hold", text: t("eyes.hold"), "aria-pressed": false});
  const setHeld = (value) => {
    held = value;
    hold.setAttribute("aria-pressed", String(value));
    before = "";
  };
  hold.addEventListener("pointerdown", () => setHeld(true));
  for (const name of ["pointerup", "pointerleave", "pointercancel", "blur"]) hold.addEventListener(name, () => setHeld(false));
  // By keyboard and switch it is pressed and pressed again, since a key is hard to hold.
  hold.addEventListener("click", (event) => {
    if (event.detail === 0) setHeld(!held);
  });
  const line = el("p", {class: "eye-line"});
  const sources = el("details", {class: "eye-sources"}, el("summary", {text: t("eyes.sources")}), el("div"));
  const chipRow = el("div", {class: "eye-chips", role: "radiogroup", "aria-label": t("eyes.choose")}, ...chips);
  const wipeRow = el("div", {class: "eye-compare"}, slider, hold);
  const row = el("div", {class: "eye-row"}, records.length > 1 ? chipRow : null, wipeRow);
  const controls = el("div", {class: "eye-controls"}, row, el("div", {class: "eye-foot"}, line, sources));
  const element = el("div", {class: strip ? "eye-bar with-strip" : "eye-bar"}, ...Object.values(labels), controls);

  const choose = (index) => {
    const isNew = index !== chosen;
    chosen = index;
    chips.forEach((one, other) => one.setAttribute("aria-checked", String(other === index)));
    chip(index);
    const eye = records[index];
    slider.setAttribute("aria-label", t("eyes.compare", {animal: eyeName(eye)}));
    line.textContent = evidenceLine(eye);
    sources.lastChild.replaceChildren(evidenceTable(eye));
    wipeRow.hidden = eye === person;
    before = "";
    if (isNew) changed(eye);
  };
  const wipe = (value) => {
    share = Math.min(1, Math.max(0, value));
    slider.value = String(Math.round(share * 100));
    slider.setAttribute("aria-valuetext", t("eyes.value", {percent: Math.round(share * 100)}));
    before = "";
  };
  const shown = () => (held ? 1 : share);

  // Layout is asked for now and then only, since that takes time.
  let [calls, below] = [0, 12];
  const top = () => {
    if (under && calls % 30 === 0) below = under.hidden ? 12 : under.offsetTop + under.offsetHeight + 6;
    calls += 1;
    return below;
  };
  const put = (one, text, x, y, visible = true) => {
    one.hidden = !visible;
    one.textContent = text;
    one.style.left = `${Math.round(x)}px`;
    one.style.top = `${Math.round(y)}px`;
  };
  const place = ({strip: box, lenses}, sun) => {
    const eye = records[chosen];
    const key = [box.x, box.y, box.w, lenses.length, chosen, shown(), sun.elevation < -6].join(" ");
    if (key === before) return;
    before = key;
    const [left, right] = [shown() >= 1 ? person : eye, shown() > 0 ? person : eye];
    const blind = (one) => (box.w * (360 - one.field.horizontal_deg)) / 720;
    const middle = box.y + box.h / 2;
    const roomFor = (one) => blind(one) > 44;
    put(labels.around, t("eyes.around", {name: eyeName(left), degrees: left.field.horizontal_deg}), box.x + box.w / 2, box.y + box.h, strip);
    put(labels.both, t("eyes.both"), box.x + box.w / 2, box.y + 0.06 * box.h, strip);
    put(labels.left, t("eyes.blind"), roomFor(left) ? box.x + blind(left) / 2 : box.x + ASIDE, roomFor(left) ? middle : box.y + box.h + 13, strip);
    put(labels.right, t("eyes.blind"), roomFor(right) ? box.x + box.w - blind(right) / 2 : box.x + box.w - ASIDE, roomFor(right) ? middle : box.y + box.h + 13, strip);
    [[labels.animal, eye, lenses[0]], [labels.person, person, lenses[1]]].forEach(([one, of, circle]) => {
      if (!circle) return put(one, "", 0, 0, false);
      const acuity = number(of.acuity * adaptation(of, sun).detail, 2);
      one.style.width = `${Math.round(circle.w)}px`;
      return put(one, t("eyes.lens", {name: eyeName(of), acuity}), circle.x + circle.w / 2, circle.y + circle.h, Boolean(lens));
    });
    const notes = [evidenceLine(eye)];
    if (sun.elevation < -6) notes.unshift(t("eyes.night"));
    if (seesUltraviolet(eye) && sun.elevation > 0) notes.unshift(t("eyes.ultraviolet"));
    line.textContent = notes.join(" ");
  };

  choose(0);
  wipe(0);
  return {
    element,
    place,
    wipe,
    eye: () => records[chosen],
    options: () => ({top: top(), split: 1 - shown(), strip, lens, person, gradual: true, still: app.settings.reducedMotion}),
    set(name) {
      const index = records.findIndex((eye) => eye.name === name);
      if (index >= 0) choose(index);
    },
    dispose: () => element.remove(),
  };
}
