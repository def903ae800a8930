// Start screen, and the kiosk: full screen, and back to the start when nobody touches the page.

import {el, svg} from "./dom.js";
import {drawGlyph, glyphOf} from "./flat/glyphs.js";
import {SAVED_SETTINGS} from "./settings.js";
import {t} from "./text.js";

const IDLE_EVENTS = ["pointerdown", "keydown", "wheel", "touchstart", "pointermove"];
const ATTRACT_MS = 9000;
const TURNS_PER_VIEW = 2;
const FRIEZE = 7;

// Returns a row of animals of the page, from small to large.
function frieze(data) {
  const animals = [...data.species].filter((one) => one.kind === "endotherm" && one.mass_kg > 3);
  const kinds = new Map(animals.map((one) => [glyphOf(one), one.mass_kg]));
  const chosen = [...kinds].sort((a, b) => a[1] - b[1]).slice(-FRIEZE).map(([name]) => name);
  const picture = svg("svg", {class: "frieze", viewBox: `0 0 ${chosen.length * 60} 48`, "aria-hidden": true});
  chosen.forEach((name, place) => picture.append(drawGlyph(name, 54, {transform: `translate(${place * 60 + 30} 24)`})));
  return picture;
}

// Shows the start screen, and watches for a kiosk left alone.
export function watchKiosk(app, shell, modes) {
  const {data, settings} = app;
  const first = {...settings};
  let idle = 0;
  let attract = 0;
  let turn = 0;
  const lion = data.species.findIndex((one) => one.name === "Panthera leo");
  const hasLions = data.branches.some(({events}) => events.some((event) => event.kind === "remove" && event.species.includes(lion)));

  const isStarting = () => shell.overlay.childElementCount > 0;

  const fill = () => document.documentElement.requestFullscreen?.().catch(() => {});

  const begin = () => {
    clearInterval(attract);
    // A browser fills the screen only at a touch, so a page that is opened as a kiosk does it now.
    if (settings.kiosk && !document.fullscreenElement) fill();
    restore();
    shell.overlay.replaceChildren();
    shell.page.inert = false;
    shell.stage.focus();
    wait();
  };

  const open = () => {
    const start = el("button", {type: "button", class: "begin", text: t(settings.kiosk ? "start.touch" : "start.begin"), on: {click: begin}});
    const language = el("button", {
      type: "button", class: "tool worded", text: t("language"), lang: settings.language === "en" ? "fr" : "en",
      on: {click: () => app.set("language", settings.language === "en" ? "fr" : "en")},
    });
    shell.overlay.replaceChildren(el("section", {class: "start", "aria-labelledby": "start-title"},
      el("p", {class: "start-name", text: data.name || t("title")}),
      el("h2", {id: "start-title", text: t(hasLions ? "start.lions" : "start.title")}),
      el("p", {text: t("start.text")}),
      frieze(data),
      el("div", {class: "start-buttons"}, start, language),
      el("p", {class: "start-note", text: data.calibrated ? t("start.note") : `${t("start.note")} ${t("uncalibrated")}`}),
    ));
    shell.page.inert = true;
    start.focus();
    clearInterval(attract);
    if (!settings.reducedMotion) attract = setInterval(show, ATTRACT_MS);
  };

  // While nobody is there, the page shows one scenario after another, and in a kiosk one view after another.
  const show = () => {
    turn += 1;
    app.set("branch", turn % data.branches.length);
    if (settings.kiosk && turn % TURNS_PER_VIEW === 0) {
      const at = modes.findIndex((mode) => mode.id === settings.view);
      app.set("view", modes[(at + 1) % modes.length].id);
    }
  };

  const restore = (names = ["branch", "view", "time"]) => {
    for (const name of names) app.set(name, first[name]);
  };

  const reset = () => {
    document.querySelector("dialog[open]")?.close();
    restore([...SAVED_SETTINGS, "scan"]);
    app.tell("left");
    open();
  };

  const wait = () => {
    clearTimeout(idle);
    if (settings.kiosk && !isStarting()) idle = setTimeout(reset, settings.idle * 1000);
  };

  for (const name of IDLE_EVENTS) document.addEventListener(name, wait, {capture: true, passive: true});
  app.on("kiosk", () => {
    if (settings.kiosk) fill();
    else if (document.fullscreenElement) document.exitFullscreen?.().catch(() => {});
    const focused = document.activeElement?.classList?.contains("kiosk");
    shell.build();
    if (focused) shell.page.querySelector(".tool.kiosk").focus();
    wait();
  });
  app.on("language", () => {
    if (isStarting()) open();
  });
  if (settings.start) open();
  wait();
}
