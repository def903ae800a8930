// What all views share: data, settings, events, announcements, and one renderer of 3-D views.

import {saveSettings} from "./settings.js";
import {openRenderer} from "./renderer.js";

const ANNOUNCE_MS = 700;

// Returns the app of the views. settings: branch, species, time, hour, language, kiosk, reducedMotion and view.
export function createApp(data, settings) {
  const listeners = new Map();
  const live = document.createElement("div");
  live.className = "unseen";
  live.setAttribute("role", "status");
  live.setAttribute("aria-live", "polite");
  let pending = 0;
  let renderer = null;
  const app = {
    data,
    settings,
    live,
    // Says a text to those who listen to the page; of several within a moment, the last.
    announce(text) {
      clearTimeout(pending);
      pending = setTimeout(() => {
        if (live.textContent !== text) live.textContent = text;
      }, ANNOUNCE_MS);
    },
    // Calls the listener on changes of a setting, and on "left": a kiosk starts again; returns what ends this.
    on(event, listener) {
      if (!listeners.has(event)) listeners.set(event, new Set());
      listeners.get(event).add(listener);
      return () => listeners.get(event).delete(listener);
    },
    // Calls the listeners of an event that is no setting.
    tell(event) {
      for (const listener of [...(listeners.get(event) ?? [])]) listener();
    },
    // Changes a setting and tells all who listen.
    set(name, value) {
      if (settings[name] === value) return;
      settings[name] = value;
      saveSettings(settings);
      for (const listener of [...(listeners.get(name) ?? [])]) listener(value);
      for (const listener of [...(listeners.get("any") ?? [])]) listener(name);
    },
    // Returns the shared {renderer, eyes} of 3-D views, made when it is first asked for.
    three() {
      renderer ??= openRenderer();
      return renderer;
    },
  };
  return app;
}
