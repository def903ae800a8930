// Opening of the page: data, settings, frame.

import {createApp} from "./app.js";
import {PageError} from "./blocks.js";
import {decode} from "./data.js";
import {el} from "./dom.js";
import {modes} from "./modes.js";
import {SAVED_SETTINGS, readSettings} from "./settings.js";
import {createShell} from "./shell.js";
import {LANGUAGES, setLanguage, t} from "./text.js";

// Opens the page; extend(app, shell) adds to it.
export async function startPage(extend = () => {}) {
  const root = document.getElementById("app");
  const wanted = (/[?&#]lang=(\w\w)\b/.exec(location.search + location.hash) ?? [])[1] ?? navigator.language?.slice(0, 2);
  setLanguage(LANGUAGES.includes(wanted) ? wanted : "en");
  try {
    const data = await decode();
    const {settings, misread} = readSettings(data, modes);
    setLanguage(settings.language);
    const app = createApp(data, settings);
    const shell = createShell(app, modes, root);
    extend(app, shell);
    if (misread) shell.note(t("note.address"));
    // A bookmark that is opened in this page, or an address that is edited.
    addEventListener("hashchange", () => {
      const again = readSettings(data, modes);
      for (const name of SAVED_SETTINGS) app.set(name, again.settings[name]);
      if (again.misread) shell.note(t("note.address"));
    });
  } catch (error) {
    const key = error instanceof PageError ? error.message : "error.data";
    root.replaceChildren(el("main", {class: "failure"}, el("h1", {text: t("title")}), el("p", {role: "alert", text: t(key)})));
  }
}
