// The part of the page in which visitors try scenarios of their own.

import {readBlock, undoDeltas} from "../blocks.js";
import {el} from "../dom.js";
import {addTexts, t} from "../text.js";
import {liveText} from "../text/live.js";
import {addVisitorBranch, dropVisitorBranches, openVisitorScene} from "./branches.js";
import {openComposer} from "./composer.js";

// Adds the button that opens the dialog, where the page's server simulates.
export async function addLive(app, shell) {
  const {data, settings} = app;
  addTexts(liveText);
  let changes = [];
  const baseline = undoDeltas(await readBlock("live"), 0, data.species.length * data.series.quantiles.length, data.times.length);

  const openScene = data.openScene;
  data.openScene = (number) => openVisitorScene(data, number) ?? openScene(number);

  const added = (result, events) => {
    const {branch} = settings;
    // Its number may be given away.
    if (branch >= settings.kept) app.set("branch", 0);
    const number = addVisitorBranch(data, settings, result, events, baseline);
    shell.rebuild();
    app.set("branch", number);
    return number;
  };

  const closed = () => shell.page.querySelector(".try")?.focus();

  // A new visitor of a kiosk begins anew.
  app.on("left", () => {
    changes = [];
    if (data.branches.length === settings.kept) return;
    app.set("branch", 0);
    dropVisitorBranches(data, settings);
    shell.rebuild();
  });

  shell.extend(() => el("button", {
    type: "button", class: "branch try", text: t("live.try"), "aria-haspopup": "dialog",
    on: {click: () => openComposer(app, changes, added, closed)},
  }));
}
