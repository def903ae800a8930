// The dialog about the page: method, sources, place, access and license.

import {el} from "./dom.js";
import {t} from "./text.js";

// Opens the dialog; its settings apply at once.
export function openAbout(app, page) {
  const {data, settings} = app;
  const license = document.getElementById("license-of-three").textContent.trim();
  const close = el("button", {type: "button", class: "tool close", text: t("close"), on: {click: () => dialog.close()}});
  const scan = [0, 1, 2].map((value) => el("label", {},
    el("input", {type: "radio", name: "scan", value, checked: value === settings.scan, on: {change: () => app.set("scan", value)}}),
    el("span", {text: t(`about.scan.${value}`)}),
  ));
  const motion = el("label", {},
    el("input", {type: "checkbox", checked: settings.reducedMotion, on: {change: (event) => app.set("reducedMotion", event.target.checked)}}),
    el("span", {text: t("about.motion")}),
  );
  const paragraphs = [
    t("about.runs", {members: data.members, years: data.years}),
    data.calibrated ? null : t("uncalibrated"),
    t("about.measured"),
    t(data.precise ? "about.precise" : "about.place"),
    data.scenes.length ? t("about.scenes") : null,
    t("about.saving"),
  ].filter(Boolean).map((text) => el("p", {text}));
  const dialog = el("dialog", {class: "about-dialog", "aria-labelledby": "about-title"},
    el("div", {class: "about-head"}, el("h2", {id: "about-title", text: t("about.title")}), close),
    ...paragraphs,
    el("fieldset", {}, el("legend", {text: t("about.scan")}), ...scan),
    motion,
    license ? el("details", {}, el("summary", {text: t("about.license")}), el("pre", {tabindex: 0, text: license})) : null,
  );
  dialog.addEventListener("close", () => {
    dialog.remove();
    page.querySelector(".tool.about")?.focus();
  });
  page.append(dialog);
  dialog.showModal();
}
