// The frame around the views: scenarios, views, settings, and the loop that draws the view.

import {openAbout} from "./about.js";
import {el, put, roving} from "./dom.js";
import {watchKeys} from "./keys.js";
import {watchKiosk} from "./kiosk.js";
import {createStage} from "./stage.js";
import {HOURS} from "./settings.js";
import {setLanguage, t} from "./text.js";
import {icon} from "./icons.js";
import {branchTitle, verdictOf, verdictText} from "./verdict.js";

// Builds the page into root; returns {note(text), show(id)}.
export function createShell(app, modes, root) {
  const {data, settings} = app;
  const stage = createStage(app);
  let noticeTimer = 0;
  const page = el("div", {class: "page"});
  const notice = el("p", {class: "notice", role: "status"});
  const overlay = el("div", {class: "overlay"});
  let parts = {};
  let more = null;

  const build = () => {
    document.title = t("title");
    parts = {verdict: el("p", {class: "verdict"}), title: el("h2"), text: el("p", {class: "telling"})};
    const caption = el("div", {class: "caption"}, parts.title, parts.text);
    const panel = el("div", {class: "panel", role: "tabpanel", id: "panel", "aria-labelledby": `tab-${settings.view}`});
    panel.append(caption, stage.element);
    parts.panel = panel;
    page.replaceChildren(
      el("a", {class: "skip", href: "#panel", text: t("skip"), on: {click: (event) => {
        event.preventDefault();
        stage.focus();
      }}}),
      header(),
      el("main", {}, verdicts(), panel),
      tabs(),
    );
    update();
  };

  const header = () => el("header", {},
    el("h1", {text: data.name || t("title")}),
    branches(),
    more?.(),
    el("div", {class: "tools"},
      hourButton(),
      button("language", t("language"), () => app.set("language", settings.language === "en" ? "fr" : "en"), {
        lang: settings.language === "en" ? "fr" : "en",
      }),
      settings.locked ? null : button("kiosk", t(settings.kiosk ? "kiosk.end" : "kiosk"), () => app.set("kiosk", !settings.kiosk)),
      button("about", t("about"), () => openAbout(app, page)),
    ),
  );

  const button = (name, text, press, {sign = name, ...attributes} = {}) =>
    el("button", {type: "button", class: `tool ${name}`, ...attributes, on: {click: press}},
      icon(sign), el("span", {text}));

  // Goes through the times of day.
  const hourButton = () => {
    const at = HOURS.findIndex((one) => one.id === settings.hour);
    const next = HOURS[(at + 1) % HOURS.length].id;
    const name = t(`hour.${settings.hour}`);
    return button("hour", name, () => app.set("hour", next), {sign: settings.hour, "aria-label": `${t("hour")}: ${name}`});
  };

  const branches = () => {
    const buttons = data.branches.map((_, number) => el("button", {
      type: "button", role: "radio", class: "branch", text: branchTitle(data, number),
      on: {click: () => app.set("branch", number)},
    }));
    parts.branches = buttons;
    parts.chooseBranch = roving(buttons, settings.branch, (number) => app.set("branch", number));
    return el("div", {class: "branches", role: "radiogroup", "aria-label": t("branches")},
      el("span", {class: "what-if", "aria-hidden": true, text: t("branches")}), ...buttons);
  };

  const verdicts = () => el("div", {class: "verdicts"},
    parts.verdict,
    data.calibrated ? null : el("p", {class: "uncalibrated", text: t("uncalibrated")}),
  );

  const tabs = () => {
    const buttons = modes.map((mode) => el("button", {
      type: "button", role: "tab", id: `tab-${mode.id}`, class: "tab", "aria-controls": "panel",
      on: {click: () => app.set("view", mode.id)},
    }, icon(mode.id), el("span", {text: t(`mode.${mode.id}.title`)})));
    parts.tabs = buttons;
    parts.chooseTab = roving(buttons, at(), (number) => app.set("view", modes[number].id), {both: false});
    return el("nav", {"aria-label": t("modes")},
      el("div", {class: "tabs", role: "tablist", "aria-label": t("modes")}, ...buttons));
  };

  const at = () => modes.findIndex((mode) => mode.id === settings.view);

  // Brings the frame in line with the settings.
  const update = () => {
    put(page, {"data-sun": settings.hour, "data-view": settings.view, "data-kiosk": settings.kiosk ? "" : null});
    put(document.documentElement, {"data-sun": settings.hour, "data-still": settings.reducedMotion ? "" : null});
    parts.branches.forEach((one, number) => put(one, {"aria-checked": number === settings.branch}));
    parts.chooseBranch(settings.branch);
    scrollTo(parts.branches[settings.branch]);
    parts.tabs.forEach((one, number) => put(one, {"aria-selected": number === at()}));
    parts.chooseTab(at());
    put(parts.panel, {"aria-labelledby": `tab-${settings.view}`});
    parts.title.textContent = t(`mode.${settings.view}.title`);
    parts.text.textContent = t(`mode.${settings.view}.text`);
    const {branch, species} = settings;
    parts.verdict.textContent = verdictText(data, branch, species);
    put(parts.verdict, {"data-kind": branch ? verdictOf(data.effects[branch][species]) : "none"});
  };

  // Brings a button of a row that scrolls into sight.
  const scrollTo = (one) => {
    const row = one.parentElement;
    row.scrollLeft = one.offsetLeft - row.offsetLeft - (row.clientWidth - one.offsetWidth) / 2;
  };

  const show = () => {
    update();
    stage.show(modes[at()]);
    app.announce(`${t(`mode.${settings.view}.title`)}. ${t(`mode.${settings.view}.text`)}`);
  };

  // Builds the page again, after changes of its language or scenarios.
  const rebuild = () => {
    build();
    stage.show(modes[at()]);
  };

  app.on("language", () => {
    setLanguage(settings.language);
    const focused = document.activeElement?.classList?.contains("language");
    rebuild();
    if (focused) page.querySelector(".tool.language").focus();
  });
  app.on("view", show);
  app.on("reducedMotion", () => {
    update();
    // 3-D views ask for it when they open.
    if (modes[at()].needsWebGL) stage.show(modes[at()]);
  });
  for (const name of ["branch", "species"]) {
    app.on(name, () => {
      update();
      app.announce(parts.verdict.textContent);
    });
  }
  app.on("hour", () => {
    const old = page.querySelector(".tool.hour");
    const focused = document.activeElement === old;
    const made = hourButton();
    old.replaceWith(made);
    if (focused) made.focus();
    update();
  });

  root.replaceChildren(page, overlay, notice, app.live);
  build();
  stage.show(modes[at()]);
  const shell = {
    page,
    overlay,
    stage,
    build,
    rebuild,
    // Adds what a function makes to the header, after the scenarios.
    extend(make) {
      more = make;
      build();
    },
    // Shows one line for a while.
    note(text) {
      notice.textContent = text;
      clearTimeout(noticeTimer);
      noticeTimer = setTimeout(() => (notice.textContent = ""), 8000);
    },
  };
  watchKeys(app, shell);
  watchKiosk(app, shell, modes);
  return shell;
}
