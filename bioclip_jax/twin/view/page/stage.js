// The place where a view is drawn: mounting, the loop of frames, sizes, and failures in one line.

import {PageError} from "./blocks.js";
import {el} from "./dom.js";
import {hasThree, hasWebGL} from "./renderer.js";
import {t} from "./text.js";

const PAD_ACTIONS = ["left", "up", "down", "right", "select", "next"];
const PAD_SIGNS = {left: "◀", right: "▶", up: "▲", down: "▼", select: "●", next: "»"};

// Returns {element, show(mode), action(name), focus()}.
export function createStage(app) {
  const host = el("div", {class: "stage", tabindex: -1});
  const pad = el("div", {class: "pad", role: "group"});
  const element = el("div", {class: "stage-frame"}, host, pad);
  let view = null;
  let frame = 0;
  let before = 0;

  const fail = (key) => {
    end();
    host.replaceChildren(el("p", {class: "message", role: "status", text: t(key)}));
    app.announce(t(key));
  };

  const end = () => {
    cancelAnimationFrame(frame);
    const ended = view;
    view = null;
    try {
      ended?.dispose();
    } catch (error) {
      console.warn(error);
    }
    host.replaceChildren();
  };

  const attempt = (work) => {
    try {
      return work();
    } catch (error) {
      console.warn(error);
      fail(error instanceof PageError ? error.message : "error.view");
      return undefined;
    }
  };

  const draw = (now) => {
    frame = requestAnimationFrame(draw);
    const step = Math.min((now - before) / 1000, 0.25);
    before = now;
    if (view) attempt(() => view.frame(now / 1000, step));
  };

  const resize = () => {
    if (view) attempt(() => view.resize(host.clientWidth, host.clientHeight));
  };

  const missing = (mode) => {
    if (!mode.needsWebGL) return null;
    if (!hasThree()) return "error.three";
    if (!hasWebGL()) return "error.webgl";
    return mode.needsScenes !== false && !app.data.scenes.length ? "error.scenes" : null;
  };

  const show = (mode) => {
    end();
    pad.replaceChildren();
    pad.hidden = !mode.needsWebGL;
    host.tabIndex = mode.needsWebGL ? 0 : -1;
    if (mode.needsWebGL) {
      host.setAttribute("role", "application");
      host.setAttribute("aria-label", t(`mode.${mode.id}.title`));
    } else {
      host.removeAttribute("role");
      host.removeAttribute("aria-label");
    }
    const reason = missing(mode);
    if (reason) {
      pad.hidden = true;
      fail(reason);
      return;
    }
    attempt(() => {
      view = mode.mount(app, host);
    });
    if (!view) return;
    if (mode.needsWebGL) pad.append(...controls());
    pad.setAttribute("aria-label", t("controls"));
    resize();
    before = performance.now();
    frame = requestAnimationFrame(draw);
  };

  const controls = () => PAD_ACTIONS.map((name) => el("button", {
    type: "button", class: `control ${name}`, "aria-label": t(`action.${name}`), text: PAD_SIGNS[name],
    on: {click: () => action(name)},
  }));

  const action = (name) => {
    if (view) attempt(() => view.action(name));
  };

  new ResizeObserver(resize).observe(host);
  return {element, show, action, focus: () => (host.tabIndex === 0 ? host : host.querySelector("[tabindex='0'], button"))?.focus()};
}
