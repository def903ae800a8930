// The dialog in which a visitor composes a scenario, waits for it, and reads what it does.

import {el} from "../dom.js";
import {number, speciesName, t} from "../text.js";
import {branchTitle, verdictOf, verdictText} from "../verdict.js";
import {changeControls} from "./change.js";
import {requestLive} from "./request.js";

const MOST_TOLD = 6;

// Opens the dialog. changes: of the form, kept by the caller; added(result, events): adds the scenario and returns its
// number; closed(): called at the end.
export function openComposer(app, changes, added, closed) {
  const {data, settings} = app;
  const {menu, members} = data.live;
  const body = el("div", {class: "composer"});
  const status = el("p", {class: "live-status", role: "status"});
  const title = el("h2", {id: "live-title", text: t("live.title")});
  const close = el("button", {type: "button", class: "tool close", text: t("close"), on: {click: () => dialog.close()}});
  const dialog = el("dialog", {class: "live-dialog", "aria-labelledby": "live-title"},
    el("div", {class: "about-head"}, title, close),
    body,
    status,
  );
  let running = null;

  const button = (text, press, main = false) =>
    el("button", {type: "button", class: main ? "begin small" : "branch", text, on: {click: press}});

  const first = () => ({
    kind: "remove", species: data.species[settings.species].name, year: Math.min(2, menu.years), from: Math.min(2, menu.years), to: menu.years,
  });

  // Says how it goes; what is plain to see is for listeners only.
  const say = (text, unseen = false) => {
    status.classList.toggle("unseen", unseen);
    status.textContent = text;
  };

  // Shows the form.
  const compose = (focus = "select") => {
    if (!changes.length) changes.push(first());
    const controls = changes.map((change, place) => changeControls(app, place + 1, change, changes.length < 2 ? null : () => {
      changes.splice(place, 1);
      compose();
    }));
    const add = changes.length < menu.most ? button(t("live.add"), () => {
      changes.push(first());
      compose(".change:last-of-type select");
    }) : null;
    const run = button(t("live.run"), () => simulate(controls.map((one) => one.value())), true);
    body.replaceChildren(
      el("p", {text: t("live.text")}),
      ...controls.map((one) => one.element),
      el("div", {class: "start-buttons"}, add, run),
    );
    body.querySelector(focus)?.focus();
  };

  // Waits for the server, and says how far it is.
  const simulate = async (events) => {
    const bar = el("progress", {"aria-label": t("live.progress")});
    running = new AbortController();
    body.replaceChildren(bar, el("div", {class: "start-buttons"}, button(t("live.cancel"), () => running.abort())));
    body.querySelector("button").focus();
    say(t("live.sent"));
    const {signal} = running;
    try {
      const result = await requestLive("what-if", events, ({place, done}) => {
        if (place) say(t(place === 1 ? "live.place.1" : "live.place", {n: number(place)}));
        else {
          say(t("live.running"));
          bar.value = Math.max(done, 0.02);
        }
      }, signal);
      if (!signal.aborted) tell(added(result, events));
    } catch (error) {
      if (!dialog.open) return;
      compose(".begin");
      say(signal.aborted ? t("live.canceled") : error.message);
      if (!signal.aborted && error.name !== "Error") console.warn(error);
    } finally {
      running = null;
    }
  };

  // Says what the scenario does to whom.
  const tell = (branch) => {
    const effects = data.effects[branch];
    const kinds = effects.map(verdictOf);
    const decided = effects.map((_, one) => one).filter((one) => ["falls", "rises"].includes(kinds[one]));
    decided.sort((one, other) => Math.abs(effects[other].ratio[2]) - Math.abs(effects[one].ratio[2]));
    const lines = decided.slice(0, MOST_TOLD).map((one) =>
      el("li", {class: "verdict-line", "data-kind": kinds[one], text: verdictText(data, branch, one)}));
    const names = (kind) => effects.map((_, one) => one).filter((one) => kinds[one] === kind).map((one) => speciesName(data.species[one]));
    const others = decided.slice(MOST_TOLD).map((one) => speciesName(data.species[one]));
    const rest = [["others", others], ["little", names("little")], ["unknown", names("unknown")]].filter(([, all]) => all.length);
    body.replaceChildren(
      el("h3", {text: branchTitle(data, branch), tabindex: -1}),
      lines.length ? el("ul", {class: "verdict-lines"}, ...lines) : el("p", {text: t("live.nothing")}),
      ...rest.map(([kind, all]) => el("p", {class: "live-rest", text: t(`live.${kind}`, {names: all.join(", ")})})),
      el("p", {class: "live-rest", text: t("live.members", {members: number(members)})}),
      data.calibrated ? "" : el("p", {class: "live-rest", text: t("uncalibrated")}),
      el("div", {class: "start-buttons"}, button(t("live.again"), () => {
        title.textContent = t("live.title");
        say("");
        compose();
      }), button(t("live.see"), () => dialog.close(), true)),
    );
    title.textContent = t("live.happens");
    say(t("live.done"), true);
    body.querySelector("h3").focus();
  };

  dialog.addEventListener("close", () => {
    running?.abort();
    dialog.remove();
    closed();
  });
  document.body.append(dialog);
  dialog.showModal();
  compose();
}
